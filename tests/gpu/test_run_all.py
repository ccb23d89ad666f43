"""The script that runs the GPU tests: its stages, limits and reports. Needs no GPU itself."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).with_name("run_all.py")


@pytest.fixture(scope="module")
def run_all() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_all", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_all"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("code", "verdict", "summary"),
    [
        ("print('== 3 passed ==')", "ok", "3 passed"),
        ("print('1 failed'); raise SystemExit(1)", "failed", "1 failed"),
        ("print('0 collected'); raise SystemExit(5)", "no tests", "0 collected"),
    ],
)
def test_a_stage_comes_to_a_verdict(
    run_all, tmp_path: Path, code: str, verdict: str, summary: str
) -> None:
    outcome = run_all.run(run_all.Stage("it", [sys.executable, "-c", code], 60), tmp_path)
    assert (outcome.verdict, outcome.summary) == (verdict, summary)
    assert summary in (tmp_path / "it.log").read_text()


#: Waits for ever, with a child that would keep the pipe open, and says how it ends.
HANGING = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
try:
    print("waiting", flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("report written")
"""


@pytest.mark.exhaustive
def test_a_stage_that_hangs_is_interrupted_and_leaves_nothing_running(
    run_all, tmp_path: Path
) -> None:
    stage = run_all.Stage("it", [sys.executable, "-c", HANGING], 2)
    outcome = run_all.run(stage, tmp_path)
    assert (outcome.verdict, outcome.summary) == ("stopped", "report written")


def test_figures_of_an_interrupted_benchmark_are_stored(run_all, tmp_path: Path) -> None:
    figure = {"name": "p50", "value": 1.25, "unit": "ms", "target": "at most 2"}
    (tmp_path / "gpu_it.jsonl").write_text(json.dumps(figure) + "\n")
    report = {
        "about": {"commit": "abc", "gpus": [{"name": "NVIDIA H200"}], "versions": {"numpy": "2"}},
        "stages": [run_all.asdict(run_all.Outcome("gpu_it", "stopped", -9, 420.0, "waiting"))],
        "figures": run_all.read_figures(tmp_path),
    }
    text = "\n".join(run_all.lines(report))
    assert "NVIDIA H200" in text
    assert "gpu_it           stopped    420.0 s  waiting" in text
    assert "1.25 ms  (at most 2)" in text


def test_only_scripts_are_benchmarks(run_all, tmp_path: Path) -> None:
    (tmp_path / "gpu_it.py").write_text('if __name__ == "__main__":\n    pass\n')
    (tmp_path / "gpu_shared.py").write_text("")
    assert [stage.name for stage in run_all.benchmark_stages(tmp_path, tmp_path)] == ["gpu_it"]


def call(out: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(out), *args],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "PYTEST_TRT_REQUIRE_WHEEL": "",
        },
    )


@pytest.mark.exhaustive
def test_without_a_gpu_tests_fail_and_the_report_says_why(tmp_path: Path) -> None:
    done = call(tmp_path, "--only", "behaviour", "-k", "two_sessions_are_interleaved")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PYTEST_TRT_REQUIRE_GPU=1, but " in (tmp_path / "behaviour.log").read_text()
    assert 'errors="1"' in (tmp_path / "junit-behaviour.xml").read_text()
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["about"]["why_no_gpu"]
    assert [stage["verdict"] for stage in report["stages"]] == ["failed"]
    assert "no GPU: " in (tmp_path / "figures.txt").read_text()


@pytest.mark.exhaustive
def test_names_that_no_test_has_are_no_success(tmp_path: Path) -> None:
    done = call(tmp_path, "--only", "behaviour", "-k", "no_test_of_this_name")
    assert done.returncode == 1, done.stdout + done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert [stage["verdict"] for stage in report["stages"]] == ["no tests"]


def test_an_unknown_stage_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    done = call(tmp_path, "--only", "everything")
    assert done.returncode == 2
    assert "the stages are behaviour, networks, packages, planted, exhausted, gpu_" in done.stderr
