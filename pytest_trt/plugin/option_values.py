"""What each option's text means: parsers, which raise ValueError with what is expected.

Every run of pytest loads this module with the table of options; what a parser needs beyond the
standard library, it imports itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: The backends by name; `auto` picks one by what is at hand.
BACKENDS = ("auto", "tensorrt", "tensorrt_rtx", "onnxruntime")


def archs(text: str) -> tuple[str, ...]:
    """Architectures, separated by commas."""
    if not text:
        return ()
    from pytest_trt.terms import parse_archs

    return parse_archs(text)


def backend(text: str) -> str:
    """The name of a backend."""
    if text not in BACKENDS:
        raise ValueError(f"one of {', '.join(BACKENDS)}")
    return text


def device(text: str) -> str:
    """A GPU by number or UUID."""
    if text and not (text.isdecimal() or text.upper().startswith(("GPU-", "MIG-"))):
        raise ValueError("CUDA's number of a GPU such as 0, or its UUID or the beginning of it")
    return text


def cache_dir(text: str) -> Path | None:
    """A folder, or nothing for the user's own."""
    return Path(text).expanduser().absolute() if text else None


def folder(text: str) -> Path:
    """A folder."""
    return Path(text).expanduser().absolute()


def reports(text: str) -> tuple[Path, ...]:
    """Files with the ending of a report, one a line."""
    if not text:
        return ()
    from pytest_trt.report.writing import check_suffix

    paths = [Path(line).expanduser().absolute() for line in text.splitlines()]
    for path in paths:
        check_suffix(path)
    return tuple(dict.fromkeys(paths))


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def size(text: str) -> int:
    """A size in bytes, with or without a unit."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(number) :].strip().lower()
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        raise ValueError("a size such as 500MB or 20GB") from None


def threads(text: str) -> int:
    """A number of threads."""
    if not text.isdigit():
        raise ValueError("a whole number, 0 for ONNX Runtime's own choice")
    return int(text)


def seconds(text: str) -> float:
    """Seconds, 0 for no limit."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ValueError("a number of seconds, 0 for no limit")
    return seconds


def runs(text: str) -> int:
    """How many runs a baseline may hold."""
    if text == "1":  # the default, for which no run is to load the baselines
        return 1
    from pytest_trt.baseline.entry import RUNS_KEPT

    if not text.isdecimal() or not 1 <= int(text) <= RUNS_KEPT:
        raise ValueError(f"a whole number from 1 to {RUNS_KEPT}, as many as a baseline keeps")
    return int(text)


def calibrate_runs(text: str) -> int:
    """How many runs tell a spread."""
    if not text.isdecimal() or not 2 <= int(text) <= 100:
        raise ValueError("a whole number from 2 to 100")
    return int(text)


def switch(text: str) -> bool:
    """True or false, in the words of ini files."""
    if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1", "yes", "on")


def budget(text: str) -> float:
    """Seconds, more than 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ValueError("a number of seconds above 0")
    return seconds


def one_of(*choices: str) -> Callable[[str], str]:
    """Make the parser of an option with a few words to choose from."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse


def missing_baseline(text: str) -> str:
    """What a test without a baseline does; CI decides where nothing is said."""
    if not text:
        return "fail" if os.environ.get("CI", "").lower() not in ("", "0", "false") else "record"
    return one_of("fail", "record", "skip")(text)


def reason(text: str) -> str:
    """Why a speed is accepted; the dots of a command that was pasted as it stood are no reason."""
    if text and not any(map(str.isalnum, text)):
        raise ValueError('words that say why, such as "twice the classes"')
    return text


def limits(text: str) -> dict[str, dict[str, float | None]]:
    """Limits of speed by precision, one a line."""
    if not text:
        return {}
    from pytest_trt.engine.spec import PRECISIONS
    from pytest_trt.statistics.limits import parse_limit_lines

    return parse_limit_lines(text.splitlines(), where="trt_limits", precisions=PRECISIONS)


def tolerances(text: str) -> dict[str, dict[str, object]]:
    """Tolerances by precision, one a line."""
    if not text:
        return {}
    from pytest_trt.accuracy.resolve import parse_tolerance_lines

    return parse_tolerance_lines(text.splitlines(), where="trt_tolerances")
