"""A fresh process measures what this one built: real engines, real processes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import save_linear
from builders_fresh import fresh_job

from pytest_trt.benchmark.fresh import measure_fresh
from pytest_trt.benchmark.fresh_job import FreshJob, read_inputs, write_inputs
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model
from pytest_trt.statistics.decide import Unavailable
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange

IMAGES = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)


@pytest.fixture
def job(tmp_path: Path) -> FreshJob:
    """A measurement of a cached engine: 3 rounds of 14 calls."""
    model = load_model(save_linear(tmp_path / "linear.onnx"))
    return fresh_job(model, {"image": IMAGES}, tmp_path)


@pytest.fixture
def broken_vendor(tmp_path: Path, monkeypatch):
    """Put a module in ONNX Runtime's place, for processes that have not imported it yet."""

    def put(source: str) -> None:
        folder = tmp_path / "path"
        folder.mkdir()
        (folder / "onnxruntime.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))

    return put


def test_rounds_come_back(job) -> None:
    run = measure_fresh(job, timeout_s=60)
    assert {metric: logs.shape for metric, logs in run.rounds.logs.items()} == {
        "p50": (3,), "throughput": (3,), "p95": (3,),
    }  # fmt: skip
    assert run.rounds.calls == 14
    assert run.interleaved is None


def test_interleaved_rounds_with_a_second_session_are_returned(job) -> None:
    steps: list[str] = []
    run = measure_fresh(replace(job, interleave=True), timeout_s=60, progress=steps.append)
    assert run.interleaved is not None
    assert [len(side) for side in run.interleaved] == [3, 3]
    assert "loading" in steps
    assert "interleaving it with itself" in steps


def reason(job: FreshJob, *, timeout_s: float = 60) -> str:
    with pytest.raises(Unavailable) as caught:
        measure_fresh(job, timeout_s=timeout_s)
    return str(caught.value)


def test_engine_that_was_changed_since_is_not_loaded(job) -> None:
    plan = next(job.entry.glob("engine.onnx"))
    plan.write_bytes(plan.read_bytes()[:-1] + b"\0")
    assert "is missing or damaged: engine.onnx has digest" in reason(job)


def test_engine_of_another_key_is_not_loaded(job) -> None:
    assert "it was stored as engine" in reason(replace(job, key="0" * 64))


def test_missing_engine_is_reported(job) -> None:
    shutil.rmtree(job.entry)
    assert "is missing or damaged" in reason(job)


def test_crash_names_the_signal_the_step_and_the_last_words(job, broken_vendor) -> None:
    broken_vendor(
        "import os, signal, sys\n"
        "print('free(): invalid pointer', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    assert reason(job) == (
        "the fresh process that measures linear.onnx fp32 for cpu crashed (SIGSEGV), its last "
        "step: loading; its output: free(): invalid pointer"
    )


def test_killed_process_may_have_run_out_of_memory(job, broken_vendor) -> None:
    broken_vendor("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert "was killed (SIGKILL; the machine's memory may have run out)" in reason(job)


def test_process_that_hangs_is_ended(job, broken_vendor) -> None:
    broken_vendor("import threading\nthreading.Event().wait()\n")
    assert "took longer than 1 s and was ended, its last step: " in reason(job, timeout_s=1.4)


def test_unexpected_exception_is_shown(job, broken_vendor) -> None:
    broken_vendor("raise RuntimeError('no such luck')\n")
    message = reason(job)
    assert "ended with exit status 1" in message
    assert message.endswith("RuntimeError: no such luck")


def test_python_that_cannot_be_started_is_a_reason(job, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert "cannot be started" in reason(job)


def test_job_survives_the_journey(job) -> None:
    profile = {
        "image": ShapeRange((1, 3), (2, 3), (4, 3)),
        "size": ValueRange((1, 8), (2, 8), (4, 8)),
    }
    asked = replace(
        job, spec=EngineSpec("fp16", (profile, profile), {"flag": True, "level": 3}), device="GPU-1"
    )
    assert FreshJob.from_data(json.loads(json.dumps(asked.to_data()))) == asked


def test_inputs_of_any_name_and_type_survive_the_journey(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    inputs = {
        "a/b:0": np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::2],
        "names": np.array(True),
        "empty": np.zeros((0, 3), np.int64),
        "half": np.arange(4).astype(ml_dtypes.bfloat16),
    }
    found = read_inputs(write_inputs(inputs, tmp_path))
    assert list(found) == list(inputs)
    for name, array in inputs.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_python_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Python objects"):
        write_inputs({"text": np.array(["a"], dtype=object)}, tmp_path)
    with pytest.raises(ValueError, match="Python objects"):
        write_inputs({"sequence": [np.zeros(2)]}, tmp_path)


def test_error_of_the_operating_system_is_a_reason(job) -> None:
    job.inputs.unlink()
    assert "No such file" in reason(job)
