"""What the `trt_metrics` fixture returns: records task metrics, and judges them when the test ends.

trt_metrics.record("accuracy", 0.981, of=2000, limit="0.5 points")
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from functools import cached_property

import numpy as np
import pytest

from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    StoredMetric,
    metrics_target,
    read_metrics,
)
from pytest_trt.baseline.renaming import Proposal
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.baseline.staged_metrics import StagedMetrics
from pytest_trt.benchmark.commands import update_command
from pytest_trt.diagnostics import (
    ConfigurationError,
    Diagnostic,
    Fact,
    PytestTrtError,
    Remedy,
)
from pytest_trt.engine.build import Engine
from pytest_trt.plugin.options.table import ENGINE_FIELDS, given_flags
from pytest_trt.plugin.planning.plan import TestPlan
from pytest_trt.plugin.results.failure import PluginFailure
from pytest_trt.plugin.results.pinning import baseline_location, metrics_nodeid
from pytest_trt.plugin.results.renames import (
    move_remedy,
    perhaps_renamed,
    rename_facts,
    renames_of,
)
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import TestState, test_argument
from pytest_trt.statistics.decline import (
    Decline,
    DeclineLimit,
    TaskMetricResult,
    least_failing_hits,
    least_failing_share,
    of_numbers,
    of_samples,
    of_shares,
    parse_decline_limit,
)
from pytest_trt.terms import Verdict

#: Samples that a baseline stores for one metric: 10,000 take about 100 kB.
_MOST_SAMPLES = 10_000

#: A limit is far below what can fail from this factor on, where that is a loss of a point or more.
_FAR, _POINT = 5.0, 0.01

_EXAMPLE = 'write limit="0.5 points" (of a share), "2%" (of the baseline) or 0.01.'


class TaskMetrics:
    """Records metrics of a task, such as accuracy; each is compared with its stored baseline.

    Args:
        item: The test.
        run: What the tests of the run share.
        plan: What the test checks.
        engine: The engine under test.
        state: The state of this attempt of the test.
    """

    def __init__(
        self, item: pytest.Item, run: TrtRun, plan: TestPlan, engine: Engine, state: TestState
    ) -> None:
        self._item, self._run, self._plan, self._engine = item, run, plan, engine
        self._state = state
        self._recorded: dict[str, tuple[StoredMetric, DeclineLimit]] = {}
        self._refused: list[Diagnostic] = []

    def record(
        self,
        name: str,
        value: float | None = None,
        *,
        limit: str | float,
        of: int | None = None,
        samples: Sequence[float] | None = None,
        lower_is_better: bool = False,
    ) -> None:
        """Record a metric of this test; it is judged when the test ends.

        Args:
            name: Its name, once in a test.
            value: Its value. With `samples` it is their mean.
            limit: By how much it may be worse than the stored value: "0.5 points" (0.005 of a
                share), "2%" (of the stored value), or a number in its own unit.
            of: The number of trials, where it is the share of them that succeeded.
            samples: The value of each sample, always in the same order; at most 10,000.
            lower_is_better: Whether a larger value is a worse one.

        Raises:
            PluginFailure: An argument is not valid, the engine has not run yet, or the file of
                baselines cannot be read. The test fails, also where it catches that.
        """
        __tracebackhide__ = True
        try:
            if self._state.over:
                raise _invalid(name, "it was recorded after the test", "record it in the test.")
            if not isinstance(name, str) or not name or name in self._recorded:
                raise _invalid(name, "it is no new name", "record each metric once, by a name.")
            metric = _metric(name, value, of, samples, lower_is_better)
            self._check_ran(name)
            parsed = _limit(name, limit, metric)
            stored = self._stored(name)  # a damaged file fails the test here
            if stored is None or self._updates:
                _refuse_the_worst(name, metric, parsed)
            elif not stored.differs(metric):
                again = Remedy("Correct what was recorded:", (self._update,))
                _refuse_the_worst(name, stored, parsed, again)
            self._recorded[name] = metric, parsed
        except PytestTrtError as error:
            self._refused.append(error.diagnostic)
            raise PluginFailure(error.diagnostic) from None

    def _check_ran(self, name: str) -> None:
        """Refuse a metric that cannot be of the engine's outputs: there are none yet.

        Raises:
            ConfigurationError: The engine has not run in this attempt of the test.
        """
        # An engine of trt_engines may have run before, in the setup of a fixture of wider scope.
        shared = "trt_engines" in getattr(self._item, "fixturenames", ())
        if self._engine.key.digest not in (self._run.ran if shared else self._state.ran):
            which = f"{self._engine.model.path.name} {self._engine.spec.precision}"
            raise ConfigurationError(
                f"trt_metrics recorded {name} before the {which} engine ran",
                code="TRT160",
                facts={"check": "trt_metrics"},
                fix="compute the metric from the outputs of trt_session.run(inputs).",
            )

    # --- when the test is over

    @cached_property
    def _location(self) -> BaselineLocation:
        nodeid = metrics_nodeid(self._item, self._plan)
        return baseline_location(self._item, metrics_target(self._plan.arch), nodeid)

    @cached_property
    def _entry(self) -> MetricsEntry | None:
        found = read_metrics(self._location.path)
        return found.tests.get(self._location.test) if found else None

    @cached_property
    def _renamed(self) -> Proposal | None:
        """What moves metrics without a test to this one, once it ran; None if none fit."""
        settings = self._run.settings
        if self._entry is not None or settings.update or settings.update_new or not self._recorded:
            return None

        def fits(entry: MetricsEntry) -> bool:
            return entry.metrics.keys() == self._recorded.keys() and not any(
                stored.differs(self._recorded[name][0]) for name, stored in entry.metrics.items()
            )

        found = renames_of(self._item)
        return found.proposal(self._location, self._engine.model, fits, same_parameters=True)

    def _stored(self, name: str) -> StoredMetric | None:
        return None if self._entry is None else self._entry.metrics.get(name)

    @property
    def _updates(self) -> bool:
        return self._run.settings.update and not self._run.settings.selftest

    @property
    def _records_missing(self) -> bool:
        settings = self._run.settings
        return settings.missing_baseline == "record" and not settings.selftest

    @cached_property
    def results(self) -> tuple[TaskMetricResult, ...]:
        """What was found of each metric."""
        return tuple(
            self._result(name, metric, limit) for name, (metric, limit) in self._recorded.items()
        )

    def _result(self, name: str, metric: StoredMetric, limit: DeclineLimit) -> TaskMetricResult:
        stored = self._stored(name)
        found = TaskMetricResult(
            name=name,
            value=metric.value,
            limit=limit.text,
            verdict=Verdict.NOT_MEASURED,
            key=self._engine.key.digest,
            of=metric.of,
            samples=len(metric.samples),
            lower_is_better=metric.lower_is_better,
        )
        if stored is None:
            update = "first" if self._updates or self._records_missing else ""
            if update and self._renamed:
                update = "not recorded"
            return found.with_(update=update)
        found = found.with_(stored=stored.value)
        if stored.differs(metric):
            verdict = Verdict.NOT_COMPARABLE
        else:
            decline, allowed = _decline(stored, metric), limit.allowed(stored.value)
            verdict = decline.judged(allowed)
            found = found.with_(decline=decline.measured, least=decline.least, allowed=allowed)
        drifted = verdict == Verdict.PASSED and self._drifted(name, metric, limit)
        if drifted:
            return found.with_(verdict=Verdict.FAILED, least=None, **drifted)
        if self._updates and (verdict == Verdict.PASSED or self._run.settings.update_reason):
            return found.with_(verdict=Verdict.PASSED, update="replaced")
        return found.with_(verdict=verdict)

    def _drifted(self, name: str, metric: StoredMetric, limit: DeclineLimit) -> dict[str, float]:
        """Return from what an update without a reason declines, after others without one."""
        before = self._entry.accepted.get(name) if self._entry else None
        if before is None or not self._updates or self._run.settings.update_reason:
            return {}
        found = of_numbers(before, metric.value, lower_is_better=metric.lower_is_better)
        allowed = limit.allowed(before)
        if found.judged(allowed) == Verdict.PASSED:
            return {}
        return {"stored": before, "decline": found.measured, "allowed": allowed}

    def diagnostics(self) -> Iterator[Diagnostic]:
        """Yield why the test fails, and warnings where the result is inconclusive."""
        yield from self._refused
        if not self._recorded:
            if not self._refused:
                yield Diagnostic(
                    "TRT160",
                    "trt_metrics recorded nothing",
                    {"check": "trt_metrics"},
                    remedy=Remedy("Call trt_metrics.record, or remove the fixture."),
                )
            return
        for result in self.results:
            yield from self._of_result(result)
        if self._renamed and self._records_missing:
            shown, test = self._location.shown, self._location.test
            yield perhaps_renamed("task metrics", shown, test, self._renamed)
        entry = self._entry
        missing = [name for name in entry.metrics if name not in self._recorded] if entry else []
        if missing and not (self._updates and self._run.settings.update_reason):
            yield Diagnostic(
                "TRT682",
                f"{self._location.test} did not record {' and '.join(missing)}, which its baseline "
                "has",
                {**self._facts, "metrics": [*missing]},
                remedy=self._replace,
            )

    @property
    def _facts(self) -> dict[str, Fact]:
        return {
            "file": self._location.shown,
            "test": self._location.test,
            "test_argument": test_argument(self._item),
            "update_options": self._given,
        }

    @property
    def _update(self) -> str:
        """The command that accepts the values of this test alone."""
        return update_command([test_argument(self._item)], self._given)

    @property
    def _given(self) -> list[str]:
        """Options without which another run would record something else, or elsewhere."""
        return given_flags(self._item.config, ENGINE_FIELDS)

    @property
    def _record(self) -> str:
        given = given_flags(self._item.config, ("baseline_dir",))
        return shlex.join(["pytest", *given, "--trt-update-new"])

    @property
    def _replace(self) -> Remedy:
        return Remedy("Record the metrics of the baseline, or replace it:", (self._update,))

    def _of_result(self, result: TaskMetricResult) -> Iterator[Diagnostic]:
        name, facts = result.name, {**self._facts, "metric": result.name}
        if result.update:
            yield from self._coarse(result, facts)
            return
        if result.stored is None:
            yield Diagnostic(
                "TRT680",
                f"no baseline of {name} in {self._location.shown}",
                {**facts, **(rename_facts(self._renamed) if self._renamed else {})},
                remedy=move_remedy(self._renamed, "pytest --trt-update-new")
                if self._renamed
                else Remedy("Record it, and commit the file:", (self._record,)),
            )
        elif result.verdict == Verdict.NOT_COMPARABLE:
            stored = self._stored(name)
            why = stored.differs(self._recorded[name][0]) if stored else ""
            yield Diagnostic(
                "TRT681",
                f"{name} cannot be compared with its baseline: {why}",
                facts,
                remedy=self._replace,
            )
        elif result.verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE):
            yield self._worse(result, facts)
        elif -(result.decline or 0.0) > (1.0 + 1e-9) * (result.allowed or 0.0):
            yield self._better(result, facts)

    def _least_failing(self, result: TaskMetricResult) -> float | None:
        """Return the smallest decline from a value that fails; None where nothing bounds it."""
        metric, limit = self._recorded[result.name]
        value = result.value if result.update or result.stored is None else result.stored
        allowed, lower = limit.allowed(value), metric.lower_is_better
        if metric.of is not None:
            return least_failing_share(value, metric.of, allowed, lower_is_better=lower)
        if metric.samples and {*metric.samples} <= {0.0, 1.0}:
            return least_failing_hits(value, len(metric.samples), allowed, lower_is_better=lower)
        return None

    def _change(self, result: TaskMetricResult, change: float) -> str:
        """Return a change in the unit of the limit: "3.1 points", "0.031"."""
        in_points = self._recorded[result.name][1].of_share
        return f"{100.0 * change:.3g} points" if in_points else f"{change:.3g}"

    def _coarse(self, result: TaskMetricResult, facts: dict[str, Fact]) -> Iterator[Diagnostic]:
        """Yield a note on a limit that is far below the smallest decline that can fail."""
        least, limit = self._least_failing(result), self._recorded[result.name][1]
        if least is None or least <= max(_FAR * limit.allowed(result.value), _POINT):
            return
        of = f"{result.samples} samples" if result.samples else f"{result.of} trials"
        fails = f"fails only if it gets worse by {self._change(result, least)} or more"
        if math.isinf(least):
            fails = f"cannot fail: no value is so much worse than {result.value:.5g}"
        yield Diagnostic(
            "TRT433",
            f"{result.name} of {of} {fails}, and its limit is {result.limit}: smaller changes may "
            "be chance, and are a warning",
            {**facts, "least": least, "allowed": limit.allowed(result.value)},
            remedy=Remedy(_more(result), alternatives=("or set --trt-inconclusive=fail",)),
            severity="note",
        )

    def _better(self, result: TaskMetricResult, facts: dict[str, Fact]) -> Diagnostic:
        """Return the note on a baseline that a value far worse than this one would pass."""
        gain, lower = -(result.decline or 0.0), result.lower_is_better
        values = {"value": result.value, "baseline": result.stored, "decline": result.decline}
        return Diagnostic(
            "TRT432",
            f"{result.name} {result.value:.5g} is better than its baseline {result.stored:.5g} by "
            f"{self._change(result, gain)}, more than its limit {result.limit} "
            f"(lower_is_better={lower}): a value that is worse than this one by that much passes",
            {**facts, **values},
            remedy=Remedy(
                "If it is meant, store the value that it has now:",
                (self._update,),
                (f"if it got worse, set lower_is_better={not lower}",),
            ),
            severity="note",
        )

    def _worse(self, result: TaskMetricResult, facts: dict[str, Fact]) -> Diagnostic:
        failed = result.verdict == Verdict.FAILED
        strict = failed or self._run.settings.inconclusive == "fail" or self._updates
        fix = Remedy("Restore what changed. If the change is intended, accept it:", (self._update,))
        certain = "with 99% confidence the change is more than the limit"
        if not failed:
            fix = Remedy(
                _more(result),
                alternatives=(f"if the change is intended: `{self._update}`",),
            )
            certain = "the data do not show with 99% confidence that the limit is exceeded"
        fails = None if failed else self._least_failing(result)
        enough = ""
        if fails is not None and math.isfinite(fails):
            enough = f"; a change of {self._change(result, fails)} would fail"
        least: tuple[str, ...] = ()
        if result.least is not None:
            bound = self._change(result, abs(result.least))
            better = f"it may also be better, by up to {bound}"
            how = better if result.least < 0 else f"worse by at least {bound}"
            least = (f"{certain} ({how}{enough})",)
        entry = self._entry
        reason = f", reason: {entry.reason}" if entry and entry.reason else ""
        when = (f"baseline of {entry.recorded[:10]}{reason}",) if entry else ()
        stored = self._stored(result.name)
        which = "its baseline"
        if stored is not None and stored.value != result.stored:
            which = "the best that was stored since a reason was last given,"
        code = "TRT430" if failed else "TRT431"
        if self._updates:
            code, fix = "TRT683", Remedy("Give the reason for the change:", (self._update,))
        return Diagnostic(
            code,
            f"{result.name} {result.value:.5g} is worse than {which} {result.stored:.5g} by "
            f"{self._change(result, result.decline or 0.0)}, allowed: {result.limit}",
            {
                **facts,
                "value": result.value,
                "baseline": result.stored,
                "decline": result.decline,
                "least": result.least,
                "allowed": result.allowed,
            },
            (*least, *when),
            fix,
            severity="error" if strict else "warning",
        )

    def staged(self) -> StagedMetrics | None:
        """Return the metrics that may be stored; None if they are stored already."""
        if not self._recorded:
            return None
        entry = self._entry
        recorded = {name: metric for name, (metric, _) in self._recorded.items()}
        new = [result.name for result in self.results if result.update == "first"]
        if new and not self._updates and entry is not None:
            recorded = {**entry.metrics, **{name: recorded[name] for name in new}}
        if entry is not None and entry.metrics == recorded:
            return None
        location = self._location
        return StagedMetrics(
            location.path,
            location.shown,
            location.target,
            location.test,
            MetricsEntry(
                recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                toolchain=str(self._engine.toolchain),
                metrics=recorded,
                reason=self._run.settings.update_reason,
                accepted=entry.replaced(recorded)
                if entry is not None and not self._run.settings.update_reason
                else {},
            ),
            entry_digest(entry),
            update=self._updates or bool(new),
        )


def _more(result: TaskMetricResult) -> str:
    """Return what makes a smaller decline fail."""
    each = "" if result.samples else ", or record the value of each: samples=[...]"
    return f"Evaluate more samples{each}."


def _decline(stored: StoredMetric, now: StoredMetric) -> Decline:
    lower = now.lower_is_better
    if now.samples:
        return of_samples(stored.samples, now.samples, lower_is_better=lower)
    if now.of is not None and stored.of is not None:
        return of_shares(stored.value, stored.of, now.value, now.of, lower_is_better=lower)
    return of_numbers(stored.value, now.value, lower_is_better=lower)


def _metric(
    name: str,
    value: object,
    of: object,
    samples: object,
    lower_is_better: bool,
) -> StoredMetric:
    """Return a metric as it is stored, checked.

    Raises:
        ConfigurationError: The arguments are not valid, or contradict each other.
    """
    if samples is not None:
        return _of_samples(name, value, of, samples, lower_is_better)
    number = _number(name, value)
    if of is None:
        return StoredMetric(number, lower_is_better=lower_is_better)
    if isinstance(of, bool) or not isinstance(of, int | np.integer) or of < 1:
        raise _invalid(name, f"of={of!r} is not a number of trials", "give an integer above 0.")
    if not 0.0 <= number <= 1.0:
        raise _invalid(
            name, f"{number:g} is not a share of {of} trials", "give a share from 0 to 1."
        )
    return StoredMetric(number, int(of), lower_is_better=lower_is_better)


def _of_samples(
    name: str, value: object, of: object, samples: object, lower_is_better: bool
) -> StoredMetric:
    try:
        values = np.asarray(samples, np.float64)
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.ndim != 1 or not 2 <= values.size <= _MOST_SAMPLES or not np.isfinite(values).all():
        raise _invalid(
            name,
            "its samples are not a list of finite numbers",
            f"give one value for each sample, from 2 to {_MOST_SAMPLES:,} of them.",
        )
    if of is not None or value is not None:
        raise _invalid(name, "its samples have their mean and number", "leave out value and of=.")
    stored = tuple(float(f"{one:.6g}") for one in values.tolist())
    return StoredMetric(math.fsum(stored) / len(stored), None, stored, lower_is_better)


def _number(name: str, value: object) -> float:
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]
    real = isinstance(value, int | float | np.floating | np.integer)
    if isinstance(value, bool) or not real or not math.isfinite(float(value)):  # type: ignore[arg-type]
        raise _invalid(name, f"{value!r} is not a finite number", "record a number.")
    return float(value)  # type: ignore[arg-type]


def _limit(name: str, given: object, metric: StoredMetric) -> DeclineLimit:
    """Return a parsed limit.

    Raises:
        ConfigurationError: It is none, or no value can exceed it.
    """
    limit = parse_decline_limit(given)
    if limit is None:
        raise _invalid(name, f"{given!r} is not a limit", _EXAMPLE)
    if limit.of_share and not 0.0 <= metric.value <= 1.0:
        raise _invalid(name, f"{metric.value:g} is not a share, which points are of", _EXAMPLE)
    share = metric.of is not None and not limit.relative
    to_zero = limit.relative and not metric.lower_is_better and metric.value >= 0.0
    if (share or to_zero) and limit.amount >= 1.0:
        raise _invalid(name, f"the limit {limit.text} could never fail", "give a smaller one.")
    if metric.of is not None:
        collapse = of_shares(1.0, metric.of, 0.0, metric.of, lower_is_better=False)
        if collapse.judged(limit.allowed(1.0)) != Verdict.FAILED:
            raise _invalid(
                name,
                f"{metric.of} trials can never show a decline beyond {limit.text}",
                "evaluate more of them, or give the value of each: samples=[...].",
            )
    return limit


def _refuse_the_worst(
    name: str, baseline: StoredMetric, limit: DeclineLimit, fix: Remedy | None = None
) -> None:
    """Refuse a baseline that is so bad that no value is worse by more than the limit.

    Raises:
        ConfigurationError: No value can fail.
    """
    hits = bool(baseline.samples) and {*baseline.samples} <= {0.0, 1.0}
    is_share = baseline.of is not None or limit.of_share or hits
    if not is_share or not 0.0 <= baseline.value <= 1.0:
        return
    room = 1.0 - baseline.value if baseline.lower_is_better else baseline.value
    if room > limit.allowed(baseline.value):
        return
    which = "its value" if fix is None else "its baseline"
    advice = "correct the engine or the test, or give a smaller limit." if fix is None else fix
    raise _invalid(
        name,
        f"{which} {baseline.value:.5g} is so bad that the limit {limit.text} could never fail",
        advice,
    )


def _invalid(name: object, problem: str, fix: str | Remedy) -> ConfigurationError:
    return ConfigurationError(
        f"trt_metrics.record({name!r}): {problem}",
        code="TRT142",
        facts={"metric": str(name)},
        fix=fix,
    )
