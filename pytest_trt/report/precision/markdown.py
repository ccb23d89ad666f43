"""A comparison of precisions as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_trt import escaping
from pytest_trt.precision.suggest import PrecisionSuggestion
from pytest_trt.report.precision.words import cells, conditions, problems, titles, verdict


def suggestion_markdown(suggestion: PrecisionSuggestion) -> str:
    """Return a comparison as Markdown: a table, what was measured, and what could not be."""
    return "\n".join(_lines(suggestion)) + "\n"


def _lines(suggestion: PrecisionSuggestion) -> Iterator[str]:
    yield f"### {escaping.markdown(suggestion.model)}: {verdict(suggestion)}"
    yield ""
    names = titles(suggestion)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for one in suggestion.precisions:
        if one.passed is not None:
            row = cells(one, suggestion)
            marked = [f"**{cell}**" if one.best else cell for cell in (row[0], row[-1])]
            yield f"| {' | '.join([marked[0], *row[1:-1], marked[1]])} |"
    yield ""
    for precision, why in problems(suggestion):
        yield f"- {precision}: {escaping.markdown(why)}"
    for line in conditions(suggestion):
        yield f"- {escaping.markdown(line)}"
