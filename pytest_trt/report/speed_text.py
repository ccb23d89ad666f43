"""Words for speed: how metrics, changes and limits are called, here and in the summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_trt import units
from pytest_trt.benchmark.result import BenchmarkResult, MetricChange
from pytest_trt.statistics.absolute import AbsoluteLimitResult

#: How each metric is called.
NAMES = {"p50": "P50", "p95": "P95", "p99": "P99", "throughput": "throughput"}

#: Which metric an absolute limit is about.
METRIC_OF = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99", "min_throughput": "throughput"}

#: The figure of each metric in `BenchmarkResult.candidate`.
FIGURE_OF = {"p50": "p50_ms", "p95": "p95_ms", "p99": "p99_ms", "throughput": "throughput_qps"}


#: Outcomes, what a reader must hear of first at first.
GRAVITY = ("failed", "regressed", "inconclusive", "not testable", "passed")


def figure(metric: str, value: float) -> str:
    """Return a metric's value with its unit."""
    return units.rate(value) if metric == "throughput" else units.latency(value)


#: A bound beyond ten times as much: its digits say nothing more, and rows have to fit a terminal.
_BEYOND = ">+999%"


def limit_of(change: MetricChange) -> str:
    """Return a relative limit with its direction: "+10%", for throughput "-5%"."""
    return f"{'-' if change.metric == 'throughput' else '+'}{units.percent(change.limit)}"


def bounds_of(change: MetricChange | MetricChange) -> str:
    """Return the bounds of a change, the lower one first: "+58% to +66%"."""
    ends = [bound(change.least), bound(change.most)]
    if ends == [_BEYOND, _BEYOND]:
        return _BEYOND
    return " to ".join(reversed(ends) if change.metric == "throughput" else ends)


def bound(change: float | None) -> str:
    """Return one bound: "+58%"."""
    return _BEYOND if change is not None and change > 9.99 else units.change(change)


def gravest_change(record: BenchmarkResult) -> MetricChange | None:
    """Return the metric that a reader must hear of first."""
    failing = [one for one in record.changes if one.outcome != "passed"]
    if not failing:  # nothing is grave, and of all tests the same is told
        order = ("p99", "p95", "p50", "throughput")
        return min(record.changes, key=lambda one: order.index(one.metric), default=None)
    return min(
        failing, key=lambda one: (GRAVITY.index(one.outcome), one.change is None, -one.certain_use)
    )


def gravest_limit(record: BenchmarkResult) -> AbsoluteLimitResult | None:
    """Return the absolute limit that a reader must hear of first."""
    return min(record.limits, key=lambda one: GRAVITY.index(one.outcome), default=None)


#: Lines of changed layers that are told where there is room for one sentence.
_LAYERS_TOLD = 2


def layers_told(lines: Sequence[str]) -> str:
    """Return in a few words which layers changed; empty where none did, or none are known.

    Args:
        lines: See `BenchmarkResult.layer_changes`.
    """
    if not lines:
        return ""
    counted = re.fullmatch(r"and ([\d,]+) more", lines[-1])
    named = lines[:-1] if counted else lines
    # What is new costs time; layers that are gone or of another kind mostly do not.
    added = [line.removeprefix("added: ") for line in named if line.startswith("added: ")]
    first = added[:_LAYERS_TOLD] or list(named[:1])
    # The precision of each tells nothing of what to take out.
    first = [re.sub(r" \(\w+\)$", "", one) for one in first]
    more = len(named) - len(first) + (int(counted[1].replace(",", "")) if counted else 0)
    what = "added layers " if added else "layers: "
    return f"{what}{', '.join(first)}{f' and {more} more changes' if more else ''}"


def what_changed(differences: Sequence[str], layers: str, git_restore_hint: str = "") -> str:
    """Return what to do about an engine that is slower than its baseline's.

    Args:
        differences: See `BenchmarkResult.differences`.
        layers: Which layers changed, if any did.
        git_restore_hint: How the model's file is brought back.
    """
    told = " ".join(differences)
    named = f", or take out the {layers}" if layers.startswith("added") else ""
    if "its model changed" in told:
        how = f" ({git_restore_hint})" if git_restore_hint else ""
        return f"bring back the model of the baseline{how}{named}"
    if "its options or its builder changed" in told:
        return f"go back to the options and the builder of the baseline{named}"
    if differences:
        return f"go back to how it was measured then ({differences[0]})"
    return "look at what changed in the model, its options or the toolchain"


#: Up to so many tests are named in a command; of more, their files are.
_TESTS_TYPED = 4


def update_command(tests: Sequence[str]) -> str:
    """Return what to type to accept the figures of tests, given by their node ids."""
    named = tests if len(tests) <= _TESTS_TYPED else [test.partition("::")[0] for test in tests]
    listed = " ".join(f'"{name}"' for name in dict.fromkeys(named))
    return f'pytest {listed} --trt-update --trt-update-reason "..."'


def accepting(tests: Sequence[str], files: Sequence[str]) -> str:
    """Return how the figures of tests become their baselines, once they are meant.

    Args:
        tests: Node ids.
        files: The baseline files, as `BenchmarkResult.file` has them.
    """
    them = files[0] if len(files) == 1 else "the files"
    return (
        "if it is to be this slow, accept it on the baseline's machine and commit "
        f"{them}: {update_command(tests)}"
    )
