from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from simulated_processes import (
    MACHINES,
    QUIET,
    USUAL,
    Change,
    rounds_of,
    samplers,
    stored_runs,
)

from pytest_trt.statistics.decide import Decision, Samplers, Unavailable, check_error, decide
from pytest_trt.statistics.rounds import Rounds

LIMITS = {"p50": 0.05, "throughput": 0.05, "p95": 0.10, "p99": 0.10}


def decided(machine, change=None, *, turns=True, runs=1, seed=0, checks=800, **options) -> Decision:
    random = np.random.default_rng(seed)
    return decide(
        LIMITS,
        stored_runs(machine, random, runs),
        samplers(machine, random, change or Change(), turns=turns),
        checks=checks,
        mode="end_to_end",
        **options,
    )


def flat(latency_ms: float) -> Callable[[int], Rounds]:
    """A sampler whose rounds are all but equal."""

    def sample(rounds: int) -> Rounds:
        jitter = np.random.default_rng(rounds).normal(1, 1e-4, rounds * 70)
        return rounds_of(latency_ms * jitter)

    return sample


def never(rounds: int) -> Rounds:
    raise AssertionError("sampled although the verdict was settled")


STORED = [flat(2.0)(20)]


@pytest.mark.parametrize("name", MACHINES)
def test_unchanged_code_never_fails(name: str) -> None:
    for seed in range(20):
        for turns in (True, False):
            found = decided(MACHINES[name], turns=turns, runs=5, seed=seed)
            assert found.outcome != "regressed", (turns, seed, found)


@pytest.mark.parametrize("name", ["quiet", "usual", "noisy"])
def test_ten_percent_is_detected_by_interleaving(name: str) -> None:
    outcomes = [decided(MACHINES[name], Change(1.10), seed=seed).outcome for seed in range(20)]
    assert outcomes.count("regressed") >= 19
    assert "passed" not in outcomes


@pytest.mark.parametrize("name", ["quiet", "usual"])
def test_ten_percent_is_detected_by_fresh_processes(name: str) -> None:
    outcomes = [
        decided(MACHINES[name], Change(1.10), turns=False, runs=5, seed=seed).outcome
        for seed in range(20)
    ]
    assert outcomes.count("regressed") >= 18


@pytest.mark.parametrize("name", MACHINES)
def test_a_change_inside_the_limit_does_not_fail(name: str) -> None:
    for seed in range(10):
        assert decided(MACHINES[name], Change(1.03), runs=5, seed=seed).outcome != "regressed"


def test_slow_calls_alone_are_found_in_the_tail() -> None:
    for seed in range(5):
        found = decided(USUAL, Change(some=0.08), seed=seed)
        assert found.outcome == "regressed"
        slower = {m for m, one in found.metrics.items() if one.outcome == "regressed"}
        assert slower <= {"p95", "p99"}


def test_screening_may_pass_and_then_nothing_more_is_sampled() -> None:
    sources = Samplers(flat(2.0), lambda rounds: (never(rounds), never(rounds)), never)
    found = decide(LIMITS, STORED, sources, checks=10, mode="graph")
    assert found.outcome == "passed"
    assert {one.step for one in found.metrics.values()} == {"screening"}
    assert found.candidate_rounds == 20


def test_screening_alone_never_fails() -> None:
    """Twice as slow in this process: only a comparison that counts its luck in may say so."""
    turns = Samplers(flat(4.0), lambda rounds: (flat(4.0)(rounds), flat(4.0)(rounds)))
    found = decide(LIMITS, STORED, turns, checks=10, mode="graph")
    assert found.outcome == "passed"
    assert {one.step for one in found.metrics.values()} == {"interleaved"}


@pytest.mark.parametrize(("latency_ms", "outcome"), [(2.0, "regressed"), (0.04, "inconclusive")])
def test_what_a_devices_clock_may_have_added_is_not_a_regression(latency_ms, outcome) -> None:
    """Two sessions 4% apart against a limit of 2%: of 40 us that is three ticks of the clock."""
    slower = 1.04 * latency_ms
    turns = Samplers(flat(slower), lambda rounds: (flat(latency_ms)(rounds), flat(slower)(rounds)))
    found = decide({"p50": 0.02}, [flat(latency_ms)(20)], turns, checks=10, mode="graph")
    assert found.outcome == outcome


def busier_then(rounds: int) -> Rounds:
    """A baseline that was recorded while the machine took 30% longer, now and then far longer."""
    calls = np.random.default_rng(rounds).normal(2.6, 1e-3, (rounds, 70))
    calls[:, 0] *= 1.05
    return rounds_of(calls.ravel())


def test_a_busier_machine_then_does_not_let_a_slower_engine_pass() -> None:
    """22% slower, and still quicker than the stored rounds: all would pass against those."""
    sources = Samplers(flat(2.44), lambda rounds: (flat(2.0)(rounds), flat(2.44)(rounds)))
    alone = decide(LIMITS, [busier_then(20)], Samplers(flat(2.44)), checks=10, mode="graph")
    assert alone.outcome == "passed"
    found = decide(LIMITS, [busier_then(20)], sources, checks=10, mode="graph")
    assert {one.outcome for one in found.metrics.values()} == {"regressed"}
    assert {one.step for one in found.metrics.values()} == {"interleaved"}


def test_interleaved_rounds_judge_what_screening_found_to_be_within() -> None:
    """One open metric is enough to take turns, and those are believed about every metric."""

    def spiky(rounds: int) -> Rounds:
        calls = np.full((rounds, 70), 2.0)
        calls[:, 0] *= 1.2
        return rounds_of(calls.ravel())

    limits = {"p50": 0.05, "p99": 0.1}
    sources = Samplers(spiky, lambda rounds: (flat(1.6)(rounds), flat(2.0)(rounds)))
    alone = decide(limits, STORED, Samplers(spiky, None, spiky), checks=10, mode="graph")
    assert alone.metrics["p50"].outcome == "passed"
    found = decide(limits, STORED, sources, checks=10, mode="graph")
    one = found.metrics["p50"]
    assert (one.outcome, one.step, one.rounds) == ("regressed", "interleaved", 20)
    assert one.bounds is not None
    assert one.bounds.estimate == pytest.approx(math.log(1.25), abs=1e-3)


def test_a_faster_engine_passes_when_interleaved() -> None:
    sources = Samplers(flat(1.5), lambda rounds: (flat(2.0)(rounds), flat(1.5)(rounds)))
    found = decide(LIMITS, STORED, sources, checks=10, mode="graph")
    assert found.outcome == "passed"
    assert {(one.step, one.rounds) for one in found.metrics.values()} == {("interleaved", 20)}


def test_fresh_processes_judge_every_metric() -> None:
    """Screened in a lucky process: P50 is within there, and slower in all others."""

    def lucky(rounds: int) -> Rounds:
        calls = np.full((rounds, 70), 2.0)
        calls[:, 0] *= 1.2
        return rounds_of(calls.ravel())

    source = Samplers(lucky, None, flat(2.8))
    found = decide({"p50": 0.05, "p99": 0.1}, STORED * 5, source, checks=1, mode="graph")
    assert found.metrics["p50"].outcome != "passed"
    assert {one.step for one in found.metrics.values()} == {"fresh processes"}


def test_every_look_judges_all_metrics_by_the_same_rounds() -> None:
    for seed in range(10):
        found = decided(MACHINES["noisy"], seed=seed, runs=1)
        assert len({(one.step, one.rounds) for one in found.metrics.values()}) == 1


def test_interleaved_rounds_show_how_metrics_without_a_limit_changed() -> None:
    sources = Samplers(flat(2.2), lambda rounds: (flat(2.0)(rounds), flat(2.2)(rounds)))
    found = decide({"p99": 0.5}, STORED, sources, checks=1, mode="graph")
    assert found.unlimited == {}  # settled at the first look
    found = decide({"p99": 0.05}, STORED, sources, checks=1, mode="graph")
    assert set(found.unlimited) == {"p50", "p95", "throughput"}
    assert found.unlimited["p50"].estimate == pytest.approx(math.log(1.1), abs=1e-3)


def test_a_regression_is_detected_by_the_first_comparison() -> None:
    taken = []

    def measure_interleaved(rounds: int) -> tuple[Rounds, Rounds]:
        taken.append(rounds)
        return flat(2.0)(rounds), flat(2.4)(rounds)

    found = decide(
        LIMITS, STORED, Samplers(flat(2.4), measure_interleaved), checks=10, mode="graph"
    )
    assert found.outcome == "regressed"
    assert taken == [20]
    one = found.metrics["p50"]
    assert one.bounds is not None
    assert one.bounds.low > one.limit == pytest.approx(math.log1p(0.05))
    assert one.bounds.estimate == pytest.approx(math.log(1.2), abs=1e-3)


def test_three_looks_and_then_it_stays_open() -> None:
    """Rounds scatter widely about the limit itself: neither bound can leave it."""
    taken = []

    def measure_interleaved(rounds: int) -> tuple[Rounds, Rounds]:
        taken.append(rounds)
        calls = np.where(np.arange(rounds) % 2, 2.1 * 1.2, 2.1 / 1.2).repeat(70)
        return flat(2.0)(rounds), rounds_of(calls)

    found = decide(
        {"p50": 0.05}, STORED, Samplers(flat(2.4), measure_interleaved), checks=10, mode="graph"
    )
    assert found.outcome == "inconclusive"
    assert taken == [20, 20, 40]
    one = found.metrics["p50"]
    assert one.rounds == 80
    assert 0.05 < one.detectable < 1


def test_fresh_processes_are_started_at_two_looks() -> None:
    started = []

    def fresh(rounds: int) -> Rounds:
        started.append(rounds)
        return flat(2.0 + 0.12 * len(started))(rounds)

    runs = [flat(2.0)(20)] * 5
    found = decide(
        {"p50": 0.05}, runs, Samplers(flat(2.12), None, fresh), checks=10, mode="enqueue"
    )
    assert found.metrics["p50"].step == "fresh processes"
    assert len(started) in (4, 7)


def test_process_that_dies_leaves_open_what_is_open_and_says_why() -> None:
    started = []

    def fresh(rounds: int) -> Rounds:
        started.append(rounds)
        if len(started) == 2:
            raise Unavailable("it died")
        return flat(4.0)(rounds)

    source = Samplers(flat(4.0), None, fresh)
    found = decide({"p50": 0.05, "p99": 9.0}, STORED, source, checks=10, mode="graph")
    assert found.outcome == "inconclusive"
    assert (found.metrics["p50"].outcome, found.metrics["p50"].why) == ("inconclusive", "it died")
    assert found.metrics["p99"].outcome == "passed"
    assert len(started) == 2


def test_without_engine_and_processes_a_clear_change_is_still_detected() -> None:
    source = Samplers(flat(4.0))
    assert decide(LIMITS, STORED, source, checks=10, mode="graph").outcome == "regressed"
    close = decide(LIMITS, STORED, Samplers(flat(2.11)), checks=10, mode="enqueue")
    assert close.outcome == "inconclusive"


def test_one_process_alone_is_trusted_less_than_several() -> None:
    """8% off is more than the luck that is assumed, and less than what one process may have."""
    alone = decide(LIMITS, STORED, Samplers(flat(2.18)), checks=1, mode="enqueue")
    assert alone.outcome == "inconclusive"
    several = Samplers(flat(2.18), None, flat(2.18))
    assert decide(LIMITS, STORED, several, checks=1, mode="enqueue").outcome == "regressed"


def test_stored_rounds_of_other_clocks_are_not_compared() -> None:
    alone = decide(
        LIMITS, STORED, Samplers(flat(9.0)), checks=10, mode="graph", stored_comparable=False
    )
    assert alone.outcome == "inconclusive"
    assert all(one.bounds is None for one in alone.metrics.values())
    turns = Samplers(flat(9.0), lambda rounds: (flat(9.0)(rounds), flat(9.0)(rounds)))
    found = decide(LIMITS, STORED, turns, checks=10, mode="graph", stored_comparable=False)
    assert found.outcome == "passed"


def test_too_few_calls_for_a_percentile_are_not_testable_and_do_not_pass() -> None:
    def short(rounds: int) -> Rounds:
        return rounds_of(np.full(rounds * 14, 2.0), 14)

    found = decide(LIMITS, [short(20)], Samplers(short), checks=10, mode="graph")
    assert found.metrics["p99"].outcome == "not measured"
    assert found.metrics["p95"].outcome == "passed"
    assert found.outcome == "inconclusive"
    longer = decide(LIMITS, [short(20)], Samplers(flat(2.0)), checks=10, mode="graph")
    assert longer.metrics["p99"].why == "the stored rounds are too short for it"


def test_more_checks_need_higher_confidence_and_more_rounds() -> None:
    assert check_error(1) == 0.01
    assert check_error(100) == pytest.approx(1e-4)
    assert check_error(10**9) == 1e-6
    asked = []

    def screen(rounds: int) -> Rounds:
        asked.append(rounds)
        return flat(2.0)(rounds)

    for checks in (1, 10**6):
        decide(LIMITS, STORED, Samplers(screen), checks=checks, mode="graph")
    assert asked == [20, 22]


def test_throughput_limits_are_shares_of_work() -> None:
    """5% less work in the same time is 1/0.95 of the time for the same work."""
    source = Samplers(flat(2.0))
    found = decide({"throughput": 0.05}, STORED, source, checks=1, mode="graph")
    assert found.metrics["throughput"].limit == pytest.approx(math.log(1 / 0.95))


def test_equal_data_give_equal_verdicts() -> None:
    first, second = (decided(QUIET, Change(1.06), seed=3) for _ in range(2))
    assert first == second


def test_no_stored_run_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one stored run"):
        decide(LIMITS, [], Samplers(flat(2.0)), checks=1, mode="graph")


def test_only_metrics_with_a_limit_are_judged() -> None:
    found = decide({"p99": 0.1}, STORED, Samplers(flat(2.0)), checks=1, mode="graph")
    assert set(found.metrics) == {"p99"}
