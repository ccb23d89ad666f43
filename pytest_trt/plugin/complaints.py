"""Wrong markers, told all at once: a module with five of them is mended in one go, not in five."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from pytest_trt.errors import PytestTrtError
from pytest_trt.plugin.state import COMPLAINTS_KEY


class Complaints:
    """What is wrong with one test; every question is asked, whatever another one's answer was.

    Attributes:
        texts: The errors' texts.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Take an error down instead of letting it pass."""
        try:
            yield
        except PytestTrtError as error:
            self.texts.append(str(error))


def complain(item: pytest.Item, texts: Sequence[str]) -> None:
    """Have a test's class or module fail to be collected, once all of its tests were looked at."""
    assert item.parent is not None
    by_text = item.parent.stash.setdefault(COMPLAINTS_KEY, {})
    root = f"{item.config.rootpath}{os.sep}"
    for text in texts:
        what, *rest = text.split("\n")
        # Pytest's short summary has room for little more than the path of a model.
        shown = "\n".join([what.removeprefix(root), *rest])
        by_text.setdefault(shown, []).append(item.nodeid)


def fail(report: pytest.CollectReport, by_text: dict[str, list[str]]) -> None:
    """Make a collector's report one of a failure that tells all complaints."""
    if report.failed:  # for a reason that pytest tells
        return
    report.outcome, report.result = "failed", []
    report.longrepr = "\n".join(_told(text, nodeids) for text, nodeids in by_text.items())
    report.trt_told = True  # type: ignore[attr-defined]


def _told(text: str, nodeids: Sequence[str]) -> str:
    """Return what is wrong, then where: pytest's short summary cuts the line off."""
    what, fix, how = text.partition("\nFix: ")
    return f"{what}\n  in {nodeids[0]}{_and_more(len(nodeids) - 1)}{fix}{how}"


def _and_more(others: int) -> str:
    return f" and {others} more test{'s' * (others > 1)}" if others else ""
