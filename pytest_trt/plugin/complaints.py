"""Invalid markers, reported together: a module with five is fixed in one go, not in five."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pytest_trt.diagnostics import Diagnostic, PytestTrtError, Remedy, failure_lines
from pytest_trt.plugin.state import COMPLAINTS_KEY

#: On a module: the test with which a text was first reported. Its classes share it.
_FIRST_KEY = pytest.StashKey[dict[str, str]]()


class Complaints:
    """What is wrong with one test. Every check is made, whatever another one found.

    Attributes:
        found: What is wrong.
    """

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Record an error, once, and continue."""
        try:
            yield
        except PytestTrtError as error:
            if error.diagnostic not in self.found:
                self.found.append(error.diagnostic)


def complain(item: pytest.Item, found: Sequence[Diagnostic]) -> None:
    """Make the collection of a test's class or module fail, once all of its tests were checked."""
    assert item.parent is not None
    by_text = item.parent.stash.setdefault(COMPLAINTS_KEY, {})
    for one in found:
        by_text.setdefault(str(one), (one, []))[1].append(item.nodeid)


def fail(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Replace a collector's report by a failure with everything that was found.

    pytest does not collect the classes of a module that fails. They are collected here, as what is
    wrong in them would be reported only once the module is fixed.
    """
    if report.failed:  # for a reason that pytest reports
        return
    by_text = collector.stash[COMPLAINTS_KEY]
    for node in report.result:
        if isinstance(node, pytest.Collector):
            node.ihook.pytest_make_collect_report(collector=node)
            for text, (one, nodeids) in node.stash.get(COMPLAINTS_KEY, {}).items():
                by_text.setdefault(text, (one, []))[1].extend(nodeids)
    report.outcome, report.result = "failed", []
    module = collector.getparent(pytest.Module) or collector
    first = module.stash.setdefault(_FIRST_KEY, {})
    found = []
    for text, (one, nodeids) in by_text.items():
        if first.get(text) in (None, *nodeids):
            first[text] = nodeids[0]
        found.append(_placed(one, nodeids, first[text]))
    report.longrepr = "\n".join(failure_lines(found, most=len(found)))
    # As data: it crosses process boundaries, and is fitted to the terminal there.
    from pytest_trt.records import to_data

    report.trt_diagnostics = to_data(found)  # type: ignore[attr-defined]


def _placed(one: Diagnostic, nodeids: Sequence[str], first: str) -> Diagnostic:
    """Return a diagnostic with its tests; the remedy is shown only with the first of them."""
    others = len(nodeids) - 1
    more = f" and {others} more test{'s' * (others > 1)}" if others else ""
    if first in nodeids:
        return replace(one, details=(f"in {nodeids[0]}{more}", *one.details))
    return replace(one, details=(f"in {nodeids[0]}{more}, as in {first}",), remedy=Remedy())
