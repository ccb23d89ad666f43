"""A GPU that a test loses, played by a backend that computes on the CPU and then refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from builders import save_linear

from pytest_trt.backends.devices import probe as probe_module
from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import DeviceLostError
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import Target
from pytest_trt.plugin import run as run_module

GPU = Gpu("NVIDIA A10", "sm86", "GPU-1", 72, 24 << 30, "580.1", mig=False)
REASON = "not run: the GPU was lost in test_it.py::test_a (cudaErrorIllegalAddress)"

MARK = '@pytest.mark.trt_model("models/linear.onnx")\n'
BREAKS = 'trt_session.run({"image": images * np.float32("nan")})\n'
RUNS = 'trt_session.run({"image": images})\n'


class Breakable(OnnxRuntimeBackend):
    """A GPU that is lost by the first NaN that it is given.

    Attributes:
        lost: Whether it is.
        touched: What was asked of it afterwards.
        closed: Sessions that were closed.
    """

    name = "tensorrt"

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.lost = False
        self.touched: list[str] = []
        self.closed = 0

    def use(self, what: str) -> None:
        if self.lost:
            self.touched.append(what)
            raise DeviceLostError(f"{what} failed.", fix="-", status="cudaErrorIllegalAddress")

    def target(self, arch: str) -> Target:
        return Target(arch)

    def cannot_run(self, target: Target) -> None:
        return None

    def open(self, plan: Plan, *rest: Any) -> Any:
        self.use("open")
        return BreakableSession(self, super().open(plan, *rest))


class BreakableSession:
    def __init__(self, gpu: Breakable, session: Any) -> None:
        self.gpu, self.session = gpu, session

    def run(self, inputs: Any) -> Any:
        self.gpu.use("run")
        self.gpu.lost = any(np.isnan(array).any() for array in inputs.values())
        if self.gpu.lost:
            raise DeviceLostError("run failed.", fix="mend it", status="cudaErrorIllegalAddress")
        return self.session.run(inputs)

    def close(self) -> None:
        self.gpu.use("close")
        self.gpu.closed += 1


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Breakable:
    """Put the GPU into the machine that inner runs see."""
    backend = Breakable()
    monkeypatch.setattr(probe_module, "probe_devices", lambda: DeviceProbe((GPU,), ""))
    monkeypatch.setattr(run_module, "is_installed", lambda name: True)
    monkeypatch.setattr(
        run_module,
        "make_backend",
        lambda name, **_: backend if name == "tensorrt" else NotImplemented,
    )
    return backend


def source(**bodies: str) -> str:
    return "".join(
        f"{MARK}def {name}(trt_session, images):\n    {body}" for name, body in bodies.items()
    )


def test_gpu_that_is_not_lost_is_given_back_at_the_end(project, backend) -> None:
    project.test_file(source(test_a=RUNS, test_b=RUNS))
    project.run(arch="sm86").assert_outcomes(passed=2)
    assert backend.closed == 1


def test_one_test_fails_and_the_later_ones_are_not_run(project, backend) -> None:
    project.test_file(
        source(test_first=RUNS, test_a=BREAKS, test_b=RUNS, test_c=RUNS)
        + "def test_unrelated():\n    pass\n"
    )
    result = project.run("-rs", arch="sm86")
    result.assert_outcomes(passed=2, failed=1, skipped=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"SKIPPED*{REASON}"])
    assert f"skipped 2 tests: {REASON}" in result.outlines
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert backend.touched == []
    assert backend.closed == 0


def test_engines_are_still_built_after_the_gpu_is_lost(project, backend) -> None:
    fp16 = MARK.replace(")", ', precision="fp16")')
    project.test_file(
        source(test_a=BREAKS)
        + f"{fp16}def test_b(trt_engine):\n    assert trt_engine.facts\n"
        + f"{fp16}def test_c(trt_build, images):\n    "
        + RUNS.replace("trt_session", "trt_build()")
    )
    project.run(arch="sm86").assert_outcomes(failed=1, passed=1, skipped=1)
    assert backend.touched == []


def test_loss_within_the_same_test_ends_its_further_runs(project, backend) -> None:
    swallow = f"with pytest.raises(Exception, match='run failed'):\n        {BREAKS}"
    project.test_file(source(test_a=f"{swallow}    {RUNS}", test_b=RUNS))
    project.run(arch="sm86").assert_outcomes(failed=1, skipped=1)
    assert backend.touched == []


@pytest.mark.parametrize("mark", ["", "@pytest.mark.xfail\n"])
def test_loss_that_no_test_fails_for_fails_the_next_one(project, backend, mark: str) -> None:
    swallow = f"with pytest.raises(Exception, match='run failed'):\n        {BREAKS}"
    losing = BREAKS if mark else swallow
    project.test_file(mark + source(test_a=losing, test_b=RUNS, test_c=RUNS))
    result = project.run(arch="sm86")
    outcomes = {"xfailed": 1} if mark else {"passed": 1}
    result.assert_outcomes(errors=1, skipped=1, **outcomes)
    result.stdout.fnmatch_lines(
        [f"{REASON} *TRT721*", "Fix: Fix that test, or run it in its own process*"]
    )


def test_test_that_lost_the_gpu_fails_again_when_it_is_run_again(project, backend) -> None:
    project.test_file(source(test_a=BREAKS))
    project.pytester.makeconftest(
        (project.path / "conftest.py").read_text()
        + "\ndef pytest_collection_modifyitems(items):\n    items += items\n"
    )
    project.run(arch="sm86").assert_outcomes(failed=2)
    assert backend.touched == []


def test_tests_on_the_cpu_continue(project, backend, monkeypatch) -> None:
    cpu = OnnxRuntimeBackend(threads=1)
    monkeypatch.setattr(
        run_module,
        "make_backend",
        lambda name, **_: backend if name == "tensorrt" else cpu,
    )
    project.test_file(source(test_a=BREAKS, test_b=RUNS))
    result = project.run("-v", arch="sm86,cpu")
    result.stdout.fnmatch_lines_random(
        [
            "*::test_a[[]sm86[]] FAILED*",
            "*::test_b[[]sm86[]] SKIPPED*",
            "*::test_b[[]cpu[]] PASSED*",
        ]
    )


@pytest.mark.parametrize("arch", ["cpu", "sm86"])
def test_loss_that_shows_when_an_engine_is_unloaded_touches_the_gpu_no_more(
    project, backend, monkeypatch, arch: str
) -> None:
    cpu = OnnxRuntimeBackend(threads=1)
    monkeypatch.setattr(
        run_module,
        "make_backend",
        lambda name, **_: backend if name == "tensorrt" else cpu,
    )
    # As many engines as stay loaded, and one more.
    for number in range(5):
        save_linear(project.path / "models" / f"{number}.onnx", nudge=0.1 * number)
    lose = "import pytest_trt.plugin.run as run; run.make_backend('tensorrt').lost = True"
    marks = [
        f"@pytest.mark.trt_model('models/{number}.onnx')\n"
        f"@pytest.mark.parametrize('trt_arch', [{(arch if number else 'sm86')!r}])\n"
        f"def test_{number}(trt_session, images):\n    {RUNS}"
        for number in range(5)
    ]
    marks[3 if arch == "sm86" else 0] += f"    {lose}\n"
    project.test_file("".join(marks))
    result = project.run(arch="sm86,cpu")
    outcomes = {"passed": 5} if arch == "cpu" else {"passed": 4, "failed": 1}
    result.assert_outcomes(**outcomes)
    assert backend.touched == ["close"]


def test_loss_that_shows_only_at_the_end_does_not_break_the_run(project, backend) -> None:
    project.test_file(source(test_a=RUNS))
    project.pytester.makeconftest(
        (project.path / "conftest.py").read_text() + "\ndef pytest_sessionfinish(session):\n"
        "    from pytest_trt.plugin import run\n"
        "    run.make_backend('tensorrt').lost = True\n"
    )
    result = project.run(arch="sm86")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    assert backend.touched == ["close"]
