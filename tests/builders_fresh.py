"""A measurement in a fresh process, of an engine that this one has built."""

from __future__ import annotations

from pathlib import Path

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.benchmark.fresh_job import FreshJob, write_inputs
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import Tensors


def fresh_job(model: OnnxModel, inputs: Tensors, folder: Path) -> FreshJob:
    """Return a measurement of 3 rounds of 14 calls; an item is a row of the first input."""
    backend = OnnxRuntimeBackend(threads=1)
    engine = build_or_load(
        model=model,
        spec=EngineSpec("fp32"),
        target=backend.target("cpu"),
        backend=backend,
        cache=EngineCache(folder / "cache"),
    )
    return FreshJob(
        backend="onnxruntime",
        device="",
        threads=1,
        entry=engine.plan.parent,
        key=engine.key.digest,
        model=engine.model,
        spec=engine.spec,
        target=engine.target,
        inputs=write_inputs(inputs, folder),
        mode="end_to_end",
        items_per_call=len(next(iter(inputs.values()))),
        calls=14,
        rounds=3,
    )
