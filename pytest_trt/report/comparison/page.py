"""A comparison as one HTML page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_trt.escaping import html
from pytest_trt.report.comparison.findings import (
    Comparison,
    Direction,
    EngineChange,
    Finding,
    TestChange,
)
from pytest_trt.report.comparison.words import (
    TITLES,
    cells,
    findings_of,
    shown,
    summary,
    title,
    why,
)
from pytest_trt.report.html.static import chip, static_page

#: Statuses of `page.css` and marks.
_STATUSES = {
    Direction.WORSE: ("failed", "✕"),
    Direction.BETTER: ("passed", "✓"),
    Direction.CHANGED: ("inconclusive", "≠"),
    Direction.NO_VERDICT: ("inconclusive", "?"),
    Direction.SAME: ("skipped", "="),
    Direction.NOT_TESTED: ("skipped", "="),
}

_STYLE = """
details { border-top: 1px solid var(--line); padding: 0.5rem 0; overflow-wrap: anywhere; }
summary { width: auto; color: var(--text); display: flex; gap: 0.8rem; align-items: baseline; }
details > div { overflow-x: auto; padding: 0.4rem 0 0.4rem 1.2rem; }
.grid td:nth-child(n+2):nth-child(-n+5) { text-align: right; }
.grid th:nth-child(n+2):nth-child(-n+5) { text-align: right; }
.line td { border: 0; color: var(--muted); white-space: normal; }
"""


def page(comparison: Comparison, *, everything: bool = False) -> str:
    """Return a comparison as a page."""
    body = "\n".join(_body(comparison, everything=everything))
    return static_page(summary(comparison), body, command="pytest-trt report compare", style=_STYLE)


def _body(comparison: Comparison, *, everything: bool) -> Iterator[str]:
    names = f"<code>{html(comparison.old)}</code> and <code>{html(comparison.new)}</code>"
    yield f"<h2>Between {names}</h2>"
    yield _list(comparison.differences or ("versions, devices, models and commit are the same",))
    for change in shown(comparison, everything=everything):
        yield _change(change, everything=everything)
    for tests, what in ((comparison.removed, "Only before"), (comparison.added, "Only now")):
        if tests:
            yield f"<h2>{what}</h2>{_list(tests)}"


def _list(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html(text)}</li>' for text in texts)}</ul>"


def _change(change: TestChange | EngineChange, *, everything: bool) -> str:
    opened = " open" if change.direction is Direction.WORSE else ""
    reason = f"<p>{html(why(change))}</p>" if why(change) else ""
    rows = "".join(_row(found) for found in findings_of(change, everything=everything))
    head = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in TITLES)
    table = f'<table class="grid"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return (
        f"<details{opened}><summary>{_chip(change.direction)}<span>{html(title(change))}</span>"
        f"</summary><div>{reason}{table if rows else ''}</div></details>"
    )


def _row(finding: Finding) -> str:
    *texts, direction = cells(finding)
    chip = _chip(finding.direction) if direction else ""
    row = "".join(f"<td>{html(text)}</td>" for text in texts)
    more = "".join(
        f'<tr class="line"><td colspan="{len(TITLES)}">{html(line)}</td></tr>'
        for line in finding.lines
    )
    return f"<tr>{row}<td>{chip}</td></tr>{more}"


def _chip(direction: Direction) -> str:
    return chip(*_STATUSES[direction], direction.value)
