from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from builders import full_disk, images, save_linear
from builders_cache import edit_sidecar

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import CacheError, ConfigurationError, EngineBuildError, ModelError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import load_model


@dataclass
class ScriptedBackend:
    """A backend whose every answer a test can choose."""

    name: str = "scripted"
    version: str = "1.0"
    needs_calibration: bool = False
    write: Callable[[Path], None] = lambda folder: (folder / "engine.plan").write_bytes(b"plan")
    layers: tuple[Layer, ...] | None = None
    builds: list[BuildRequest] = field(default_factory=list)

    def toolchain(self) -> Toolchain:
        return Toolchain("Scripted", {"scripted": self.version})

    def target(self, arch: str) -> Target:
        return Target(arch)

    def route(self, model, spec) -> Route:
        return Route("as it is", needs_calibration=self.needs_calibration)

    def build(self, request: BuildRequest) -> BuildResult:
        self.builds.append(request)
        self.write(request.directory)
        return BuildResult(
            "engine.plan",
            log_tail=("last line",),
            notes=("a note",),
            layers=self.layers,
            device_memory_bytes=4096,
        )

    def cannot_run(self, target: Target) -> str | None:
        return None

    def open(self, plan, model, spec, target):
        raise NotImplementedError


@pytest.fixture
def model(tmp_path: Path):
    return load_model(save_linear(tmp_path / "linear.onnx"))


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def build(model, cache, backend=None, spec=None, **options):
    backend = backend or ScriptedBackend()
    return build_or_load(
        model=model,
        spec=spec or EngineSpec("fp32"),
        target=backend.target("sm86"),
        backend=backend,
        cache=cache,
        **options,
    )


def test_engine_is_built_once_then_found_in_the_cache(model, cache) -> None:
    backend = ScriptedBackend()
    first, second = build(model, cache, backend), build(model, cache, backend)
    assert (first.cached, second.cached) == (False, True)
    assert len(backend.builds) == 1
    assert first.plan == second.plan
    assert second.plan.read_bytes() == b"plan"


def test_notes_of_the_build_are_stored_with_the_engine(model, cache) -> None:
    build(model, cache)
    engine = build(model, cache)
    assert engine.facts.calibration is None
    assert (engine.notes, engine.log_tail) == (("a note",), ("last line",))
    assert engine.reason == ""


HALF = (Layer("product", "Gemm", "half", origins=("product",), weights={"half": 36}),)
SINGLE = (Layer("product", "Gemm", "float", origins=("product",), weights={"float": 36}),)


def test_facts_are_stored_with_the_engine(model, cache) -> None:
    for cached in (False, True):
        engine = build(model, cache, ScriptedBackend(layers=HALF), EngineSpec("fp16"))
        assert engine.cached is cached
        assert engine.facts.size_bytes == len(b"plan")
        assert engine.facts.device_memory_bytes == 4096
        assert engine.facts.layers == HALF
        assert engine.facts.half_weights_pct == 100.0
        assert engine.facts.fp32_weights_bytes == 4 * 36
        assert engine.facts.build_s >= 0.0


def test_facts_include_what_was_measured_later(model, cache) -> None:
    engine = build(model, cache)
    assert [engine.facts.get(name) for name in ("load_s", "first_inference_s")] == [None, None]
    engine.timings.loaded(0.5)
    engine.timings.ran(0.25)
    assert (engine.facts.load_s, engine.facts.first_inference_s) == (0.5, 0.25)


def test_engine_that_is_fp32_throughout_is_an_error_each_time_it_is_requested(model, cache) -> None:
    backend = ScriptedBackend(layers=SINGLE)
    for _ in range(2):
        with pytest.raises(EngineBuildError, match=r"requested in fp16, but nothing .* is half"):
            build(model, cache, backend, EngineSpec("fp16"))
    assert len(backend.builds) == 1
    assert build(model, cache, backend, EngineSpec("fp32")).facts.float_layers_pct == 100.0


def test_new_version_of_the_toolchain_rebuilds_and_says_so(model, cache) -> None:
    build(model, cache, ScriptedBackend(version="1.0"))
    engine = build(model, cache, ScriptedBackend(version="2.0"))
    assert not engine.cached
    assert engine.reason == "Scripted 1.0 -> 2.0"


def test_environment_that_changes_builders_is_part_of_the_key(model, cache, monkeypatch) -> None:
    build(model, cache)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert build(model, cache).reason == "environment NVIDIA_TF32_OVERRIDE: not set -> 0"


def test_calibration_is_requested_only_where_the_route_needs_it(model, cache) -> None:
    def never():
        raise AssertionError("asked for calibration inputs")

    build(model, cache, calibration=never)
    samples = [{"image": images()}]
    backend = ScriptedBackend(needs_calibration=True)
    build(model, cache, backend, calibration=lambda: samples)
    np.testing.assert_equal(list(backend.builds[0].calibration), samples)


def test_other_calibration_inputs_make_another_engine(model, cache) -> None:
    backend = ScriptedBackend(needs_calibration=True)
    for seed in (1, 2, 1):
        build(model, cache, backend, calibration=lambda seed=seed: [{"image": images(seed=seed)}])
    assert len(backend.builds) == 2


def test_calibrated_ranges_are_stored_with_the_engine(model, cache) -> None:
    backend, samples = ScriptedBackend(needs_calibration=True), [{"image": images()}] * 2
    for cached in (False, True):
        engine = build(model, cache, backend, calibration=lambda: samples)
        assert engine.cached is cached
        found = engine.facts.calibration
        assert (found.samples, found.rows, found.distinct) == (2, 2 * len(images()), len(images()))
        assert found.inputs["image"].max == images().max()
        assert found.inputs["image"].shapes == ((images().shape, 2),)


def test_damaged_engine_is_rebuilt_with_a_warning(model, cache) -> None:
    build(model, cache).plan.write_bytes(b"plaN")
    engine = build(model, cache)
    assert not engine.cached
    (warning,) = engine.warnings
    assert (warning.code, warning.severity) == ("TRT810", "warning")
    assert "was damaged, so it was rebuilt: engine.plan has digest" in warning.message
    assert engine.plan.read_bytes() == b"plan"


def test_engine_stored_by_another_version_is_rebuilt_and_not_reported_as_damaged(
    model, cache
) -> None:
    edit_sidecar(build(model, cache).plan.parent, schema=3, written_by="pytest-trt 0.0.1")
    engine = build(model, cache)
    assert not engine.cached
    (warning,) = engine.warnings
    assert (warning.code, warning.severity) == ("TRT810", "note")
    assert "has another format, so it was rebuilt: its sidecar has format 3" in warning.message


def test_build_that_fails_leaves_nothing_in_the_cache(model, cache) -> None:
    def fail(folder: Path) -> None:
        (folder / "engine.plan").write_bytes(b"half a plan")
        raise EngineBuildError("the builder failed.", fix="try another one.")

    with pytest.raises(EngineBuildError):
        build(model, cache, ScriptedBackend(write=fail))
    assert cache.entries() == []
    assert list((cache.folder / "building").iterdir()) == []
    assert not build(model, cache).cached


def test_build_that_failed_is_not_tried_again_where_failures_are_cached(model, cache) -> None:
    tried = []

    def fail(folder: Path) -> None:
        tried.append(folder)
        raise EngineBuildError("the builder failed", fix="try another one.", log_tail=["[E] why"])

    failures: dict[str, EngineBuildError] = {}
    for _ in range(3):
        with pytest.raises(EngineBuildError, match="the builder failed") as caught:
            build(model, cache, ScriptedBackend(write=fail), failures=failures)
    assert len(tried) == 1
    assert caught.value.message == "the builder failed"
    (detail,) = caught.value.diagnostic.details  # the log was shown once
    assert "the build was not repeated" in detail
    assert caught.value.fix == "Try another one."
    assert caught.value.log_tail == ("[E] why",)
    # Another engine is another matter, and so is one that somebody else has built meanwhile.
    other = EngineSpec(precision="fp32", builder_options={"level": 3})
    with pytest.raises(EngineBuildError):
        build(model, cache, ScriptedBackend(write=fail), spec=other, failures=failures)
    assert len(tried) == 2
    build(model, cache)
    assert build(model, cache, ScriptedBackend(write=fail), failures=failures).cached


def test_builder_that_wrote_nothing_has_failed(model, cache) -> None:
    with pytest.raises(EngineBuildError, match=r"wrote no engine\.plan"):
        build(model, cache, ScriptedBackend(write=lambda folder: None))
    assert cache.entries() == []


def test_interrupted_build_leaves_nothing_in_the_cache(model, cache) -> None:
    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(model, cache, ScriptedBackend(write=interrupt))
    assert list((cache.folder / "building").iterdir()) == []


def test_full_disk_while_building_says_where_and_what_to_do(model, cache) -> None:
    def fill(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CacheError, match=r"no space left for the engine cache[\s\S]*cache clear"):
        build(model, cache, ScriptedBackend(write=fill))


def test_steps_are_announced(model, cache) -> None:
    said: list[str] = []
    build(model, cache, progress=said.append)
    assert said == ["building linear.onnx fp32 for sm86"]


def test_precision_that_the_backend_lacks_is_refused_before_anything_is_built(model, cache) -> None:
    with pytest.raises(ConfigurationError, match="tf32"):
        build(model, cache, OnnxRuntimeBackend(), EngineSpec("tf32"))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engine_of_the_embedded_backend_runs_out_of_the_cache(model, cache, precision) -> None:
    backend, spec = OnnxRuntimeBackend(), EngineSpec(precision)
    inputs = {"image": images(16)}
    for cached in (False, True):
        engine = build(model, cache, backend, spec, calibration=lambda: [inputs])
        assert engine.cached is cached
        outputs = backend.open(Plan(engine.plan), model, spec, engine.target).run(inputs)
        reference = backend.reference(model).run(inputs)
        np.testing.assert_allclose(outputs["logits"], reference["logits"], atol=0.2)


def test_an_engine_of_a_model_that_was_replaced_meanwhile_is_not_stored(model, cache) -> None:
    def replaced(folder: Path) -> None:
        save_linear(model.path, nudge=0.25)
        (folder / "engine.plan").write_bytes(b"of the new model")

    with pytest.raises(ModelError, match="changed while it was being read"):
        build(model, cache, ScriptedBackend(write=replaced))
    assert cache.entries() == []
    assert list((cache.folder / "building").iterdir()) == []


def test_calibration_inputs_that_change_meanwhile_are_an_error(model, cache) -> None:
    samples = [{"image": images(4)}]

    def changed(folder: Path) -> None:
        samples[0]["image"][:] = 0
        (folder / "engine.plan").write_bytes(bytes(len(list(backend.builds[0].calibration))))

    backend = ScriptedBackend(needs_calibration=True, write=changed)
    with pytest.raises(ModelError, match="calibration inputs were changed"):
        build(model, cache, backend, EngineSpec("int8"), calibration=lambda: samples)
    assert cache.entries() == []


def failing(folder: Path) -> None:
    raise EngineBuildError("the model cannot be serialised", fix="check the model.")


def test_a_full_disk_is_not_blamed_on_the_model(model, cache) -> None:
    with full_disk(), pytest.raises(CacheError, match="no space left for the engine cache"):
        build(model, cache, ScriptedBackend(write=failing))
    with pytest.raises(EngineBuildError, match="cannot be serialised"):
        build(model, cache, ScriptedBackend(write=failing))


def test_a_cache_that_is_removed_meanwhile_is_an_error_that_says_so(model, cache) -> None:
    def removed(folder: Path) -> None:
        shutil.rmtree(cache.root)
        (folder / "engine.plan").write_bytes(b"plan")

    with pytest.raises(CacheError, match="was removed while an engine was being built"):
        build(model, cache, ScriptedBackend(write=removed))


@pytest.mark.parametrize("part", ["engines", "building", "references", "digests", "timing"])
def test_a_folder_of_the_cache_that_was_removed_is_made_again(model, cache, part: str) -> None:
    shutil.rmtree(cache.folder / part)
    assert not build(model, cache).cached
    assert build(model, cache).cached


def test_clearing_the_cache_leaves_builds_of_other_processes_alone(model, cache) -> None:
    def cleared(folder: Path) -> None:
        EngineCache(cache.root).clear()
        (folder / "engine.plan").write_bytes(b"plan")

    assert not build(model, cache, ScriptedBackend(write=cleared)).cached
    assert build(model, cache).cached
