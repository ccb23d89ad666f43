"""Slowdowns injected into samples: measured times multiplied, then judged by the same rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pytest_trt.selftest.proof import Proof, cannot_fail
from pytest_trt.statistics.absolute import judge_absolute
from pytest_trt.statistics.decide import Samplers, check_error, decide
from pytest_trt.statistics.faster import SpeedupResult, judge_faster
from pytest_trt.statistics.limits import Absolute
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds, as_change
from pytest_trt.terms import Metric, Mode

#: A relative limit under which an engine may take this many times as long tests nothing.
_MOST = 2.0

#: Margin, in logarithms of time, by which an injected slowdown exceeds what is needed or stays
#: below the limit: rounding must not decide.
_MARGIN = 1e-3

#: How far beyond an absolute limit the median call is put.
_BEYOND_ABSOLUTE = 1.5

_NAMES: Mapping[Metric, str] = {
    "p50": "P50",
    "p95": "P95",
    "p99": "P99",
    "throughput": "throughput",
}


def prove_relative(
    limits: Mapping[Metric, float],
    stored: Sequence[Rounds],
    taken: Rounds,
    *,
    checks: int,
    mode: Mode,
    noise: Noise | None,
) -> Iterator[Proof]:
    """Slow rounds down until each limit has to fail, and to just within it.

    The slowdown that fails is the limit plus what the spread of the rounds hides. It is reported,
    since a limit of 5% that fails from 40% on tests little.

    Args:
        limits: By metric the largest slowdown that is allowed, as a share.
        stored: Rounds of the baseline.
        taken: Rounds of the candidate.
        checks: Limits over all tests of the run.
        mode: How both were measured.
        noise: What calibration measured on this machine.
    """

    def decided(metric: Metric, log: float) -> tuple[bool, str, float, float]:
        slowed = Rounds({name: logs + log for name, logs in taken.logs.items()}, taken.calls)
        decision = decide(
            {metric: limits[metric]},
            stored,
            Samplers(lambda rounds: slowed),
            checks=checks,
            mode=mode,
            noise=noise,
        )
        found = decision.metrics[metric]
        if found.bounds is None:
            return False, found.why, math.inf, math.inf
        return (
            found.outcome == "regressed",
            found.why,
            found.detectable - found.bounds.estimate,
            found.limit - found.bounds.estimate,
        )

    for metric in limits:
        check = f"{_NAMES[metric]} within {100 * limits[metric]:.3g}%"
        _, why, to_fail, to_limit = decided(metric, 0.0)
        if math.isfinite(to_limit):
            # Screening can only pass; the step that can fail is stricter, and only rounds at the
            # limit show by how much.
            to_fail = to_limit + decided(metric, to_limit)[2]
        if math.isinf(to_fail):
            yield cannot_fail(check, why or "no slowdown would be detected")
            continue
        needed = abs(as_change(metric, to_fail + _MARGIN))
        slower = (
            f"{100 * needed:.3g}% {'less throughput' if metric == 'throughput' else 'more time'}"
        )
        if to_fail > math.log(_MOST):
            why = f"it fails only from {slower}"
            yield Proof(check, "twice the time", must_fail=True, failed=False, why=why)
            continue
        failed = decided(metric, to_fail + _MARGIN)[0]
        yield Proof(check, slower, must_fail=True, failed=failed)
        failed = decided(metric, to_limit - _MARGIN)[0]
        yield Proof(check, "a change just within it", must_fail=False, failed=failed)


def prove_absolute(
    limits: Mapping[Absolute, float],
    latencies_ms: npt.NDArray[np.float64],
    walls_s: npt.NDArray[np.float64],
    *,
    items_per_call: float,
    error: float,
) -> Iterator[Proof]:
    """Slow calls down until half of them exceed each absolute limit by half.

    Args:
        limits: Absolute limits by name.
        latencies_ms: Every call, shape (rounds, calls).
        walls_s: How long each round took, shape (rounds,).
        items_per_call: Batch items of one call.
        error: Probability of each wrong verdict.
    """
    for name, limit in limits.items():
        if name == "min_throughput":
            figure = latencies_ms.shape[1] * items_per_call / float(np.median(walls_s))
            factor = _BEYOND_ABSOLUTE * figure / limit
        else:
            factor = _BEYOND_ABSOLUTE * limit / float(np.median(latencies_ms))
        judged = judge_absolute(
            name,
            limit,
            latencies_ms * factor,
            walls_s * factor,
            items_per_call=items_per_call,
            error=error,
        )
        yield Proof(
            f"{name}={limit:g}",
            f"{factor:.3g}x the time",
            must_fail=True,
            failed=judged.outcome == "failed",
            why=judged.why,
        )


def prove_faster(
    found: SpeedupResult, base: Rounds, candidate: Rounds, *, checks: int, noise: Noise
) -> Iterator[Proof]:
    """Slow the engine down until it is no longer so many times as fast as its opponent.

    Args:
        found: What the limit came to.
        base: Rounds of the opponent.
        candidate: Rounds of the engine, interleaved with them.
        checks: Limits over all tests of the run.
        noise: What calibration measured on this machine.
    """

    def fails(log: float) -> bool:
        slowed = Rounds({name: logs + log for name, logs in candidate.logs.items()}, base.calls)
        judged = judge_faster(
            found.opponent,
            found.factor,
            base,
            slowed,
            error=check_error(checks),
            mode=found.mode,
            noise=noise,
        )
        return judged.outcome == "failed"

    check = f"{found.factor:g}x as fast as {found.opponent}"
    if found.most > _MOST * found.ratio:
        why = f"it fails only below {found.factor * found.ratio / found.most:.3g}x"
        yield Proof(check, "half the speed", must_fail=True, failed=False, why=why)
        return
    for ratio, margin, must_fail in ((found.most, _MARGIN, True), (found.ratio, -_MARGIN, False)):
        log = math.log(ratio / found.factor) + margin
        slowed = f"{math.exp(log):.3g}x the time"
        yield Proof(check, slowed, must_fail=must_fail, failed=fails(log))
