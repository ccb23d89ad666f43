"""What ONNX Runtime does in a child process, and what becomes of this one when it goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders_harmful import function_bomb

from pytest_trt.backends.conversion import isolated
from pytest_trt.backends.conversion.isolated import Task
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineBuildError, ModelError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.workers.process import Worker
from pytest_trt.workers.warm import WarmBuilder

SOURCE = """
import ctypes, os, threading

def number(progress):
    return os.getpid()

def hang(progress):
    progress("hanging")
    threading.Event().wait()

def crash(progress):
    ctypes.string_at(0)

def end(progress, status):
    os._exit(status)

def explode(progress):
    return len(bytearray(1 << 60))

def raise_strange(progress):
    raise RuntimeError("strange")

def refuse(progress):
    from pytest_trt.diagnostics import ModelError
    raise ModelError("refused", fix="none", facts={"n": 1})
"""


@pytest.fixture
def call(linear: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "deeds.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    warm = WarmBuilder(fixed_environment=True)
    monkeypatch.setattr(isolated, "_warm", warm)

    def called(function: str, *, timeout_s: float = 60, **arguments: object) -> Any:
        task = Task("building linear.onnx fp32 for cpu", linear, timeout_s=timeout_s)
        return isolated.call_isolated(f"deeds:{function}", task, **arguments)

    yield called
    warm.end()


def test_one_process_does_everything_also_after_a_refusal(call) -> None:
    first = call("number")
    assert first != os.getpid()
    with pytest.raises(ModelError, match="refused") as caught:
        call("refuse")
    assert caught.value.diagnostic.facts == {"n": 1}
    assert call("number") == first


@pytest.mark.parametrize(
    ("function", "arguments", "code", "message"),
    [
        ("crash", {}, "TRT303", "crashed (SIGSEGV)"),
        ("end", {"status": 3}, "TRT304", "ended without a result (exit status 3)"),
        ("raise_strange", {}, "TRT304", "ended without a result (exit status 1)"),
    ],
)
def test_what_ends_it_is_an_error_and_another_one_is_started(
    call, function: str, arguments: dict[str, Any], code: str, message: str
) -> None:
    first = call("number")
    with pytest.raises(EngineBuildError) as caught:
        call(function, **arguments)
    assert caught.value.diagnostic.code == code
    assert caught.value.message.startswith("building linear.onnx fp32 for cpu: ONNX Runtime ")
    assert message in caught.value.message
    assert call("number") != first


def test_what_hangs_is_ended_at_the_limit(call) -> None:
    with pytest.raises(EngineBuildError, match=r"longer than --trt-build-timeout=0\.5") as caught:
        call("hang", timeout_s=0.5)
    assert caught.value.diagnostic.code == "TRT301"
    assert caught.value.diagnostic.facts["model"].endswith("linear.onnx")


def test_more_memory_than_there_is_is_refused_with_the_figure(call) -> None:
    first = call("number")
    with pytest.raises(EngineBuildError, match=r"more memory than the [\d,]{9,} bytes") as caught:
        call("explode")
    assert caught.value.diagnostic.code == "TRT359"
    assert call("number") == first


def test_an_interrupt_leaves_no_process(call, monkeypatch: pytest.MonkeyPatch) -> None:
    child = call("number")

    def interrupt(self: Worker, *args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "_follow", interrupt)
        with pytest.raises(KeyboardInterrupt):
            call("hang")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.exhaustive
def test_a_bomb_of_functions_is_one_error(tmp_path: Path) -> None:
    bomb = function_bomb(tmp_path / "bomb.onnx", levels=6)
    assert bomb.stat().st_size < 2048
    (tmp_path / "plan").mkdir()
    backend = OnnxRuntimeBackend(threads=1, build_timeout_s=1)
    request = BuildRequest(load_model(bomb), EngineSpec(), Target("cpu"), tmp_path / "plan")
    with pytest.raises(EngineBuildError) as caught:
        backend.build(request)
    assert caught.value.diagnostic.code == "TRT301"
    with pytest.raises(ModelError) as refused:
        backend.reference(request.model).run({"x": np.ones(4, np.float32)})
    assert refused.value.diagnostic.code == "TRT301"
