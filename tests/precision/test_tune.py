from __future__ import annotations

import math

import pytest

from pytest_trt.precision.tune import Score, Search, TimeOverError, Tuner

NODES = [f"n{number}" for number in range(12)]


def tuner(
    errors: dict[str, float], *, limit: float = 1.0, stricter: float = 1.0, **chosen
) -> Tuner:
    """Return a search in a model whose errors add up; engines make `stricter` times as much."""

    def judge(kept: frozenset[str], factor: float = 1.0) -> Score:
        error = factor * sum(errors.get(name, 0.0) for name in NODES if name not in kept)
        return Score(error <= limit, error, error / limit)

    return Tuner(
        [(name, "Op") for name in NODES],
        judge,
        lambda kept: judge(kept, stricter),
        lambda names: sum(errors.get(name, 0.0) for name in names),
        Score(True, 0.0),
        **chosen,
    )


FAILING = Score(False, 9.0)


@pytest.mark.parametrize(
    "errors", [{"n3": 5.0}, {"n3": 5.0, "n9": 3.0, "n1": 0.2}, {"n0": math.inf, "n11": 2.0}]
)
def test_exactly_the_bad_nodes_are_kept_by_one_build(errors: dict[str, float]) -> None:
    found = tuner(errors).search(FAILING)
    bad = {name for name, error in errors.items() if error > 1}
    assert (found.outcome, {*found.kept}) == ("found", bad)
    assert found.builds == 1
    assert found.ranking[0].error == max(errors.values())


def test_node_that_looks_bad_and_is_not_needed_is_dropped() -> None:
    made = tuner({})
    judge = lambda kept: Score("n7" in kept, 1.0)  # noqa: E731
    made.alone = lambda names: {"n2": 9.0, "n7": 3.0}.get(*names, 0.0)
    made.tried = made.built = judge
    assert made.search(FAILING).kept == ("n7",)


def test_engine_that_is_less_accurate_than_the_trials_keeps_more() -> None:
    errors = {"n1": 3.0, **{f"n{number}": 0.3 for number in (4, 5, 6)}}
    found = tuner(errors, stricter=2.5).search(FAILING)
    assert found.outcome == "found"
    assert {"n1"} < {*found.kept} <= {"n1", "n4", "n5", "n6"}
    last = [step for step in found.steps if step.built and step.kept == found.kept]
    assert last[0].score.passed


def test_fewest_of_the_further_nodes_is_found_between_two_sizes() -> None:
    errors = dict.fromkeys(NODES, 0.19)
    found = tuner(errors, limit=1.0, stricter=2.0).search(FAILING)
    # 2 x 0.19 x 2 is within the limit, with a third it is not.
    assert len(found.kept) == len(NODES) - 2


@pytest.mark.parametrize("share", [0.06, 0.08, 0.11, 0.16, 0.3])
def test_no_fewer_of_the_further_nodes_pass(share: float) -> None:
    errors = dict.fromkeys(NODES, share)
    found = tuner(errors, limit=1.0, stricter=2.0).search(FAILING)
    most_reduced = int(0.5 / share)
    assert (found.outcome, len(found.kept)) == ("found", len(NODES) - most_reduced)


def test_nothing_is_kept_where_the_test_passes_or_fp32_fails() -> None:
    assert tuner({"n1": 9.0}).search(Score(True, 0.0)) == Search("passes")
    impossible = tuner({"n1": 9.0})
    impossible.fp32 = Score(False, 9.0)
    assert impossible.search(FAILING) == Search("impossible")


@pytest.mark.parametrize("stricter", [1.0, 100.0])
def test_all_nodes_are_fp32_which_is_not_built(stricter: float) -> None:
    limit = 0.1 if stricter == 1.0 else 4.0
    found = tuner(dict.fromkeys(NODES, 0.5), limit=limit, stricter=stricter).search(FAILING)
    assert (found.outcome, len(found.kept)) == ("all", len(NODES))
    assert all(len(step.kept) < len(NODES) for step in found.steps if step.built)


def test_a_step_that_takes_too_long_leaves_what_is_known() -> None:
    made = tuner({"n3": 5.0})
    time_left = [True]
    made.has_time = lambda: time_left[0]

    def tried(kept: frozenset[str]) -> Score:
        time_left[0] = False
        raise TimeOverError

    def alone(names) -> float:
        if "n0" in names:
            raise TimeOverError
        return 5.0 * ("n3" in names)

    made.tried, made.alone = tried, alone
    found = made.search(FAILING)
    assert (found.ranking[0].entry, found.trials, found.builds) == ("n3", 0, 1)
    assert {one.entry for one in found.ranking if one.error is None} == {"n0"}
    # Nothing is known of fewer nodes, so all stay in FP32, and that engine passes.
    assert (found.outcome, len(found.kept)) == ("found", len(NODES))


def test_of_many_nodes_those_that_do_most_together_are_ranked_first() -> None:
    made = tuner({})
    made.units = [(f"n{number}", "Op") for number in range(100)]
    measured: list[list[str]] = []

    def alone(names) -> float:
        measured.append(list(names))
        return 9.0 * ("n57" in names) + 0.1 * len(names)

    made.alone = alone
    made.may_rank = lambda: len(measured) < 20
    made.tried = made.built = lambda kept: Score("n57" in kept, 1.0)
    found = made.search(FAILING)
    assert found.kept == ("n57",)
    assert [len(names) for names in measured] == [10] * 10 + [1] * 10
    # The others of what was measured together share its error.
    assert found.ranking[-1].error == pytest.approx(0.1)


def test_time_limit_ends_with_the_best_so_far() -> None:
    left = iter([True] * 4)
    found = tuner({"n1": 9.0}, stricter=math.inf, has_time=lambda: next(left, False)).search(
        FAILING
    )
    assert found.outcome == "timeout"
    assert "n1" in found.kept
    assert found.builds == 1
