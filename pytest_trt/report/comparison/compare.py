"""Two report documents in, what changed out.

Speed is called worse or better where its bounds say so, and those hold for the whole report: with
every engine as fast as it was, one report in a hundred calls any change. Rounds of two processes
differ by more than their spread, which is counted in; by the host's clock by so much more that
only changes by half are called. Errors repeat themselves, but for what other kernels round
otherwise: one is worse or better where its share of the tolerance grows or shrinks by half, and
reaches a tenth. Sizes are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from pytest_trt.diagnostics import ReportError
from pytest_trt.engine.layer_changes import layer_changes, layers_of, shortened
from pytest_trt.report.comparison.findings import (
    Comparison,
    Direction,
    EngineChange,
    Finding,
    Kind,
    TestChange,
)
from pytest_trt.report.document import Document
from pytest_trt.statistics.agreement import changes_between
from pytest_trt.statistics.bounds import Bounds
from pytest_trt.statistics.decide import ONE_PROCESS_ERROR, check_error
from pytest_trt.statistics.discount import HOST_CLOCK_ALLOWANCE_LOG
from pytest_trt.statistics.rounds import Rounds, as_change
from pytest_trt.terms import METRICS, Metric, Mode

#: By how much the share of the tolerance must grow, and where it must come to, to be worse.
_ERROR_GROWS, _ERROR_COUNTS = 1.5, 0.1

#: Share of its size up to which another plan is as large: names and paddings differ from build to
#: build.
_SIZE_CHANGES = 0.01

#: Changes of layers that are told of one engine.
_LAYERS_TOLD = 8

#: How many tests are named as gone or added in an error.
_NAMED = 3


def compare(old: Document, new: Document, *, names: tuple[str, str] = ("old", "new")) -> Comparison:
    """Return what changed between two runs.

    Tests are held against each other on the same architecture. Where each run tested one, and those
    differ, they are held against each other all the same, as the report of another device.

    Args:
        old: The older report.
        new: The newer one.
        names: What to call them.

    Raises:
        ReportError: They are the same run, or have no test in common.
    """
    ids = [{run["id"] for run in one["runs"]} for one in (old, new)]
    if ids[0] & ids[1]:
        raise ReportError(
            f"{names[0]} and {names[1]} hold the same run, of {new['runs'][0]['started']}",
            fix="Name the reports of two runs.",
            code="TRT920",
            facts={"files": list(names)},
        )
    across = _archs(old) != _archs(new) and len(_archs(old)) == len(_archs(new)) == 1
    before, after = _by_test(old, across=across), _by_test(new, across=across)
    pairs = [pair for key in after if key in before for pair in _pairs(before[key], after[key])]
    if not pairs:
        raise ReportError(
            f"{names[0]} and {names[1]} have no test in common: "
            f"{_listed(before)} and {_listed(after)}",
            fix="Name two reports of one test suite, each of one architecture.",
            code="TRT920",
            facts={"files": list(names)},
        )
    error = check_error(sum(2 * len(_rounds_of(new)) for _, new in pairs))
    tests = [_test_change(*pair, error, across=across) for pair in pairs]
    order = list(Direction)
    return Comparison(
        old=names[0],
        new=names[1],
        differences=tuple(_differences(old, new, across=across)),
        tests=tuple(sorted(tests, key=lambda one: order.index(one.turn))),
        engines=tuple(_engine_changes(pairs, old, new, across=across)),
        gone=tuple(_named(before[key]) for key in before if key not in after),
        added=tuple(_named(after[key]) for key in after if key not in before),
    )


class _Case(NamedTuple):
    """A test, and one engine in it; None of a test that came to none."""

    test: Mapping[str, Any]
    result: Mapping[str, Any] | None

    @property
    def engine(self) -> tuple[str, str] | None:
        return (self.result["model"], self.result["precision"]) if self.result else None

    @property
    def speed(self) -> Mapping[str, Any] | None:
        return self.result["speed"] if self.result else None

    @property
    def accuracy(self) -> Mapping[str, Any] | None:
        return self.result["accuracy"] if self.result else None


def _archs(document: Document) -> set[str]:
    return {test["arch"] for test in document["tests"]}


def _by_test(document: Document, *, across: bool) -> dict[tuple[str, str], list[_Case]]:
    found: dict[tuple[str, str], list[_Case]] = {}
    for test in document["tests"]:
        cases = found.setdefault((test["test"], "" if across else test["arch"]), [])
        cases += [_Case(test, result) for result in test["results"] or [None]]
    return found


def _pairs(before: Sequence[_Case], after: Sequence[_Case]) -> Iterator[tuple[_Case, _Case]]:
    """Yield what belongs together; a test that came to no engine belongs to any of its own."""
    for new in after:
        same = [old for old in before if old.engine == new.engine]
        either = [old for old in before if old.engine is None or new.engine is None]
        for old in (same or either)[:1]:
            yield old, new


def _listed(cases: Mapping[tuple[str, str], Sequence[_Case]]) -> str:
    names = [_named(of) for of in cases.values()]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more


def _named(cases: Sequence[_Case]) -> str:
    test = cases[0].test
    return f"{test['test']} on {test['arch']}" if test["arch"] else str(test["test"])


def _rounds_of(case: _Case) -> Mapping[str, Any]:
    return case.speed["candidate_rounds"] if case.speed else {}


def _where(old: _Case, new: _Case, *, across: bool) -> str:
    arch = new.test["arch"]
    told = f"{old.test['arch']} -> {arch}" if across else arch
    return " ".join(filter(None, [*(new.engine or old.engine or ()), told]))


def _test_change(old: _Case, new: _Case, error: float, *, across: bool) -> TestChange:
    return TestChange(
        test=new.test["test"],
        where=_where(old, new, across=across),
        was=old.test["status"],
        status=new.test["status"],
        why=new.test["reason"].partition("\n")[0] if new.test["status"] != "passed" else "",
        findings=(
            *_speed_findings(old.speed, new.speed, error),
            *_error_findings(old.accuracy, new.accuracy),
        ),
    )


def _engine_changes(
    pairs: Sequence[tuple[_Case, _Case]], old: Document, new: Document, *, across: bool
) -> Iterator[EngineChange]:
    """Yield each pair of engines once, however many tests use it."""
    seen = set()
    for before, after in pairs:
        if before.result is None or after.result is None:
            continue
        keys = before.result["engine"], after.result["engine"]
        if keys in seen or keys[0] not in old["engines"] or keys[1] not in new["engines"]:
            continue
        seen.add(keys)
        engines = old["engines"][keys[0]], new["engines"][keys[1]]
        findings = tuple(_engine_findings(*engines, across=across))
        yield EngineChange(_where(before, after, across=across), findings)


def _speed_findings(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, error: float
) -> Iterator[Finding]:
    if not (old and new and old["candidate_rounds"] and new["candidate_rounds"]):
        return
    for what in ("mode", "batch", "calls"):
        if old[what] != new[what]:
            why = f"speed is not compared: {what} {old[what]} -> {new[what]}"
            yield Finding(Kind.NOTE, "", Direction.CHANGED, lines=(why,))
            return
    rounds = [Rounds.of_figures(one["candidate_rounds"], one["calls"]) for one in (old, new)]
    mode = cast(Mode, new["mode"])
    asked = error if mode == "graph" else min(error, ONE_PROCESS_ERROR)
    found = changes_between(rounds[:1], rounds[1:], mode, error=asked)
    luck = HOST_CLOCK_ALLOWANCE_LOG if mode == "end_to_end" else 0.0
    for metric in METRICS:
        if metric in found:
            yield _speed_finding(metric, found[metric], luck, old["candidate"], new["candidate"])


def _speed_finding(
    metric: Metric,
    bounds: Bounds,
    luck: float,
    old: Mapping[str, float],
    new: Mapping[str, float],
) -> Finding:
    low, high = bounds.low - luck, bounds.high + luck
    turn = Direction.WORSE if low > 0 else Direction.BETTER if high < 0 else Direction.SAME
    figure = "throughput_qps" if metric == "throughput" else f"{metric}_ms"
    ends = [as_change(metric, log) if math.isfinite(log) else None for log in (low, high)]
    least, most = reversed(ends) if metric == "throughput" else ends
    return Finding(
        Kind.SPEED,
        metric,
        turn,
        old.get(figure),
        new.get(figure),
        as_change(metric, bounds.estimate),
        least,
        most,
    )


def _error_findings(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[Finding]:
    if not old or not new:
        return
    before = {one["name"]: one for one in old["outputs"]}
    for output in new["outputs"]:
        then = before.pop(output["name"], None)
        if then is None:
            yield Finding(
                Kind.ERROR, output["name"], Direction.CHANGED, lines=("it is a new output",)
            )
            continue
        yield _error_finding(then, output)
    for name in before:
        yield Finding(Kind.ERROR, name, Direction.CHANGED, lines=("it is no output any more",))


def _error_finding(old: Mapping[str, Any], new: Mapping[str, Any]) -> Finding:
    used, now = _number(old["used"]), _number(new["used"])
    turn, lines = Direction.SAME, []
    if _asks(old) != _asks(new):
        turn, lines = Direction.CHANGED, ["its tolerance is another one"]
    elif used is not None and now is not None:
        counts = max(used, now) >= _ERROR_COUNTS
        if counts and now > used * _ERROR_GROWS:
            turn = Direction.WORSE
        elif counts and used > now * _ERROR_GROWS:
            turn = Direction.BETTER
    worst = [_number((one["worst_abs"] or {}).get("value")) for one in (old, new)]
    if worst[0] is not None and worst[1] is not None and worst[0] != worst[1]:
        lines.append(f"largest absolute error {worst[0]:.3g} -> {worst[1]:.3g}")
    change = None
    if used and now is not None and turn is not Direction.CHANGED and math.isfinite(now / used):
        change = now / used - 1
    return Finding(Kind.ERROR, new["name"], turn, used, now, change, lines=tuple(lines))


def _asks(output: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output["tolerance"].items() if name != "origin"}


def _number(value: Any) -> float | None:
    """Return a figure of a report; what JSON has no number for is written as a word."""
    return None if value is None else float(value)


def _engine_findings(
    old: Mapping[str, Any], new: Mapping[str, Any], *, across: bool
) -> Iterator[Finding]:
    for kind, name in ((Kind.SIZE, "size_bytes"), (Kind.MEMORY, "device_memory_bytes")):
        before, now = old[name], new[name]
        if before is None or now is None:
            continue
        change = now / before - 1 if before else (math.inf if now else 0.0)
        turn = Direction.CHANGED if abs(change) > _SIZE_CHANGES else Direction.SAME
        told = change if math.isfinite(change) else None
        yield Finding(kind, "", turn, float(before), float(now), told)
    rows = [layers_of(one.get("layer_rows") or ()) for one in (old, new)]
    lines: tuple[str, ...] = ()
    if rows[0] and rows[1] and not across:
        lines = tuple(shortened(layer_changes(*rows), _LAYERS_TOLD))
    if old["layers"] is not None and new["layers"] is not None:
        turn = Direction.CHANGED if lines or old["layers"] != new["layers"] else Direction.SAME
        counts = float(old["layers"]), float(new["layers"])
        yield Finding(Kind.LAYERS, "", turn, *counts, lines=lines)


def _differences(old: Document, new: Document, *, across: bool) -> Iterator[str]:
    """Yield what the runs were made with that is not the same, a line each."""
    before, after = _made_with(old), _made_with(new)
    for label in dict.fromkeys([*before, *after]):
        then, now = before.get(label, "none"), after.get(label, "none")
        if then != now:
            yield f"{label} {then} -> {now}"
    if across:
        yield "they are of different devices: their speeds tell of those as well as of the engines"


def _made_with(document: Document) -> dict[str, str]:
    found: dict[str, list[str]] = {}

    def add(label: str, value: object) -> None:
        if value not in (None, "") and str(value) not in found.setdefault(label, []):
            found[label].append(str(value))

    for run in document["runs"]:
        for target in run["targets"]:
            gpu = target["gpu"] or {}
            add("device", target["target"])
            add("toolchain", target["toolchain"])
            add("driver", gpu.get("driver"))
        add("commit", (run["commit"] or "")[:12])
        for name, version in run["versions"].items():
            add(name, version)
        add("platform", run["platform"])
    for engine in document["engines"].values():
        add(f"model {engine['model']}", engine["model_digest"][:12])
    return {label: ", ".join(sorted(values)) for label, values in found.items()}
