"""Parsers of option values: each takes text and raises ValueError naming what is expected.

Every run of pytest loads this module with the table of options. A parser that needs more than the
standard library imports it itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: The backends by name; `auto` chooses one that fits this machine.
BACKENDS = ("auto", "tensorrt", "tensorrt_rtx", "onnxruntime")


def archs(text: str) -> tuple[str, ...]:
    """Architectures, separated by commas."""
    if not text:
        return ()
    from pytest_trt.terms import parse_archs

    return parse_archs(text)


def device(text: str) -> str:
    """A GPU by number or UUID."""
    if text and not (text.isdecimal() or text.upper().startswith(("GPU-", "MIG-"))):
        raise ValueError("a CUDA index such as 0, a GPU's UUID, or the beginning of one")
    return text


def folder(text: str) -> Path | None:
    """A folder, or None for the default one."""
    return _path(text) if text else None


def store(text: str) -> Path | None:
    """A folder that is read too, which need not exist, or None for the default one."""
    path = folder(text)
    if path is not None and path.is_file():
        raise ValueError("a folder, not a file")
    return path


def libraries(text: str) -> tuple[Path, ...]:
    """Libraries, one per line."""
    paths = [_path(line) for line in text.splitlines()]
    if not all(path.is_file() for path in paths):
        raise ValueError("the path of a library")
    return tuple(dict.fromkeys(paths))


def reports(text: str) -> tuple[Path, ...]:
    """Report files by a suffix of a report format, one per line."""
    if not text:
        return ()
    from pytest_trt.report.files import check_suffix

    paths = [_path(line) for line in text.splitlines()]
    for path in paths:
        check_suffix(path)
    return tuple(dict.fromkeys(paths))


def patterns(text: str) -> tuple[Path, ...]:
    """Patterns of files, one per line."""
    return tuple(dict.fromkeys(_path(line) for line in text.splitlines()))


def exceptions(text: str) -> dict[Path, str]:
    """Reasons by path or pattern, one per line."""
    if not text:
        return {}
    from pytest_trt.report.required_models import parse_exceptions

    return parse_exceptions(text.splitlines())


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("a path, in which no system has a NUL character")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("a path below the home folder of a user who exists") from error


#: No file system holds more, and beyond it floats have no byte precision left.
_LARGEST_BYTES = 2.0**63

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def size(text: str) -> int:
    """A size in bytes, with or without a unit."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(number) :].strip().lower()
    bytes_ = _number(number) * _UNITS.get(unit, 0)
    if not 1 <= bytes_ < _LARGEST_BYTES:
        raise ValueError("a size above 0 such as 500MB or 20GB")
    return int(bytes_)


def _number(text: str) -> float:
    """Return a number; NaN, which is within no bounds, for another text."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def threads(text: str) -> int:
    """A number of threads."""
    if not text.isdecimal():
        raise ValueError("a whole number (0 lets ONNX Runtime choose)")
    return int(text)


def checks(text: str) -> int:
    """A number of limits; 0 counts them."""
    text = text or "0"
    if not text.isdecimal():
        raise ValueError("a whole number (0 counts the limits of the collected tests)")
    return int(text)


def seconds(text: str) -> float:
    """Seconds, 0 for no limit."""
    seconds = _number(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError("a number of seconds (0 for no limit)")
    return seconds


def runs(text: str) -> int:
    """The number of runs to record with a baseline."""
    if text == "1":  # the default: avoids importing the baseline package in every run
        return 1
    from pytest_trt.baseline.entry import MAX_RUNS

    if not text.isdecimal() or not 1 <= int(text) <= MAX_RUNS:
        raise ValueError(f"a whole number from 1 to {MAX_RUNS}, the most that a baseline stores")
    return int(text)


def calibrate_runs(text: str) -> int:
    """The number of runs that a calibration takes."""
    if not text.isdecimal() or not 2 <= int(text) <= 100:
        raise ValueError("a whole number from 2 to 100")
    return int(text)


def switch(text: str) -> bool:
    """True or false, as ini files write it."""
    if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1", "yes", "on")


def budget(text: str) -> float:
    """Seconds, more than 0."""
    seconds = _number(text)
    if not 0 < seconds < float("inf"):
        raise ValueError("a number of seconds above 0")
    return seconds


def one_of(*choices: str) -> Callable[[str], str]:
    """Return the parser of an option that takes one of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse


#: Variables by which CI systems are recognised: pytest's own, then those of single systems, as
#: jobs and containers may lack CI.
CI_VARIABLES = (
    "CI",
    "BUILD_NUMBER",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "TF_BUILD",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "BUILDKITE",
    "CIRCLECI",
    "BITBUCKET_BUILD_NUMBER",
    "CODEBUILD_BUILD_ID",
)


def is_on_ci() -> bool:
    """Whether a CI system runs this; `CI=false` or `CI=0` denies it, whatever else is set."""
    given = os.environ.get("CI", "").lower()
    return given not in ("0", "false") and any(map(os.environ.get, CI_VARIABLES))


def missing_baseline(text: str) -> str:
    """The action for a test without a baseline; by default it depends on CI."""
    if not text:
        return "fail" if is_on_ci() else "record"
    return one_of("fail", "record", "skip")(text)


def reason(text: str) -> str:
    """The reason for an update; the "..." of a pasted command is not accepted as one."""
    if text and not any(map(str.isalnum, text)):
        raise ValueError('a reason in words, such as "twice the classes"')
    return text


def limits(text: str) -> dict[str, dict[str, float | None]]:
    """Speed limits by precision, one per line."""
    if not text:
        return {}
    from pytest_trt.engine.spec import PRECISIONS
    from pytest_trt.statistics.limits import parse_limit_lines

    return parse_limit_lines(
        text.splitlines(), where="trt_limits in the ini file", precisions=PRECISIONS
    )


def tolerances(text: str) -> dict[str, dict[str, object]]:
    """Tolerances by precision, one per line."""
    if not text:
        return {}
    from pytest_trt.accuracy.resolve import parse_tolerance_lines

    return parse_tolerance_lines(text.splitlines(), where="trt_tolerances in the ini file")
