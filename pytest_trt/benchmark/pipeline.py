"""The measuring pipeline: rounds, from whichever source, to evidence to a judged result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.benchmark import messages
from pytest_trt.benchmark.commands import command_again
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.evidence import BenchmarkSettings, Evidence, Opponent, RoundSource
from pytest_trt.benchmark.gates import (
    absolute_results,
    engine_results,
    lacks_figure,
    relative_decision,
    speedup_results,
    too_short,
    untested_defaults,
)
from pytest_trt.benchmark.judge import has_passed, judge, with_figures
from pytest_trt.benchmark.recorded_source import MORE_TIME, TooFewRounds
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.rounds import MOST_TIMES, Disturbed
from pytest_trt.benchmark.verdict_messages import verdict_diagnostics
from pytest_trt.diagnostics import Diagnostic, Remedy, Severity
from pytest_trt.engine.layer_changes import Change, layer_changes, shortened
from pytest_trt.engine.shortfall import fp32_layers
from pytest_trt.statistics.absolute import combined
from pytest_trt.statistics.decide import FIRST_ROUNDS, Unavailable
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.rounds import GROUP_CALLS
from pytest_trt.terms import METRICS, Verdict

#: Changes of layers that a failure lists.
_LAYERS = 6


class Pipeline:
    """Measures one test.

    Args:
        source: Where its rounds come from.
        limits: Its limits.
        settings: Options of the run.
        location: Where its baseline lies.
        opponents: The engines that it has to be faster than.

    Attributes:
        entry: The baseline that it was compared with; None where it was compared with none.
    """

    def __init__(
        self,
        source: RoundSource,
        limits: Limits,
        settings: BenchmarkSettings,
        location: BaselineLocation,
        opponents: Sequence[Opponent] = (),
    ) -> None:
        self._opponents = opponents
        self._source, self._limits, self._settings = source, limits, settings
        self._location = location
        self._stored = location.read() if limits.needs_baseline else None
        self.entry: Entry | None = None
        result = source.subject.result(file=location.shown, checks=settings.checks)
        self._result = replace(
            result, diagnostics=tuple(source.notes()), update_options=settings.update_options
        )

    def run(self) -> BenchmarkResult:
        """Take the rounds that a verdict needs, and return it.

        Raises:
            BaselineError: The baseline file cannot be read.
            EngineRunError: The engine failed.
        """
        stored, subject = self._stored, self._source.subject
        if stored is not None:
            explicit = [m for m in self._limits.explicit if not self._shows_never(m)]
            different = stored.differs(mode=subject.mode, spec=subject.spec)
            different = different or too_short(stored, explicit)
            different = different or lacks_figure(stored, self._limits, subject.engine)
            if different and not self._settings.update:
                found = messages.not_comparable(self._result, different)
                return self._with(self._result, [found], Verdict.NOT_COMPARABLE)
            self.entry = None if different else stored
        elif self._lacks_baseline():
            return self._without_baseline()
        try:
            with self._source.measuring():
                return self._skipped_unless_failed(self._measured())
        except Disturbed as error:
            return self._disturbed(str(error))
        except TooFewRounds as error:
            found = messages.too_few_rounds(
                self._with_engine(self._result),
                error.count,
                error.needed,
                self._severity,
                MORE_TIME,
            )
            return self._inconclusive(found)
        except Unavailable as error:
            return self._with(
                self._result,
                [messages.not_calibrated(self._result, str(error))],
                Verdict.NOT_MEASURED,
            )

    def _shows_never(self, metric: str) -> bool:
        # More calls cannot show what averages hide.
        return not self._source.can_sample and bool(self._source.hidden(metric))

    # --- nothing to compare with

    def _lacks_baseline(self) -> bool:
        settings, limits = self._settings, self._limits
        if settings.update or settings.calibrate or not limits.needs_baseline:
            return False
        skips = settings.missing_baseline == "skip" and not limits.has_standalone_limits
        return settings.missing_baseline == "fail" or skips

    @property
    def _why_skipped(self) -> str:
        return f"no baseline in {self._location.shown} (--trt-missing-baseline=skip)"

    def _without_baseline(self) -> BenchmarkResult:
        location = self._location
        if self._settings.missing_baseline == "skip":
            return replace(self._result, skipped=self._why_skipped)
        devices = location.devices()
        found = messages.no_baseline(
            self._result,
            location.device,
            [one for one in devices if one != location.device],
            of_module=location.device in devices,
            why=self._settings.missing_reason,
        )
        return self._with(self._result, [found], Verdict.NOT_MEASURED)

    def _skipped_unless_failed(self, result: BenchmarkResult) -> BenchmarkResult:
        """Skip a test of which only the limits were judged that need no baseline."""
        judged = self._stored is not None or not self._limits.needs_baseline or result.update
        failed = any(one.severity == "error" for one in result.diagnostics)
        if judged or failed or self._settings.missing_baseline != "skip":
            return result
        return replace(result, skipped=f"{self._why_skipped}; its other limits are not exceeded")

    # --- measuring

    def _measured(self) -> BenchmarkResult:
        source, settings = self._source, self._settings
        entry = self.entry = source.prepare(self.entry, self._limits)
        if settings.calibrate and source.can_sample and self._limits.relative:
            return self._calibrated()
        decision = None
        if entry is not None and self._limits.relative:
            decision = relative_decision(source, entry, self._limits, settings)
        if decision is None:
            source.screen(FIRST_ROUNDS)
        absolute = absolute_results(source, self._limits, settings)
        busy = source.load.busy
        overloaded = source.environment().get(HOST_BUSY, "")
        if settings.update and self._stored and overloaded and not settings.update_anyway:
            return self._not_updated(f"the host was overloaded ({overloaded})", host=True)
        speedups = speedup_results(self._opponents, self._limits, settings, entry)
        recorded = settings.records(self._limits, self._stored)
        evidence = Evidence(entry, decision, absolute, speedups, {}, (), busy)
        if recorded or not has_passed(evidence):
            source.confirm()
        environment = source.environment()
        runs, notes = source.runs(recorded=recorded)
        evidence = replace(evidence, environment=environment, runs=runs, notes=notes)
        return self._judged(evidence)

    def _judged(self, evidence: Evidence) -> BenchmarkResult:
        source, settings = self._source, self._settings
        result = judge(
            self._result,
            evidence,
            source,
            self._limits,
            settings,
            self._stored,
            self._location,
        )
        if result.verdict in (Verdict.FAILED, Verdict.REGRESSED):
            result = self._with_layers(result)
        if any(one.outcome is Verdict.FAILED for one in result.speedups):
            result = self._with_wide_layers(result)
        accepted = settings.update or bool(result.update)
        found = [
            *result.diagnostics,
            *verdict_diagnostics(result, strict=settings.strict, accepted=accepted),
        ]
        if result.verdict is not Verdict.REGRESSED:
            found = [*self._untestable(result), *found]
        found += [*evidence.notes, *self._untested(result), *messages.passed_in_spite(result)]
        entry = evidence.entry
        if entry is not None and result.update:
            if entry.noise is not None and entry.engine.get("key") != result.key:
                found.append(messages.noise_dropped(result))
        elif entry is not None and _compares(result):
            then = entry.runs[-1].toolchain
            found += [messages.other_toolchain(result, then)] * (then != result.toolchain)
            rebuilt = self._source.interleaved and self._source.was_rebuilt(entry)
            found += [messages.rebuilt_baseline(result)] * bool(rebuilt)
            found += messages.outdated(result) * (result.verdict is Verdict.PASSED)
        return replace(result, diagnostics=tuple(found))

    def _calibrated(self) -> BenchmarkResult:
        source = self._source
        entry, found, notes = source.calibrate(self.entry, self._limits)
        source.confirm()
        staged = self._location.staged(entry, add=False, against=entry_digest(self._stored))
        result = replace(
            with_figures(self._with_engine(self._result), source, None),
            kind="recorded",
            update="calibrated",
            staged=staged,
            calibration=found,
        )
        exact = verdict_diagnostics(result, strict=self._settings.strict)
        outcome = combined([one.outcome for one in result.structure])
        verdict = Verdict.NOT_MEASURED if outcome == "passed" else Verdict(outcome)
        return self._with(result, [*exact, *notes], verdict)

    # --- what disturbs

    def _disturbed(self, why: str) -> BenchmarkResult:
        settings = self._settings
        if settings.update and self._limits.needs_baseline:
            return self._not_updated(why, host=False)
        if settings.records(self._limits, self._stored) or settings.calibrate:
            why += "; no baseline was recorded"
        result = self._with_engine(self._result)
        return self._inconclusive(messages.disturbed(result, why, self._severity))

    @property
    def _severity(self) -> Severity:
        """How grave rounds are that show nothing: what was to be recorded is missing then."""
        settings = self._settings
        requested = (settings.update or settings.calibrate) and self._limits.needs_baseline
        return "error" if settings.strict or requested else "warning"

    def _not_updated(self, why: str, *, host: bool) -> BenchmarkResult:
        given = self._settings.update_options
        return self._inconclusive(messages.not_updated(self._result, why, host=host, given=given))

    def _inconclusive(self, found: Diagnostic) -> BenchmarkResult:
        """Return the result of rounds that show nothing; figures that are exact count anyway."""
        result = replace(self._with_engine(self._result), kind="disturbed")
        exact = verdict_diagnostics(result, strict=self._settings.strict)
        outcomes = [one.outcome for one in result.structure]
        return self._with(result, [*exact, found], combined([*outcomes, Verdict.INCONCLUSIVE]))

    def _with_engine(self, result: BenchmarkResult) -> BenchmarkResult:
        """Return a result with what the limits of the engine itself came to."""
        entry = None if self._settings.accepts_slower else self.entry
        engine, busy = self._source.subject.engine, self._source.load.busy
        return replace(result, structure=engine_results(self._limits, engine, entry, busy))

    @staticmethod
    def _with(
        result: BenchmarkResult, found: Sequence[Diagnostic], verdict: Verdict
    ) -> BenchmarkResult:
        return replace(result, verdict=verdict, diagnostics=(*found, *result.diagnostics))

    # --- what rounds cannot show

    def _untestable(self, result: BenchmarkResult) -> list[Diagnostic]:
        """Return the failure of an explicit limit that these rounds can never exceed."""
        source, limits = self._source, self._limits
        names: list[str] = [m for m in METRICS if m in limits.explicit and source.hidden(m)]
        names += [one.name for one in result.limits if one.outcome == "not measured"]
        if not names:
            return []
        name = names[0]
        needed_s = source.needed_s(name, limits)
        if needed_s is None:
            return [messages.untestable(result, name, source.hidden(name), source.how_to_show())]
        given_s = self._settings.time_s
        # Calls do not always take the same time.
        seconds = math.ceil(1.1 * needed_s / MOST_TIMES)
        why = (
            f"it needs {needed_s:.0f} s of calls; the limit is {MOST_TIMES * given_s:g} s "
            f"({MOST_TIMES} x --trt-benchmark-time)"
        )
        # Alone, the test would have the whole error budget of the run.
        options = f"--trt-benchmark-time={seconds}", f"--trt-checks={result.checks}"
        remedy = Remedy(
            "Allow more time, or limit P50 or throughput instead:",
            (command_again(result, *options, update=self._settings.update),),
        )
        return [messages.untestable(result, name, why, remedy)]

    def _untested(self, result: BenchmarkResult) -> list[Diagnostic]:
        """Return the note on default limits that these rounds cannot show."""
        source = self._source
        missing = untested_defaults(self._limits, source)
        if not missing:
            return []
        last = max(missing, key=lambda metric: GROUP_CALLS.get(metric, 1))
        needed_s = source.needed_s(last, self._limits)
        remedy = source.how_to_show()
        if needed_s is not None:
            remedy = Remedy(
                f'A limit on the marker ({last}="10%") gets the {needed_s:.1f} s that it needs.'
            )
        return [messages.untested(result, missing, source.hidden(last), remedy)]

    # --- layers

    def _with_wide_layers(self, result: BenchmarkResult) -> BenchmarkResult:
        """Return a failure with how much of an engine of lower precision is FP32."""
        engine = self._source.subject.engine
        wide = None if engine is None else fp32_layers(engine.spec, engine.facts)
        if engine is None or wide is None:
            return result
        return replace(result, fp32_layers=wide, plan="" if engine.finished else str(engine.plan))

    def _with_layers(self, result: BenchmarkResult) -> BenchmarkResult:
        """Return a failure with what became of the layers of the baseline's engine."""
        engine, entry = self._source.subject.engine, self.entry
        if engine is None or entry is None or engine.facts.layers is None:
            return result
        then = self._source.baseline_layers(entry)
        if then is None:
            return result
        changes = layer_changes(then, engine.facts.layers)
        added = [one.after[0] for one in changes if one.change is Change.ADDED]
        named = [" + ".join(layer.origins) or layer.kind for layer in added]
        return replace(
            result,
            layer_changes=shortened(changes, _LAYERS),
            added_layers=tuple(named),
        )


def _compares(result: BenchmarkResult) -> bool:
    """Whether a change of some size could have been detected."""
    return any(one.detectable is not None for one in result.changes)
