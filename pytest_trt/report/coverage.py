"""The coverage ledger: which tests reached a verdict on which architectures, and which did not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_trt.report.status import VERDICTS
from pytest_trt.terms import CPU, EXAMPLES

_VERDICTS = {status.value for status in VERDICTS}


def coverage_of(document: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any] | None:
    """Return what is required and what of it is missing, or None where nothing is required.

    Every test that any run of the document has collected, and that needs an engine, must have
    passed or failed on each architecture. Where there is no such test, that is missing itself.

    Args:
        document: A report, of one run or of several.
        required: The architectures.
    """
    if not required:
        return None
    by_test: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test in document["tests"]:
        if test["on_engine"]:
            by_arch = by_test.setdefault(test["test"], {})
            for arch in _archs(test):
                if arch not in by_arch or by_arch[arch]["status"] not in _VERDICTS:
                    by_arch[arch] = test
    missing = [
        {"test": name, "arch": arch, "why": why}
        for name, by_arch in by_test.items()
        for arch in required
        if (why := _why_missing(by_arch.get(arch)))
    ]
    coverage = {"required": list(required), "tests": len(by_test), "missing": missing}
    return {**coverage, "fix": "" if is_covered(coverage) else missing_fix(coverage)}


def _archs(test: Mapping[str, Any]) -> Sequence[str]:
    """The architectures that a test was for: those of its engines, else the one that was meant."""
    return list(dict.fromkeys(result["arch"] for result in test["results"])) or [test["arch"]]


def _why_missing(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "not tested"
    if test["status"] in _VERDICTS:
        return ""
    return f"{test['status']}: {test['reason']}" if test["reason"] else str(test["status"])


def is_covered(coverage: Mapping[str, Any] | None) -> bool:
    """Whether nothing is missing of what is required."""
    return coverage is None or bool(coverage["tests"] and not coverage["missing"])


def missing_lines(coverage: Mapping[str, Any], most: int | None = None) -> Iterator[str]:
    """Yield lines that name what is missing: an architecture, then its tests.

    Args:
        coverage: What `coverage_of` returned, with something missing.
        most: The most tests to name of each architecture; None for all.
    """
    required = ", ".join(coverage["required"])
    if not coverage["tests"]:
        yield f"no test of a model was collected; required are verdicts on {required}."
        return
    for arch in coverage["required"]:
        missing = [one for one in coverage["missing"] if one["arch"] == arch]
        if not missing:
            continue
        reasons = {one["why"] for one in missing}
        if len(missing) == coverage["tests"] > 1 and len(reasons) == 1:
            yield f"{arch}: none of {len(missing)} tests has a verdict ({reasons.pop()})"
            continue
        yield f"{arch}: no verdict for {len(missing)} of {coverage['tests']} tests"
        for one in missing[:most]:
            yield f"  {one['test']}: {one['why']}"
        if most is not None and len(missing) > most:
            yield f"  and {len(missing) - most} more"


def missing_fix(coverage: Mapping[str, Any]) -> str:
    """Return what to type for the verdicts that are missing, or to join them with what is here."""
    if not coverage["tests"]:
        return "collect the tests of a model: see that the run names their files."
    missing = coverage["missing"]
    left_out = any(one["why"].startswith("deselected") for one in missing)
    whole = ", without -k, -m and --deselect" if left_out else ""
    required = list(coverage["required"])
    built = ""
    if any("built" in one["why"] for one in missing):
        built = " (engines that are built for it elsewhere give no verdict)"
    if len(required) == 1:
        (arch,) = required
        return (
            f"do not require {arch} of a job that is to test something else; otherwise run the "
            f"tests on a machine with {_device(arch)}{whole}{built}: "
            f"pytest --trt-arch={arch} --trt-require-arch={arch}"
        )
    files = " ".join(f"{arch}.json" for arch in required)
    return (
        f"on a machine for each of {_listed(required)}{whole}, run `pytest --trt-arch=ARCH "
        f"--trt-report=ARCH.json`, and none with --trt-require-arch{built}; then join their "
        f"reports: pytest-trt report merge {files} --require-arch={','.join(required)}"
    )


def _device(arch: str) -> str:
    if arch == CPU:
        return "an ordinary CPU"
    return f"an {arch} GPU ({EXAMPLES[arch]})" if arch in EXAMPLES else f"an {arch} GPU"


def _listed(archs: Sequence[str]) -> str:
    return f"{', '.join(archs[:-1])} and {archs[-1]}"
