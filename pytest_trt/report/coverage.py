"""Coverage: which tests reached a verdict on which required architectures, and which did not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.records import to_data
from pytest_trt.report.entries import Status
from pytest_trt.report.status import VERDICTS, has_verdict
from pytest_trt.terms import CPU, EXAMPLES

#: What requires verdicts of a run, and of merged reports.
OPTION, MERGE_OPTION = "--trt-require-arch", "--require-arch"

#: Tests with errors that are named; more are counted.
_ERRORS = 3

#: Files that a remedy names.
_FILES = 5

#: What to do about tests of each status.
_OF_STATUS = {
    Status.ERROR: "Correct what the errors of these tests name.",
    Status.NOT_RUN: "The run ended before some tests: repeat it.",
    Status.FAILED: "Tests ran, and their checks gave no verdict: correct what their reasons name.",
    Status.NOT_MEASURED: "Tests ran without a verdict: commit the baselines that were recorded and "
    "run again; correct what other reasons name.",
    Status.INCONCLUSIVE: "Tests with inconclusive speed: repeat them while nothing else runs on "
    "the machine.",
    Status.SKIPPED: "Tests were skipped: remove what skips them. A test with xfail(run=False) "
    "does not run either.",
    Status.DESELECTED: "Tests were deselected: run without -k, -m and --deselect, or merge the "
    "report of a run with them.",
}


def coverage_of(
    document: Mapping[str, Any], required: Sequence[str], option: str = OPTION
) -> dict[str, Any] | None:
    """Return required verdicts and those that are missing, or None where none are required.

    Every test that any run of the document collected and that needs an engine must have
    passed or failed on each architecture. Without any such test, nothing is covered. A file of
    such tests that every run skipped as a whole counts as one.
    """
    if not required:
        return None
    by_test: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test in document["tests"]:
        if test["on_engine"]:
            by_arch = by_test.setdefault(test["test"], {})
            for arch in _archs(test):
                if arch not in by_arch or not _has_verdict_on(arch, by_arch[arch]):
                    by_arch[arch] = test
    missing = [
        {"test": name, "arch": arch, **_missing(arch, by_arch.get(arch), document["engines"])}
        for name, by_arch in by_test.items()
        for arch in required
        if arch not in by_arch or not _has_verdict_on(arch, by_arch[arch])
    ]
    skipped = skipped_model_files(document)
    missing += [
        {"test": file, "arch": arch, "status": Status.SKIPPED.value, "reason": why}
        | {"built_only": False}
        for file, why in skipped.items()
        for arch in required
    ]
    coverage = {
        "required": list(required),
        "tests": len(by_test) + len(skipped),
        "missing": missing,
        "uncollected": list(uncollected(document)),
        "option": option,
    }
    diagnostic = None if is_covered(coverage) else to_data(missing_verdicts(coverage))
    return {**coverage, "diagnostic": diagnostic}


def skipped_model_files(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of models' tests that every run skipped as a whole, and why."""
    collected = {test["file"] for test in document["tests"]}
    return {
        file: f"the whole file: {run['skipped_files'][file]}"
        for run in document["runs"]
        for file in run["skipped_model_files"]
        if file not in collected
    }


def uncollected(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that runs of a document could not collect, and why."""
    return {file: why for run in document["runs"] for file, why in run["collection_errors"].items()}


def uncollected_reasons(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that runs of a document could not collect, and why in one line."""
    found = {}
    for run in document["runs"]:
        for file, why in run["collection_errors"].items():
            # Older versions report the whole text alone: a traceback ends with its reason.
            last = (why.splitlines() or [""])[-1]
            found[file] = run["collection_reasons"].get(file, last)
    return found


def _archs(test: Mapping[str, Any]) -> Sequence[str]:
    """The architectures that a test was for: those of its engines, else the one that was meant."""
    return list(dict.fromkeys(result["arch"] for result in test["results"])) or [test["arch"]]


def _has_verdict_on(arch: str, test: Mapping[str, Any]) -> bool:
    """Whether a test has a verdict, and not on engines of other architectures alone."""
    own = [Status(one["status"]) for one in test["results"] if one["arch"] == arch]
    return has_verdict(test) and (not own or not VERDICTS.isdisjoint(own))


def _missing(
    arch: str, test: Mapping[str, Any] | None, engines: Mapping[str, Any]
) -> dict[str, Any]:
    """Return why a verdict is missing, and whether an engine was built that cannot run here."""
    if test is None:
        return {"status": None, "reason": "", "built_only": False}
    built = [engines[result["engine"]] for result in test["results"]]
    elsewhere = has_verdict(test)
    return {
        "status": Status.NOT_MEASURED.value if elsewhere else test["status"],
        "reason": f"no check judged its engine of {arch}" if elsewhere else test["reason"],
        "built_only": any(not engine["runs_here"] for engine in built),
    }


def _why(one: Mapping[str, Any]) -> str:
    if one["status"] is None:
        return "not tested"
    return f"{one['status']}: {one['reason']}" if one["reason"] else str(one["status"])


def is_covered(coverage: Mapping[str, Any] | None) -> bool:
    """Whether nothing is missing of what is required."""
    return coverage is None or bool(coverage["tests"] and not coverage["missing"])


def missing_verdicts(coverage: Mapping[str, Any], most: int = 20) -> Diagnostic:
    """Return what is missing as a diagnostic: a detail for each architecture, then its tests."""
    required = list(coverage["required"])
    facts = {"required": required, "tests": coverage["tests"], "missing": len(coverage["missing"])}
    if not coverage["tests"]:
        return Diagnostic(
            "TRT930",
            f"no test of a model was collected, and verdicts on {', '.join(required)} are required",
            facts,
            remedy=_collect(coverage)
            or Remedy("Collect the tests of a model: the run must name their files."),
        )
    expected = coverage["tests"] * len(required)
    return Diagnostic(
        "TRT930",
        f"{len(coverage['missing'])} of {expected} required verdicts are missing "
        f"({coverage.get('option', OPTION)}={','.join(required)})",
        facts,
        tuple(line for arch in required for line in _of_arch(coverage, arch, most)),
        _remedy(coverage, required),
    )


def _of_arch(coverage: Mapping[str, Any], arch: str, most: int) -> Iterator[str]:
    missing = [one for one in coverage["missing"] if one["arch"] == arch]
    if not missing:
        return
    reasons = {_why(one) for one in missing}
    if len(missing) == coverage["tests"] > 1 and len(reasons) == 1:
        yield f"{arch}: no verdict for any of {len(missing)} tests ({reasons.pop()})"
        return
    yield f"{arch}: no verdict for {len(missing)} of {coverage['tests']} tests"
    errors = [one for one in missing if one["status"] == Status.ERROR.value]
    if len(errors) > _ERRORS:  # each is shown with its reason, and again by what to do
        yield f"  {len(errors)} tests with errors"
        missing = [one for one in missing if one not in errors]
    for one in missing[:most]:
        yield f"  {one['test']}: {_why(one)}"
    if len(missing) > most:
        yield f"  and {len(missing) - most} more"


def _collect(coverage: Mapping[str, Any]) -> Remedy:
    """Return what to do first where files could not be collected: nothing else helps then."""
    files = coverage.get("uncollected", ())
    if not files:
        return Remedy()
    more = f" and {len(files) - _FILES} more" if len(files) > _FILES else ""
    return Remedy(
        f"Correct what could not be collected: {', '.join(files[:_FILES])}{more}. The error names "
        "what to change."
    )


def _remedy(coverage: Mapping[str, Any], required: Sequence[str]) -> Remedy:
    """Return what to do about each reason for which verdicts are missing."""
    if first := _collect(coverage):
        return first
    missing = coverage["missing"]
    statuses = {one["status"] for one in missing}
    elsewhere = any(one["built_only"] or one["status"] is None for one in missing)
    texts = [*dict.fromkeys(text for of, text in _OF_STATUS.items() if of.value in statuses)]
    if any("::" not in one["test"] for one in missing):
        texts.append(
            "If a skipped file is not meant for these machines, leave it out with --ignore."
        )
    if any(one["built_only"] for one in missing):
        texts.append("Engines that were built but not run give no verdict.")
    if not elsewhere:
        return Remedy(texts[0], alternatives=tuple(texts[1:]))
    merges = coverage.get("option", OPTION) == MERGE_OPTION
    if len(required) == 1:
        (arch,) = required
        run = f"pytest --trt-arch={arch}"
        return Remedy(
            f"Run the tests on a machine with {_device(arch)}"
            f"{', and merge its report too' * merges}:",
            (f"{run} --trt-report={arch}.json" if merges else f"{run} {OPTION}={arch}",),
            tuple(texts),
        )
    files = " ".join(f"{arch}.json" for arch in required)
    return Remedy(
        f"Run the tests on a machine for each architecture, without {OPTION}, then merge "
        "their reports.",
        (
            "pytest --trt-arch=ARCH --trt-report=ARCH.json",
            f"pytest-trt report merge {files} {MERGE_OPTION}={','.join(required)}",
        ),
        tuple(texts),
    )


def _device(arch: str) -> str:
    if arch == CPU:
        return "an ordinary CPU"
    return f"an {arch} GPU ({EXAMPLES[arch]})" if arch in EXAMPLES else f"an {arch} GPU"
