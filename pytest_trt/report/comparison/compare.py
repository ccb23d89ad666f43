"""Compares two reports.

Speed is worse or better where its bounds exclude no change. They hold for the whole report: of a
hundred comparisons of unchanged engines one detects any change. The bounds include the variation
between processes; with the host's clock that is so large that only changes by half are detected.
An accuracy error is worse or better where its share of the tolerance grows or shrinks by half and
reaches a tenth, as other kernels round differently. Sizes are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from pytest_trt.benchmark.result import FIGURE_OF
from pytest_trt.diagnostics import ReportError
from pytest_trt.engine.layer_changes import (
    kind_changes,
    layer_changes,
    layers_of,
    shortened,
)
from pytest_trt.report.comparison.accepted import accepted_errors, accepted_speed
from pytest_trt.report.comparison.findings import (
    BAD,
    MISSING,
    Comparison,
    Direction,
    EngineChange,
    Finding,
    Kind,
    TestChange,
)
from pytest_trt.report.comparison.pairing import (
    Case,
    Key,
    by_test,
    label_of,
    pairs_of,
    renamed_tests,
)
from pytest_trt.report.comparison.weaker import AGAINST, looser_tolerance, other_limits, weaker
from pytest_trt.report.coverage import uncollected, uncollected_reasons
from pytest_trt.report.document import Document
from pytest_trt.statistics.agreement import changes_between
from pytest_trt.statistics.bounds import Bounds
from pytest_trt.statistics.decide import ONE_PROCESS_ERROR, check_error
from pytest_trt.statistics.discount import HOST_CLOCK_ALLOWANCE_LOG
from pytest_trt.statistics.limits import LEAST_RELATIVE
from pytest_trt.statistics.rounds import Rounds, as_change
from pytest_trt.terms import METRICS, Metric, Mode
from pytest_trt.wording import count

#: Growth of the share of the tolerance that counts, and the share from which it counts.
_ERROR_GROWS, _ERROR_COUNTS = 1.5, 0.1

#: Relative change of a plan's size that counts: names and padding differ between builds.
_SIZE_CHANGES = 0.01

#: Layer changes that are listed for one engine.
_LAYERS_LISTED = 8

#: Tests that an error names.
_NAMED = 3

#: The version of a package that is not installed.
_NOT_INSTALLED = "not installed"


def compare(
    old: Document,
    new: Document,
    *,
    names: tuple[str, str] = ("old", "new"),
    lost_is_worse: bool = True,
) -> Comparison:
    """Return what changed between two runs.

    Tests are compared on the same architecture. Where each run tested one architecture, and those
    differ, they are compared across devices.

    Args:
        old: The older report.
        new: The newer one.
        names: Their names in the result and in errors.
        lost_is_worse: Whether a test that passed and has no verdict any more is worse.

    Raises:
        ReportError: They are the same run, or have no test in common.
    """
    ids = [{run["id"] for run in one["runs"]} for one in (old, new)]
    if ids[0] & ids[1]:
        raise ReportError(
            f"{names[0]} and {names[1]} are reports of the same run, started "
            f"{new['runs'][0]['started']}",
            fix="Name the reports of two runs.",
            code="TRT920",
            facts={"files": list(names)},
        )
    across = _archs(old) != _archs(new) and len(_archs(old)) == len(_archs(new)) == 1
    before, after = by_test(old, across=across), by_test(new, across=across)
    moved = renamed_tests(before, after)
    was = {key: moved.get(key, key) for key in after if key in before or key in moved}
    found = [pair for key, old_key in was.items() for pair in pairs_of(before[old_key], after[key])]
    pairs = [(then, now) for then, now in found if now is not None]
    # A run that collected nothing is worse, not of another suite.
    if not before or (not pairs and after and not uncollected(new)):
        raise ReportError(
            f"{names[0]} and {names[1]} have no test in common: "
            f"{_listed(before)} and {_listed(after)}",
            fix="Name two reports of one test suite, each of one architecture.",
            code="TRT920",
            facts={"files": list(names)},
        )
    error = check_error(
        sum(2 * len(new.speed["candidate_rounds"]) for _, new in pairs if new.speed)
    )
    tests = [*_uncollected_files(old, new)]
    tests += [_test_change(*pair, error, lost_is_worse, across=across) for pair in pairs]
    tests += [_missing_engine(then, lost_is_worse) for then, now in found if now is None]
    added = [key for key in after if key not in was]
    tests += [_new_test(after[key]) for key in added if _failed(after[key])]
    removed = [key for key in before if key not in was.values()]
    if lost_is_worse:
        passed = [key for key in removed if before[key][0].test["status"] == "passed"]
        removed = [key for key in removed if key not in passed]
        tests += [_missing_test(before[key], new) for key in passed]
    order = list(Direction)
    return Comparison(
        old=names[0],
        new=names[1],
        differences=(
            *_order(old, new),
            *_failed_runs(new),
            *differences(old, new, across=across),
            *_renamings(moved),
        ),
        tests=tuple(sorted(tests, key=lambda one: order.index(one.direction))),
        engines=tuple(_engine_changes(pairs, old, new, across=across)),
        removed=tuple(_named(before[key]) for key in removed),
        added=tuple(_named(after[key]) for key in added if not _failed(after[key])),
    )


def _order(old: Document, new: Document) -> Iterator[str]:
    """Yield that the reports are in the wrong order, where their dates show it."""
    imported = any(test["imported_from"] for one in (old, new) for test in one["tests"])
    times = [max(run["started_s"] for run in one["runs"]) for one in (old, new)]
    if times[0] > times[1] and not imported:
        started = [max(run["started"] for run in one["runs"]) for one in (old, new)]
        yield (
            f"the first report is the newer one: its run started {started[0]}, the second's "
            f"{started[1]}. Name the older one first."
        )


def _failed_runs(new: Document) -> Iterator[str]:
    """Yield why newer runs failed, or ended early, besides their tests."""
    for run in new["runs"]:
        if run["interrupted"]:
            why = f": {run['stopped']}" if run["stopped"] else ""
            yield f"the newer run, started {run['started']}, did not run all tests{why}"
        failed = [one for one in run["diagnostics"] if one["severity"] == "error"]
        yield from (f"the newer run failed: {one['message']} [{one['code']}]" for one in failed)


def _renamings(moved: Mapping[Key, Key]) -> Iterator[str]:
    for (name, _), (was, _) in [*moved.items()][:_NAMED]:
        yield f"test {was} -> {name}"
    if len(moved) > _NAMED:
        yield f"and {count(len(moved) - _NAMED, 'more renamed test')}"


def _missing_test(cases: Sequence[Case], new: Document) -> TestChange:
    test = cases[0].test
    why = "the newer report has no such test"
    if test["arch"] not in _archs(new) and new["tests"]:
        why = f"the newer report has no test on {test['arch']}"
    why = _skipped_files(new).get(test["test"].partition("::")[0], why)
    engine = " ".join((*(cases[0].engine or ()), test["arch"]))
    return TestChange(test["test"], engine, test["status"], MISSING, (), why)


def _failed(cases: Sequence[Case]) -> bool:
    return cases[0].test["status"] in BAD


def _new_test(cases: Sequence[Case]) -> TestChange:
    test = cases[0].test
    where = " ".join((*(cases[0].engine or ()), test["arch"]))
    return TestChange(test["test"], where, MISSING, test["status"], (), test["reason"])


def _skipped_files(document: Document) -> dict[str, str]:
    """Return why files were skipped as a whole."""
    return {
        file: f"the file was skipped: {why}"
        for run in document["runs"]
        for file, why in run["skipped_files"].items()
    }


def _missing_engine(old: Case, lost_is_worse: bool) -> TestChange:
    where = " ".join((*(old.engine or ()), old.test["arch"]))
    why = "the test no longer runs this engine"
    was = old.test["status"]
    return TestChange(old.test["test"], where, was, MISSING, (), why, lost_is_worse)


def _uncollected_files(old: Document, new: Document) -> Iterator[TestChange]:
    """Yield files that the newer run could not collect: no report has their tests."""
    before = uncollected(old)
    for file, why in uncollected_reasons(new).items():
        yield TestChange(file, "file", "error" if file in before else "no error", "error", (), why)


def _archs(document: Document) -> set[str]:
    return {test["arch"] for test in document["tests"]}


def _listed(cases: Mapping[tuple[str, str], Sequence[Case]]) -> str:
    names = [_named(of) for of in cases.values()]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more


def _named(cases: Sequence[Case]) -> str:
    test = cases[0].test
    return f"{test['test']} on {test['arch']}" if test["arch"] else str(test["test"])


def _where(old: Case, new: Case, *, across: bool) -> str:
    arch = new.test["arch"]
    where = f"{old.test['arch']} -> {arch}" if across else arch
    return " ".join(filter(None, [*(new.engine or old.engine or ()), where]))


def _test_change(
    old: Case, new: Case, error: float, lost_is_worse: bool, *, across: bool
) -> TestChange:
    findings = (
        *accepted_speed(old, new, speed_findings(old.speed, new.speed, error)),
        *_speedup_findings(_speedups(old), _speedups(new)),
        *accepted_errors(old, new, _all_error_findings(old, new)),
        *_metric_findings(_metrics(old), _metrics(new)),
        *weaker(old, new),
        *other_limits(old, new),
    )
    if old.test["status"] == new.test["status"] == "passed":
        # That it passes shows less than before.
        findings = tuple(
            replace(one, direction=Direction.WORSE) if one.looser else one for one in findings
        )
    return TestChange(
        test=new.test["test"],
        where=_where(old, new, across=across),
        was=old.test["status"],
        status=new.test["status"],
        why=new.test["reason"] if new.test["status"] != "passed" else "",
        findings=findings,
        lost_is_worse=lost_is_worse,
    )


def _engine_changes(
    pairs: Sequence[tuple[Case, Case]], old: Document, new: Document, *, across: bool
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


def speed_findings(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, error: float
) -> Iterator[Finding]:
    """Yield how the speed of two runs differs, by metric."""
    if not (old and new and old["candidate_rounds"] and new["candidate_rounds"]):
        return
    for what, then, now in _quantities(old, new):
        if then != now:
            why = f"speed is not compared: {what} {then} -> {now}"
            yield Finding(Kind.NOTE, "", Direction.CHANGED, lines=(why,))
            return
    rounds = [Rounds.of_figures(one["candidate_rounds"], one["calls"]) for one in (old, new)]
    mode = cast(Mode, new["mode"])
    allowed = error if mode == "graph" else min(error, ONE_PROCESS_ERROR)
    found = changes_between(rounds[:1], rounds[1:], mode, error=allowed)
    allowance = HOST_CLOCK_ALLOWANCE_LOG if mode == "end_to_end" else 0.0
    for metric in METRICS:
        if metric in found:
            yield _speed_finding(
                metric, found[metric], allowance, old["candidate"], new["candidate"]
            )


def _quantities(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, object, object]]:
    """Yield what decides which quantity was measured, as far as both report it."""
    yield from ((what, old[what], new[what]) for what in ("mode", "batch"))
    for what in ("shapes", "timer"):
        if what in old["spec"] and what in new["spec"]:
            yield what, old["spec"][what], new["spec"][what]


def _speed_finding(
    metric: Metric,
    bounds: Bounds,
    allowance: float,
    old: Mapping[str, float],
    new: Mapping[str, float],
) -> Finding:
    low, high = bounds.low - allowance, bounds.high + allowance
    direction = Direction.WORSE if low > 0 else Direction.BETTER if high < 0 else Direction.SAME
    figure = FIGURE_OF[metric]
    ends = [as_change(metric, log) if math.isfinite(log) else None for log in (low, high)]
    least, most = reversed(ends) if metric == "throughput" else ends
    return Finding(
        Kind.SPEED,
        metric,
        direction,
        old.get(figure),
        new.get(figure),
        as_change(metric, bounds.estimate),
        least,
        most,
    )


def _speedups(case: Case) -> dict[str, Mapping[str, Any]]:
    """Return the results of `faster_than` by the name of the other engine."""
    return {one["opponent"]: one for one in case.speed.get("speedups", ())} if case.speed else {}


def _speedup_findings(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    """Yield how many times as fast as an engine of `faster_than` both runs found the engine."""
    for name, now in new.items():
        if name not in old:
            continue
        then, lines = old[name], []
        if then["ran"] != now["ran"]:
            lines.append(f"{name}: {then['ran']} -> {now['ran']}")
        if then["mode"] != now["mode"]:
            lines.append(f"not compared: mode {then['mode']} -> {now['mode']}")
            yield Finding(Kind.SPEEDUP, name, Direction.CHANGED, lines=tuple(lines))
            continue
        # Each interval holds the ratio of its run, so those of unchanged engines overlap. Neither
        # covers how much processes vary, most of which the interleaving removes.
        by_host = now["mode"] == "end_to_end"
        allowance = HOST_CLOCK_ALLOWANCE_LOG if by_host else math.log1p(LEAST_RELATIVE)
        low = _log_ratio(now["least"], then["most"]) - allowance
        high = _log_ratio(now["most"], then["least"]) + allowance
        yield Finding(
            Kind.SPEEDUP,
            name,
            Direction.WORSE if high < 0 else Direction.BETTER if low > 0 else Direction.SAME,
            _number(then["ratio"]),
            _number(now["ratio"]),
            _as_share(_log_ratio(now["ratio"], then["ratio"])),
            _as_share(low),
            _as_share(high),
            tuple(lines),
        )


def _log_ratio(one: Any, other: Any) -> float:
    """Return the logarithm of the ratio of two figures of reports; NaN if there is none."""
    top, bottom = float(one), float(other)
    finite = math.isfinite(top) and math.isfinite(bottom)
    return math.log(top / bottom) if finite and top > 0 and bottom > 0 else math.nan


def _as_share(log: float) -> float | None:
    return math.expm1(log) if math.isfinite(log) else None


def _all_error_findings(old: Case, new: Case) -> Iterator[Finding]:
    """Yield how errors differ, by each comparison that both made; all only of the worst."""
    both = [against for against in new.accuracies if against in old.accuracies]
    for number, against in enumerate(both):
        for one in error_findings(old.accuracies[against], new.accuracies[against]):
            if not number:
                yield one
            elif one.direction in (Direction.WORSE, Direction.BETTER):
                yield replace(one, detail=f"against {AGAINST[against]}")


def error_findings(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> Iterator[Finding]:
    """Yield how the error of each output differs, and which outputs only one run has."""
    if not old or not new:
        return
    before = {one["name"]: one for one in old["outputs"]}
    now = {one["name"] for one in new["outputs"]}
    for output in new["outputs"]:
        name = output["name"]
        renamed = (one for one in before.keys() - now if _form(before[one]) == _form(output))
        was = name if name in before else min(renamed, default="")
        if not was:
            yield Finding(Kind.ERROR, name, Direction.CHANGED, lines=("new output",))
            continue
        found = _error_finding(before.pop(was), output)
        if was != name:  # exporters number outputs, each time by other numbers
            found = replace(found, lines=(f"before named {was}", *found.lines))
            if found.direction is Direction.SAME:
                found = replace(found, direction=Direction.CHANGED)
        yield found
    for name in before:
        lines = ("no longer compared",)
        yield Finding(Kind.ERROR, name, Direction.CHANGED, lines=lines, looser=True)


def _form(output: Mapping[str, Any]) -> tuple[Any, Any]:
    return output["dtype"], output["shape"]


def _metrics(case: Case) -> dict[str, float | None]:
    """Return the metrics of outputs and of the task by their labels."""
    found: dict[str, float | None] = {}
    for one in (one for each in case.accuracies.values() for one in each["metrics"]):
        found.setdefault(label_of(one), _number(one["value"]))  # at the worst comparison
    for one in case.result.get("task_metrics", ()) if case.result else ():
        found[one["name"]] = _number(one["value"])
    return found


def _metric_findings(
    old: Mapping[str, float | None], new: Mapping[str, float | None]
) -> Iterator[Finding]:
    """Yield the metrics that both have. What change of one is large, only its limit can say."""
    for label, value in new.items():
        if label in old:
            yield Finding(Kind.METRIC, label, Direction.SAME, old[label], value)


def _error_finding(old: Mapping[str, Any], new: Mapping[str, Any]) -> Finding:
    used, now = _number(old["used"]), _number(new["used"])
    direction, lines = Direction.SAME, []
    looser = looser_tolerance(old["tolerance"], new["tolerance"])
    if _asks(old) != _asks(new):
        how = f"its tolerance is looser: {looser}" if looser else "its tolerance changed"
        direction, lines = Direction.CHANGED, [how]
    elif used is not None and now is not None:
        counts = max(used, now) >= _ERROR_COUNTS
        if counts and now > used * _ERROR_GROWS:
            direction = Direction.WORSE
        elif counts and used > now * _ERROR_GROWS:
            direction = Direction.BETTER
    worst = [_number((one["worst_abs"] or {}).get("value")) for one in (old, new)]
    if worst[0] is not None and worst[1] is not None and worst[0] != worst[1]:
        lines.append(f"largest absolute error {worst[0]:.3g} -> {worst[1]:.3g}")
    change = None
    if (
        used
        and now is not None
        and direction is not Direction.CHANGED
        and math.isfinite(now / used)
    ):
        change = now / used - 1
    return Finding(
        Kind.ERROR,
        new["name"],
        direction,
        used,
        now,
        change,
        lines=tuple(lines),
        looser=bool(looser),
    )


def _asks(output: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output["tolerance"].items() if name != "origin"}


def _number(value: Any) -> float | None:
    """Return a figure of a report, where NaN and infinities are text."""
    return None if value is None else float(value)


def _engine_findings(
    old: Mapping[str, Any], new: Mapping[str, Any], *, across: bool
) -> Iterator[Finding]:
    for kind, name in ((Kind.SIZE, "size_bytes"), (Kind.MEMORY, "device_memory_bytes")):
        before, now = old[name], new[name]
        # No plan is empty: older reports have 0 bytes of an engine that another tool built.
        if before is None or now is None or (kind is Kind.SIZE and not (before and now)):
            continue
        change = now / before - 1 if before else (math.inf if now else 0.0)
        direction = Direction.CHANGED if abs(change) > _SIZE_CHANGES else Direction.SAME
        relative = change if math.isfinite(change) else None
        yield Finding(kind, "", direction, float(before), float(now), relative)
    lines = () if across else _layer_lines(old, new)
    if old["layers"] is not None and new["layers"] is not None:
        direction = Direction.CHANGED if lines or old["layers"] != new["layers"] else Direction.SAME
        counts = float(old["layers"]), float(new["layers"])
        yield Finding(Kind.LAYERS, "", direction, *counts, lines=lines)


def _layer_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how layers differ: each change, else by kind where there are too many to store."""
    rows = [layers_of(one["layer_rows"]) for one in (old, new)]
    if all(rows):
        return tuple(shortened(layer_changes(*rows), _LAYERS_LISTED))
    kinds = [one["layer_kinds"] for one in (old, new)]
    lines = kind_changes(*kinds) if all(kinds) else ()
    if not lines and old["layers"] == new["layers"]:
        return ()
    more = [f"and {count(len(lines) - _LAYERS_LISTED, 'more kind')}"] * (
        len(lines) > _LAYERS_LISTED
    )
    why = "the reports do not hold all layers: `pytest-trt inspect --layers` lists those of a plan"
    return (*lines[:_LAYERS_LISTED], *more, why)


def differences(old: Document, new: Document, *, across: bool) -> Iterator[str]:
    """Yield differences in versions, devices, models and commits, one line each.

    What only one of them reports is not compared, but for packages that only one of them had.
    """
    before, after = _environment(old), _environment(new)
    for label in dict.fromkeys([*before, *after]):
        then, now = before.get(label), after.get(label)
        if then is None or now is None:
            if not _is_package(old, new, label):
                continue
            then, now = then or _NOT_INSTALLED, now or _NOT_INSTALLED
        if then != now:
            yield f"{label} {then} -> {now}"
    if across:
        yield "the devices differ: changes of speed are due to them as well as to the engines"


def _is_package(old: Document, new: Document, label: str) -> bool:
    """Whether a label is a package, and both runs report the packages that they had."""
    runs = [*old["runs"], *new["runs"]]
    imported = any(test["imported_from"] for one in (old, new) for test in one["tests"])
    return not imported and any(label in run["versions"] for run in runs)


def _environment(document: Document) -> dict[str, str]:
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
        # Models of one file name may differ, so the label is the path.
        add(f"model {engine['path'] or engine['model']}", engine["model_digest"][:12])
    return {label: ", ".join(sorted(values)) for label, values in found.items()}
