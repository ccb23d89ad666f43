"""A comparison as Markdown, for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt import escaping
from pytest_trt.report.comparison.findings import (
    Comparison,
    Direction,
    EngineChange,
    Kind,
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

#: The most characters of a comment on GitHub.
#: Source: GitHub refuses longer ones: "body is too long (maximum is 65536 characters)".
COMMENT_CHARACTERS = 65_536

_MARKS = {
    Direction.WORSE: "❌",
    Direction.BETTER: "✅",
    Direction.CHANGED: "⚠️",
    Direction.NO_VERDICT: "❔",
    Direction.SAME: "",
    Direction.NOT_TESTED: "",
}

#: Findings whose labels have names of outputs, metrics or files.
_NAMED_BY_USERS = (Kind.ERROR, Kind.METRIC, Kind.SPEEDUP)

#: Tests that are shown unfolded.
_OPEN = 10

#: Names of tests that only one run has.
_NAMED = 50

_CUT = "\n*Truncated: a comment may have 65,536 characters.*\n"


def markdown(
    comparison: Comparison, *, everything: bool = False, limit: int = COMMENT_CHARACTERS
) -> str:
    """Return a comparison as Markdown.

    Args:
        comparison: The comparison.
        everything: Whether to include what did not change.
        limit: The most characters; tests that changed least are left out first.
    """
    blocks: list[str] = []
    room = limit - len(_CUT)
    for block in _blocks(comparison, everything=everything):
        room -= len(block)
        if room < 0:
            return "".join(blocks) + _CUT
        blocks.append(block)
    return "".join(blocks)


def _blocks(comparison: Comparison, *, everything: bool) -> Iterator[str]:
    names = " and ".join(map(escaping.markdown, (comparison.old, comparison.new)))
    yield f"### pytest-trt: {summary(comparison)}\n\nBetween {names}:\n\n"
    for line in comparison.differences or ("versions, devices, models and commit are the same",):
        yield f"- {escaping.markdown(line)}\n"
    yield "\n"
    for number, change in enumerate(shown(comparison, everything=everything)):
        yield _test(change, everything=everything, is_open=number < _OPEN)
    for names_of, what in ((comparison.removed, "Only before"), (comparison.added, "Only now")):
        if names_of:
            yield f"**{what}**\n\n" + "".join(
                f"- {escaping.markdown(name)}\n" for name in names_of[:_NAMED]
            )
            more = len(names_of) - _NAMED
            yield f"- and {more} more\n\n" if more > 0 else "\n"


def _test(change: TestChange | EngineChange, *, everything: bool, is_open: bool) -> str:
    rows = []
    for finding in findings_of(change, everything=everything):
        label, *figures, _ = cells(finding)
        label = escaping.markdown(label) if finding.kind in _NAMED_BY_USERS else label
        row = (label, *figures, _MARKS[finding.direction])
        rows.append(f"| {' | '.join(row)} |")
        rows += [f"| | {escaping.markdown(line)} | | | | |" for line in finding.lines]
    head = f"| {' | '.join(TITLES)} |\n|{'---|' * len(TITLES)}"
    table = "\n".join([head, *rows]) if rows else ""
    body = "\n\n".join(filter(None, [escaping.markdown(why(change)), table]))
    mark = f"{_MARKS[change.direction]} ".lstrip()
    name = f"{mark}<code>{escaping.html(title(change))}</code>"
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{name}</summary>\n\n{body}\n\n</details>\n\n"
