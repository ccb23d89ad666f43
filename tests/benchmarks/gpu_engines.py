"""Engines that the GPU benchmarks measure: built once per folder, opened on the first GPU."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import builders_networks
import onnx
from networks import resnet50

from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.backends.tensorrt.session import TrtSession
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.session import Session
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.profiles import parse_profiles

#: The shape of one image, by network.
IMAGES = {"resnet50": (3, 224, 224), "small_cnn": (3, 16, 16)}


@dataclass(frozen=True)
class Built:
    """An engine, the session that runs it, and the session as tests hold it."""

    engine: Engine
    session: TrtSession
    public: Session
    input: str
    image: tuple[int, ...]

    @property
    def plan(self) -> Path:
        return self.engine.plan


def model_of(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write one of the networks into a folder, unless it is there already."""
    path = folder / f"{name}-{seed}.onnx"
    if not path.exists():
        proto = resnet50(seed=seed) if name == "resnet50" else builders_networks.conv_net()
        onnx.save(proto, path)
    return path


def built(name: str, precision: str, folder: Path, *, seed: int = 0) -> Built:
    """Build a network for batches of 1 to 32, best at 8, and load it."""
    probe, cache = probe_devices(), EngineCache(folder / "cache", max_bytes=20 * 10**9)
    backend = make_backend("tensorrt", probe=probe, threads=0, timing_folder=cache.timing)
    model = load_model(model_of(name, folder, seed=seed))
    image = IMAGES[name]
    (spec,) = model.inputs
    shapes = {spec.name: ((1, *image), (8, *image), (32, *image))}
    engine = build_or_load(
        model=model,
        spec=EngineSpec(
            precision=precision, profiles=parse_profiles(shapes, model.inputs, where="benchmark")
        ),
        target=backend.target(probe.gpus[0].arch),
        backend=backend,
        cache=cache,
    )
    session = backend.open(Plan(engine.plan), model, engine.spec, engine.target)
    assert isinstance(session, TrtSession)
    public = Session(engine, lambda _: nullcontext(session), None)
    return Built(engine, session, public, spec.name, image)
