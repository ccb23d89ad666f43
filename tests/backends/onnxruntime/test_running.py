"""What the child process loads before it is asked to: used once, unless its file changed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import images, save_linear

from pytest_trt.backends.onnxruntime import retained, running
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.onnxruntime.run_job import RunJob, Source
from pytest_trt.onnx.file import load_model
from pytest_trt.records import to_data
from pytest_trt.tensors.stored import read_samples, write_samples
from pytest_trt.workers import calls

FEED = {"image": images(2)}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """A reference; this process holds no session of another test."""
    yield Source(save_linear(tmp_path / "linear.onnx"), 1000)
    calls.ahead.clear()
    running._ahead = None
    retained.drop()
    calls.later.clear()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Do a job as the child process does, with what it does after its reply."""

    def run(source: Source, ahead: Source | None = None) -> dict[str, Any]:
        given, outputs = tmp_path / "inputs", tmp_path / "outputs"
        write_samples(given, [FEED])
        job = RunJob("it", given, outputs, 0, source, ahead=ahead)
        running.do_run(lambda text, timeout_s=None: None, to_data(job))
        calls._rest()
        (found,) = read_samples(outputs)
        return dict(found)

    return run


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The models that were loaded as references."""
    found: list[Path] = []
    load = running.load_reference

    def counted(path: Path, **given: Any) -> Any:
        found.append(path)
        return load(path, **given)

    monkeypatch.setattr(running, "load_reference", counted)
    return found


def other(tmp_path: Path) -> Source:
    return Source(save_linear(tmp_path / "other.onnx"), 1000)


def test_a_reference_is_loaded_after_the_reply_and_used_once(source, run, loaded, tmp_path) -> None:
    run(other(tmp_path), ahead=source)
    assert loaded[1:] == [source.model]
    outputs = run(source)
    assert len(loaded) == 2
    expected = OnnxRuntimeBackend(threads=1).reference(load_model(source.model)).load().run(FEED)
    np.testing.assert_array_equal(outputs["logits"], expected["logits"])
    run(source)
    assert len(loaded) == 3


def test_further_runs_do_not_load_the_reference_that_is_held_since_the_first(
    source, run, loaded, tmp_path
) -> None:
    model = other(tmp_path)
    engine = replace(model, plan=model.model)
    run(engine, ahead=source)
    run(engine, ahead=source)
    assert loaded == [source.model]


def test_one_that_was_replaced_meanwhile_is_loaded_again(source, run, loaded, tmp_path) -> None:
    run(other(tmp_path), ahead=source)
    save_linear(source.model, seed=1)
    assert len(loaded) == 2
    expected = OnnxRuntimeBackend(threads=1).reference(load_model(source.model)).load().run(FEED)
    np.testing.assert_array_equal(run(source)["logits"], expected["logits"])
    assert len(loaded) == 3


def test_one_that_cannot_be_loaded_is_an_error_where_it_is_asked_for(
    source, run, loaded, tmp_path
) -> None:
    source.model.write_bytes(b"no model")
    run(other(tmp_path), ahead=source)
    with pytest.raises(Exception, match=r"linear\.onnx"):
        run(source)
    assert len(loaded) == 3


def test_one_of_a_large_model_is_not_loaded_before(source, run, loaded, tmp_path) -> None:
    large = Source(save_linear(tmp_path / "large.onnx"), 10**9)
    run(large, ahead=source)
    assert loaded == [large.model]
    run(source, ahead=large)
    assert loaded == [large.model, source.model]


def test_one_that_nobody_asks_for_is_released_with_the_others(source, run, loaded, tmp_path):
    run(other(tmp_path), ahead=source)
    (early,) = (weakref.ref(one.session) for one in retained._last.values())
    retained.drop()  # as before a build
    calls.later.clear()
    gc.collect()
    assert early() is None
    run(source)
    assert loaded[1:] == [source.model, source.model]
