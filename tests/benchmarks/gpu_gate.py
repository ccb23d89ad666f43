"""The speed gate on a real device: how often it fails on unchanged code, and how often on slower.

A chain of convolutions is built and its baseline recorded. Then `pytest` runs as its users run it,
each process with as many tests as `--tests` says, every test a decision of its own:

- unchanged: the same plan in new processes (target: no failure);
- rebuilt: the same network with other weights, so another engine that is as fast (no failure);
- slower: the chain is longer by 10%, with the baseline engine in the cache and the two taking
  turns (target: at least 95% fail), and without it, by fresh processes of the candidate;
- tail: another engine that is as fast, but for 8% of its calls, which take 25% longer (at least 95%
  fail, by P95 or P99);
- contended: unchanged, while another process keeps the device busy (no failure).

The real slowdown is measured and shown with the figures, as its limit is 5% of throughput.

A decision takes two to three seconds, one of them to warm up. What each process found is printed
when it ends, and all that its tests recorded goes to `FILE.records.jsonl`; `--within` starts no
further process after so many seconds of a stage.

Run: PYTHONPATH=.:tests python tests/benchmarks/gpu_gate.py [--json FILE] [--tests 20]
     [--processes 5] [--within 300] [--arch cpu] [--only unchanged,slower]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from builders_networks import conv_chain
from figures import Figures

#: About 0.3 ms on an H200 in FP16.
SIZES = {"channels": 256, "side": 28, "batch": 8}

#: The same for CPUs.
SIZES_ON_CPU = {"channels": 16, "side": 8, "batch": 1}

#: Layers of the baseline and of the slower candidate.
LAYERS, SLOWER_LAYERS = 20, 22

#: Decisions on a device that is kept busy.
CONTENDED = 4

TEST = """
import pytest

pytestmark = pytest.mark.trt_model("chain.onnx", precision="{precision}")

@pytest.mark.trt_benchmark(p95="10%", p99="10%", throughput="5%")
@pytest.mark.parametrize("number", range({tests}))
def test_speed(trt_benchmark, trt_inputs, number):
    trt_benchmark(trt_inputs)
"""

CONFTEST = """
import json, os

def pytest_runtest_logreport(report):
    for record in getattr(report, "trt", {}).get("speeds", ()):
        with open(os.environ["RECORDS"], "a") as file:
            file.write(json.dumps({"outcome": report.outcome, **record}) + "\\n")
"""

#: Makes some calls of the engine under test, and none of the baseline's, take longer than they do.
TAIL = """
import time
import numpy as np
from pytest_trt.plugin.run import TrtRun

RANDOM, loaded = np.random.default_rng(0), TrtRun.session

class Tailed:
    def __init__(self, session):
        self._session = session
        if hasattr(session, "sample"):
            self.sample = self._sample

    def __getattr__(self, name):
        return getattr(self._session, name)

    def _sample(self, inputs, *, mode, calls):
        latencies_ms, wall_s = self._session.sample(inputs, mode=mode, calls=calls)
        slow = np.where(RANDOM.random(calls) < 0.08, 1.25, 1.0)
        return latencies_ms * slow, wall_s  # a pair, as Samples is

    def run(self, inputs):
        began = time.perf_counter()
        outputs = self._session.run(inputs)
        if RANDOM.random() < 0.08:
            until = began + 1.25 * (time.perf_counter() - began)
            while time.perf_counter() < until:
                pass
        return outputs

TrtRun.session = lambda self, engine: Tailed(loaded(self, engine))
"""

#: Keeps the device busy with the engine until its input is closed.
BUSY = """
import sys, threading
from pathlib import Path
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.profile_choice import shapes_at
plan, model_path, arch, precision = sys.argv[1:]
model = load_model(Path(model_path))
name = "onnxruntime" if arch == "cpu" else "tensorrt"
backend = make_backend(name, probe=probe_devices(), threads=0)
session = backend.open(Plan(Path(plan)), model, EngineSpec(precision), backend.target(arch))
inputs = seeded_inputs(model, {spec.name: spec.shape for spec in model.inputs})
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
session.run(inputs)
print("busy", flush=True)
while not done.is_set():
    session.run(inputs)
"""


@dataclass(frozen=True)
class Project:
    """A project of one model and its tests of speed."""

    folder: Path
    arch: str
    tests: int
    precision: str

    def write(self) -> None:
        self.folder.mkdir()
        self.chain(LAYERS)
        test = TEST.format(tests=self.tests, precision=self.precision)
        (self.folder / "test_speed.py").write_text(test)
        (self.folder / "conftest.py").write_text(CONFTEST)
        (self.folder / "pytest.ini").write_text("[pytest]\n")

    def chain(self, layers: int, *, seed: int = 0) -> None:
        """Put another chain in the place of the model."""
        sizes = SIZES_ON_CPU if self.arch == "cpu" else SIZES
        onnx.save(conv_chain(layers, seed=seed, **sizes), self.model)

    @property
    def model(self) -> Path:
        return self.folder / "chain.onnx"

    def plan(self) -> Path:
        (plan,) = (self.folder.parent / "cache").glob("v1/engines/*/engine.[!js]*")
        return plan

    def pytest(self, *options: str) -> list[dict[str, object]]:
        """Run the tests in a process of their own, and return what each found."""
        records = self.folder / "records.jsonl"
        records.unlink(missing_ok=True)
        plugin = ["-p", "pytest_trt.plugin"] if os.environ.get("PYTEST_TRT_NOT_INSTALLED") else []
        if self.arch:
            plugin.append(f"--trt-arch={self.arch}")
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*pytest, *plugin, f"--trt-cache-dir={self.folder.parent / 'cache'}", *options],
            cwd=self.folder,
            env={**os.environ, "RECORDS": str(records)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not records.exists():
            raise SystemExit(f"pytest could not run:\n{done.stdout}\n{done.stderr}")
        self.folder.with_name("last.txt").write_text(done.stdout)
        return [json.loads(line) for line in records.read_text().splitlines()]


def reported(
    figures: Figures, what: str, records: Sequence[dict[str, object]], target: str
) -> None:
    """Note how many tests failed, passed, and could not tell."""
    verdicts = Counter(str(record["verdict"]) for record in records)
    failed = sum(record["outcome"] == "failed" for record in records)
    figures.add(f"{what}: decisions", len(records), "")
    figures.add(f"{what}: failed", 100 * failed / max(len(records), 1), "%", target)
    for verdict, count in sorted(verdicts.items()):
        figures.add(f"{what}: {verdict}", count, "")
    for why, count in Counter(reasons(records)).most_common(3):
        print(f"  {count} times: {why[:200]}", flush=True)


def reasons(records: Sequence[dict[str, object]]) -> Iterator[str]:
    """Yield why verdicts are not plain ones."""
    for record in records:
        for found in record.get("diagnostics", ()):  # type: ignore[attr-defined]
            yield f"{found['code']} {found['message']}"
        for change in record.get("changes", ()):  # type: ignore[attr-defined]
            if change.get("outcome") not in ("passed", "regressed"):
                yield " ".join(
                    f"{name}={change.get(name)}" for name in ("metric", "outcome", "why")
                )


@contextmanager
def busy(project: Project, plan: Path, arch: str) -> Iterator[None]:
    """Keep the device busy in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(plan), str(project.model), arch, project.precision],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "busy\n":
            raise SystemExit("the other process could not run the engine")
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tests", type=int, default=20)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--arch", default="")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--baseline-runs", type=int, default=1)
    parser.add_argument("--within", type=float, default=math.inf, metavar="SECONDS")
    parser.add_argument("--only", default="unchanged,rebuilt,slower,tail,contended,alone")
    options = parser.parse_args()
    figures, chosen = Figures(options.json), options.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name) / "project", options.arch, options.tests, options.precision)
        project.write()
        run(project, figures, chosen, options)


def run(
    project: Project, figures: Figures, chosen: Sequence[str], options: argparse.Namespace
) -> None:
    started = time.perf_counter()
    extra = [f"--trt-baseline-runs={options.baseline_runs}"] if options.baseline_runs > 1 else []
    project.pytest("--trt-missing-baseline=record", *extra)
    figures.add("building and recording", time.perf_counter() - started, "s")
    plan, arch = project.plan(), options.arch
    if not arch:
        (baselines,) = (project.folder / "trt_baselines").iterdir()
        arch = baselines.name.split("-")[0]

    def decisions(what: str, processes: int, target: str, *only: str) -> list[dict[str, object]]:
        started = time.perf_counter()
        records: list[dict[str, object]] = []
        for number in range(processes):
            if time.perf_counter() - started > options.within:
                break
            began = time.perf_counter()
            new = project.pytest(*only)
            records += new
            verdicts = dict(Counter(str(record["verdict"]) for record in new))
            seconds = time.perf_counter() - began
            print(f"  {what}, process {number + 1}: {verdicts} in {seconds:.1f} s", flush=True)
            keep(options.json, what, new)
        figures.add(f"{what}: seconds", time.perf_counter() - started, "s")
        reported(figures, what, records, target)
        return records

    if "unchanged" in chosen:
        decisions("unchanged", options.processes, "0")
    if "contended" in chosen:
        with busy(project, plan, arch):
            # Each takes its rounds twice, after another long warm-up.
            few = [f"test_speed.py::test_speed[{number}]" for number in range(CONTENDED)]
            decisions("contended", 1, "0", *few[: options.tests])
    if "rebuilt" in chosen:
        project.chain(LAYERS, seed=1)
        decisions("rebuilt", max(options.processes // 2, 1), "0")
    if "tail" in chosen:
        project.chain(LAYERS, seed=2)
        conftest = project.folder / "conftest.py"
        conftest.write_text(CONFTEST + TAIL)
        decisions("tail", 1, "at least 95")
        conftest.write_text(CONFTEST)
    if "slower" in chosen or "alone" in chosen:
        project.chain(SLOWER_LAYERS)
    if "slower" in chosen:
        slowed(
            figures, "slower", decisions("slower", max(options.processes // 3, 1), "at least 95")
        )
    if "alone" in chosen:
        shutil.rmtree(plan.parent)
        slowed(figures, "slower, alone", decisions("slower, alone", 1, "at least 95"))


def keep(figures: Path | None, what: str, records: Sequence[dict[str, object]]) -> None:
    """Add what tests recorded to the file beside the figures."""
    if figures is not None:
        with figures.with_suffix(".records.jsonl").open("a", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps({"what": what, **record}) + "\n")


def slowed(figures: Figures, what: str, records: Sequence[dict[str, object]]) -> None:
    """Note the change of throughput that was seen."""
    changes = [
        change["change"]
        for record in records
        for change in record.get("changes", ())  # type: ignore[attr-defined]
        if change["metric"] == "throughput" and change.get("change") is not None
    ]
    if changes:
        figures.add(f"{what}: change of throughput", 100 * statistics.median(changes), "%")


if __name__ == "__main__":
    main()
