"""Models that do harm fail their own test; the tests after it pass, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import platform
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders_harmful import crashing_division, endless_loop, exploding_output, function_bomb
from heard import hearing
from plugin.conftest import assert_shows

from pytest_trt.backends.conversion import isolated

pytestmark = pytest.mark.exhaustive

TESTS = """
from pathlib import Path
import numpy as np
import pytest
model, x = pytest.mark.trt_model, np.ones(4, np.float32)
pytestmark = pytest.mark.trt_consistency()

@model("models/{name}.onnx")
def test_engine(trt_session):
    trt_session.load()
    Path("began").touch()
    trt_session.run({{"x": x}})

@model("models/fine.onnx", reference="models/{name}.onnx")
def test_reference(trt_session):
    trt_session.run({{"x": x}})

@model("models/linear.onnx")
def test_next(trt_session, images):
    trt_session.run({{"image": images}})
"""


def test_an_engine_and_a_reference_that_run_without_end_are_failed_tests(project) -> None:
    endless_loop(project.path / "models" / "loop.onnx")
    endless_loop(project.path / "models" / "fine.onnx", trips=1)
    project.pytester.makepyfile(test_loop=TESTS.format(name="loop"))
    assert_shows(
        project.run("--trt-run-timeout=0.3"),
        "*the fp32 engine of loop.onnx took longer than --trt-run-timeout=0.3*TRT345*",
        "*the FP32 reference of loop.onnx took longer than --trt-run-timeout=0.3*TRT345*",
        failed=2,
        passed=1,
    )


def test_a_bomb_is_a_failed_test_as_engine_and_as_reference(project) -> None:
    function_bomb(project.path / "models" / "bomb.onnx", levels=6)
    endless_loop(project.path / "models" / "fine.onnx", trips=1)
    project.pytester.makepyfile(test_bomb=TESTS.format(name="bomb"))
    result = project.run("--trt-build-timeout=1.5")
    result.assert_outcomes(errors=1, failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*building bomb.onnx fp32 for cpu: ONNX Runtime *",
            "*loading the FP32 reference of bomb.onnx: ONNX Runtime *",
        ]
    )


HARM = """
import numpy as np
import pytest
model = pytest.mark.trt_model
pytestmark = pytest.mark.trt_consistency()

@model("models/loop.onnx")
def test_hang(trt_session):
    trt_session.run({"x": np.ones(4, np.float32)})

@model("models/division.onnx")
def test_crash(trt_session):
    trt_session.run({"x": np.full(1, -(2**31), np.int32)})

@model("models/large.onnx")
def test_explosion(trt_session):
    trt_session.run({"x": np.ones(1, np.float32)})

@model("models/large.onnx", reference="models/loop.onnx")
def test_reference(trt_reference):
    trt_reference.run({"x": np.ones(4, np.float32)})

@model("models/division.onnx")
def test_other_values(trt_session):
    trt_session.run({"x": np.full(1, 8, np.int32)})

@model("models/linear.onnx")
def test_next(trt_session, images):
    trt_session.run({"image": images})
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the division traps on x86 only")
def test_what_hangs_crashes_or_explodes_when_it_runs_is_one_failed_test(
    project, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = project.path / "models"
    endless_loop(models / "loop.onnx")
    crashing_division(models / "division.onnx")
    exploding_output(models / "large.onnx")
    project.pytester.makepyfile(test_harm=HARM)
    assert_shows(
        project.run("--trt-run-timeout=0.5"),
        "*the fp32 engine of loop.onnx took longer than --trt-run-timeout=0.5*TRT345*",
        "*the fp32 engine of division.onnx crashed ONNX Runtime * (SIGFPE) on x ?1?*TRT346*",
        "*the fp32 engine of large.onnx failed on x ?1? *TRT342*",
        "*the FP32 reference of loop.onnx took longer than --trt-run-timeout=0.5*TRT345*",
        failed=4,
        passed=2,
    )
    # What ran well runs in pytest's process from then on.
    monkeypatch.setattr(isolated, "reply_isolated", pytest.fail)
    project.run("-k", "other_values or next").assert_outcomes(passed=2, deselected=4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("name", "began"), [("bomb", False), ("loop", True)])
def test_an_interrupt_of_a_build_and_of_a_run_leaves_no_process(
    project, name: str, began: bool
) -> None:
    models = project.path / "models"
    function_bomb(models / "bomb.onnx", levels=6)
    endless_loop(models / "loop.onnx")
    endless_loop(models / "fine.onnx", trips=1)
    project.pytester.makepyfile(test_it=TESTS.format(name=name))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "test_engine"]
    options = ["--trt-arch=cpu", f"--trt-cache-dir={project.cache}", "test_it.py"]
    with subprocess.Popen(
        [*command, *options], cwd=project.path, text=True, stdout=-1, preexec_fn=hearing()
    ) as run:
        child = os.pidfd_open(_child_of(run.pid))
        while began and not (project.path / "began").exists():
            os.sched_yield()
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert select.select([child], [], [], 60)[0], "the child process still runs"
    os.close(child)


def _child_of(pid: int) -> int:
    """Wait until a process has started its worker, and return the number of that."""
    while True:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # others end at once
                if b"pytest_trt.workers" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        os.sched_yield()
