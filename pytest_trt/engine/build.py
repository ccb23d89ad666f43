"""From a model and a spec to a plan on disk: from the cache where possible, else built."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from pytest_trt.diagnostics import Diagnostic, EngineBuildError, Remedy, rebuild
from pytest_trt.engine.cache import CorruptEntry, EngineCache, Entry, entry_name
from pytest_trt.engine.cache_folder import require_space
from pytest_trt.engine.facts import EngineFacts, Timings, precision_of
from pytest_trt.engine.key import EngineKey, engine_key, explain_miss
from pytest_trt.engine.protocols import Backend, BuildRequest, Progress
from pytest_trt.engine.shortfall import precision_shortfall, precision_uncertain
from pytest_trt.engine.sidecar import Sidecar
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.hashing import digest_file
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.unchanged import of_hashed_bytes
from pytest_trt.tensors.calibration_data import CalibrationData

#: Environment variables that change what builders make of the same request.
#: Source: TensorRT documentation (NVIDIA_TF32_OVERRIDE), TensorRT error reports (the other).
BUILD_ENVIRONMENT = ("NVIDIA_TF32_OVERRIDE", "TRT_INTERNAL_OPTIONS")


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine: the request, its properties, and the location of its plan.

    Attributes:
        model: The model it was built from.
        spec: The request.
        target: What it runs on.
        toolchain: What built it.
        route: How its precision was reached.
        key: Its identity in the cache.
        plan: The plan's file; its digest has been verified.
        plan_digest: That digest: builders make different plans for one key.
        plan_facts: Facts of the plan, without timings; see `facts`.
        cached: Whether it came from the cache.
        reason: Why it was built: how the closest cached engine differed; empty for the first.
        notes: Notes of the backend about the build.
        log_tail: The last lines of the builder's log.
        warnings: Problems that did not prevent the build, such as a damaged cache entry.
        timings: What this process measured of it so far.
        finished: Whether it is a finished plan, outside of the cache.
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
    warnings: tuple[Diagnostic, ...] = ()
    timings: Timings = field(default_factory=Timings)
    finished: bool = False

    @property
    def facts(self) -> EngineFacts:
        """Size, device memory, layers, precisions, and seconds of build, load and first run."""
        return replace(self.plan_facts, timings=self.timings)


def build_or_load(
    *,
    model: OnnxModel,
    spec: EngineSpec,
    target: Target,
    backend: Backend,
    cache: EngineCache,
    calibration: Callable[[], object] = tuple,
    progress: Progress = lambda message: None,
    failures: MutableMapping[str, EngineBuildError] | None = None,
) -> Engine:
    """Return the engine of a model, built at most once by all processes that share the cache.

    Args:
        model: What to build from.
        spec: The request.
        target: What it runs on.
        backend: What builds it.
        cache: Where engines are stored.
        calibration: Returns representative inputs, see `CalibrationData`; called only where the
            backend's route needs them.
        progress: Called with each step of what takes long.
        failures: Builds that failed, by digest of the engine's key. They are not repeated: a build
            that takes an hour to fail must not take it for every test that requests the engine.

    Raises:
        ConfigurationError: The backend cannot build this spec.
        EngineBuildError: The builder failed, now or before, or nothing in the engine has the
            requested precision.
        CacheError: The cache cannot be written.
    """
    route = backend.route(model, spec)
    samples = CalibrationData.of(calibration(), model.inputs) if route.needs_calibration else None
    build = _Build(
        BuildRequest(model, spec, target, Path(), samples or (), progress), backend, cache, route
    )
    found = cache.lookup(build.name, build.key.digest)
    if isinstance(found, Entry):
        return build.engine(found, cached=True)
    if failures and build.key.digest in failures:
        raise _repeated(failures[build.key.digest])
    with cache.lock(build.key.digest, build.waiting):
        if cache.has(build.name):  # it is damaged, or another process built it meanwhile
            found = cache.lookup(build.name, build.key.digest)
        if isinstance(found, Entry):
            return build.engine(found, cached=True)
        try:
            return build.run(found)
        except EngineBuildError as error:
            if failures is not None:
                failures[build.key.digest] = error
            raise


class _Build:
    """One engine that is looked up or built."""

    def __init__(
        self, request: BuildRequest, backend: Backend, cache: EngineCache, route: Route
    ) -> None:
        self._request, self._backend, self._cache, self._route = request, backend, cache, route
        self._toolchain = backend.toolchain()
        spec, target = request.spec, request.target
        data = request.calibration
        self._calibration = data if isinstance(data, CalibrationData) else None
        self.key = engine_key(
            model_digest=request.model.digest,
            backend=backend.name,
            spec=spec,
            target=target,
            toolchain=self._toolchain,
            route=route,
            platform=f"{platform.system()} {platform.machine()}",
            calibration_digest=self._calibration.digest if self._calibration else None,
            environment={k: os.environ[k] for k in BUILD_ENVIRONMENT if k in os.environ},
        )
        self._model_name = request.model.path.name
        self.name = entry_name(self._model_name, spec.precision, target.arch, self.key.digest)
        self._title = f"{self._model_name} {spec.precision} for {target.arch}"

    def waiting(self, seconds: float, holder: str) -> None:
        """Report that another process builds the engine."""
        self._request.progress(
            f"waiting for {holder}, which is building {self._title} ({seconds:.0f} s)"
        )

    def run(self, found: CorruptEntry | None) -> Engine:
        """Build the engine, under the lock of its key, in place of a damaged entry."""
        cache = self._cache
        if found is None:
            related = cache.related(self._request.model.path, dict(self.key.fields))
            reason, warnings = explain_miss(self.key, [one.key_fields for one in related]), []
        else:
            warning = _damaged(found)
            reason, warnings = warning.message, [warning]
        if not cache.writable:
            warnings.append(_read_only(cache))
        why = f": {reason}" if reason else ""
        self._request.progress(f"building {self._title}{why}")
        with cache.staging(self.key.digest) as folder:
            sidecar, facts = self._build(replace(self._request, directory=folder), reason)
            entry = cache.publish(folder, self.name, sidecar, facts)
            return self.engine(entry, cached=False, warnings=warnings)

    def _build(self, request: BuildRequest, reason: str) -> tuple[Sidecar, EngineFacts]:
        """Let the backend write the plan into the request's folder, and describe the result."""
        folder = request.directory
        started_s = time.perf_counter()
        try:
            result = of_hashed_bytes(
                request.model, lambda: self._backend.build(request), again=lambda: _clear(folder)
            )
        except EngineBuildError:
            # Builders say many things of a full disk, most of them about the model.
            require_space(folder, request.model.size_bytes)
            raise
        called_s = time.perf_counter() - started_s
        if not (folder / result.plan_name).exists():
            raise EngineBuildError(
                f"{self._backend.name} reported success for {self._model_name}, but wrote no "
                f"{result.plan_name}",
                code="TRT304",
                facts={"model": self._model_name, "product": self._toolchain.product},
                fix="Read the log lines above, and check the space on the cache's disk.",
                log_tail=result.log_tail,
            )
        files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
        facts = EngineFacts(
            size_bytes=sum(file.size_bytes for file in files.values()),
            build_s=called_s if result.build_s is None else result.build_s,
            memory_bytes=result.device_memory_bytes,
            layers=result.layers,
            hidden_weights=result.hidden_weights,
            fp32_weights_bytes=4 * float_elements(request.model),
            calibration=self._calibration.statistics if self._calibration else None,
        )
        sidecar = Sidecar(
            key_digest=self.key.digest,
            key_fields=dict(self.key.fields),
            model_name=self._model_name,
            model_path=str(request.model.path),
            plan_name=result.plan_name,
            files=files,
            built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            reason=reason,
            notes=result.notes,
            log_tail=result.log_tail,
        )
        return sidecar, facts

    def engine(self, entry: Entry, *, cached: bool, warnings: Sequence[Diagnostic] = ()) -> Engine:
        """Return the engine of an entry.

        Raises:
            EngineBuildError: Nothing in it has the requested precision.
        """
        model, spec, sidecar = self._request.model, self._request.spec, entry.sidecar
        shortfall = precision_shortfall(
            spec, model, entry.facts, entry.plan, builder_chooses=self._route.builder_chooses
        )
        if shortfall is not None:
            raise shortfall
        uncertain = precision_uncertain(spec, model, entry.facts)
        return Engine(
            model=model,
            spec=spec,
            target=self._request.target,
            toolchain=self._toolchain,
            route=self._route,
            key=self.key,
            plan=entry.plan,
            plan_digest=sidecar.files[sidecar.plan_name].digest,
            plan_facts=entry.facts,
            cached=cached,
            reason=sidecar.reason,
            notes=sidecar.notes,
            log_tail=sidecar.log_tail,
            warnings=(*warnings, uncertain) if uncertain else tuple(warnings),
        )


def _damaged(entry: CorruptEntry) -> Diagnostic:
    what = "has another format" if entry.other_format else "was damaged"
    return Diagnostic(
        "TRT810",
        f"the cached engine {what}, so it was rebuilt: {entry.reason}",
        facts={"entry": entry.folder.name, "damage": entry.reason},
        severity="note" if entry.other_format else "warning",
    )


def _read_only(cache: EngineCache) -> Diagnostic:
    return Diagnostic(
        "TRT811",
        f"the engine cache {cache.root} is read-only, so the engine was not stored",
        facts={"folder": str(cache.root)},
        remedy=Remedy("Make the folder writable, or choose another with --trt-cache-dir."),
        severity="warning",
    )


def _repeated(error: EngineBuildError) -> EngineBuildError:
    # The log of a builder is long; the test that met the error first has all of it.
    details = ("an earlier test of this run got this error; the build was not repeated",)
    diagnostic = replace(error.diagnostic, details=details)
    copy = rebuild(type(error), {**vars(error), "diagnostic": diagnostic})
    assert isinstance(copy, EngineBuildError)
    return copy


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def float_elements(model: OnnxModel) -> int:
    """Return the number of floating-point weights of a model."""
    floats = ("half", "float", "bfloat16")
    return sum(count for name, count in model.elements.items() if precision_of(name) in floats)
