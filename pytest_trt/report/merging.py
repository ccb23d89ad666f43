"""Merging reports of several runs: what they must agree on, and which result counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytest_trt.diagnostics import ReportError
from pytest_trt.report.coverage import MERGE_OPTION, coverage_of
from pytest_trt.report.document import Document, grouped
from pytest_trt.report.entries import REPORT_SCHEMA, Status
from pytest_trt.report.status import VERDICTS, has_verdict
from pytest_trt.version import __version__

#: Where no run has a verdict, the first of these is taken. That a run ended early comes before
#: deselection: tests are divided among runs by deselecting them.
_PRECEDENCE = (
    *VERDICTS,
    Status.ERROR,
    Status.INCONCLUSIVE,
    Status.NOT_MEASURED,
    Status.SKIPPED,
    Status.NOT_RUN,
    Status.DESELECTED,
)


def merge_documents(
    documents: Mapping[str, Document], required: Sequence[str] = (), *, mixed: bool = False
) -> Document:
    """Return one document of several runs, with one result for each test and architecture.

    A test that was skipped on one machine and run on another was run: results with a verdict
    replace those without.

    Raises:
        ReportError: The same run twice, two runs that disagree on what was tested, or two
            verdicts on the same test and architecture.
    """
    _check_distinct(documents)
    if not mixed:
        for what, of in _MUST_AGREE.items():
            _check_agree(documents, what, of)
    merged: Document = {
        "schema": REPORT_SCHEMA,
        "written_by": f"pytest-trt {__version__}",
        "runs": [],
        "engines": {},
        "tests": [],
    }
    chosen: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for name, document in documents.items():
        offset = len(merged["runs"])
        merged["runs"] += document["runs"]
        merged["engines"] = {**document["engines"], **merged["engines"]}
        for test in document["tests"]:
            key = (test["test"], test["arch"])
            new = (name, {**test, "run": test["run"] + offset})
            chosen[key] = _preferred(chosen[key], new) if key in chosen else new
    merged["tests"] = [test for _, test in chosen.values()]
    merged["coverage"] = coverage_of(merged, required, MERGE_OPTION)
    merged["groups"] = grouped(merged["tests"])
    return merged


def _preferred(
    old: tuple[str, dict[str, Any]], new: tuple[str, dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    statuses = [Status(test["status"]) for _, test in (old, new)]
    if all(has_verdict(test) for _, test in (old, new)):
        (file, test), (other, _) = old, new
        raise ReportError(
            f"{test['test']} has a verdict on {test['arch']} in {file} ({statuses[0].value}) and "
            f"in {other} ({statuses[1].value})",
            fix="Leave one of the two out: a test is merged once per architecture.",
            code="TRT910",
            facts={"test": test["test"], "arch": test["arch"], "files": [file, other]},
        )
    first, second = (
        (not has_verdict(test), _PRECEDENCE.index(Status(test["status"]))) for _, test in (old, new)
    )
    # Any verdict goes before none; the order among verdicts does not matter.
    return old if first <= second else new


def check_distinct_files(files: Sequence[str]) -> None:
    """Check that no report is named twice.

    Raises:
        ReportError: One is.
    """
    for file in files:
        if files.count(file) > 1:
            raise ReportError(
                f"{file} is named twice",
                fix="Name each report once.",
                code="TRT910",
                facts={"files": [file]},
            )


def _check_distinct(documents: Mapping[str, Document]) -> None:
    seen: dict[str, str] = {}
    for name, document in documents.items():
        for run in document["runs"]:
            if run["id"] in seen:
                raise ReportError(
                    f"{seen[run['id']]} and {name} are reports of the same run, started "
                    f"{run['started']}",
                    fix="Name one report of each run.",
                    code="TRT910",
                    facts={"files": [seen[run["id"]], name]},
                )
            seen[run["id"]] = name


def _commits(document: Document) -> Iterator[tuple[str, str]]:
    for run in document["runs"]:
        if run["commit"]:  # not every machine has git, or a working tree
            yield "commit", run["commit"]


def _versions(document: Document) -> Iterator[tuple[str, str]]:
    for run in document["runs"]:
        yield "version of pytest-trt", run["versions"]["pytest-trt"]


def _models(document: Document) -> Iterator[tuple[str, str]]:
    for test in document["tests"]:
        for result in test["results"]:
            digest = document["engines"][result["engine"]]["model_digest"]
            # Two tests may use two models of one name, so it is the test that has to agree.
            yield f"model {result['model']} of {test['test']}", digest[:12]


#: What merged runs have to agree on, and where to find it.
_MUST_AGREE: Mapping[str, Callable[[Document], Iterator[tuple[str, str]]]] = {
    "commit": _commits,
    "version": _versions,
    "model": _models,
}


def _check_agree(
    documents: Mapping[str, Document],
    what: str,
    of: Callable[[Document], Iterator[tuple[str, str]]],
) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for name, document in documents.items():
        for label, value in of(document):
            file, other = seen.setdefault(label, (name, value))
            if other != value:
                raise ReportError(
                    f"the {label} is {other} in {file} and {value} in {name}",
                    fix=f"Merge runs of one {what}, or allow several with --mixed.",
                    code="TRT910",
                    facts={"differs": what, "files": [file, name], "values": [other, value]},
                )
