"""From a model and a spec to a plan on disk: out of the cache where it can be, built otherwise."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.cache import CorruptEntry, EngineCache, Entry, entry_name
from pytest_trt.engine.facts import EngineFacts, Timings, precision_of
from pytest_trt.engine.file_digest import digest_file
from pytest_trt.engine.key import EngineKey, engine_key, explain_miss
from pytest_trt.engine.protocols import Backend, BuildRequest, Progress
from pytest_trt.engine.shortfall import precision_doubt, precision_shortfall
from pytest_trt.engine.sidecar import FACTS_NAME, Sidecar
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.seeded import inputs_digest
from pytest_trt.tensors.spec import Tensors

#: Environment variables that change what builders make of the same request.
#: Source: TensorRT documentation (NVIDIA_TF32_OVERRIDE), TensorRT error reports (the other).
BUILD_ENVIRONMENT = ("NVIDIA_TF32_OVERRIDE", "TRT_INTERNAL_OPTIONS")


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine: what was asked, what it is, and where its plan lies.

    Attributes:
        model: The model it was built from.
        spec: What was asked.
        target: What it runs on.
        toolchain: What built it.
        route: How its precision was reached.
        key: Its identity in the cache.
        plan: The plan's file; its digest has been verified.
        plan_digest: That digest: builders make different plans for one key.
        plan_facts: What is known of the plan itself; see `facts`.
        cached: Whether it came out of the cache.
        reason: Why it was built: how the closest cached engine differs; empty for the first.
        notes: What the backend had to say of the build.
        log_tail: The last lines of the builder's log.
        warnings: What went wrong on the way and was mended, such as a damaged cache entry, or
            looks wrong and cannot be told.
        timings: What this process measured of it so far.
    """

    model: OnnxModel
    spec: EngineSpec
    target: Target
    toolchain: Toolchain
    route: Route
    key: EngineKey
    plan: Path
    plan_digest: str
    plan_facts: EngineFacts
    cached: bool
    reason: str
    notes: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)

    @property
    def facts(self) -> EngineFacts:
        """Size, device memory, layers, precisions, and seconds of build, load and first run."""
        return replace(self.plan_facts, **asdict(self.timings))


def build_or_load(
    *,
    model: OnnxModel,
    spec: EngineSpec,
    target: Target,
    backend: Backend,
    cache: EngineCache,
    calibration: Callable[[], Sequence[Tensors]] = tuple,
    progress: Progress = lambda message: None,
    failures: MutableMapping[str, EngineBuildError] | None = None,
) -> Engine:
    """Return the engine of a model, built at most once by all processes that share the cache.

    Args:
        model: What to build from.
        spec: What is asked.
        target: What it shall run on.
        backend: What builds it.
        cache: Where engines are kept.
        calibration: Gives representative inputs; called only where the backend's route needs them.
        progress: Told what is happening while it takes long.
        failures: Builds that failed, by digest of the engine's key. They are not tried again: one
            that takes an hour to fail is not to take it for every test that asks for the engine.

    Raises:
        ConfigurationError: The backend cannot build this spec.
        EngineBuildError: The builder failed, now or before, or nothing in the engine is of the
            precision asked.
        CacheError: The cache cannot be written to the end.
    """
    route, toolchain = backend.route(model, spec), backend.toolchain()
    samples = tuple(calibration()) if route.needs_calibration else ()
    key = engine_key(
        model_digest=model.digest,
        backend=backend.name,
        spec=spec,
        target=target,
        toolchain=toolchain,
        route=route,
        platform=f"{platform.system()} {platform.machine()}",
        calibration_digest=_calibration_digest(samples) if route.needs_calibration else None,
        environment={name: os.environ[name] for name in BUILD_ENVIRONMENT if name in os.environ},
    )
    name = entry_name(model.path.name, spec.precision, target.arch, key.digest)
    warnings: list[str] = []

    def engine(entry: Entry, *, cached: bool) -> Engine:
        sidecar = entry.sidecar
        shortfall = precision_shortfall(spec, model, entry.facts, entry.plan)
        if shortfall is not None:
            raise shortfall
        doubt = precision_doubt(spec, entry.facts)
        return Engine(
            model=model,
            spec=spec,
            target=target,
            toolchain=toolchain,
            route=route,
            key=key,
            plan=entry.plan,
            plan_digest=sidecar.files[sidecar.plan_name].digest,
            plan_facts=entry.facts,
            cached=cached,
            reason=sidecar.reason,
            notes=sidecar.notes,
            log_tail=sidecar.log_tail,
            warnings=(*warnings, doubt) if doubt else tuple(warnings),
        )

    found = cache.lookup(name, key.digest)
    if isinstance(found, Entry):
        return engine(found, cached=True)
    if failures and key.digest in failures:
        raise _again(failures[key.digest])

    def waiting(seconds: float) -> None:
        progress(
            f"waiting for another process that builds {model.path.name} {spec.precision} for "
            f"{target.arch} ({seconds:.0f} s)"
        )

    with cache.lock(key.digest, waiting):
        found = cache.lookup(name, key.digest)
        if isinstance(found, Entry):
            return engine(found, cached=True)
        if isinstance(found, CorruptEntry):
            what = "is of another version" if found.other_format else "was damaged"
            reason = f"the cached engine {what}: {found.reason}"
            warnings.append(f"{reason}; it was built anew")
        else:
            reason = explain_miss(key, model.path.name, _candidates(cache))
        if not cache.writable:
            warnings.append(f"the cache {cache.root} is read-only: the engine is not kept")
        why = f": {reason}" if reason else ""
        progress(f"building {model.path.name} {spec.precision} for {target.arch}{why}")
        with cache.staging(name) as folder:
            request = BuildRequest(
                model=model,
                spec=spec,
                target=target,
                directory=folder,
                calibration=samples,
                progress=progress,
            )
            try:
                sidecar = _build(request, backend, key, reason)
            except EngineBuildError as error:
                if failures is not None:
                    failures[key.digest] = error
                raise
            return engine(cache.publish(folder, name, sidecar), cached=False)


def _build(request: BuildRequest, backend: Backend, key: EngineKey, reason: str) -> Sidecar:
    """Have the plan built into the request's folder, and describe what is there then."""
    folder, model_name = request.directory, request.model.path.name
    started_s = time.perf_counter()
    result = backend.build(request)
    build_s = time.perf_counter() - started_s
    if not (folder / result.plan_name).exists():
        raise EngineBuildError(
            f"{backend.name} reported success for {model_name}, but wrote no {result.plan_name}.",
            fix="look at the log lines above and at the space on the cache's disk.",
            log_tail=result.log_tail,
        )
    facts = EngineFacts(
        size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        build_s=build_s,
        device_memory_bytes=result.device_memory_bytes,
        layers=result.layers,
        hidden_weights=result.hidden_weights,
        fp32_weights_bytes=4 * _float_elements(request.model),
    )
    (folder / FACTS_NAME).write_text(facts.to_json(), encoding="utf-8")
    return Sidecar(
        key_digest=key.digest,
        key_fields=dict(key.fields),
        model_name=model_name,
        plan_name=result.plan_name,
        files={path.name: digest_file(path) for path in sorted(folder.iterdir())},
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        reason=reason,
        notes=result.notes,
        log_tail=result.log_tail,
    )


def _again(error: EngineBuildError) -> EngineBuildError:
    # The log of a builder is long; the test that met the error first has all of it.
    told = error.message.partition("\n")[0].removesuffix(":")
    return EngineBuildError(
        f"{told}\nThat was seen in an earlier test; it is not built again in this run.",
        fix="as the first of these tests says.",
        log_tail=error.log_tail,
    )


def _float_elements(model: OnnxModel) -> int:
    floats = ("half", "float", "bfloat16")
    return sum(count for name, count in model.elements.items() if precision_of(name) in floats)


def _candidates(cache: EngineCache) -> list[tuple[str, dict[str, str]]]:
    return [
        (entry.sidecar.model_name, dict(entry.sidecar.key_fields))
        for entry in cache.entries()
        if isinstance(entry, Entry)
    ]


def _calibration_digest(samples: Sequence[Tensors]) -> str:
    # The order of samples is kept: quantisers that average depend on it.
    state = hashlib.sha256()
    for sample in samples:
        state.update(bytes.fromhex(inputs_digest(sample)))
    return state.hexdigest()
