"""The gates of one test: against its baseline, against absolute limits, and the engine itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.baselines import engine_facts, stored_rounds
from pytest_trt.benchmark.calibration import noise_of
from pytest_trt.benchmark.conditions import incomparable_reason, is_same
from pytest_trt.benchmark.evidence import BenchmarkSettings, Opponent, RoundSource
from pytest_trt.benchmark.rounds import MOST_TIMES
from pytest_trt.engine.build import Engine
from pytest_trt.engine.facts import EngineFacts
from pytest_trt.statistics.absolute import (
    AbsoluteLimitResult,
    calls_needed,
    is_settled,
    judge_absolute,
)
from pytest_trt.statistics.decide import FIRST_ROUNDS, Decision, Samplers, check_error, decide
from pytest_trt.statistics.discount import (
    discount_host_noise,
    discount_limit,
    exempt_identical_plan,
    with_reason,
)
from pytest_trt.statistics.faster import SpeedupResult, decide_faster
from pytest_trt.statistics.limits import Absolute, Limits
from pytest_trt.statistics.rounds import GROUP_CALLS
from pytest_trt.statistics.structure import (
    FIGURE_OF,
    GROWTHS,
    StructuralLimitResult,
    judge_structure,
)
from pytest_trt.terms import METRICS, Metric, Verdict

#: Rounds at each look at absolute limits.
_LOOKS = (FIRST_ROUNDS, 2 * FIRST_ROUNDS, 4 * FIRST_ROUNDS)


def untested_defaults(limits: Limits, source: RoundSource) -> list[Metric]:
    """Return the metrics whose limits are defaults that these rounds cannot show."""
    default = [m for m in METRICS if m in limits.relative and m not in limits.explicit]
    return [metric for metric in default if source.hidden(metric)]


def too_short(entry: Entry, metrics: Collection[Metric]) -> str | None:
    """Return why a baseline's rounds cannot show an explicit metric, or None."""
    newest = entry.runs[-1]
    for metric in METRICS:
        if metric in metrics and metric not in newest.rounds:
            needs = GROUP_CALLS.get(metric, 1)
            return f"its rounds have {newest.calls} calls, and {metric} needs {needs}"
    return None


def lacks_figure(entry: Entry, limits: Limits, engine: Engine | None) -> str | None:
    """Return why a limit on growth could not fail although the engine reports its figure, or None.

    Args:
        entry: The baseline.
        limits: The limits of the test.
        engine: The engine; None where it is not known which one is under test.
    """
    known, stored = figures_of(engine.facts) if engine else {}, stored_figures(entry)
    for name in GROWTHS:
        figure = FIGURE_OF[name]
        if name in limits.structural and figure in known and figure not in stored:
            return f"it lacks the figure that {name} limits ({figure})"
    return None


def relative_decision(
    source: RoundSource, entry: Entry, limits: Limits, settings: BenchmarkSettings
) -> Decision:
    """Take the rounds that a decision against the baseline needs, and return it."""
    mode = source.subject.mode
    # Rounds of another length cannot be joined with the newest.
    runs = [run for run in entry.runs if run.calls == source.calls]
    conditions, environment = source.conditions(), source.environment()
    comparable = [run for run in runs if incomparable_reason(run.environment, conditions) is None]
    same = entry.engine.get("key") == source.subject.key or source.subject.engine is None
    changed = not (source.exemptible and is_same(entry.runs[-1].environment, environment))
    untested = untested_defaults(limits, source)
    # An update only compares with stored rounds. And by the host's clock, what is slower only for
    # the host's sake is so in other processes as well.
    futile = settings.update or (same and not changed and mode == "end_to_end")
    with source.interleaving(entry) as interleave:
        decision = decide(
            {m: limit for m, limit in limits.relative.items() if m not in untested},
            [stored_rounds(run) for run in comparable or runs],
            Samplers(
                source.screen,
                interleave,
                source.fresh if source.can_sample and not futile else None,
            ),
            checks=settings.checks,
            mode=mode,
            # By the host's clock, rounds of another hour say less than an interleaved run.
            stored_comparable=bool(comparable) and (interleave is None or mode != "end_to_end"),
            noise=noise_of(entry.noise),
        )
    if not comparable and interleave is None:
        decision = with_reason(
            decision, incomparable_reason(runs[-1].environment, conditions) or ""
        )
    if mode == "end_to_end":
        decision = discount_host_noise(
            decision, same_engine=same, same_environment=not changed, busy=source.load.busy
        )
    elif not changed and same_plan(source.subject.engine, entry):
        decision = exempt_identical_plan(decision)
    missing = interleave is None and not same and not settings.update and source.can_sample
    if missing and decision.outcome == "inconclusive":
        return with_reason(decision, source.why_not_interleaved(entry))
    return decision


def same_plan(engine: Engine | None, entry: Entry) -> bool:
    """Whether an engine's plan is that of the baseline, byte for byte."""
    return engine is not None and entry.engine.get("plan") == engine_facts(engine)["plan"]


def absolute_results(
    source: RoundSource, limits: Limits, settings: BenchmarkSettings
) -> tuple[AbsoluteLimitResult, ...]:
    """Return what each absolute limit came to, by as many rounds as that needs and there may be.

    There is one more look where the usual ones have too few calls for a percentile, if it takes
    only a few times the time of a test.
    """
    wanted = limits.absolute
    full = check_error(settings.checks)
    error, looks = full, [len(source.taken)]
    if source.can_sample:
        error, looks = full / len(_LOOKS), list(_LOOKS)
        more = _rounds_needed(source, wanted, full / (len(_LOOKS) + 1))
        if more > _LOOKS[-1] and more * _round_s(source) <= MOST_TIMES * settings.time_s:
            error, looks = full / (len(_LOOKS) + 1), [*_LOOKS, more]
    found: list[AbsoluteLimitResult] = []
    for rounds in looks if wanted else ():
        if len(source.taken) < rounds:
            source.screen(rounds - len(source.taken))
        found = [_absolute(source, name, limit, error) for name, limit in wanted.items()]
        if is_settled(found):
            break
    # By the host's clock, an overloaded host may be why a limit is exceeded.
    busy = source.load.busy if source.subject.mode == "end_to_end" else ""
    return tuple(discount_limit(one, busy) for one in found)


def speedup_results(
    opponents: Sequence[Opponent],
    limits: Limits,
    settings: BenchmarkSettings,
    entry: Entry | None,
) -> tuple[SpeedupResult, ...]:
    """Interleave the candidate with each opponent, and return what each limit came to.

    The load of the host slows both alike, so it is no reason to discount a result.
    """
    found = []
    for one in opponents:
        with one.interleaving() as interleave:
            result = decide_faster(
                one.name,
                limits.faster_than[one.name],
                interleave,
                checks=settings.checks,
                mode=one.mode,
                noise=noise_of(entry.noise) if entry else None,
            )
        found.append(replace(result, ran=one.ran))
    return tuple(found)


def seconds_needed(source: RoundSource, limits: Limits, settings: BenchmarkSettings) -> float:
    """Return the seconds of calls that it takes to test every absolute limit."""
    error = check_error(settings.checks) / (len(_LOOKS) + 1)
    return _rounds_needed(source, limits.absolute, error) * _round_s(source)


def _absolute(
    source: RoundSource, name: Absolute, limit: float, error: float
) -> AbsoluteLimitResult:
    latencies_ms, walls_s = source.latencies()
    batch = source.subject.batch
    found = judge_absolute(name, limit, latencies_ms, walls_s, items_per_call=batch, error=error)
    why = source.hidden(name)
    return replace(found, outcome=Verdict.NOT_MEASURED, why=why) if why else found


def _rounds_needed(source: RoundSource, limits: Mapping[Absolute, float], error: float) -> int:
    return math.ceil(calls_needed(limits.keys(), error) / source.calls)


def _round_s(source: RoundSource) -> float:
    return float(sum(one.wall_s for one in source.taken)) / max(len(source.taken), 1)


def engine_results(
    limits: Limits, engine: Engine | None, entry: Entry | None, busy: str = ""
) -> tuple[StructuralLimitResult, ...]:
    """Return what the limits of an engine itself came to.

    Args:
        limits: The limits of the test.
        engine: The engine. Its cold start is known once it ran in this process. None where it is
            not known which one is under test.
        entry: The baseline; None where there is nothing to compare with.
        busy: How the host was overloaded while the engine was timed, and so at its start as well.
    """
    figures = {} if engine is None else figures_of(engine.facts)
    stored = None if entry is None else stored_figures(entry)
    return tuple(
        discount_limit(one, busy) if one.name == "cold_start_s" else one
        for one in judge_structure(limits.structural, figures, stored)
    )


def stored_figures(entry: Entry) -> dict[str, float]:
    """Return the figures among a baseline's facts of its engine."""
    return {name: float(v) for name, v in entry.engine.items() if not isinstance(v, str)}


def figures_of(facts: EngineFacts) -> dict[str, float]:
    """Return an engine's figures by the names that `statistics.structure.FIGURE_OF` has."""
    cold_start_s = None
    timings = facts.timings
    if timings.load_s is not None and timings.first_inference_s is not None:
        cold_start_s = timings.load_s + timings.first_inference_s
    known = {
        "size_bytes": facts.size_bytes,
        "device_memory_bytes": facts.memory_bytes,
        "layers": None if facts.layers is None else len(facts.layers),
        "build_s": facts.build_s,
        "cold_start_s": cold_start_s,
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def outcomes(
    decision: Decision | None,
    absolute: Sequence[AbsoluteLimitResult],
    speedups: Sequence[SpeedupResult],
) -> list[str]:
    """Return what the limits that rounds are held against came to."""
    alone = [*(one.outcome for one in absolute), *(one.outcome for one in speedups)]
    return [*alone, *([decision.outcome] if decision else [])]
