"""First runs in the child process: the same outputs as here, and one error for what goes wrong."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx.parser
import pytest
from builders import images
from builders_harmful import crashing_division, endless_loop, exploding_output
from builders_networks import saved

from pytest_trt.backends.conversion import isolated
from pytest_trt.backends.onnxruntime import run_job
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import EngineLoadError, EngineRunError, ModelError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import Timings
from pytest_trt.engine.run_records import RunRecords
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors.stored import write_samples
from pytest_trt.workers.warm import WarmBuilder

CHILD = """
import ctypes, os, signal, threading

def hang(progress, job):
    progress("running it", 0.3)
    threading.Event().wait()

def crash(progress, job):
    progress("running it", 60)
    ctypes.string_at(0)

def end(progress, job):
    progress("running it", 60)
    os._exit(3)

def killed(progress, job):
    progress("running it", 60)
    os.kill(os.getpid(), signal.SIGKILL)

def explode(progress, job):
    progress("running it", 60)
    return len(bytearray(1 << 60))

def crash_loading(progress, job):
    ctypes.string_at(0)
"""

FEED = {"image": images(2)}


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let the child process do something else instead."""
    (tmp_path / "deeds.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    warm = WarmBuilder(fixed_environment=True)
    monkeypatch.setattr(isolated, "_warm", warm)
    yield lambda name: monkeypatch.setattr(run_job, "_DOES", f"deeds:{name}")
    warm.end()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the runs in the child process: those that load, and those of what it holds."""
    found: Counter[str] = Counter()

    def counted(name: str) -> None:
        reply = getattr(run_job, name)

        def count(*args: Any, **given: Any) -> Any:
            found[name] += 1
            return reply(*args, **given)

        monkeypatch.setattr(run_job, name, count)

    counted("reply_isolated")
    counted("reply_waiting")
    return found


def test_outputs_are_the_same_in_both_processes_and_later_runs_are_here(
    linear: OnnxModel, counts: Counter[str]
) -> None:
    session = OnnxRuntimeBackend(threads=1, build_timeout_s=60, run_timeout_s=60).reference(linear)
    runs = [session.run(FEED) for _ in range(6)]
    assert counts == {"reply_isolated": 1, "reply_waiting": 2}
    there, here = runs[0], runs[-1]
    assert [runs[1][name].tobytes() for name in there] == [one.tobytes() for one in there.values()]
    assert list(there) == list(here)
    for name, array in there.items():
        assert array.dtype == here[name].dtype
        assert array.tobytes() == here[name].tobytes()
        array[...] = 0  # the caller's own


@pytest.mark.parametrize(
    ("text", "feed"),
    [
        (
            "(float[2, 2] x) => (float[2, 2] y, seq(float[2, 2]) s, seq(map(string, float)) m)"
            """{ y = Identity (x) s = SequenceConstruct (x, x)
            m = ai.onnx.ml.ZipMap <classlabels_strings = ["a", "b"]> (x) }""",
            {"x": np.array([[0.1, np.nan], [-0.0, 1e-45]], np.float32)},
        ),
        ("(string[n] x) => (string[n] y) { y = Identity (x) }", {"x": np.array(["a", ""], object)}),
        (
            "(optional(float[n]) x) => (optional(float[n]) y, bool b)"
            "{ y = Identity (x) b = OptionalHasElement (x) }",
            {"x": None},
        ),
        (
            "(bfloat16[n] x, int64 k) => (bfloat16[n] y, int64 z)"
            "{ y = Identity (x) z = Identity (k) }",
            {"x": np.arange(3).astype(ml_dtypes.bfloat16), "k": np.array(3)},
        ),
    ],
)
def test_outputs_of_every_kind_come_back(text: str, feed: Any, tmp_path: Path) -> None:
    versions = '<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>'
    model = saved(onnx.parser.parse_model(f"{versions} g {text}"), tmp_path / "m.onnx")
    session = OnnxRuntimeBackend(threads=1).reference(model)
    there, here = session.run(feed), session.load().run(feed)
    for name, outputs in (("there", there), ("here", here)):
        write_samples(tmp_path / name, [outputs])
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_a_session_that_the_child_does_not_hold_any_more_is_loaded_here(
    linear: OnnxModel, counts: Counter[str]
) -> None:
    session, other = (OnnxRuntimeBackend(threads=1).reference(linear) for _ in range(2))
    first = session.run(FEED)
    other.run(FEED)
    again = session.run(FEED)
    assert counts == {"reply_isolated": 2, "reply_waiting": 1}
    np.testing.assert_array_equal(again["logits"], first["logits"])
    isolated._warm.end()
    other.run(FEED)  # starts no process
    assert isolated._warm.take("calls") is None


def test_what_the_child_has_built_runs_without_being_opened_while_its_file_is_the_same(
    linear: OnnxModel, tmp_path: Path, counts: Counter[str]
) -> None:
    backend, cache = OnnxRuntimeBackend(threads=1), EngineCache(tmp_path / "cache")
    target, spec = backend.target("cpu"), EngineSpec()
    engine = build_or_load(model=linear, spec=spec, target=target, backend=backend, cache=cache)
    opened = []

    def run() -> None:
        session = OnnxRuntimeBackend(threads=1).open_later(
            lambda: opened.append(1) or cache.plan(engine.plan, engine.key.digest),
            linear,
            spec,
            target,
            plan_digest=engine.plan_digest,
            timings=Timings(),
            built=engine.plan,
        )
        session.run(FEED)

    run()
    assert (counts, opened) == ({"reply_waiting": 1}, [])
    engine.plan.touch()
    run()
    assert (counts, opened) == ({"reply_waiting": 2, "reply_isolated": 1}, [1])


def test_a_session_of_a_large_model_is_not_held(linear: OnnxModel, counts: Counter[str]) -> None:
    session = OnnxRuntimeBackend(threads=1).reference(replace(linear, size_bytes=10**9))
    session.run(FEED)
    session.run(FEED)
    assert counts == {"reply_isolated": 1}


def test_new_kinds_of_inputs_run_in_the_child_and_known_ones_of_another_process_here(
    linear: OnnxModel, tmp_path: Path, counts: Counter[str]
) -> None:
    records = RunRecords(tmp_path, producer="a")
    session = OnnxRuntimeBackend(threads=1, records=records).reference(linear)
    for batch in (1, 2, 1, 2):
        session.run({"image": images(batch)})
    assert counts == {"reply_isolated": 1, "reply_waiting": 2}
    records.save()
    again = RunRecords(tmp_path, producer="a")
    OnnxRuntimeBackend(threads=1, records=again).reference(linear).run({"image": images(2)})
    assert counts == {"reply_isolated": 1, "reply_waiting": 2}


def test_a_loop_of_timed_runs_is_preceded_by_a_first_run(linear: OnnxModel) -> None:
    timings = Timings()
    backend = OnnxRuntimeBackend(threads=1)
    session = backend.reference(linear)
    session._timings = timings
    found = session.run_in_loop(lambda run: run(FEED), FEED, 1)
    assert timings.first_inference_s is not None
    np.testing.assert_array_equal(found["logits"], session.run(FEED)["logits"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other CPUs do not trap")
def test_a_crash_of_a_real_run_names_engine_signal_and_shapes(tmp_path: Path) -> None:
    model = load_model(crashing_division(tmp_path / "division.onnx"))
    session = OnnxRuntimeBackend(threads=1).reference(model)
    assert session.run({"x": np.full(1, 8, np.int32)})["y"].tolist() == [-8]
    for _ in range(2):
        with pytest.raises(EngineRunError) as caught:
            session.run({"x": np.full(1, -(2**31), np.int32)})
        assert caught.value.diagnostic.code == "TRT346"
        assert caught.value.message.startswith("the FP32 reference of division.onnx crashed ONNX")
        assert caught.value.message.endswith("(SIGFPE) on x [1]")


def test_a_run_without_end_and_one_without_memory_end_with_an_error(tmp_path: Path) -> None:
    backend = OnnxRuntimeBackend(threads=1, run_timeout_s=0.3)
    loop = load_model(endless_loop(tmp_path / "loop.onnx"))
    with pytest.raises(EngineRunError, match=r"longer than --trt-run-timeout=0\.3 on x ") as caught:
        backend.reference(loop).run({"x": np.ones(4, np.float32)})
    assert caught.value.diagnostic.code == "TRT345"
    large = load_model(exploding_output(tmp_path / "large.onnx"))
    with pytest.raises(EngineRunError, match=r"large.onnx failed on x \[1\]") as caught:
        OnnxRuntimeBackend(threads=1).reference(large).run({"x": np.ones(1, np.float32)})
    assert caught.value.diagnostic.code == "TRT342"


@pytest.mark.parametrize(
    ("deed", "code", "message"),
    [
        ("hang", "TRT345", "took longer than --trt-run-timeout=7"),
        ("crash", "TRT346", "(SIGSEGV) on image [2, 8]"),
        ("end", "TRT346", "(exit status 3)"),
        ("killed", "TRT346", "(SIGKILL) on image [2, 8]"),
        ("explode", "TRT342", "it needs more memory than"),
    ],
)
def test_what_ends_the_child_during_a_run_is_an_error_of_the_run(
    child, linear: OnnxModel, deed: str, code: str, message: str
) -> None:
    child(deed)
    session = OnnxRuntimeBackend(threads=1, build_timeout_s=60, run_timeout_s=7).reference(linear)
    with pytest.raises(EngineRunError) as caught:
        session.run(FEED)
    assert caught.value.diagnostic.code == code
    assert message in caught.value.message
    assert "FP32 reference of linear.onnx" in caught.value.message
    assert ("Memory may have run out" in caught.value.fix) == (deed == "killed")


def test_what_ends_the_child_before_the_run_is_an_error_of_loading(
    child, linear: OnnxModel, tmp_path: Path
) -> None:
    child("crash_loading")
    backend = OnnxRuntimeBackend(threads=1, build_timeout_s=60)
    with pytest.raises(ModelError, match=r"loading the FP32 reference of linear.onnx: .*SIGSEGV"):
        backend.reference(linear).run(FEED)
    source = run_job.Source(linear.path, linear.size_bytes, tmp_path / "engine")
    with pytest.raises(EngineLoadError, match=r"loading the fp32 engine of linear.onnx: "):
        run_job.run_isolated(
            "the fp32 engine of linear.onnx",
            linear,
            FEED,
            source=source,
            load_timeout_s=60,
            timeout_s=60,
        )


def test_inputs_that_cannot_be_sent_run_here(linear: OnnxModel) -> None:
    source = run_job.Source(linear.path, linear.size_bytes)
    unsendable = {"x": np.array([b"bytes"], dtype=object)}
    run = run_job.run_isolated(
        "it", linear, unsendable, source=source, load_timeout_s=60, timeout_s=60
    )
    assert run is None
