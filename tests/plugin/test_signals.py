from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from heard import hearing

pytestmark = pytest.mark.exhaustive

#: A backend that writes half a plan, says so, and then takes its time.
SLOW = """
import sys, time
import pytest_trt
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend

class Slow(OnnxRuntimeBackend):
    name = "slow"

    def build(self, request):
        (request.directory / "half").write_bytes(b"half")
        print("building", file=sys.__stderr__, flush=True)
        time.sleep(600)

def pytest_trt_backends(config):
    factory = lambda settings: Slow(threads=1)
    return {"slow": pytest_trt.AdditionalBackend(factory, probe=lambda gpus: ("cpu",))}
"""

TEST = """
@pytest.mark.trt_model("models/linear.onnx")
def test_it(trt_engine):
    pass
"""


def started(project, *, ignored: int | None = None) -> subprocess.Popen[str]:
    """Start a run, and return when its build has begun."""
    project.pytester.makeconftest(SLOW)
    project.test_file(TEST)
    options = ("--trt-backend=slow", f"--trt-cache-dir={project.cache}", "--trt-arch=cpu", "-s")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hearing(ignored=ignored),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "building" in line:
            return process
    raise AssertionError(process.communicate())


def in_building(project) -> list[Path]:
    return list((project.cache / "v1" / "building").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_leaves_nothing_behind(project, number: signal.Signals) -> None:
    process = started(project)
    assert in_building(project) != []
    process.send_signal(number)
    out, _ = process.communicate()
    assert in_building(project) == []
    expected = 2 if number is signal.SIGINT else -number
    assert process.returncode == expected, out
    assert "KeyboardInterrupt" in out


def test_an_ignored_signal_stays_ignored(project) -> None:
    process = started(project, ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM


def test_handlers_are_removed_after_the_run(project) -> None:
    before = signal.getsignal(signal.SIGTERM)
    project.check().assert_outcomes(passed=1)
    assert signal.getsignal(signal.SIGTERM) is before
