"""Collection: tests are multiplied, get their plans, and are refused where a marker is wrong.

Everything that is wrong in a module is reported at once, so that it is fixed in one go. Where
markers name several models, the tests of one that cannot be tested fail when they run, so that the
others are tested.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TypeAlias

import pytest

from pytest_trt.diagnostics import Diagnostic, PytestTrtWarning, Remedy, failure_lines
from pytest_trt.plugin.names import is_ours
from pytest_trt.plugin.planning.lost_marks import replaced, uncollected
from pytest_trt.plugin.planning.markers import BenchmarkMarker, ConsistencyMarker
from pytest_trt.plugin.planning.marks import (
    MULTIPLIED_KEY,
    marks_of,
    params_of,
    same_marks,
    without_ids,
)
from pytest_trt.plugin.planning.plan import MODEL
from pytest_trt.plugin.planning.planner import PlanError
from pytest_trt.plugin.planning.stale_entries import StaleEntry
from pytest_trt.plugin.stale_items import StaleEntryItem, items_of, was_a_model
from pytest_trt.plugin.state import PLAN_KEY, planner_of, uses_plugin
from pytest_trt.records import to_data

#: Of a module or class: what is wrong, by text, with the tests that it is wrong in.
_Wrong = dict[str, tuple[Diagnostic, list[str]]]
_WRONG_KEY = pytest.StashKey[_Wrong]()

#: What is wrong, by test.
_Failed: TypeAlias = dict[pytest.Function, tuple[Diagnostic, ...]]

#: Of a module: the models of stale entries of `per_model` that have an item.
_STALE_KEY = pytest.StashKey[set[Path]]()

#: Codes of mistakes in markers, also where they concern one of several models.
_OF_MARKERS = frozenset({"TRT150", "TRT154"})

#: Codes of models that are missing or unreadable, also where every model is.
_OF_FILES = frozenset({"TRT156", *(f"TRT20{digit}" for digit in range(10))})

#: Of a module: the test with which a text was first reported. Its classes share its markers.
_FIRST_KEY = pytest.StashKey[dict[str, str]]()


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each architecture, model, precision and shape that its markers name.

    Every parameter set gets the values of all of them. `plan_tests` drops the surplus, as only the
    collected item shows which marks it has.
    """
    definition = metafunc.definition
    assert definition.parent is not None
    own, planner = marks_of(definition), planner_of(metafunc.config)
    sets = [(*marks, *own) for marks in _marks_of_sets(metafunc)]
    for fixture, values in planner.variants(sets, definition.path).items():
        # A test with one value keeps its plain name, and one that parametrises itself its choice. A
        # list of models names even a single one.
        several = len(values) > 1 or (fixture == MODEL and values)
        if fixture in metafunc.fixturenames and several and not _chosen(metafunc, fixture):
            metafunc.parametrize(fixture, values, ids=list(values), indirect=fixture == MODEL)
            by_plugin = definition.parent.stash.setdefault(MULTIPLIED_KEY, set())
            by_plugin.add((definition.name, fixture))


def _marks_of_sets(metafunc: pytest.Metafunc) -> Iterator[tuple[pytest.Mark, ...]]:
    """Yield the plugin's marks of every combination of a test's parameter sets."""
    argvalues = [
        mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ())
        for mark in metafunc.definition.iter_markers("parametrize")
    ]
    fixtures = getattr(metafunc, "_arg2fixturedefs", {})
    argvalues += [fixtures[name][-1].params or () for name in fixtures]
    axes = [
        axis for values in argvalues if (axis := _distinct_marks(values, metafunc.config)) != [()]
    ]
    for combination in product(*axes):
        yield tuple(mark for marks in combination for mark in marks)


def _distinct_marks(
    argvalues: Iterable[object], config: pytest.Config
) -> Sequence[tuple[pytest.Mark, ...]]:
    if not isinstance(argvalues, list | tuple):  # an iterator can be read once, and pytest does
        return [()]
    found: dict[tuple[int, ...], tuple[pytest.Mark, ...]] = {}
    for value in argvalues:
        marks = [getattr(mark, "mark", mark) for mark in getattr(value, "marks", ())]
        ours = tuple(mark for mark in marks if is_ours(getattr(mark, "name", ""), config))
        found[tuple(map(id, ours))] = ours
    return list(found.values()) or [()]


def _chosen(metafunc: pytest.Metafunc, fixture: str) -> bool:
    """Whether a parametrize marker of the test or a hook of its project names the fixture."""
    if any(fixture in one.params for one in getattr(metafunc, "_calls", ())):
        return True
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if fixture in (names.replace(",", " ").split() if isinstance(names, str) else names):
            return True
    return False


def plan_tests(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Give the collected tests of a module or class their plans, or make it fail to be collected.

    Tests that only another parameter set of their function names are dropped.
    """
    planned: list[pytest.Item | pytest.Collector] = []
    failed: _Failed = {}
    for node in report.result:
        if isinstance(node, pytest.Function) and uses_plugin(node, node.fixturenames):
            if planner_of(node.config).is_surplus(node):
                continue
            node = without_ids(node, planner_of(node.config).only_of_others(node))
            _plan(node, failed)
        planned.append(node)
    report.result = planned = [*planned, *_stale_items(planned, failed)]
    if _are_of_models(failed, planned):
        _fail_when_run(failed)
    elif failed:
        collector.stash[_WRONG_KEY] = _by_text(failed)
        _fail(collector, report)


def warn_of_uncollected(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Warn of functions and classes that pytest left out; with -W error, fail the module."""
    nodes = report.result
    for found, line in (*uncollected(collector, nodes), *replaced(collector, nodes)):
        try:
            warnings.warn_explicit(PytestTrtWarning(str(found)), None, str(collector.path), line)
        except PytestTrtWarning:
            _report(report, [replace(found, severity="error")])
            report.outcome, report.result = "failed", []
            return


def plan_changed_tests(items: list[pytest.Item]) -> None:
    """Plan the tests again that hooks have given other markers, and drop those that are wrong."""
    failed: dict[pytest.Collector, _Failed] = {}
    wrong: dict[pytest.Collector, _Wrong] = {}
    for item in list(items):
        if not isinstance(item, pytest.Function):
            if not isinstance(item, StaleEntryItem):
                _refuse_checks_on(item, wrong)
            continue
        if not uses_plugin(item, item.fixturenames):
            continue
        plan = item.stash.get(PLAN_KEY, None)
        if plan is not None and same_marks(plan.marks, marks_of(item)):
            continue
        assert item.parent is not None
        changed = failed.setdefault(item.parent, {})
        _plan(item, changed)
        items += _stale_items([item], changed)
    _refuse_same_ids(items, wrong)
    for collector, found in failed.items():
        if _are_of_models(found, items):
            _fail_when_run(found)
        elif found:
            wrong.setdefault(collector, {}).update(_by_text(found))
    refused = {nodeid for found in wrong.values() for _, ids in found.values() for nodeid in ids}
    items[:] = [item for item in items if item.nodeid not in refused]
    for collector, each in wrong.items():
        report = pytest.CollectReport(collector.nodeid, "failed", None, [])
        _report(report, [_placed(one, ids, ids[0]) for one, ids in each.values()])
        collector.ihook.pytest_collectreport(report=report)


def _refuse_checks_on(item: pytest.Item, wrong: dict[pytest.Collector, _Wrong]) -> None:
    """Refuse a check on what is not a Python test function: it would check nothing.

    Markers of a module do not apply to its doctests.
    """
    nodes = [one for one in item.listchain() if not isinstance(one, pytest.Module | pytest.Package)]
    names = {mark.name for node in nodes for mark in node.own_markers}
    for name in sorted(names & {ConsistencyMarker.NAME, BenchmarkMarker.NAME}):
        assert item.parent is not None
        found = Diagnostic(
            "TRT158",
            f"{name} is on {item.name}, which is not a Python test function "
            f"({type(item).__name__})",
            {"marker": name, "type": type(item).__name__},
            remedy=Remedy("Move the check to a test function or method."),
        )
        wrong.setdefault(item.parent, {})[str(found)] = (found, [item.nodeid])


def _refuse_same_ids(items: Iterable[pytest.Item], wrong: dict[pytest.Collector, _Wrong]) -> None:
    """Refuse tests with one node id: baselines and reports would have the last one alone.

    Node ids of files outside of the root folder are relative to the argument that names them.
    """
    first: dict[str, pytest.Function] = {}
    for item in items:
        if not (isinstance(item, pytest.Function) and uses_plugin(item, item.fixturenames)):
            continue
        other = first.setdefault(item.nodeid, item)
        if other is item:
            continue
        here, root = item.config.invocation_params.dir, item.config.rootpath
        files = dict.fromkeys(Path(os.path.relpath(one.path, here)) for one in (other, item))
        names = " and of ".join(map(str, files))
        above = os.path.relpath(os.path.commonpath([root, *(here / one for one in files)]), here)
        found = Diagnostic(
            "TRT190",
            f"tests of {names} have the same node ids"
            if len(files) > 1
            else f"tests of {names} were collected twice",
            {"files": [one.as_posix() for one in files], "root": str(root)},
            ("baselines and reports would have only the last of them",),
            Remedy(f"Add --rootdir={above}: these files are outside of the root folder, {root}.")
            if len(files) > 1
            else Remedy("Run pytest without --keep-duplicates."),
        )
        assert item.parent is not None
        _, nodeids = wrong.setdefault(item.parent, {}).setdefault(str(found), (found, []))
        nodeids.append(item.nodeid)


def _plan(item: pytest.Function, failed: _Failed) -> None:
    try:
        item.stash[PLAN_KEY] = planner_of(item.config).plan(item)
    except PlanError as error:
        failed[item] = error.diagnostics


def _stale_items(
    nodes: Sequence[pytest.Item | pytest.Collector], failed: _Failed
) -> list[pytest.Item]:
    """Return the items of stale entries of `per_model`; what seems to be a typo fails its tests."""
    stale: list[tuple[pytest.Item, StaleEntry]] = []
    typos: dict[StaleEntry, bool] = {}
    for node in nodes:
        if not (isinstance(node, pytest.Function) and uses_plugin(node, node.fixturenames)):
            continue
        for entry in planner_of(node.config).stale_entries(node):
            if entry not in typos:
                typos[entry] = bool(entry.similar) and not was_a_model(entry, node)
            if typos[entry]:
                failed[node] = (*failed.get(node, ()), entry.refusal())
            else:
                stale.append((node, entry))
    if not stale:
        return []
    module = stale[0][0].getparent(pytest.Module)
    assert module is not None
    return items_of(stale, module.stash.setdefault(_STALE_KEY, set()))


def _by_text(failed: _Failed) -> _Wrong:
    wrong: _Wrong = {}
    for item, found in failed.items():
        for diagnostic in found:
            _, nodeids = wrong.setdefault(str(diagnostic), (diagnostic, []))
            if item.nodeid not in nodeids:
                nodeids.append(item.nodeid)
    return wrong


def _are_of_models(failed: _Failed, nodes: Iterable[pytest.Item | pytest.Collector]) -> bool:
    """Whether some of several models are to blame for all that is wrong, and not the markers.

    What is wrong with every model of a test alike is a mistake in its markers.
    """
    models, concerned = defaultdict(set), defaultdict(set)
    for node in nodes:
        if isinstance(node, pytest.Function):
            models[_function(node)].add(_model(node))
    for item, found in failed.items():
        for one in found:
            concerned[_function(item), str(one)].add(_model(item))
    return bool(failed) and all(
        planner_of(item.config).names_several(item)
        and one.code not in _OF_MARKERS
        and (one.code in _OF_FILES or concerned[function, str(one)] != models[function])
        for item, found in failed.items()
        for function in [_function(item)]
        for one in found
    )


def _fail_when_run(failed: _Failed) -> None:
    """Let tests fail in their setup: whichever of them are selected, skipped or expected to fail.

    So the tests of all other models run.
    """
    for item, found in failed.items():
        item.stash[PLAN_KEY] = planner_of(item.config).failing_plan(item, found)


def _function(item: pytest.Function) -> tuple[object, str]:
    return item.parent, item.originalname


def _model(item: pytest.Function) -> str:
    return str(params_of(item).get(MODEL, ""))


def _fail(collector: pytest.Collector, report: pytest.CollectReport) -> None:
    """Make a collector's report one of a failure with everything that is wrong in it.

    Pytest leaves out the classes of a module that fails. They are collected here, or their mistakes
    would show only once the module is fixed.
    """
    wrong = collector.stash[_WRONG_KEY]
    for node in report.result:
        if isinstance(node, pytest.Collector):
            node.ihook.pytest_make_collect_report(collector=node)
            for text, (diagnostic, nodeids) in node.stash.get(_WRONG_KEY, {}).items():
                wrong.setdefault(text, (diagnostic, []))[1].extend(nodeids)
    report.outcome, report.result = "failed", []
    module = collector.getparent(pytest.Module) or collector
    first = module.stash.setdefault(_FIRST_KEY, {})
    for text, (_, nodeids) in wrong.items():
        if first.get(text) in (None, *nodeids):
            first[text] = nodeids[0]
    _report(report, [_placed(one, nodeids, first[text]) for text, (one, nodeids) in wrong.items()])


def _report(report: pytest.CollectReport, found: Sequence[Diagnostic]) -> None:
    report.longrepr = "\n".join(failure_lines(found, most=len(found)))
    # As data: it crosses process boundaries, and is fitted to the terminal there.
    report.trt_diagnostics = to_data(found)  # type: ignore[attr-defined]


def _placed(one: Diagnostic, nodeids: Sequence[str], first: str) -> Diagnostic:
    """Return a diagnostic with its tests; the remedy is shown only with the first of them."""
    others = len(nodeids) - 1
    more = f" and {others} more test{'s' * (others > 1)}" if others else ""
    if first in nodeids:
        return replace(one, details=(f"in {nodeids[0]}{more}", *one.details))
    return replace(one, details=(f"in {nodeids[0]}{more}, as in {first}",), remedy=Remedy())
