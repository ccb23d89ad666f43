"""Joins reports to trends, and marks where neighboring runs differ.

A trend is one test on one engine and one machine. Neighbors are compared like the two reports of
`report compare`, and share one probability of error: of a hundred histories of unchanged engines
one has a mark. Runs of another mode, spec or tolerance are not compared: there the trend breaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.report.comparison.compare import differences, error_findings, speed_findings
from pytest_trt.report.comparison.findings import MISSING, Direction, Finding, Kind
from pytest_trt.report.coverage import uncollected_reasons
from pytest_trt.report.document import Document
from pytest_trt.report.history.trends import (
    FAILED,
    History,
    HistoryRun,
    Trend,
    TrendBreak,
    TrendChange,
    TrendPoint,
)
from pytest_trt.statistics.decide import check_error
from pytest_trt.terms import METRICS

#: What a result is reduced to while it waits for those of other reports.
_SPEED = ("mode", "batch", "calls", "candidate", "candidate_rounds", "spec")


#: Statuses of a test that did not run.
_UNTESTED = ("skipped", "deselected", "not run")


class _Key(NamedTuple):
    test: str
    place: str
    engine: str
    number: int  # of several engines of one model and precision in one test


class _Case(NamedTuple):
    """One test on one engine in one run; None for what was not measured."""

    run: int
    status: str
    speed: Mapping[str, Any] | None = None
    accuracies: Mapping[str, Mapping[str, Any]] = {}  # by what outputs were compared with
    context: Document | None = None


class HistoryBuilder:
    """Collects reports one by one; of each only what trends need stays in memory."""

    def __init__(self) -> None:
        self._runs: list[HistoryRun] = []
        self._cases: dict[_Key, list[_Case]] = {}
        self._stopped: list[tuple[str, str, int, str]] = []
        self._untested: dict[tuple[int, str], dict[str, str]] = {}
        self._seen: dict[str, int] = {}
        self._left_out: list[Diagnostic] = []

    def leave_out(self, why: Diagnostic) -> None:
        """Note a file that is not used."""
        self._left_out.append(why)

    def add(self, file: str, document: Document) -> None:
        """Add the runs of a report, unless another report had them."""
        places: dict[int, int] = {}
        for index, run in enumerate(document["runs"]):
            if run["id"] in self._seen:
                continue
            self._seen[run["id"]] = places[index] = len(self._runs)
            self._runs.append(
                HistoryRun(
                    file=file,
                    started=run["started"],
                    started_s=run["started_s"],
                    commit=run["commit"],
                    places=tuple(_place(target) for target in run["targets"]),
                    uncollected=uncollected_reasons({"runs": [run]}),
                )
            )
        if document["runs"] and not places:
            message = f"{file}: its runs are in other reports"
            facts = {"file": file, "runs": [run["id"] for run in document["runs"]]}
            self._left_out.append(Diagnostic("TRT910", message, facts, severity="note"))
        for test in document["tests"]:
            if test["run"] in places:
                self._add_test(test, places[test["run"]], document)

    def _add_test(self, test: Mapping[str, Any], run: int, document: Document) -> None:
        made = document["runs"][test["run"]]
        places = {target["arch"]: _place(target) for target in made["targets"]}
        counts: dict[str, int] = {}
        for result in test["results"]:
            engine = document["engines"][result["engine"]]
            name = f"{result['model']} {result['precision']}"
            counts[name] = counts.get(name, -1) + 1
            place = places.get(result["arch"]) or engine["target"]
            reduced = {name: value for name, value in engine.items() if name != "layer_rows"}
            imported = {"imported_from": test["imported_from"]}
            context = {"runs": [made], "engines": {"": reduced}, "tests": [imported]}
            case = _Case(run, test["status"], *_measured(result), context)
            key = _Key(test["test"], place, name, counts[name])
            self._cases.setdefault(key, []).append(case)
        if not test["results"] and test["status"] in FAILED:
            place = places.get(test["arch"], test["arch"])
            self._stopped.append((test["test"], place, run, test["status"]))
        if test["status"] in _UNTESTED:
            of_test = self._untested.setdefault((run, test["test"]), {})
            of_test[places.get(test["arch"], "")] = test["status"]

    def history(self) -> History:
        """Return the history of everything that was added."""
        order = sorted(range(len(self._runs)), key=lambda at: (self._runs[at].started_s, at))
        rank = {at: place for place, at in enumerate(order)}
        found = {key: [*cases] for key, cases in self._cases.items()}
        for test, place, run, status in self._stopped:
            keys = [key for key in found if key[:2] == (test, place)]
            for key in keys or [_Key(test, place, "", 0)]:
                found.setdefault(key, []).append(_Case(run, status))
        cases_of = {
            key: sorted((one._replace(run=rank[one.run]) for one in cases), key=lambda of: of.run)
            for key, cases in found.items()
        }
        # Each run is compared with its neighbor, and the newest with the first.
        checks = sum(len(METRICS) * len(cases) for cases in cases_of.values())
        error = check_error(2 * checks)
        runs = [self._runs[at] for at in order]
        runs = [self._runs[at] for at in order]
        trends = [
            _trend(key, cases, error, self._why_untested(key, cases, runs, order))
            for key, cases in cases_of.items()
        ]
        severity = list(Direction)
        return History(
            runs=tuple(runs),
            trends=tuple(sorted(trends, key=lambda one: severity.index(one.direction))),
            left_out=tuple(self._left_out),
        )

    def _why_untested(
        self, key: _Key, cases: Sequence[_Case], runs: Sequence[HistoryRun], order: Sequence[int]
    ) -> str:
        """Return why the newest run on a trend's machine has no verdict; empty where it has one.

        Args:
            key: The trend.
            cases: Its runs in order of time.
            runs: All runs in order of time.
            order: The position at which each was added.
        """
        # A run that collected nothing may have been for any machine.
        of_place = [at for at, run in enumerate(runs) if key.place in (run.places or [key.place])]
        newest, last = max([*of_place, cases[-1].run]), cases[-1]
        if last.run == newest:
            return last.status if last.status in _UNTESTED else ""
        statuses = self._untested.get((order[newest], key.test), {})
        if found := statuses.get(key.place) or statuses.get(""):
            return found
        if runs[newest].uncollected:
            return "not collected"
        if not runs[newest].places:
            return "the run tested nothing"
        # A test that has been missing for longer was removed.
        before = [at for at in of_place if at < newest]
        return MISSING if last.run in before[-1:] else ""


def _place(target: Mapping[str, Any]) -> str:
    """Return what a target's tests ran on: "sm86 (NVIDIA A10)", on a CPU also its name."""
    labels = [value for value in target["measured_on"].values() if value]
    return ", ".join(labels) if target["gpu"] is None and labels else str(target["target"])


def _measured(
    result: Mapping[str, Any],
) -> tuple[Mapping[str, Any] | None, Mapping[str, Mapping[str, Any]]]:
    speed = result["speed"]
    if speed is not None:
        speed = {name: speed[name] for name in _SPEED} if speed["candidate_rounds"] else None
    found = {}
    for one in filter(None, [result["accuracy"], *(result["also"] or ())]):
        outputs = [
            {name: output[name] for name in ("name", "tolerance", "used", "worst_abs")}
            for output in one["outputs"]
        ]
        found[one["against"]] = {"used": one["used"], "outputs": outputs}
    return speed, found


def _trend(key: _Key, cases: Sequence[_Case], error: float, untested: str) -> Trend:
    changes: list[TrendChange] = []
    breaks: list[TrendBreak] = []
    overall: list[Finding] = []
    for kind in (Kind.SPEED, Kind.ERROR):
        measured = [one for one in cases if (one.speed if kind is Kind.SPEED else one.accuracies)]
        first = measured[:1]
        for old, new in pairwise(measured):
            if why := tuple(_incomparable(old, new, kind)):
                breaks.append(TrendBreak(run=new.run, since=old.run, kind=kind, why=why))
                first = [new]
                continue
            changes += _changes(old, new, kind, error)
        overall += [one for old in first for one in _findings(old, measured[-1], kind, error)]
    return Trend(
        test=key.test,
        engine=key.engine if not key.number else f"{key.engine} (engine {key.number + 1})",
        place=key.place,
        points=tuple(map(_point, cases)),
        changes=tuple(sorted(changes, key=lambda one: one.run)),
        breaks=tuple(sorted(breaks, key=lambda one: one.run)),
        overall=tuple(overall),
        untested=untested,
    )


def _joined(old: _Case, new: _Case) -> str:
    """Return by which comparison the errors of two runs are joined; empty where none is shared."""
    return next((against for against in new.accuracies if against in old.accuracies), "")


def _findings(old: _Case, new: _Case, kind: Kind, error: float) -> list[Finding]:
    if kind is Kind.SPEED:
        return list(speed_findings(old.speed, new.speed, error))
    against = _joined(old, new)
    return list(error_findings(old.accuracies.get(against), new.accuracies.get(against)))


def _changes(old: _Case, new: _Case, kind: Kind, error: float) -> Iterator[TrendChange]:
    found = [
        one
        for one in _findings(old, new, kind, error)
        if one.direction in (Direction.WORSE, Direction.BETTER)
    ]
    if found and old.context and new.context:
        lines = tuple(differences(old.context, new.context, across=False))
        for one in found:
            yield TrendChange(run=new.run, since=old.run, finding=one, differences=lines)


def _incomparable(old: _Case, new: _Case, kind: Kind) -> Iterator[str]:
    """Yield what was measured differently, one line each."""
    if kind is Kind.ERROR:
        yield from _incomparable_errors(old, new)
        return
    before, now = (
        {**(one.speed or {})["spec"], **{name: (one.speed or {})[name] for name in _SPEED[:2]}}
        for one in (old, new)
    )
    for label in dict.fromkeys([*before, *now]):
        then, value = before.get(label, "none"), now.get(label, "none")
        if str(then) != str(value):
            yield f"{label} {then} -> {value}"


def _incomparable_errors(old: _Case, new: _Case) -> Iterator[str]:
    against = _joined(old, new)
    if not against:
        yield f"compared with {next(iter(old.accuracies))} -> {next(iter(new.accuracies))}"
        return
    for one in error_findings(old.accuracies[against], new.accuracies[against]):
        if one.direction is Direction.CHANGED:
            yield f"{one.name}: {one.lines[0]}"


def _point(case: _Case) -> TrendPoint:
    used = next((one["used"] for one in case.accuracies.values()), None)  # the worst is first
    return TrendPoint(
        run=case.run,
        status=case.status,
        figures={**case.speed["candidate"]} if case.speed else {},
        error=None if used is None else float(used),
    )
