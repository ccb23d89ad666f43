"""Wrong markers, told all at once: a module with five of them is mended in one go, not in five."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin.state import COMPLAINTS_KEY

#: Of a module: the test with which a text was first told. Its classes share what the module says.
_FIRST_KEY = pytest.StashKey[dict[str, str]]()


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


def fail(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Make a collector's report one of a failure that tells all complaints.

    Pytest leaves out the classes of a module that fails. They are looked at here, or what is wrong
    in them would be told only once the module is mended.
    """
    if report.failed:  # for a reason that pytest tells
        return
    by_text = collector.stash[COMPLAINTS_KEY]
    for node in report.result:
        if isinstance(node, pytest.Collector):
            node.ihook.pytest_make_collect_report(collector=node)
            for text, nodeids in node.stash.get(COMPLAINTS_KEY, {}).items():
                by_text.setdefault(text, []).extend(nodeids)
    report.outcome, report.result = "failed", []
    module = collector.getparent(pytest.Module) or collector
    first = module.stash.setdefault(_FIRST_KEY, {})
    for text, nodeids in by_text.items():
        if first.get(text) in (None, *nodeids):
            first[text] = nodeids[0]
    report.longrepr = "\n".join(
        _told(text, nodeids, first[text]) for text, nodeids in by_text.items()
    )
    report.trt_told = True  # type: ignore[attr-defined]


def _told(text: str, nodeids: Sequence[str], first: str) -> str:
    """Return what is wrong, then where: pytest's short summary cuts the line off."""
    what, fix, how = text.partition("\nFix: ")
    place = f"{what}\n  in {nodeids[0]}{_and_more(len(nodeids) - 1)}"
    return f"{place}{fix}{how}" if first in nodeids else f"{place}, as in {first}"


def _and_more(others: int) -> str:
    return f" and {others} more test{'s' * (others > 1)}" if others else ""
