"""Names that attack what shows them, and records in which every free text is one of them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.baseline.staged_answers import StagedAnswers
from pytest_trt.baseline.staged_metrics import StagedMetrics
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.engine.record import EngineRecord
from pytest_trt.records import to_data
from pytest_trt.report.entries import REPORT_SCHEMA, Coverage, Report, Run, Status, Test
from pytest_trt.report.groups import Group
from pytest_trt.statistics.decline import TaskMetricResult

#: What a name may hold, by what it attacks.
ATTACKS = (
    # Markdown
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "[x]: https://evil.example",
    "<https://evil.example>",
    "https://evil.example/a?b=c",
    "www.evil.example",
    "someone@evil.example",
    "@octocat",
    "@octo/team",
    "#1",
    "GH-1",
    "octo/repo#1",
    "octo@a5c3785ed8d6a35868bc169f07e40e889087fd2e",
    ":rocket:",
    "`code`",
    "``",
    "`" * 100,
    "```",
    "\n" + "`" * 300 + "\n<img src=x>\n",
    "\n" + "~" * 300 + "\n",
    "~~~",
    "| cell | cell |",
    "\\|",
    "\\\\| x",
    "|---|",
    "\n| a | b |\n|---|---|\n",
    "\n\n# title\n\n",
    "\n```\n",
    "\n- [ ] task",
    "\n    indented",
    "**bold** _it_ ~~no~~",
    "$\\sqrt{x}$",
    "[^1]",
    "> quote",
    "\\",
    "\\`",
    "&lt;b&gt;&#96;&copy;",
    # HTML
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- ",
    "-->",
    "</details></summary>",
    "</code></pre></script></style>",
    "\" onmouseover=alert(1) '",
    "<svg/onload=alert(1)>",
    "<![CDATA[",
    "]]>",
    "{{script}}",
    # what runs commands that it reads in a log
    "::error::no",
    " ::set-output name=a::b",
    "\n::add-mask::a",
    "\u3000::warning file=a::b",
    "##[error]no",
    "##vso[task.setvariable variable=a]b",
    # terminals
    "\x1b[2J",
    "\x1b[31mred",
    "\x9b31m",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]0;title\x07",
    "\r",
    "\b\b\b",
    "\x00",
    "\x7f",
    "\x85",
    "\v\f",
    "\t",
    "[red]markup[/]",
    # what cannot be seen, or reorders the rest
    "\u202e",
    "\u2066x\u2069",
    "\u200b\u200d\u2060\ufeff",
    "\u2028\u2029",
    "\U000e0041",
    "\u3164",
    "\udcff\ud800",
    "\ufffe",
    "e\u0301\u0323",
    "漢字 \U0001f600",
    # labels of OpenMetrics
    '"} 1\n# EOF\n',
    "\\n",
)

#: Ways in which a name holds an attack, with a mark by which it can be recognised.
_SHAPES = ("{a}{m}", "{m}{a}", "{m} {a}{m}", "{m}{a}{a}")


def hostile_names(count: int = 300) -> list[str]:
    """Return names, each with a mark of its own: "n017n"."""
    shapes = [(shape, attack) for shape in _SHAPES for attack in ATTACKS]
    return [
        shape.format(a=attack, m=mark(number)) for number, (shape, attack) in enumerate(shapes)
    ][:count]


def mark(number: int) -> str:
    """Return the mark of a name."""
    return f"n{number:03}n"


#: Types that records name without importing them.
_LATE = {
    one.__name__: one for one in (BenchmarkResult, StagedAnswers, StagedMetrics, TaskMetricResult)
}


@functools.cache
def _hints(hint: type) -> dict[str, Any]:
    return get_type_hints(hint, localns=_LATE)


def saturated(hint: Any, text: str, given: Mapping[str, Any] = {}) -> Any:
    """Return a value of a type in which every text is the given one, and nothing is left out.

    Args:
        hint: The type: a dataclass, or what its fields may hold.
        text: The text.
        given: Values of fields by name, in all classes.
    """
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        hints = _hints(hint)
        names = [field.name for field in fields(hint) if field.init]
        made = {
            one: given[one] if one in given else saturated(hints[one], text, given) for one in names
        }
        return hint(**made)
    if origin in (Union, UnionType):
        return saturated(next(one for one in args if one is not NoneType), text, given)
    if origin is Literal:
        return args[0]
    if origin is tuple and args[-1:] != (...,):
        return tuple(saturated(one, text, given) for one in args)
    if origin in (tuple, list, frozenset, Sequence, Collection):
        return (saturated(args[0], text, given),)
    if origin in (dict, Mapping):
        return {saturated(args[0], text, given): saturated(args[1], text, given)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    return {str: text, int: 1, float: 0.5, bool: True, Path: Path(text)}.get(hint, text)


_ROUNDS = {"p50": (0.9, 1.0), "throughput": (900.0, 1000.0), "p99": (1.0, 1.1)}

#: What has to fit the rest of a report, by the name of the field.
_FITTING: Mapping[str, Any] = {
    "schema": REPORT_SCHEMA,
    "status": Status.FAILED,
    "outcome": "failed",
    "code": "TRT401",
    "severity": "error",
    "run": 0,
    "tolerance": Tolerance(0.01, 0.01),
    "mode": "graph",
    "candidate": {"p99_ms": 1.0},
    "baseline": {"p99_ms": 1.0},
    "candidate_rounds": _ROUNDS,
    "baseline_rounds": _ROUNDS,
    "histogram": (1,) * 23,
    "counts": {"failed": 1},
    "started": "2026-11-05T10:00:00+00:00",
    "baseline_recorded": "2026-11-05T10:00:00+00:00",
    "baseline_update": "first",
    "layer_rows": (("Conv", "half", "conv1"),),
}


def hostile_report(names: Sequence[str], run: str = "1") -> dict[str, Any]:
    """Return a report with a test, an engine and a group for each name, as data."""
    given = {**_FITTING, "id": run, "written_by": "pytest-trt 1", "versions": {"pytest-trt": "1"}}
    tests = [saturated(Test, name, {**given, "id": name}) for name in names]
    groups = [saturated(Group, name, {**given, "tests": (n,)}) for n, name in enumerate(names)]
    given |= {
        "runs": (saturated(Run, names[0], given),),
        "engines": {name: saturated(EngineRecord, name, given) for name in names},
        "tests": tuple(tests),
        "groups": tuple(groups),
        "coverage": saturated(Coverage, names[0], {**given, "tests": 1}),
    }
    return to_data(saturated(Report, names[0], given))
