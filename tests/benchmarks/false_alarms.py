"""How often gates fail on unchanged code: pytest-benchmark's rules and ours, in one run.

    python tests/benchmarks/false_alarms.py [--runs 50] [--precision fp32 fp16] [--json FILE]

Every run is a process of pytest that times the digit classifier of the example project on the CPU,
an image at a time: by pytest-benchmark's fixture (with its warm-up, which steadies its figures) and
by ours. Nothing changes from run to run, so each alarm is a false one. Every run is compared with
the run before it, and with one that came before all of them, as the stored baseline.

Its rules are applied to its own figures by its own code. Ours decides while it measures, so it runs
once for each comparison. It is not told that nothing changed: a note in the model file makes every
run's engine another one to it, as it never fails the very engine of the baseline.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from pytest_benchmark.utils import parse_compare_fail

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "example_project"

RULES = (
    *("min:5%", "min:10%", "median:5%", "median:10%", "mean:5%", "mean:10%"),
    *("max:10%", "stddev:10%", "iqr:10%"),
)
OUR_LIMITS = {"p99": "pytest-trt, p99 10%", "throughput": "pytest-trt, throughput 5%"}

#: What may be on each line: alarms, and what the gate left open.
ALARM, OPEN = "alarm", "open"

TESTS = """
import numpy as np
import pytest

pytestmark = pytest.mark.trt_model(
    "digits.onnx",
    precision={precision!r},
    profiles={{"image": ((1, 1, 16, 16), (8, 1, 16, 16), (64, 1, 16, 16))}},
)

@pytest.fixture
def image():
    return {{"image": np.load({data!r})["images"][:1]}}

def test_theirs(benchmark, trt_session, image):
    benchmark(trt_session.run, image)

@pytest.mark.trt_benchmark(p99="10%", throughput="5%")
def test_ours(trt_benchmark, image):
    trt_benchmark(image)
"""


class Project:
    """A folder with both tests, whose runs leave what they measured.

    Args:
        folder: Where it is.
        precisions: What the tests run in, each by itself.
    """

    def __init__(self, folder: Path, precisions: Sequence[str]) -> None:
        self._folder = folder
        self._model = onnx.load(EXAMPLE / "models" / "digits.onnx")
        data = str(EXAMPLE / "data" / "digits.npz")
        tests = TESTS.format(precision=tuple(precisions), data=data)
        (folder / "test_speed.py").write_text(tests)

    def run(self, number: int, baselines: str, *options: str) -> dict[str, Any]:
        """Run pytest once; return its report.

        Args:
            number: The run's number, which goes into the model.
            baselines: The folder of baselines that ours is held against.
            *options: Further options of pytest.
        """
        del self._model.metadata_props[:]
        self._model.metadata_props.add(key="run", value=str(number))
        onnx.save(self._model, self._folder / "digits.onnx")
        report = self._folder / "report.json"
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("--trt-arch=cpu", f"--trt-cache-dir={self._folder / 'cache'}"),
                *(f"--trt-baseline-dir={self._folder / baselines}", f"--trt-report={report}"),
                *(
                    "--benchmark-warmup=on",
                    "--benchmark-max-time=0.5",
                    "--trt-missing-baseline=record",
                    *options,
                ),
            ],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise SystemExit(done.stdout + done.stderr)
        return json.loads(report.read_text())

    def figures(self) -> dict[str, dict[str, float]]:
        """Return what pytest-benchmark measured in the last run, by test."""
        written = json.loads((self._folder / "theirs.json").read_text())["benchmarks"]
        return {one["name"]: one["stats"] for one in written if "theirs" in one["name"]}

    def accept(self, report: Mapping[str, Any]) -> None:
        """Make the rounds of a run what the next one is compared with."""
        (first,) = (self._folder / "first").glob("*/*.json")
        content = json.loads(first.read_text())
        for test, result in _ours(report):
            entry = content["tests"][test]
            entry["engine"]["key"] = result["engine"]
            rounds = result["speed"]["candidate_rounds"]
            count = len(next(iter(entry["runs"][0]["rounds"].values())))
            entry["runs"][0]["rounds"] = {name: each[:count] for name, each in rounds.items()}
        path = self._folder / "before" / first.relative_to(self._folder / "first")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def _ours(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (test["test"].partition("::")[2], result)
        for test in report["tests"]
        for result in test["results"]
        if result["speed"]
    ]


class Tally:
    """How many comparisons there were by gate, and what came of them."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.of: Counter[str] = Counter()

    def theirs(
        self, now: Mapping[str, Mapping[str, float]], then: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Apply pytest-benchmark's rules to two runs."""
        for rule in RULES:
            for test, figures in now.items():
                self.of[rule] += 1
                if parse_compare_fail(rule).fails(figures, then[test]):
                    self.counts[rule, ALARM] += 1

    def ours(self, report: Mapping[str, Any]) -> None:
        """Count what our gate said of one run."""
        for _, result in _ours(report):
            for change in result["speed"]["changes"]:
                limit = OUR_LIMITS[change["metric"]]
                self.of[limit] += 1
                if change["outcome"] != "passed":
                    reported = ALARM if change["outcome"] == "regressed" else OPEN
                    self.counts[limit, reported] += 1


def rows(tallies: Mapping[str, Tally]) -> list[dict[str, Any]]:
    """Return the table: a row for each gate, its counts by what it was compared with."""
    return [
        {
            "gate": gate,
            **{
                name: {
                    "false_alarms": tally.counts[gate, ALARM],
                    "inconclusive": tally.counts[gate, OPEN],
                    "comparisons": tally.of[gate],
                }
                for name, tally in tallies.items()
            },
        }
        for gate in (*RULES, *OUR_LIMITS.values())
    ]


def lines(table: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the table for people."""
    width = max(len(row["gate"]) for row in table)
    reported = [f"{'false alarms':{width}}" + "".join(f"  {name:>32}" for name in names)]
    for row in table:
        cells = []
        for name in names:
            of = row[name]
            share = of["false_alarms"] / max(of["comparisons"], 1)
            left = f", {of['inconclusive']} inconclusive" if of["inconclusive"] else ""
            cells.append(f"{of['false_alarms']} of {of['comparisons']} ({share:.0%}){left}")
        reported.append(f"{row['gate']:{width}}" + "".join(f"  {cell:>32}" for cell in cells))
    return reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    tallies = {"against the run before": Tally(), "against the stored baseline": Tally()}
    before, stored = tallies.values()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), arguments.precision)
        figures: list[dict[str, dict[str, float]]] = []
        for number in range(arguments.runs + 1):
            report = project.run(number, "first", f"--benchmark-json={folder}/theirs.json")
            figures.append(project.figures())
            if number:
                stored.theirs(figures[-1], figures[0])
                before.theirs(figures[-1], figures[-2])
                stored.ours(report)
                before.ours(project.run(number, "before", "-k", "ours"))
            project.accept(report)
            load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
            print(f"run {number} of {arguments.runs}, load {load}", file=sys.stderr, flush=True)
            if arguments.json:  # each time: a script that is cut off has left what it had
                machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "load": load}
                data = {"runs": number, "precision": arguments.precision, **machine}
                data["table"] = rows(tallies)
                arguments.json.write_text(json.dumps(data, indent=1) + "\n")
    print("\n".join(lines(rows(tallies), list(tallies))))


if __name__ == "__main__":
    main()
