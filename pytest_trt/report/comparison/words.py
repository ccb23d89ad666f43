"""The texts of a comparison, shared by terminal, Markdown and page."""

from __future__ import annotations

from pytest_trt import units
from pytest_trt.report.comparison.findings import (
    Comparison,
    Direction,
    EngineChange,
    Finding,
    Kind,
    TestChange,
)
from pytest_trt.wording import count

#: Titles of the cells that `cells` returns.
TITLES = ("", "before", "now", "change", "bounds", "")

_COUNTED = {
    Direction.WORSE: "worse",
    Direction.BETTER: "better",
    Direction.CHANGED: "with other changes",
    Direction.SAME: "the same",
    Direction.NO_VERDICT: "without a verdict",
    Direction.NOT_TESTED: "not tested in either run",
}

#: What is shown only on request.
_CALM = (Direction.SAME, Direction.NOT_TESTED)


def shown(comparison: Comparison, *, everything: bool) -> list[TestChange | EngineChange]:
    """Return the tests and engines that changed, or all; tests first.

    Tests without a verdict are shown too: whether they changed is not known.
    """
    both: list[TestChange | EngineChange] = [*comparison.tests, *comparison.engines]
    return [one for one in both if everything or one.direction not in _CALM]


def summary(comparison: Comparison) -> str:
    """Return how many tests changed how: "2 worse (1 without a verdict now), 30 the same"."""
    counts = {direction: sum(1 for _ in comparison.of(direction)) for direction in _COUNTED}
    texts = {one: f"{n} {_COUNTED[one]}" for one, n in counts.items() if n}
    lost = sum(one.lost for one in comparison.of(Direction.WORSE))
    if lost:
        texts[Direction.WORSE] += f" ({lost} without a verdict now)"
    shown = ", ".join(texts.values())
    rest = [
        f"{len(names)} {what}"
        for names, what in ((comparison.removed, "only before"), (comparison.added, "only now"))
        if names
    ]
    return "; ".join(
        filter(None, [f"{count(len(comparison.tests), 'test')}: {shown}", ", ".join(rest)])
    )


def title(change: TestChange | EngineChange) -> str:
    """Return a test with its statuses: "test_x (digits.onnx fp16 sm86): passed -> failed"."""
    if isinstance(change, EngineChange):
        return f"engine {change.engine}"
    status = change.status if change.was == change.status else f"{change.was} -> {change.status}"
    status += " by a looser tolerance or limit" if change.passes_looser else ""
    return f"{change.test} ({change.where}): {status}"


def why(change: TestChange | EngineChange) -> str:
    """Return why the status of a test changed, or why it has no verdict; else nothing."""
    return change.why if isinstance(change, TestChange) and _status_counts(change) else ""


def _status_counts(change: TestChange) -> bool:
    return change.was != change.status or change.direction is Direction.NO_VERDICT


def findings_of(change: TestChange | EngineChange, *, everything: bool) -> list[Finding]:
    """Return the findings that changed; all where the status changed or is no verdict."""
    other = isinstance(change, TestChange) and _status_counts(change)
    return [
        one for one in change.findings if everything or other or one.direction is not Direction.SAME
    ]


def cells(finding: Finding) -> tuple[str, str, str, str, str, str]:
    """Return a finding as the cells of a row, see `TITLES`."""
    before, now = _figure(finding, finding.before), _figure(finding, finding.now)
    change = "" if finding.change is None else units.change(finding.change)
    bounds = ""
    if finding.kind in (Kind.SPEED, Kind.SPEEDUP):
        ends = [
            units.change(end) if end is not None else "?" for end in (finding.least, finding.most)
        ]
        bounds = " to ".join(ends)
    direction = "" if finding.direction is Direction.SAME else finding.direction.value
    return _label(finding), before, now, change, bounds, direction


def _label(finding: Finding) -> str:
    labels = {
        Kind.SPEED: units.METRIC_NAMES.get(finding.name, finding.name),
        Kind.SPEEDUP: f"speed relative to {finding.name}",
        Kind.ERROR: f"error of {finding.name} {finding.detail}".rstrip(),
        Kind.METRIC: finding.name,
        Kind.SIZE: "plan",
        Kind.MEMORY: "device memory",
        Kind.LAYERS: "layers",
        Kind.CHECKS: "checks",
        Kind.NOTE: "note",
    }
    return labels[finding.kind]


def _figure(finding: Finding, value: float | None) -> str:
    if value is None:
        return ""
    if finding.kind is Kind.SPEED:
        return units.figure(finding.name, value)
    if finding.kind is Kind.SPEEDUP:
        return f"{value:.3g}x"
    if finding.kind is Kind.ERROR:
        return units.share(value)
    if finding.kind is Kind.METRIC:
        return f"{value:.4g}"
    if finding.kind is Kind.LAYERS:
        return f"{value:,.0f}"
    return units.size(value)
