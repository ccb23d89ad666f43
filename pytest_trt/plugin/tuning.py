"""`pytest-trt tune`: the smallest `keep_fp32` with which a test passes, searched in the test."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from pytest_trt.accuracy.evidence import copied
from pytest_trt.backends.observing.switched import SwitchedModel, switched
from pytest_trt.diagnostics import EngineBuildError, PytestTrtError
from pytest_trt.engine.builder_options import shared_options
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.plugin.models.searching import TOO_SLOW, names_others
from pytest_trt.plugin.recording import Recorded, Recorder
from pytest_trt.plugin.state import progress_of
from pytest_trt.precision.error import output_errors
from pytest_trt.precision.samples import read_samples
from pytest_trt.precision.timing import time_engines
from pytest_trt.precision.tune import Score, Search, Step, TimeOverError, TradeOff, Tuned, Tuner
from pytest_trt.tensors.calibration_data import CalibrationData
from pytest_trt.tensors.spec import InputSamples
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.engine.build import Engine
    from pytest_trt.engine.protocols import Progress
    from pytest_trt.tensors.spec import Tensors

#: Runs on which nodes are ranked: those with the largest errors.
_RANKED_ON = 2

#: The share of the time that ranking may take.
_RANKING = 0.5

#: Operators that hold nodes of their own.
_WITH_BODIES = frozenset({"If", "Loop", "Scan"})

#: Seconds of timed rounds for each engine of the trade-off.
_TIMED_S = 2.0


@dataclass
class TuneSettings:
    """What a user wants.

    Attributes:
        precision: The precision to tune.
        timeout_s: Seconds for the search of one engine: no further step begins after it, and one
            that takes longer is ended.
        data: A file or folder of samples that have to pass as well; None for none.
        times: Whether engines of the trade-off are built and timed.
    """

    precision: str
    timeout_s: float = 600.0
    data: Path | None = None
    times: bool = True


class TuneGatherer:
    """Retains what engines of one precision are given, and tunes them when their test has run.

    Attributes:
        recorder: The plugin to run the tests with.
        found: What was found, engine by engine.
    """

    def __init__(self, settings: TuneSettings) -> None:
        self._settings = settings
        self.recorder = Recorder(self._on_run, self._on_end)
        self.found: list[Tuned] = []
        self._runs: dict[tuple[pytest.Item, str], tuple[Recorded, list[Tensors]]] = {}

    def _on_run(self, run: Recorded) -> None:
        if run.engine.spec.precision == self._settings.precision:
            # A test that fails by itself leaves runs, of an engine that the next test may share.
            of = run.model.item, run.engine.key.digest
            _, inputs = self._runs.setdefault(of, (run, []))
            inputs.append(copied(run.inputs))

    def _on_end(self, item: pytest.Item) -> None:
        runs, self._runs = self._runs, {}
        for run, inputs in [one for (test, _), one in runs.items() if test is item]:
            if self._settings.data is not None:
                samples = read_samples(self._settings.data, run.engine.model.inputs)
                inputs += [sample.inputs for sample in samples]
            name = f"tuning {run.engine.model.path.name} {run.engine.spec.precision}"
            with progress_of(item.config).task(name) as say:
                self.found.append(_tuned(item.nodeid, run, inputs, self._settings, say))


def _tuned(
    test: str, run: Recorded, inputs: list[Tensors], settings: TuneSettings, say: Progress
) -> Tuned:
    engine = run.engine
    about = Tuned(
        test,
        engine.model.path.name,
        engine.spec.precision,
        str(engine.target),
        str(engine.toolchain),
        engine.spec.keep_fp32,
        len(inputs),
        has_bodies=not _WITH_BODIES.isdisjoint(engine.model.op_types),
        several=names_others(run.model.model_marker.precision, engine.spec.precision),
    )
    obstacle = _obstacle(engine)
    if obstacle:
        return replace(about, problem=obstacle)
    try:
        with TemporaryDirectory(prefix="pytest-trt-") as folder:
            return _Tuning(run, inputs, settings, say, Path(folder)).result(about)
    except PytestTrtError as error:
        return replace(about, problem=error.message)


def _obstacle(engine: Engine) -> str:
    if engine.finished:
        return "a finished plan cannot be built again"
    if engine.model.is_quantized and engine.spec.precision in ("fp8", "int4", "int8", "mixed"):
        return "the model is quantised already, and its own Q/DQ nodes decide"
    return ""


@dataclass
class _Tuning:
    """One engine that is tuned."""

    run: Recorded
    inputs: list[Tensors]
    settings: TuneSettings
    say: Progress
    folder: Path
    engines: dict[frozenset[str], Engine] = field(default_factory=dict)

    def result(self, about: Tuned) -> Tuned:
        """Search, and measure the trade-off."""
        started_s, limit_s = time.monotonic(), self.settings.timeout_s
        model, trt = self.run.model, self.run.model.run
        own = [model.engine_inputs(one) for one in self.inputs]
        self.say("computing the references")
        self.expected = {id(one): self.run.check.reference(one) for one in self.inputs}
        self.fp32 = [trt.reference_outputs(self.run.engine.model, one) for one in own]
        self.own = own
        none = self.score(self.ran(self.run.engine))
        ranked = sorted(range(len(own)), key=lambda at: -self.errors[at])[:_RANKED_ON]
        fp32 = self.score(self.fp32)
        search = Search("passes" if none.passed else "impossible")
        tuner = None
        if not none.passed and fp32.passed:
            trial = self.switchable()
            every = frozenset(one.entry for one in trial.units)

            def has_time(share: float = 1.0) -> bool:
                return time.monotonic() - started_s < limit_s * share

            def alone(entries: Collection[str]) -> float:
                found = trials(every.difference(entries), [own[at] for at in ranked])
                exact = (self.fp32[at] for at in ranked)
                return max(_error(*each, self.run) for each in zip(found, exact, strict=True))

            def trials(kept: frozenset[str], inputs: Sequence[Tensors]) -> list[Tensors]:
                found = []
                for one in inputs:
                    if not has_time():
                        raise TimeOverError
                    found.append(_limited(trial, kept, one))
                return found

            tuner = Tuner(
                [(one.entry, one.operator) for one in trial.units],
                lambda kept: self.score(trials(kept, own)),
                self.built,
                alone,
                fp32,
                has_time,
                lambda: has_time(_RANKING),
                self.say,
            )
            search = tuner.search(none)
        found = replace(about, search=search, seconds=time.monotonic() - started_s)
        steps = [Step((), none, built=True), *search.steps]
        if search.outcome in ("passes", "impossible"):
            return found
        found = self.with_trade_off(found, steps, fp32)
        return replace(found, seconds=time.monotonic() - started_s)

    def switchable(self) -> SwitchedModel:
        """Return the model whose nodes are switched."""
        engine = self.run.engine
        samples: InputSamples = ()
        if engine.route.needs_calibration:
            samples = CalibrationData.of(self.run.calibration(), engine.model.inputs)
        place = self.folder / "switched"
        place.mkdir()
        request = BuildRequest(engine.model, engine.spec, engine.target, place, samples, self.say)
        threads, limit_s = self.run.model.run.settings.threads, self.settings.timeout_s
        return switched(request, place, threads=threads, timeout_s=limit_s)

    def built(self, kept: frozenset[str]) -> Score:
        """Judge the engine that keeps some entries; one that cannot be built does not pass."""
        try:
            engine = self.engine(kept)
        except EngineBuildError:  # such as one of which nothing would be reduced
            return Score(False, math.inf, math.inf)
        return self.score(self.ran(engine))

    def engine(self, kept: frozenset[str]) -> Engine:
        """Return the engine that keeps some entries, beside those that the test keeps."""
        if kept not in self.engines:
            spec = self.run.engine.spec
            wanted = replace(spec, keep_fp32=(*spec.keep_fp32, *sorted(kept)))
            self.engines[kept] = self.of_spec(wanted)
        return self.engines[kept]

    def of_spec(self, spec: EngineSpec) -> Engine:
        """Build an engine, or take it from the cache."""
        engine, trt = self.run.engine, self.run.model.run
        return trt.engine(
            engine.model,
            spec,
            engine.target.arch,
            calibration=self.run.calibration,
            progress=self.say,
        )

    def ran(self, engine: Engine) -> list[Tensors]:
        """Return what an engine returns for all inputs."""
        session = self.run.model.run.session(engine)
        return [session.run(one) for one in self.own]

    def score(self, outputs: Sequence[Tensors]) -> Score:
        """Judge outputs for all inputs by the check of the test."""
        twin = self.run.check.twin(reference=lambda inputs: self.expected[id(inputs)])
        engine = self.run.engine
        for given, found in zip(self.inputs, outputs, strict=True):
            twin.observe(engine, given, found, "tune")
        used = [one.used for one in twin.results() if one.used is not None]
        self.errors = [
            _error(found, exact, self.run) for found, exact in zip(outputs, self.fp32, strict=True)
        ]
        return Score(not twin.has_failed, max(self.errors, default=0.0), max(used, default=0.0))

    def with_trade_off(self, found: Tuned, steps: Sequence[Step], fp32: Score) -> Tuned:
        """Return a result with sets of several sizes, those that have engines timed."""
        assert found.search is not None
        points = {len(one.kept): one for one in steps if not one.built}
        # An engine that could not be built has no error to show.
        built = [one for one in steps if not one.kept or frozenset(one.kept) in self.engines]
        points |= {len(one.kept): one for one in built if one.built}
        rows = [
            TradeOff(count(size, "node") if size else "none", size, one.score, one.built)
            for size, one in sorted(points.items())
            if size <= len(found.search.kept) or one.built
        ]
        total = len(found.search.ranking)
        rows.append(TradeOff("fp32", total, fp32))
        if not self.settings.times or found.search.outcome == "timeout":
            return replace(found, trade_off=tuple(rows))
        engines = {row.label: one for row, one in self._engines(rows, points)}
        self.say("timing the trade-off")
        timing = time_engines(
            self.run.model.run, engines, self.own[0], budget_s=_TIMED_S, say=self.say
        )
        timed = [
            replace(
                row,
                built=True,
                p50_ms=timing.speeds[row.label].p50_ms,
                size_bytes=engines[row.label].facts.size_bytes,
            )
            if row.label in engines
            else row
            for row in rows
        ]
        return replace(found, trade_off=tuple(timed), disturbed=timing.disturbed)

    def _engines(
        self, rows: Sequence[TradeOff], points: dict[int, Step]
    ) -> Iterator[tuple[TradeOff, Engine]]:
        for row in rows:
            if row.label == "fp32":
                with suppress(PytestTrtError):
                    yield row, self._fp32_engine()
            elif not row.kept:
                yield row, self.run.engine
            elif row.built:
                yield row, self.engine(frozenset(points[row.kept].kept))

    def _fp32_engine(self) -> Engine:
        spec = self.run.engine.spec
        options = shared_options(spec.builder_options, "fp32")
        return self.of_spec(replace(spec, precision="fp32", keep_fp32=(), builder_options=options))


def _limited(trial: SwitchedModel, kept: frozenset[str], inputs: Tensors) -> Tensors:
    """Return the outputs of a trial.

    Raises:
        TimeOverError: It took longer than the search may take.
    """
    try:
        return trial.run(kept, inputs)
    except PytestTrtError as error:
        if error.diagnostic.code in TOO_SLOW:
            raise TimeOverError from error
        raise


def _error(outputs: Tensors, exact: Tensors, run: Recorded) -> float:
    found = output_errors(outputs, exact, run.engine.model.outputs)
    return max((one.relative_l2 for one in found), default=0.0)
