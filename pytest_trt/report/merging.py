"""Reports of several runs made one: what they must have in common, and which result counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytest_trt.diagnostics import ReportError
from pytest_trt.report.coverage import coverage_of
from pytest_trt.report.document import REPORT_SCHEMA, Document, grouped
from pytest_trt.report.status import VERDICTS, Status
from pytest_trt.version import __version__

#: Where no run has a verdict, the result that says most is kept.
_TELLING = (
    *VERDICTS,
    Status.ERROR,
    Status.INCONCLUSIVE,
    Status.NOT_MEASURED,
    Status.SKIPPED,
    Status.DESELECTED,
    Status.NOT_RUN,
)


def merge_documents(
    documents: Mapping[str, Document], required: Sequence[str] = (), *, mixed: bool = False
) -> Document:
    """Return one document of several runs, with one result for each test and architecture.

    A test that was skipped by one runner and run by another was run: results without a verdict
    make way for those with one.

    Args:
        documents: Reports by the name that errors call them.
        required: Architectures on which every test must have reached a verdict.
        mixed: Whether runs of several commits, models or versions may stand side by side.

    Raises:
        ReportError: A run is there twice, two runs disagree on what was tested, or both reached a
            verdict on the same.
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
    kept: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for name, document in documents.items():
        offset = len(merged["runs"])
        merged["runs"] += document["runs"]
        merged["engines"] = {**document["engines"], **merged["engines"]}
        for test in document["tests"]:
            key = (test["test"], test["arch"])
            new = (name, {**test, "run": test["run"] + offset})
            kept[key] = _more_telling(kept[key], new) if key in kept else new
    merged["tests"] = [test for _, test in kept.values()]
    merged["coverage"] = coverage_of(merged, required)
    merged["groups"] = grouped(merged["tests"])
    return merged


def _more_telling(
    old: tuple[str, dict[str, Any]], new: tuple[str, dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    statuses = [Status(test["status"]) for _, test in (old, new)]
    if VERDICTS.issuperset(statuses):
        (file, test), (other, _) = old, new
        raise ReportError(
            f"{test['test']} has a verdict on {test['arch']} in {file} ({statuses[0].value}) and "
            f"in {other} ({statuses[1].value}).",
            fix="leave out the run that does not count: a test is merged once per architecture.",
        )
    first, second = map(_TELLING.index, statuses)
    # Any verdict goes before none; the order among verdicts never decides.
    return old if first <= second else new


def _check_distinct(documents: Mapping[str, Document]) -> None:
    seen: dict[str, str] = {}
    for name, document in documents.items():
        for run in document["runs"]:
            if run["id"] in seen:
                raise ReportError(
                    f"{seen[run['id']]} and {name} hold the same run, of {run['started']}.",
                    fix="name each run once.",
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


#: What runs that are merged have to agree on, and where it stands.
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
                    f"the {label} is {other} in {file} and {value} in {name}: they did not test "
                    "the same.",
                    fix=f"run all of them with one {what}; or say that it is meant: --mixed.",
                )
