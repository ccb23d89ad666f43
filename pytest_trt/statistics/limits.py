"""Limits of a benchmark: parsing and resolving them.

A relative limit ("10%") is compared with the stored baseline; an absolute one (12.0 ms) needs no
baseline, and neither does a factor by which the engine has to be faster than another one that is
measured in the same run. Limits of the engine itself are in `structure`.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, cast

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.ini_tables import rows_of
from pytest_trt.statistics.structure import GROWTHS, STRUCTURAL, Structural, parse_structural
from pytest_trt.terms import METRICS, Metric
from pytest_trt.units import parse_factor, plain_number

#: A limit that needs no baseline.
Absolute: TypeAlias = Literal["p50_ms", "p95_ms", "p99_ms", "min_throughput"]
ABSOLUTES: tuple[Absolute, ...] = ("p50_ms", "p95_ms", "p99_ms", "min_throughput")

#: Old names that still work, with a warning.
RENAMED: Mapping[str, Absolute] = {"min_throughput_qps": "min_throughput"}

#: Factors by opponent. Parsed limits have one of each, by names such as "faster_than.fp32", which
#: is also how a line of the ini file names it.
FASTER_THAN = "faster_than"
_OPPONENT = f"{FASTER_THAN}."

#: The names that a marker or a line of the ini file may use.
LIMIT_FIELDS: tuple[str, ...] = (
    *("p50", "p95", "p99", "throughput"),
    *ABSOLUTES,
    *STRUCTURAL,
    FASTER_THAN,
)

#: Without any limit on the marker: tails vary more than medians do.
DEFAULT_LIMITS: Mapping[Metric, float] = {"p50": 0.05, "throughput": 0.05, "p95": 0.10, "p99": 0.10}

#: Below this, no number of rounds separates a change from the effect of where an engine lies in
#: memory. Source: `noise.ASSUMED_PLACEMENT` for two engines, at the confidence of a failure.
LEAST_RELATIVE = 0.02

#: An engine that may take more than twice the time of its opponent is not tested.
LEAST_FACTOR = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one test.

    Attributes:
        relative: By metric the largest share by which it may be worse than the baseline: 0.1 for
            "10%".
        absolute: By name the figure itself: milliseconds, and items per second.
        structural: Of the engine itself, by name: the share by which a figure may be larger than
            than the baseline's, or the figure that is allowed.
        faster_than: By opponent how many times as fast as it the engine has to be, by median
            latencies.
        explicit: The metrics whose relative limits are written on a marker or in the ini file; the
            others are defaults, which are tested as far as the time for a test allows.
    """

    relative: Mapping[Metric, float] = field(default_factory=dict)
    absolute: Mapping[Absolute, float] = field(default_factory=dict)
    structural: Mapping[Structural, float] = field(default_factory=dict)
    faster_than: Mapping[str, float] = field(default_factory=dict)
    explicit: frozenset[Metric] = frozenset()

    @property
    def measured(self) -> int:
        """How many of them are judged by samples, each with a chance of error."""
        return len(self.relative) + len(self.absolute) + len(self.faster_than)

    @property
    def can_fail(self) -> bool:
        """Whether there is any limit."""
        return bool(self.measured or self.structural)

    @property
    def needs_baseline(self) -> bool:
        """Whether one of them is relative to a baseline."""
        return bool(self.relative) or any(name in GROWTHS for name in self.structural)

    @property
    def has_standalone_limits(self) -> bool:
        """Whether one of them can be judged without a baseline."""
        alone = self.absolute or self.faster_than
        return bool(alone) or any(name not in GROWTHS for name in self.structural)

    def without(self, opponents: Collection[str]) -> Limits:
        """Return the limits without some opponents: an engine is not compared with itself."""
        others = {name: one for name, one in self.faster_than.items() if name not in opponents}
        return replace(self, faster_than=others)


def parse_limit_fields(
    given: Mapping[str, object], where: str, *, quote: str = '"'
) -> dict[str, float | None]:
    """Return the limits of a marker or an ini line by name; None for one that is switched off.

    Args:
        given: The given values, by name.
        where: Where they were given, for messages.
        quote: What stands around a percentage there: nothing in the ini file.

    Raises:
        ConfigurationError: A name is unknown, or a value is invalid.
    """
    renamed = {name: RENAMED[name] for name in given if name in RENAMED}
    for name, new in renamed.items():
        warnings.warn(
            f"{where}: {name} is now called {new}. It counts batch items per second, not queries.",
            DeprecationWarning,
            stacklevel=2,
        )
    given = {renamed.get(name, name): value for name, value in given.items()}
    for name in given:
        if name not in LIMIT_FIELDS and not name.startswith(_OPPONENT):
            close = difflib.get_close_matches(name, LIMIT_FIELDS, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise ConfigurationError(
                f"{where}: unknown limit {name!r}",
                fix=f"{hint}Limits are {', '.join(LIMIT_FIELDS)}.",
                code="TRT165",
                facts={"limit": name},
            )
    parsed: dict[str, float | None] = {}
    for name, value in given.items():
        if name == FASTER_THAN:
            parsed.update(_faster_than(value, where, quote))
        else:
            parsed[name] = _parsed(name, value, where, quote)
    return parsed


def _parsed(name: str, value: object, where: str, quote: str) -> float | None:
    if value is None or value == "off":
        return None
    value = plain_number(value)
    if name.startswith(_OPPONENT):
        return _factor(name.removeprefix(_OPPONENT), value, where)
    if name in STRUCTURAL:
        return parse_structural(name, value, where)
    if name in METRICS:
        return _relative(name, value, where, quote)
    return _absolute(name, value, where)


def _relative(name: str, value: object, where: str, quote: str) -> float:
    try:
        if not isinstance(value, str) or not value.strip().endswith("%"):
            raise ValueError(value)
        share = float(value.strip()[:-1]) / 100
        if not math.isfinite(share):
            raise ValueError(value)
    except ValueError:
        raise ConfigurationError(
            f"{where}: {name}={value!r} is not a percentage",
            fix=Remedy(
                f"Write it like {name}={quote}10%{quote} or {name}={quote}off{quote}.",
                alternatives=(f"limit the figure itself: {_absolute_twin(name)}",),
            ),
            code="TRT165",
            facts={"limit": name, "value": repr(value)},
        ) from None
    if share < LEAST_RELATIVE:
        raise ConfigurationError(
            f"{where}: {name}={value!r} is too small to be measured: the same engine loaded twice "
            f"can differ by {LEAST_RELATIVE:.0%}, depending on memory placement",
            fix=f"Allow at least {name}={quote}{LEAST_RELATIVE:.0%}{quote}.",
            code="TRT166",
            facts={"limit": name, "value": share, "least": LEAST_RELATIVE},
        )
    if name == "throughput" and share >= 1:
        raise ConfigurationError(
            f"{where}: throughput={value!r} cannot fail: it allows a throughput of 0",
            fix=f"Allow less than {quote}100%{quote}.",
            code="TRT166",
            facts={"limit": name, "value": share},
        )
    return share


def _faster_than(value: object, where: str, quote: str) -> dict[str, float | None]:
    """Return the factors of a marker by name; None by the keyword's if all are switched off."""
    if value is None or value == "off":
        return {FASTER_THAN: None}
    named = isinstance(value, Mapping) and all(isinstance(name, str) and name for name in value)
    if not value or not isinstance(value, Mapping) or not named:
        example = f'{FASTER_THAN}={{"fp32": 1.5}}' if quote else f"{_OPPONENT}fp32=1.5"
        raise ConfigurationError(
            f"{where}: {FASTER_THAN}={value!r} names no opponent with a factor",
            fix=f"Write it like {example}.",
            code="TRT165",
            facts={"limit": FASTER_THAN, "value": repr(value)},
        )
    return {
        f"{_OPPONENT}{name}": _parsed(_OPPONENT + name, v, where, "") for name, v in value.items()
    }


def _factor(opponent: str, value: object, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    factor = float(cast("float", value)) if number else parse_factor(value)
    if factor is None or not 0 < factor < math.inf:
        raise ConfigurationError(
            f"{where}: {FASTER_THAN} {opponent!r} is {value!r}, which is not a factor",
            fix='Write it like 1.5 or "1.5x"; 1.0 means no slower.',
            code="TRT165",
            facts={"limit": FASTER_THAN, "opponent": opponent, "value": repr(value)},
        )
    if factor < LEAST_FACTOR:
        raise ConfigurationError(
            f"{where}: {FASTER_THAN} {opponent!r} is {value!r}, which allows more than twice the "
            "time",
            fix=f"Require at least {LEAST_FACTOR}.",
            code="TRT166",
            facts={"limit": FASTER_THAN, "opponent": opponent, "value": factor},
        )
    return factor


def _absolute_twin(name: str) -> str:
    return "min_throughput=100" if name == "throughput" else f"{name}_ms=12.5"


def _absolute(name: str, value: object, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < float(cast("float", value)) < math.inf:
        what = (
            "a number of milliseconds" if name.endswith("_ms") else "a number of items per second"
        )
        raise ConfigurationError(
            f"{where}: {name}={value!r} is not {what}",
            fix=f"Write it like {name}=12.5.",
            code="TRT165",
            facts={"limit": name, "value": repr(value)},
        )
    return float(cast("float", value))


def parse_limit_lines(
    lines: Iterable[str], where: str, *, precisions: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Return the limits by precision, from lines such as ``fp16: p99=8% throughput=4%``.

    Lines that are empty or start with # are skipped.

    Raises:
        ConfigurationError: A line has no known precision, or something else that is invalid, or a
            precision or a limit is given twice.
    """
    table: dict[str, dict[str, float | None]] = {}
    for precision, words, here in rows_of(lines, where, kind="limit", code="TRT165"):
        if precision not in precisions:
            raise ConfigurationError(
                f"{here}: unknown precision {precision!r}",
                fix=f"Precisions are {', '.join(precisions)}.",
                code="TRT165",
                facts={"precision": precision},
            )
        fields = dict(_word(word, here) for word in words)
        table[precision] = parse_limit_fields(fields, here, quote="")
    return table


def _word(word: str, where: str) -> tuple[str, object]:
    name, equals, text = word.partition("=")
    if not equals:
        raise ConfigurationError(
            f"{where}: {word!r} is not of the form limit=value",
            fix="Write it like p99=8% or p99_ms=12.5.",
            code="TRT165",
            facts={"word": word},
        )
    figure = name in (*ABSOLUTES, *RENAMED, *STRUCTURAL) and name not in GROWTHS
    if (figure or name.startswith(_OPPONENT)) and text != "off":
        try:
            return name, float(text)
        except ValueError:
            pass  # reported where all values are validated
    return name, text


def resolve_limits(marker: Mapping[str, float | None], ini: Mapping[str, float | None]) -> Limits:
    """Return the limits of a test: the marker's, else those of the ini file, else the defaults.

    The defaults apply only if the marker names no limit; otherwise the test has the limits that the
    marker names and those that the ini file adds.

    Args:
        marker: The parsed limits of the test's markers.
        ini: The parsed limits of the ini file for the engine's precision.

    Raises:
        ConfigurationError: No limit is left, so the test could not fail.
    """
    named = any(value is not None for value in marker.values())
    defaults: Mapping[str, float] = {} if named else cast("Mapping[str, float]", DEFAULT_LIMITS)
    values = {**defaults, **ini, **marker}
    limits = Limits(
        relative={m: share for m in METRICS if (share := values.get(m)) is not None},
        absolute={a: figure for a in ABSOLUTES if (figure := values.get(a)) is not None},
        structural={s: limit for s in STRUCTURAL if (limit := values.get(s)) is not None},
        faster_than={
            name.removeprefix(_OPPONENT): factor
            for name, factor in (marker if FASTER_THAN in marker else values).items()
            if name.startswith(_OPPONENT) and factor is not None
        },
        explicit=frozenset(m for m in METRICS if {**ini, **marker}.get(m) is not None),
    )
    if not limits.can_fail:
        raise ConfigurationError(
            "all limits of trt_benchmark are off, so the test cannot fail",
            fix='Leave one on, such as p99="10%", or remove the marker.',
            code="TRT167",
        )
    return limits
