"""Whether what a baseline file holds is what was written: people edit and merge these files.

A metric that is missing would take its limit with it, and no test would fail for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

_T = TypeVar("_T")

#: The metrics of a run, and how many calls a round must have to tell each.
#: They are those of `performance.rounds`; a test holds them together.
CALLS_OF_METRIC: Mapping[str, int] = {"p50": 1, "p95": 14, "p99": 70, "throughput": 1}

#: How engines are measured, as `performance.noise` has it.
MODES = ("graph", "enqueue", "end_to_end")

#: Facts of an engine that are counted.
_COUNTS = ("size_bytes", "device_memory_bytes", "layers")

_JSON_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


class MalformedError(ValueError):
    """Something in a baseline file is missing or is not what it has to be."""


def field(data: object, name: str, kind: type[_T], where: str) -> _T:
    """Return a field of an object, which has to be of a kind.

    Args:
        data: The object.
        name: The field.
        kind: What it has to be.
        where: What leads to the object: "runs[0]."; empty for the whole.

    Raises:
        MalformedError: There is none, or it is something else.
    """
    if not isinstance(data, dict):
        raise MalformedError(f"{where.rstrip('.') or 'its content'} is not an object")
    if name not in data:
        raise MalformedError(f"{where}{name} is missing")
    value = data[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedError(f"{where}{name} is {_short(value)}, not {_JSON_NAMES[kind]}")
    return value


def checked_entry(data: object) -> dict[str, Any]:
    """Return the data of a test's entry.

    Raises:
        MalformedError: It is not whole; the text names the field.
    """
    mode = field(data, "mode", str, "")
    if mode not in MODES:
        raise MalformedError(f"mode is {mode!r}, not one of {', '.join(MODES)}")
    spec = field(data, "spec", dict, "")
    for name, fact in field(data, "engine", dict, "").items():
        if name in _COUNTS and (not isinstance(fact, int) or isinstance(fact, bool) or fact < 0):
            raise MalformedError(f"engine.{name} is {_short(fact)}, not a whole number from 0 on")
    runs = field(data, "runs", list, "")
    if not runs:
        raise MalformedError("runs is empty")
    for number, run in enumerate(runs):
        _check_run(run, f"runs[{number}].", averages="timer" in spec)
    assert isinstance(data, dict)  # `field` has seen to it
    if "noise" in data:
        _check_noise(data["noise"], "noise.")
    for metric, value in field(data, "accepted", dict, "").items() if "accepted" in data else ():
        _check_number(value, f"accepted.{metric}")
    for number, row in enumerate(field(data, "layers", list, "") if "layers" in data else ()):
        if not isinstance(row, list) or not all(isinstance(word, str) for word in row):
            raise MalformedError(f"layers[{number}] is {_short(row)}, not a list of texts")
    return data


def _check_run(run: object, where: str, *, averages: bool) -> None:
    _check_moment(field(run, "recorded", str, where), f"{where}recorded")
    for name in ("reason", "toolchain"):
        field(run, name, str, where)
    field(run, "environment", dict, where)
    calls = field(run, "calls", int, where)
    if calls < 1:
        raise MalformedError(f"{where}calls is {calls}, not 1 or more")
    rounds = field(run, "rounds", dict, where)
    where = f"{where}rounds."
    needed = [metric for metric, fewest in CALLS_OF_METRIC.items() if calls >= fewest]
    if averages and rounds.keys() == {"throughput"}:
        needed = ["throughput"]  # of what others timed, several calls at a time
    counts: dict[str, int] = {}
    for metric in dict.fromkeys(chain(needed, rounds)):
        if metric not in CALLS_OF_METRIC:
            raise MalformedError(f"{where}{metric} is none of {', '.join(CALLS_OF_METRIC)}")
        values = field(rounds, metric, list, where)
        if not values:
            raise MalformedError(f"{where}{metric} is empty")
        for place, value in enumerate(values):
            _check_number(value, f"{where}{metric}[{place}]")
        counts[metric] = len(values)
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {metric}" for metric, count in counts.items())
        raise MalformedError(f"{where.rstrip('.')} have different numbers of rounds: {told}")


def _check_noise(noise: object, where: str) -> None:
    _check_moment(field(noise, "recorded", str, where), f"{where}recorded")
    field(noise, "processes", int, where)
    _check_number(field(noise, "placement", object, where), f"{where}placement", or_zero=True)
    for metric, value in field(noise, "between_runs", dict, where).items():
        _check_number(value, f"{where}between_runs.{metric}", or_zero=True)


def _check_moment(text: str, where: str) -> None:
    try:
        aware = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise MalformedError(f"{where} is {text!r}, not a date and time with its zone")


def _check_number(value: object, where: str, *, or_zero: bool = False) -> None:
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
    if not math.isfinite(number) or number < 0 or (number == 0 and not or_zero):
        raise MalformedError(f"{where} is {_short(value)}, not a positive number")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
