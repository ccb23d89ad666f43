"""A build is a process: what may become of it, and what pytest's process is told then."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from backends.lifeline import Lifeline
from builders import save_linear
from builders_model import remedy

from pytest_trt.backends.tensorrt import api as trt_api
from pytest_trt.backends.tensorrt.build_job import BuildJob, Built
from pytest_trt.backends.tensorrt.build_process import build_in_child
from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.diagnostics import (
    BackendUnavailableError,
    ConfigurationError,
    DeviceLostError,
    EngineBuildError,
    PytestTrtError,
    Remedy,
    UnsupportedError,
)
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange
from pytest_trt.workers import process
from pytest_trt.workers.child import error_to_data
from pytest_trt.workers.process import error_from_data


def build(job: BuildJob, *, timeout_s: float = 0) -> Built:
    return build_in_child(job, timeout_s=timeout_s, progress=lambda text: None)


def failure(job: BuildJob, *, timeout_s: float = 0) -> EngineBuildError:
    with pytest.raises(EngineBuildError) as caught:
        build(job, timeout_s=timeout_s)
    assert not job.plan.output.exists()
    return caught.value


def test_the_plan_the_log_and_the_progress_come_back(job) -> None:
    steps: list[str] = []
    asked = job("log first", "log second")
    built = build_in_child(asked, timeout_s=60, progress=steps.append)
    assert built == Built(("[ERROR] first", "[ERROR] second"))
    assert asked.plan.output.read_bytes() == b"plan of log first log second"
    assert steps[-2:] == ["parsing digits.onnx", "building digits.onnx fp16 for sm90"]


def test_what_libraries_print_does_not_get_between_the_events(job) -> None:
    assert build(job("print noise", "complain noise")) == Built()


def test_the_environment_is_the_one_of_this_process(job, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert build(job("environment CUDA_VISIBLE_DEVICES")).log_tail == (
        "[ERROR] CUDA_VISIBLE_DEVICES=GPU-1",
    )


def test_a_crash_names_the_signal_and_keeps_the_last_words(job) -> None:
    error = failure(job("log tactic 7", "complain free(): invalid pointer", "segfault"))
    assert error.message == (
        "building digits.onnx fp16 for sm90: TensorRT crashed (SIGSEGV); its last step: "
        "building digits.onnx fp16 for sm90"
    )
    assert (error.diagnostic.code, error.diagnostic.facts["signal"]) == ("TRT303", "SIGSEGV")
    assert error.log_tail == ("[ERROR] tactic 7", "free(): invalid pointer")


def test_a_killed_builder_may_have_run_out_of_memory(job) -> None:
    error = failure(job("kill"))
    assert "TensorRT was killed (SIGKILL): memory may have run out" in error.message
    assert "pytest -n" in remedy(error)
    assert error.diagnostic.code == "TRT302"


def test_an_end_without_a_plan_is_an_error(job) -> None:
    error = failure(job("exit 0"))
    assert "ended without a result (exit status 0)" in error.message
    assert error.diagnostic.code == "TRT304"


def test_an_unexpected_exception_is_shown(job) -> None:
    error = failure(job("raise factory function returned nullptr"))
    assert "ended without a result (exit status 1)" in error.message
    assert error.log_tail[-1] == "TypeError: factory function returned nullptr"


def test_a_builder_that_hangs_is_ended(job) -> None:
    error = failure(job("hang"), timeout_s=0.3)
    assert "TensorRT took longer than --trt-build-timeout=0.3;" in error.message
    assert "Raise --trt-build-timeout (0 lifts the limit)" in remedy(error)
    assert error.diagnostic.code == "TRT301"


@pytest.mark.exhaustive
@pytest.mark.parametrize("stubborn", [(), ("ignore-termination",)])
def test_nothing_that_hangs_lives_on(
    job, tmp_path: Path, lifeline: Lifeline, monkeypatch, stubborn
) -> None:
    of_its_child = Lifeline(tmp_path / "of its child")
    lifeline.read_without_waiting()
    of_its_child.read_without_waiting()
    steps: list[str] = []

    def monotonic() -> float:
        is_building = any(step.startswith("building") for step in steps)
        held = is_building and lifeline.is_held() and of_its_child.is_held()
        return 3601.0 if held else 0.0

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(process, "_GRACE_S", 0.1)
    commands = (*stubborn, f"hold {lifeline.path}", f"hold-in-a-child {of_its_child.path}", "hang")
    with pytest.raises(EngineBuildError) as caught:
        build_in_child(job(*commands), timeout_s=3600, progress=steps.append)
    assert caught.value.message.endswith("its last step: building digits.onnx fp16 for sm90")
    lifeline.wait_until_let_go()
    of_its_child.wait_until_let_go()


@pytest.mark.exhaustive
def test_what_a_builder_started_ends_with_it(job, lifeline: Lifeline) -> None:
    lifeline.read_without_waiting()
    # Its child holds the pipes open, so that the builder's end is not seen there.
    asked = job(f"hold-in-a-child {lifeline.path}", "exit 3")
    with pytest.raises(EngineBuildError, match="exit status 3"):
        build_in_child(asked, timeout_s=0, progress=lambda text: None)
    assert lifeline.is_held()
    lifeline.wait_until_let_go()


def test_elapsed_time_is_reported_where_nothing_else_is(job) -> None:
    steps: list[str] = []

    def progress(text: str) -> None:
        steps.append(text)
        if text.startswith("building digits.onnx fp16 for sm90: "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_in_child(job("hang"), timeout_s=0, progress=progress)
    assert steps[-1].removeprefix("building digits.onnx fp16 for sm90: ").endswith(" s")


SCRIPT = """
import json, signal, sys
from pytest_trt.backends.tensorrt.build_job import BuildJob
from pytest_trt.backends.tensorrt.build_process import build_in_child
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
try:
    job = BuildJob.from_data(json.loads(sys.argv[1]))
    build_in_child(job, timeout_s=0, progress=lambda text: None)
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 7), (signal.SIGKILL, -9)])
def test_the_builder_does_not_outlive_an_interrupt_or_its_parent(
    job, lifeline: Lifeline, number: signal.Signals, status: int
) -> None:
    asked = job(f"hold {lifeline.path}", "hang")
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(asked.to_data())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lifeline.wait_until_held(parent)
    parent.send_signal(number)
    assert parent.wait(60) == status
    lifeline.wait_until_let_go()


def test_errors_keep_their_class(job) -> None:
    with pytest.raises(UnsupportedError, match="no builder option 'max_num_tactics'") as caught:
        build(job(options={"max_num_tactics": 4}))
    assert caught.value.diagnostic.facts["option"] == "max_num_tactics"


def test_a_missing_product_is_reported_as_in_this_process(job) -> None:
    missing = Product("tensorrt_of_the_future", "TensorRT", ("install it",))
    with pytest.raises(BackendUnavailableError, match="cannot be imported") as caught:
        build(job(product=missing))
    assert remedy(caught.value).endswith("\ninstall it")


def test_a_python_that_cannot_be_started_is_an_error(job, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(BackendUnavailableError, match=r"cannot be started: .*No such file"):
        build(job())


def test_a_python_that_does_not_find_this_package_is_an_error(job, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "lib/python" in path][:1])
    with pytest.raises(BackendUnavailableError, match="before it began") as caught:
        build(job())
    assert any("Error: " in line for line in caught.value.diagnostic.details)


def test_the_device_is_made_current_there_and_not_here(job, fake_cuda) -> None:
    error = failure(job("exit 3", device=1))
    assert error.log_tail == ("device 1 is current",)
    assert "cuda.bindings.runtime" not in sys.modules


def test_a_plan_for_this_gpu_is_inspected_too(job, fake_cuda) -> None:
    asked = job(device=1)
    assert build(asked) == Built()
    inspection = asked.plan.output.with_name("inspector.json")
    assert json.loads(inspection.read_text()) == {
        "device_memory_bytes": 4096,
        "engine": {"Layers": ["a"], "Scale": None},
    }


def test_events_of_the_child_become_facts(tmp_path, fake_product, fake_cuda) -> None:
    model = load_model(save_linear(tmp_path / "linear.onnx", batch=4))
    folder = tmp_path / "entry"
    folder.mkdir()
    request = BuildRequest(model, EngineSpec("fp32"), Target("sm90"), folder)
    chosen = trt_api.precision_route(model, "fp32", ("FP16", "INT8"))
    result = trt_api.build(
        fake_product, request, chosen, backend="tensorrt", device=1, timeout_s=60
    )
    assert result.layers == (Layer("a", "", None, ("a",)),)
    assert result.hidden_weights == 36
    assert result.device_memory_bytes == 4096
    assert [path.name for path in folder.iterdir()] == ["engine.plan"]


def test_a_cross_built_plan_is_not_inspected(job) -> None:
    asked = job("crash when loaded")
    assert build(asked) == Built()
    assert not asked.plan.output.with_name("inspector.json").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("refused when loaded", "it could not be loaded after its build"),
        ("garbled", "JSONDecodeError"),
        ("uninspected", "it has no inspector"),
    ],
)
def test_a_plan_that_cannot_be_inspected_has_a_note(job, fake_cuda, command, said) -> None:
    asked = job(command, device=1)
    (note,) = build(asked).notes
    assert said in note
    assert asked.plan.output.exists()


def test_a_plan_that_crashes_when_loaded_crashes_there(job, fake_cuda) -> None:
    error = failure(job("crash when loaded", device=1))
    assert error.message.endswith("its last step: inspecting digits.onnx fp16 for sm90")


def test_a_full_disk_is_an_error_of_the_operating_system(job) -> None:
    asked = job()
    asked.plan.output.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        build(asked)
    assert caught.value.errno == errno.ENOSPC


def test_a_device_that_cannot_be_used_is_reported(job, fake_cuda) -> None:
    with pytest.raises(
        BackendUnavailableError, match=r"GPU 2 cannot be used: .* \(cudaErrorInvalid"
    ):
        build(job(device=2))


def test_a_job_survives_the_journey(job) -> None:
    profile = {
        "image": ShapeRange((1, 3), (2, 3), (4, 3)),
        "size": ValueRange((1, 8), (2, 8), (4, 8)),
    }
    asked = job(
        profiles=(profile, profile),
        flags=("FP16",),
        tf32=True,
        options={"workspace_bytes": 1 << 30, "strict_nans": True, "tiling": "fast"},
        compute_capabilities=("SM86",),
        control_flow=("25 If",),
        opset=17,
        device=1,
    )
    assert BuildJob.from_data(json.loads(json.dumps(asked.to_data()))) == asked


@pytest.mark.parametrize(
    "error",
    [
        EngineBuildError("what", fix="how", log_tail=["a", "b"]),
        ConfigurationError("what", fix=Remedy("how", ("run this",)), code="TRT199", facts={"a": 1}),
        DeviceLostError("what", fix="how", status="cudaErrorIllegalAddress"),
        BackendUnavailableError("what", fix="how"),
        OSError(errno.ENOSPC, "No space left on device", "/cache/engine.plan"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_an_error_survives_the_journey(error: PytestTrtError | OSError) -> None:
    arrived = error_from_data(json.loads(json.dumps(error_to_data(error))))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
