"""One test run: what its tests share. Loaded when the first of them needs it.

What only builds or benchmarks need is imported where it is used: most runs find their engines in
the cache and time nothing.
"""

from __future__ import annotations

import math
import os
import platform
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.reference_store import ReferenceStore, reference_key
from pytest_trt.accuracy.repeatable import Outputs, repeatable
from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.devices.lost import LostDevice
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.selection import Selection, is_installed, make_backend, select
from pytest_trt.diagnostics import (
    CacheError,
    ConfigurationError,
    EngineBuildError,
    EngineLoadError,
    ModelError,
)
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import Timings
from pytest_trt.engine.finished import (
    FinishedPlan,
    check_finished,
    finished_engine,
    opened_plan,
)
from pytest_trt.engine.key import same_runtime
from pytest_trt.engine.protocols import Backend, BackendSession, Plan, Progress
from pytest_trt.engine.run_records import RunRecords
from pytest_trt.engine.session import load_here
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.files import TICK_NS, FileStamp
from pytest_trt.onnx.file import OnnxModel, load_model, read_interface
from pytest_trt.onnx.libraries import Library
from pytest_trt.onnx.unchanged import of_hashed_bytes
from pytest_trt.plugin.options.settings import Settings
from pytest_trt.tensors.calibration_data import CalibrationData, Spooled, file_stamps
from pytest_trt.tensors.seeded import inputs_digest
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.terms import CPU
from pytest_trt.workers.warm import warm_builder

if TYPE_CHECKING:
    from pytest_trt.accuracy.earlier import FirstRuns
    from pytest_trt.backends.devices.watch import DeviceWatch
    from pytest_trt.benchmark.conditions import BenchmarkPlace
    from pytest_trt.benchmark.evidence import FreshEngine
    from pytest_trt.benchmark.host import HostMonitor
    from pytest_trt.diagnostics import Diagnostic

#: Engines that stay loaded for the next test: enough for one model in every precision, few enough
#: for a GPU's memory.
_LOADED_ENGINES = 4


class TrtRun:
    """Backends, cache and loaded engines of one test run (of one xdist worker).

    Args:
        settings: The options.
        probe: Looks for GPUs; by default when they are first needed.
        clock: Nanoseconds since 1970, to tell whether model files were changed recently.
        host: Measures the host's load; by default what Linux reports.

    Attributes:
        settings: The options.
        lost_device: Whether a test has lost the GPU.
        lock: Held while an engine is built or runs, and its outputs are compared.
        active: Tests with an accuracy check that are running an engine at this moment.
        ran: Keys of the engines that ran.
        searched: How many engines were searched for the layer that loses precision.
        late_runs: Runs that were refused because their test was over, until they are reported.
        timed_until_s: When the last rounds of an engine ended, by the monotonic clock.
        free_at_s: When the device was last known to be free of others, by the same clock.
    """

    def __init__(
        self,
        settings: Settings,
        probe: Callable[[], DeviceProbe] | None = None,
        clock: Callable[[], int] = time.time_ns,
        host: HostMonitor | None = None,
    ) -> None:
        self.settings = settings
        self._probe = probe or probe_devices
        self._clock, self._host = clock, host
        self._interfaces: dict[Path, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]] = {}
        self._models: dict[Path, OnnxModel] = {}
        self._libraries: dict[Path, Library] = {}
        self._backends: dict[str, Backend] = {}
        self._sessions: OrderedDict[str, BackendSession] = OrderedDict()
        self._references: OrderedDict[str, BackendSession] = OrderedDict()
        self._failed_builds: dict[str, EngineBuildError] = {}
        self._finished: dict[str, Engine] = {}
        self._timings: defaultdict[str, Timings] = defaultdict(Timings)
        self._calibrations: dict[object, tuple[tuple[FileStamp, ...], CalibrationData]] = {}
        self._spooled: WeakKeyDictionary[object, Spooled] = WeakKeyDictionary()
        self._spooled_for_good: dict[int, tuple[object, Spooled]] = {}
        self._context_begun = False
        self.lost_device = LostDevice()
        self.lock = threading.RLock()
        self.active: list[str] = []
        self.ran: set[str] = set()
        self.searched = 0
        self.late_runs: list[Diagnostic] = []
        self.timed_until_s = self.free_at_s = -math.inf

    @cached_property
    def first_runs(self) -> FirstRuns:
        """The first runs of engines with a single sample."""
        from pytest_trt.accuracy.earlier import FirstRuns

        return FirstRuns()

    @cached_property
    def probe(self) -> DeviceProbe:
        """The GPUs that engines may run on.

        Raises:
            ConfigurationError: --trt-device names none of them.
        """
        if not self.settings.looks_for_gpus:
            return DeviceProbe((), "not looked for, as only the CPU is tested")
        found = self._probe()
        return found.only(self.settings.device) if self.settings.device else found

    @cached_property
    def selections(self) -> tuple[Selection, ...]:
        """What is tested, and with which backend.

        Raises:
            ConfigurationError: This machine cannot test what the options request.
            BackendUnavailableError: The requested backend is not installed.
        """
        return select(
            archs=self.settings.arch,
            backend=self.settings.backend,
            probe=self.probe,
            installed=is_installed,
            additional=self.settings.additional_backends,
        )

    @cached_property
    def cache(self) -> EngineCache:
        """The engine cache.

        Raises:
            CacheError: It cannot be used.
        """
        return self.settings.open_cache()

    def cache_notes(self) -> list[Diagnostic]:
        """Return what was damaged in the cache and has not been reported yet."""
        notes = []
        if "cache" in vars(self):
            notes, self.cache.notes = self.cache.notes, []
        return notes

    @cached_property
    def embedded(self) -> OnnxRuntimeBackend:
        """ONNX Runtime, which computes references whatever is under test."""
        return OnnxRuntimeBackend(
            self.settings.threads,
            build_timeout_s=self.settings.build_timeout,
            run_timeout_s=self.settings.run_timeout,
            records=self._records,
        )

    @cached_property
    def _records(self) -> RunRecords:
        """What ran on this machine before."""
        return RunRecords(self.cache.references, producer=self.producer)

    @cached_property
    def producer(self) -> str:
        """What computes references: product, version, host and settings."""
        plain = OnnxRuntimeBackend()
        return f"{plain.toolchain()} on {plain.target(CPU)}, unoptimised"

    def backend(self, arch: str) -> Backend:
        """Return the backend that was selected for an architecture."""
        name = next((s.backend for s in self.selections if s.arch == arch), None)
        if name is None:
            archs = [selection.arch for selection in self.selections]
            raise ConfigurationError(
                f"the trt_arch fixture returned {arch!r}, but this run tests {', '.join(archs)}",
                fix=f"run with --trt-arch={arch}, or do not override trt_arch.",
                code="TRT154",
                facts={"fixture": "trt_arch", "values": archs},
            )
        if name == OnnxRuntimeBackend.name:
            return self.embedded
        if name not in self._backends:
            self._backends[name] = self._made_backend(name, self.cache.timing)
        return self._backends[name]

    def backend_without_timing_cache(self, arch: str) -> Backend:
        """Return a backend like that of an architecture, whose builds time every kernel again."""
        backend = self.backend(arch)
        return backend if backend is self.embedded else self._made_backend(backend.name, None)

    def _made_backend(self, name: str, timing_folder: Path | None) -> Backend:
        return make_backend(
            name,
            probe=self.probe,
            threads=self.settings.threads,
            build_timeout_s=self.settings.build_timeout,
            timing_folder=timing_folder,
            additional=self.settings.additional_backends,
        )

    def interface(
        self, path: Path, *, again: bool = False
    ) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Return a model's inputs and outputs, which every collected test needs.

        Args:
            path: The model.
            again: Whether to read it even if it was read before: tests may have written it since.
        """
        if again or path not in self._interfaces:
            digests = None
            with suppress(CacheError):  # reported by the first test that needs the cache
                digests = self.cache.digests
            self._interfaces[path] = read_interface(path, digests=digests, clock=self._clock)
        return self._interfaces[path]

    def model(self, path: Path, progress: Progress) -> OnnxModel:
        """Return a model's facts, read again only when one of its files has changed."""
        known = self._models.get(path)
        if known is not None and known.is_untouched(TICK_NS):
            return known
        model = load_model(path, progress=progress, digests=self.cache.digests, clock=self._clock)
        self._models[path] = model
        return model

    def library(self, path: Path) -> Library:
        """Return a library, hashed again only when the file has changed."""
        known = self._libraries.get(path)
        if known is None or not known.is_untouched():
            known = self._libraries[path] = Library.read(path, self._clock)
        return known

    def engine(
        self,
        model: OnnxModel,
        spec: EngineSpec,
        arch: str,
        *,
        calibration: Callable[[], object],
        progress: Progress,
        embedded: bool = False,
    ) -> Engine:
        """Return an engine, built if it has to be; one of ONNX Runtime whatever is under test."""
        backend = self.embedded if embedded else self.backend(arch)
        engine = build_or_load(
            model=model,
            spec=spec,
            target=backend.target(arch),
            backend=backend,
            cache=self.cache,
            calibration=calibration,
            progress=progress,
            failures=self._failed_builds,
        )
        # Tests that share an engine share what was measured of it.
        return replace(engine, timings=self._timings[engine.key.digest])

    def calibration(self, given: object, inputs: Sequence[TensorSpec]) -> CalibrationData:
        """Return calibration data; what an iterator yields is stored, for tests that share it.

        Raises:
            InputError: It is none, or does not fit the model.
        """
        if isinstance(given, Iterator):
            given = self._spooled_once(given)
        if not isinstance(given, str | os.PathLike):
            return CalibrationData.of(given, inputs)
        # Tests of one model need not read a large folder each.
        now_ns, stamps = self._clock(), file_stamps(Path(given))
        known = self._calibrations.get((str(given), tuple(inputs)))
        if known is not None and known[0] == stamps:
            return known[1]
        data = CalibrationData(given, inputs)
        if stamps and all(one.rested(now_ns) for one in stamps):
            self._calibrations[str(given), tuple(inputs)] = stamps, data
        return data

    def _spooled_once(self, given: Iterator[object]) -> Spooled:
        """Return what an iterator yields, stored, the same for all who read it."""
        try:
            return self._spooled.setdefault(given, Spooled(given))
        except TypeError:  # map, zip and others have no weak references, so they are held
            return self._spooled_for_good.setdefault(id(given), (given, Spooled(given)))[1]

    def begin_context(self, arch: str) -> None:
        """Create the CUDA context in the background, while the plan is found and checked. Once."""
        gpu = None if arch == CPU or self._context_begun else self.probe.first(arch)
        if gpu is not None and not self.settings.build_only:
            from pytest_trt.backends.cuda.background import begin_context

            self._context_begun = True
            begin_context(gpu.index)

    def session(self, engine: Engine) -> BackendSession:
        """Return a loaded engine; the last few stay loaded."""
        key = engine.key.digest
        _drop_abandoned(self._sessions, key)
        if key not in self._sessions:
            while len(self._sessions) >= _LOADED_ENGINES:
                self.lost_device.release(self._sessions.popitem(last=False)[1])
            if engine.target.arch != CPU:
                self.lost_device.refuse_if_lost()
            self._sessions[key] = self._opened(engine)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _opened(self, engine: Engine) -> BackendSession:
        model, spec, target = engine.model, engine.spec, engine.target
        embedded = dict(engine.key.fields)["backend"] == OnnxRuntimeBackend.name
        backend = self.embedded if embedded else self.backend(target.arch)
        if backend is self.embedded:
            return self.embedded.open_later(
                lambda: self._plan(engine),
                model,
                spec,
                target,
                plan_digest=engine.plan_digest,
                timings=engine.timings,
                built=None if engine.cached or engine.finished else engine.plan,
            )
        started_s = time.perf_counter()
        with self._plan(engine) as plan:
            session = backend.open(plan, model, spec, target)
        engine.timings.loaded(time.perf_counter() - started_s)
        return session

    @contextmanager
    def _plan(self, engine: Engine) -> Iterator[Plan]:
        if not engine.finished:
            with self.cache.plan(engine.plan, engine.key.digest) as plan:
                yield plan
            return
        with opened_plan(engine.plan, engine.plan_digest) as (plan, _):
            yield plan

    def checked_plan(
        self, path: Path, model: OnnxModel, spec: EngineSpec, arch: str
    ) -> FinishedPlan:
        """Return a finished plan after checking its header and its manifest; nothing is loaded."""
        backend = self.backend(arch)
        return check_finished(path, model, spec, backend.target(arch), backend)

    def finished(self, found: FinishedPlan) -> Engine:
        """Return a finished plan as an engine; it is loaded to be read once a run."""
        model = found.model
        libraries = [one.digest for one in (*model.custom_ops, *model.plugin_libraries)]
        key = repr((found.path, found.digest, model.digest, libraries, found.spec, found.target))
        if key not in self._finished:
            if found.target.arch != CPU:
                self.lost_device.refuse_if_lost()
            engine = finished_engine(found, self.backend(found.target.arch))
            self._finished[key] = engine
        engine = self._finished[key]
        return replace(engine, timings=self._timings[engine.key.digest])

    def unload_others(self, engine: Engine) -> None:
        """Release every loaded engine but one, for another process to have the memory."""
        for key in [key for key in self._sessions if key != engine.key.digest]:
            self.lost_device.release(self._sessions.pop(key))

    @contextmanager
    def opened(self, key_digest: str, candidate: Engine) -> Iterator[BackendSession | None]:
        """Load a cached engine next to a loaded one; None if comparing the two shows nothing.

        Args:
            key_digest: The engine's key.
            candidate: The engine that it is compared with in one process: both must run on the same
                toolchain and device.
        """
        session, found = None, self.cache.find(key_digest)
        if found and same_runtime(found.sidecar.key_fields, dict(candidate.key.fields)):
            sidecar = found.sidecar
            engine = replace(
                candidate,
                key=replace(candidate.key, digest=key_digest),
                plan=found.plan,
                plan_digest=sidecar.files[sidecar.plan_name].digest,
                timings=Timings(),
            )
            with suppress(EngineLoadError):
                session = self._opened(engine)
                load_here(session)
        try:
            yield session
        finally:
            if session is not None:
                self.lost_device.release(session)

    @contextmanager
    def opened_beside(self, engine: Engine) -> Iterator[BackendSession]:
        """Load an engine next to those that are loaded, and release it afterwards."""
        session = self._opened(engine)
        try:
            yield session
        finally:
            self.lost_device.release(session)

    @cached_property
    def host(self) -> HostMonitor:
        """Measures the load of the host."""
        from pytest_trt.benchmark.host import HostMonitor

        return self._host or HostMonitor()

    def fresh_job(self, engine: Engine) -> FreshEngine:
        """Return how another process opens an engine."""
        from pytest_trt.benchmark.evidence import FreshEngine

        arch = engine.target.arch
        gpu = None if arch == CPU else self.probe.first(arch)
        device = "" if gpu is None else gpu.uuid or str(gpu.index)
        return FreshEngine(self.backend(arch).name, device, self.settings.threads)

    def place(self, target: Target) -> BenchmarkPlace:
        """Return where engines for a target are timed."""
        from pytest_trt.benchmark.conditions import BenchmarkPlace
        from pytest_trt.benchmark.host import host_cpu

        if target.arch == CPU:
            device = {"arch": target.arch, **target.device, **host_cpu()}
            return BenchmarkPlace(device, f"cpu-{platform.node()}", {})
        gpu = next(gpu for gpu in self.probe.gpus if gpu.arch == target.arch)
        return BenchmarkPlace(
            {"arch": target.arch, **target.device},
            gpu.uuid or f"{gpu.name}-{platform.node()}",
            {"driver": gpu.driver_version},
        )

    def watched(self, target: Target) -> AbstractContextManager[DeviceWatch | None]:
        """Provide a watch for disturbances of a target's device; None if nothing reports them."""
        from pytest_trt.backends.devices.watch import watched_device

        gpu = None if target.arch == CPU else self.probe.first(target.arch)
        return watched_device(gpu.uuid if gpu else "")

    def reference_outputs(
        self, model: OnnxModel, inputs: Tensors
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return what the model computes in FP32, from the cache if it was computed before."""

        def compute() -> dict[str, npt.NDArray[np.generic]]:
            try:
                return of_hashed_bytes(
                    model,
                    lambda: repeatable(model, self._reference(model).run, inputs),
                    again=lambda: self._close_reference(model),
                )
            except ModelError:
                self._close_reference(model)
                raise

        return self.stored_outputs(model, inputs, self.producer, compute)

    def stored_outputs(
        self,
        model: OnnxModel,
        inputs: Tensors,
        producer: str,
        compute: Callable[[], Outputs],
    ) -> Outputs:
        """Return reference outputs of a model from the cache, computed where they are missing."""
        __tracebackhide__ = True
        key = reference_key(
            model_digest=model.outputs_digest,
            inputs_digest=inputs_digest(inputs),
            producer=producer,
        )
        return self._reference_store.get(key, compute)

    def _reference(self, model: OnnxModel) -> BackendSession:
        _drop_abandoned(self._references, model.outputs_digest)
        if model.outputs_digest not in self._references:
            while len(self._references) >= _LOADED_ENGINES:
                self._references.popitem(last=False)[1].close()
            self._references[model.outputs_digest] = self.embedded.reference(model)
        self._references.move_to_end(model.outputs_digest)
        return self._references[model.outputs_digest]

    def _close_reference(self, model: OnnxModel) -> None:
        session = self._references.pop(model.outputs_digest, None)
        if session is not None:
            session.close()

    @cached_property
    def _reference_store(self) -> ReferenceStore:
        cache = self.cache
        return ReferenceStore(cache.references, stored=cache.stored, damaged=cache.damaged)

    def close(self) -> None:
        """Release every loaded engine, and the process that builds them."""
        for session in self._sessions.values():
            self.lost_device.release(session)
        for reference in self._references.values():
            reference.close()
        self._sessions.clear()
        self._references.clear()
        if "_records" in vars(self):
            self._records.save()
        if "cache" in vars(self):
            self.cache.index_new()
        warm_builder.end()

    def environment(self) -> list[str]:
        """Return lines that show what is tested, with what, and why."""
        lines = [
            f"trt: {self.backend(s.arch).toolchain()} for {self.backend(s.arch).target(s.arch)}"
            f" - {s.why}"
            for s in self.selections
        ]
        return [*lines, f"trt cache: {self.cache.root}"]


def _drop_abandoned(sessions: OrderedDict[str, BackendSession], key: str) -> None:
    """Drop a session whose last run did not stop when it was asked to."""
    if getattr(sessions.get(key), "is_abandoned", False):
        del sessions[key]
