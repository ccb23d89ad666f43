"""The decision on a task metric: whether it is worse than its baseline by more than a limit.

The evaluation data are the same each time, so the measured value decides whether the limit holds.
Whether a value beyond the limit is more than chance, a bound decides: the least decline that the
data allow with 99% confidence.

- A share of n trials: the exact intervals of both shares (Clopper and Pearson, 1934), combined as
  the square root of the sum of squares of their margins (MOVER, Zou and Donner, 2008).
- Values by sample: the 1% quantile of 2,000 bootstrap means of the differences, drawn from a fixed
  seed; of the differences of the two means where the numbers of samples differ. For hits and misses
  it is that of all bootstrap means, which is known exactly.
- A plain number has no bound: it is compared as it is.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.terms import Verdict

#: Probability of a failure although the decline is within the limit.
ERROR = 0.01

_RESAMPLES = 2000

#: Elements that are drawn at a time.
_BLOCK = 1 << 20


_LIMIT = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(points?|%|)\s*")


@dataclass(frozen=True, slots=True)
class DeclineLimit:
    """By how much a metric may be worse than its baseline.

    Attributes:
        text: The limit as it is written: "0.5 points", "2%", "0.01".
        amount: The decline that is allowed, absolute or as a share of the baseline.
        relative: Whether it is such a share.
        of_share: Whether it is given in points, hundredths of a share.
    """

    text: str
    amount: float
    relative: bool = False
    of_share: bool = False

    def allowed(self, baseline: float) -> float:
        """Return the decline that is allowed from a value."""
        return self.amount * abs(baseline) if self.relative else self.amount


def parse_decline_limit(given: object) -> DeclineLimit | None:
    """Return the limit of "0.5 points", "2%", "0.01" or 0.01; None for anything else."""
    unit, amount = "", given
    if isinstance(given, str):
        match = _LIMIT.fullmatch(given)
        amount, unit = (match[1], match[2]) if match else (None, "")
    try:
        number = math.nan if isinstance(amount, bool) else float(amount)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not 0.0 <= number < math.inf:
        return None
    if unit == "%":
        return DeclineLimit(f"{number:g}%", number / 100.0, relative=True)
    if unit:
        return DeclineLimit(f"{number:g} points", number / 100.0, of_share=True)
    return DeclineLimit(f"{number:g}", number)


@dataclass(frozen=True, slots=True)
class Decline:
    """By how much a metric is worse than its baseline; negative where it is better.

    Attributes:
        measured: The difference of the two values.
        least: The least decline that the data allow; None where nothing bounds it.
    """

    measured: float
    least: float | None = None

    def judged(self, allowed: float) -> Verdict:
        """Return the verdict: failed only where even the least decline exceeds the limit."""
        # A share of 0.995 less one of 0.99 is a bit more than 0.005.
        slack = 1e-9 * max(abs(allowed), abs(self.measured))
        if self.measured <= allowed + slack:
            return Verdict.PASSED
        certain = self.measured if self.least is None else self.least
        return Verdict.FAILED if certain > allowed + slack else Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class TaskMetricResult:
    """One task metric against its baseline.

    Attributes:
        name: The metric's name.
        value: The measured value.
        limit: By how much it may be worse, as it was given.
        verdict: Passed, failed, inconclusive, not comparable, or not measured without a baseline.
        key: Digest of the key of the engine.
        of: How many trials it is a share of; None where it is none.
        samples: How many samples it is the mean of; 0 where it is none.
        lower_is_better: Whether a larger value is a worse one.
        stored: The value of the baseline; None without one.
        decline: By how much it is worse than that; negative where it is better.
        least: The least decline that the data allow; None where nothing bounds it.
        allowed: The decline that the limit allows.
        update: What this run stores: "first", "replaced", "not recorded", or empty.
    """

    name: str
    value: float
    limit: str
    verdict: Verdict
    key: str
    of: int | None = None
    samples: int = 0
    lower_is_better: bool = False
    stored: float | None = None
    decline: float | None = None
    least: float | None = None
    allowed: float | None = None
    update: str = ""

    def with_(self, **changes: Any) -> TaskMetricResult:
        """Return a copy with other attributes."""
        return replace(self, **changes)


class MetricRecorder(Protocol):
    """What the `trt_metrics` fixture gives a test."""

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
        """Record a metric of the test, which is compared with its stored baseline.

        It is judged when the test ends, so nothing has to be asserted.

        Args:
            name: Its name, once in a test.
            value: Its value; none where `samples` are given, whose mean it is.
            limit: By how much it may be worse than the stored value: "0.5 points" (0.005 of a
                share), "2%" (of the stored value), or a number in its own unit.
            of: The number of trials, where it is the share of them that succeeded.
            samples: The value of each sample, always in the same order; at most 10,000.
            lower_is_better: Whether a larger value is a worse one.
        """


def of_numbers(before: float, now: float, *, lower_is_better: bool) -> Decline:
    """Return the decline of a plain number."""
    return Decline(now - before if lower_is_better else before - now)


def of_shares(before: float, of: int, now: float, now_of: int, *, lower_is_better: bool) -> Decline:
    """Return the decline of a share of trials.

    Args:
        before: The share that is stored.
        of: Of how many trials.
        now: The share that was measured.
        now_of: Of how many trials.
        lower_is_better: Whether a larger share is a worse one.
    """
    measured = now - before if lower_is_better else before - now
    worse, better = (now, now_of), (before, of)
    # The margins towards each other.
    (high, of_high), (low, of_low) = (worse, better) if lower_is_better else (better, worse)
    margin = math.hypot(high - exact_bounds(high, of_high)[0], exact_bounds(low, of_low)[1] - low)
    return Decline(measured, measured - margin)


def exact_bounds(share: float, of: int, error: float = ERROR) -> tuple[float, float]:
    """Return the least and the largest chance that explains a share of trials, each exact.

    Args:
        share: The share that succeeded.
        of: How many trials.
        error: Probability that the chance is beyond one of them.
    """
    successes = round(share * of)
    low = _bisected(of, successes - 1, 1.0 - error) if successes else 0.0
    high = _bisected(of, successes, error) if successes < of else 1.0
    return low, high


def _bisected(of: int, successes: int, probability: float) -> float:
    """Return the chance at which P(X <= successes) is a probability; it falls with the chance."""
    counts = np.arange(successes + 1)
    logs = np.zeros(of + 1)
    logs[1:] = np.cumsum(np.log(np.arange(1, of + 1)))  # of factorials
    ways = logs[of] - logs[counts] - logs[of - counts]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        terms = ways + counts * math.log(middle) + (of - counts) * math.log1p(-middle)
        if np.exp(terms).sum() > probability:
            low = middle
        else:
            high = middle
    return low


def least_failing_hits(
    value: float, samples: int, allowed: float, *, lower_is_better: bool
) -> float:
    """Return the smallest decline of a share of hits that fails; infinite for none.

    Args:
        value: The share that is stored.
        samples: How many samples are hits or misses. None of them improves.
        allowed: The decline that is allowed.
        lower_is_better: Whether a larger share is a worse one.
    """
    return _least_failing(
        round(value * samples),
        samples,
        allowed,
        lambda lost, _: Decline(lost / samples, _least_of_hits(lost, 0, samples)),
        lower_is_better=lower_is_better,
    )


def least_failing_share(value: float, of: int, allowed: float, *, lower_is_better: bool) -> float:
    """Return the smallest decline of a share of as many trials that fails; infinite for none.

    Args:
        value: The share that is stored.
        of: Of how many trials.
        allowed: The decline that is allowed.
        lower_is_better: Whether a larger share is a worse one.
    """
    return _least_failing(
        round(value * of),
        of,
        allowed,
        lambda _, hits: of_shares(value, of, hits / of, of, lower_is_better=lower_is_better),
        lower_is_better=lower_is_better,
    )


def _least_failing(
    hits: int,
    of: int,
    allowed: float,
    decline: Callable[[int, int], Decline],
    *,
    lower_is_better: bool,
) -> float:
    """Return the smallest decline that fails, by what is lost and how many hits are left."""
    most, direction = (of - hits, 1) if lower_is_better else (hits, -1)

    def after(lost: int) -> Decline:
        return decline(lost, hits + direction * lost)

    lost = bisect_left(
        range(most + 1), True, key=lambda lost: after(lost).judged(allowed) == Verdict.FAILED
    )
    return after(lost).measured if lost <= most else math.inf


def of_samples(before: Sequence[float], now: Sequence[float], *, lower_is_better: bool) -> Decline:
    """Return the decline of a mean over samples, in pairs where both have the same number.

    Args:
        before: The stored value of each sample.
        now: The measured ones.
        lower_is_better: Whether larger values are worse.
    """
    old, new = np.asarray(before, np.float64), np.asarray(now, np.float64)
    worse, better = (new, old) if lower_is_better else (old, new)
    measured = float(worse.mean() - better.mean())
    if old.size == new.size:
        differences = worse - better
        lost, gained = (int(np.count_nonzero(differences == one)) for one in (1.0, -1.0))
        if lost + gained == np.count_nonzero(differences):
            return Decline(measured, _least_of_hits(lost, gained, differences.size))
        means = _resampled_means(differences, 0)
    else:
        means = _resampled_means(worse, 0) - _resampled_means(better, 1)
    return Decline(measured, float(np.sort(means)[int(ERROR * _RESAMPLES)]))


def _least_of_hits(lost: int, gained: int, samples: int) -> float:
    """Return the 1% quantile of all bootstrap means of differences that are 1, -1 or 0.

    It is exact: drawn means would make it depend on which samples are lost.
    """
    steps = np.zeros(2 * samples + 1)
    steps[[-1, 0, 1]] = np.array([gained, samples - lost - gained, lost]) / samples
    # The sum of independent draws has the product of their transforms.
    sums = np.fft.irfft(np.fft.rfft(steps) ** samples, steps.size)
    below = np.cumsum(np.roll(sums, samples))  # from a sum of -samples on
    return (int(np.argmax(below > ERROR)) - samples) / samples


def _resampled_means(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    # NEP 19: the raw stream of a bit generator does not change, those of distributions may.
    stream = np.random.PCG64(seed)
    rows = max(1, _BLOCK // values.size)
    means = []
    for start in range(0, _RESAMPLES, rows):
        count = min(rows, _RESAMPLES - start)
        places = stream.random_raw(count * values.size) % np.uint64(values.size)
        means.append(values[places.astype(np.intp)].reshape(count, -1).mean(axis=1))
    return np.concatenate(means)
