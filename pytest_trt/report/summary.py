"""The summary section: one line for each engine, one for each benchmark, then notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from rich.cells import cell_len

from pytest_trt import units
from pytest_trt.accuracy.one_value import (
    passed_by_one_value,
    passed_by_one_value_of_metrics,
    passed_by_same_samples,
    passed_by_zeros,
)
from pytest_trt.accuracy.result import MetricOutcome
from pytest_trt.benchmark.figure_text import (
    ENGINE_NAMES,
    engine_figure,
    engine_limit,
    factor_text,
)
from pytest_trt.benchmark.result import FIGURE_OF, METRIC_OF, BenchmarkResult
from pytest_trt.diagnostics import Diagnostic, Remedy, wrapped
from pytest_trt.engine.record import EngineRecord
from pytest_trt.escaping import terminal
from pytest_trt.report.noise import noise_lines
from pytest_trt.report.notes import note_lines
from pytest_trt.report.record import TestResult
from pytest_trt.report.table import Row, shortened, table_lines
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import Metric
from pytest_trt.wording import count


@dataclass(frozen=True, slots=True)
class Style:
    """How the summary is written.

    Attributes:
        width: Columns of the terminal.
        color: Whether to use escape sequences.
        ascii: Whether bars and ellipses are ASCII.
        wrap: Whether to wrap sentences at the width; a file or a pipe gets long lines.
    """

    width: int
    color: bool = False
    ascii: bool = False
    wrap: bool = False

    def prose(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield sentences, wrapped if `wrap` is set."""
        for line in lines:
            indent = " " * (len(line) - len(line.lstrip()))
            yield from wrapped(line.lstrip(), self.width if self.wrap else None, indent)


def summary_lines(
    results: Sequence[TestResult], style: Style, *, environment: bool = False, facts: bool = False
) -> Iterator[str]:
    """Yield the lines of the summary section."""
    rows = _rows(results)
    if environment:
        engines = [engine for row in rows.values() for engine in row.engines]
        tested = dict.fromkeys(f"{engine.toolchain} for {engine.target}" for engine in engines)
        yield from map(terminal, tested)
    if rows:
        yield from table_lines(rows, width=style.width, color=style.color, ascii=style.ascii)
    yield from map(terminal, metric_lines(results))
    yield from map(terminal, _task_lines(results))
    speeds = [speed for result in results for speed in result.record.speeds]
    ellipsis = "..." if style.ascii else "…"
    yield from speed_lines(speeds, width=style.width, color=style.color, ellipsis=ellipsis)
    yield from style.prose(_noise(results))
    if facts:
        yield from style.prose(line for key, row in rows.items() for line in _facts(key, row))
    yield from style.prose(_grouped("built ", rows, _rebuilt))
    yield from style.prose(_grouped("note  ", rows, _build_notes, *_LITTLE))
    yield from style.prose(note_lines(_notes(results), details=facts))
    skipped = Counter(r.record.skipped for r in results if r.record.skipped)
    yield from style.prose(f"skipped {count(n, 'test')}: {why}" for why, n in skipped.items())


def metric_lines(results: Iterable[TestResult]) -> Iterator[str]:
    """Yield a line for each metric of an engine: its worst value in all tests, and its limit."""
    found: dict[tuple[str, ...], list[MetricOutcome]] = {}
    for result in results:
        for check in result.record.checks:
            for metric in check.metrics:
                of = f"{metric.output}: {metric.name}" if metric.output else metric.name
                if check.against == "stored":
                    of += " (stored answers)"
                key = (check.model, check.precision, check.arch, of, metric.limit)
                found.setdefault(key, []).append(metric)
    for (model, precision, arch, of, limit), metrics in found.items():
        worst = max(metrics, key=lambda metric: metric.excess)
        verdict = "passed" if all(metric.passed for metric in metrics) else "failed"
        yield f"metric  {model} {precision} {arch}  {of} {worst.figure} (limit {limit})  {verdict}"


def _task_lines(results: Iterable[TestResult]) -> Iterator[str]:
    """Yield a line for each task metric of a test."""
    recorded = [result for result in results if result.record.task_metrics]
    short = {result.nodeid: result.nodeid.rpartition("::")[2] for result in recorded}
    times = Counter(short.values())
    for result in recorded:
        for one in result.record.task_metrics:
            change = ""
            if one.stored is not None:
                change = f" (baseline {one.stored:.5g}, at most {one.limit} worse)"
            verdict = {"first": "recorded"}.get(one.update, one.update) or one.verdict.value
            # Tests of two files may have one name.
            test = short[result.nodeid] if times[short[result.nodeid]] == 1 else result.nodeid
            yield f"task    {test}  {one.name} {one.value:.5g}{change}  {verdict}"


def noted_lines(results: Sequence[TestResult], style: Style) -> Iterator[str]:
    """Yield what is shown even without the summary: requested noise, warnings and notes."""
    yield from style.prose(_noise(results))
    yield from style.prose(_grouped("note  ", _rows(results), _build_warnings, *_LITTLE))
    yield from style.prose(note_lines(_notes(results)))


def little_compared(results: Iterable[TestResult]) -> list[Diagnostic]:
    """Return what reports show of outputs that passed although little of them was compared."""
    found = list(_grouped("", _rows(results), *_LITTLE))
    if not found:
        return []
    return [
        Diagnostic(
            "TRT422",
            f"little was compared: {count(len(found), 'note')}",
            {"notes": len(found)},
            details=tuple(found),
            remedy=Remedy("Use inputs for which outputs vary, or tolerances that fit them."),
            severity="note",
        )
    ]


def _notes(results: Iterable[TestResult]) -> Iterator[tuple[str, Sequence[Diagnostic]]]:
    return ((result.nodeid, result.record.terminal_notes) for result in results)


def _noise(results: Iterable[TestResult]) -> Iterator[str]:
    for speed in (speed for result in results for speed in result.record.speeds):
        if speed.calibration:
            yield from noise_lines(speed.test, speed.calibration)


#: Model, architecture and precision of one row. The model is named by its path, or by the shortest
#: end of it that no other model has.
_Key = tuple[str, str, str]


def _rows(results: Iterable[TestResult]) -> dict[_Key, Row]:
    rows: dict[_Key, Row] = {}
    for result in results:
        record = result.record
        of_engine = {e.key: (e.path or e.model, e.arch, e.precision) for e in record.engines}
        mentioned = set(record.unbuilt)
        for engine in record.engines:
            key = (engine.path or engine.model, engine.arch, engine.precision)
            rows.setdefault(key, Row()).engines.append(engine)
            mentioned.add(key)
        for key in record.unbuilt:
            rows.setdefault(key, Row()).unbuilt = True
        for check in record.checks:
            if check.key in of_engine:
                rows[of_engine[check.key]].checks.append(check)
        for key in mentioned:
            rows[key].outcomes[result.outcome] += 1
    names = short_names({path for path, _, _ in rows})
    return {(names[path], arch, precision): row for (path, arch, precision), row in rows.items()}


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return the shortest end of each path, in whole names, that no other path has."""
    parts = {path: PurePosixPath(path).parts for path in paths}
    ends = Counter(own[-n:] for own in parts.values() for n in range(1, len(own) + 1))
    names = {}
    for path, own in parts.items():
        length = next((n for n in range(1, len(own)) if ends[own[-n:]] == 1), len(own))
        names[path] = str(PurePosixPath(*own[-length:]))
    return names


#: Engines that a line names; further ones are counted.
_NAMED = 2


def _grouped(
    kind: str, rows: Mapping[_Key, Row], *sources: Callable[[Row], Iterator[str]]
) -> Iterator[str]:
    """Yield what is reported of engines, the same text once: "note  a, b and 48 more: text"."""
    groups: dict[str, list[str]] = {}
    for key, row in rows.items():
        for text in dict.fromkeys(text for source in sources for text in source(row)):
            groups.setdefault(text, []).append(_subject(key))
    for text, subjects in groups.items():
        more = f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
        yield f"{kind}{', '.join(subjects[:_NAMED])}{more}: {text}"


def _subject(key: _Key) -> str:
    model, arch, precision = key
    return f"{model} {precision} {arch}"


def _rebuilt(row: Row) -> Iterator[str]:
    """Return why engines were built although an earlier one is cached."""
    return (
        f"not cached, unlike a similar engine: {e.reason}"
        for e in row.engines
        if e.reason and not (e.cached or e.warnings)
    )


def _build_notes(row: Row) -> Iterator[str]:
    yield from _build_warnings(row)
    for engine in row.engines:
        # They are about the build: a run that finds the engine in the cache does not repeat them.
        yield from () if engine.cached else engine.notes


def _build_warnings(row: Row) -> Iterator[str]:
    return (one.headline for engine in row.engines for one in engine.warnings)


#: Inputs that a note names.
_INPUTS = 5


def _never_varied(row: Row) -> Iterator[str]:
    """Yield inputs that had one value in all tests of an engine."""
    ran = [set(check.constants.items()) for check in row.checks if check.runs]
    by_value: dict[str, list[str]] = {}
    for name, value in sorted(set.intersection(*ran)) if ran else ():
        by_value.setdefault(value, []).append(name)
    for value, names in by_value.items():
        some, they = ("input", "was"), "it"
        if len(names) > 1:
            some, they = ("inputs", "were"), "them"
        more = f" and {len(names) - _INPUTS} more" if len(names) > _INPUTS else ""
        yield (
            f"{some[0]} {', '.join(map(repr, names[:_INPUTS]))}{more} {some[1]} {value} in every "
            f"element of every run: an engine that uses {they} wrongly, or not at all, may pass"
        )


def _hardly_compared(row: Row) -> Iterator[str]:
    """Yield outputs that passed although little or nothing of them was compared."""
    for check in row.checks:
        for output in check.outputs:
            if not output.size:
                yield f"output {output.name!r} was not compared: it had no elements in any run"
            one_side = output.nonfinite.disagreeing
            if one_side and output.tolerance.nan == "ignore":
                yield (
                    f"{count(one_side, 'element')} of output {output.name!r} not compared: NaN or "
                    "infinite on one side alone, and nan='ignore' skips them"
                )
    for one in passed_by_one_value(row.checks):
        if one.least == one.largest and not one.mismatch_pct:
            yield (
                f"output {one.output!r} was {one.value:.4g} in every element of every run: use "
                "inputs for which it varies"
            )
        else:
            most = f", but for {one.mismatch_pct:g}% that may differ" * bool(one.mismatch_pct)
            yield (
                f"the tolerance of output {one.output!r} passes an engine that always returns "
                f"{one.value:.4g}: the output was {one.least:.4g} to {one.largest:.4g}{most}"
            )
    for metric, of_output in passed_by_one_value_of_metrics(row.checks):
        of = f" of output {of_output!r}" * bool(of_output)
        yield (
            f"the limit of metric {metric!r}{of} passes an engine that always returns one value: "
            "use inputs for which it fails, or a stricter limit"
        )
    for name in passed_by_same_samples(row.checks):
        yield (
            f"the tolerance or metrics of output {name!r} pass an engine that returns the first "
            "sample's values for all samples: use inputs for which they differ more, or allow less"
        )


def _lost_samples(row: Row) -> Iterator[str]:
    """Yield what passed whole samples or classes that are wrong, as it judges them together."""
    for check in row.checks:
        for output in check.outputs:
            if output.passed and output.tolerance.elementwise and output.lost_samples:
                yield (
                    f"max_mismatch_pct={output.tolerance.max_mismatch_pct:g} of output "
                    f"{output.name!r} passed {count(output.lost_samples, 'sample')} of a run most "
                    "of whose elements differ"
                )
            if output.passed and output.tolerance.elementwise and output.lost_values:
                yield (
                    f"max_mismatch_pct={output.tolerance.max_mismatch_pct:g} of output "
                    f"{output.name!r} passed {count(output.lost_values, 'value')}, such as a "
                    "class, whose elements all differ in a run"
                )
        for metric in check.metrics:
            if metric.passed and metric.lost_samples:
                yield (
                    f"metric {metric.name!r} of output {metric.output!r} passed "
                    f"{count(metric.lost_samples, 'sample')} of a run with wrong values: it judges "
                    "a batch as a whole, and cosine= each sample"
                )


def _unseen_parts(row: Row) -> Iterator[str]:
    """Yield outputs of which small parts would pass as zeros."""
    for name, parts in passed_by_zeros(row.checks):
        yield (
            f"the tolerance or metrics of output {name!r} pass an engine that returns 0 at "
            f"{_ranges(parts.indices)} of axis {parts.axis}: it was at most {parts.largest:.4g} "
            f"there, and reached {parts.least:.4g} or more elsewhere. Give a smaller atol and a "
            "larger rtol, or add a metric of these values"
        )


#: Ranges of indices that a note names.
_RANGES = 3


def _ranges(indices: Sequence[int]) -> str:
    """Return ascending indices in few words: "0, 4 to 21"."""
    found: list[list[int]] = []
    for one in indices:
        if found and one == found[-1][-1] + 1:
            found[-1].append(one)
        else:
            found.append([one])
    shown = [f"{one[0]} to {one[-1]}" if len(one) > 1 else str(one[0]) for one in found[:_RANGES]]
    more = sum(map(len, found[_RANGES:]))
    return ", ".join(shown) + f" and {more} more" * bool(more)


#: What finds that little was compared.
_LITTLE = (_hardly_compared, _lost_samples, _unseen_parts, _never_varied)


def _facts(key: _Key, row: Row) -> Iterator[str]:
    """Yield what each engine consists of, with what the first test that ran it has measured."""
    by_key: dict[str, list[EngineRecord]] = {}
    for engine in row.engines:
        by_key.setdefault(engine.key, []).append(engine)
    for same in by_key.values():
        load_s = _first(other.load_s for other in same)
        first_inference_s = _first(other.first_inference_s for other in same)
        parts = [*_content(same[0]), *_times(load_s, first_inference_s)]
        yield f"facts {_subject(key)}: {'; '.join(parts)}"


def _content(engine: EngineRecord) -> Iterator[str]:
    if engine.layers is not None:
        yield f"weights {shares(engine.weights_pct)}"
        yield f"{engine.layers} layers, {shares(engine.layers_pct)}"
    if engine.left_in_fp32:
        kinds = (f"{kind} ({number})" for kind, number in engine.left_in_fp32.items())
        yield f"left in FP32: {', '.join(kinds)}"
    if engine.size_bytes is not None:
        yield units.size(engine.size_bytes)
    if engine.plan:
        yield f"plan {engine.plan}, digest {engine.plan_digest[:12]}"
    if engine.device_memory_bytes is not None:
        yield f"{units.size(engine.device_memory_bytes)} on the device"


def _times(load_s: float | None, first_inference_s: float | None) -> Iterator[str]:
    if load_s is not None:
        yield f"loaded in {units.seconds(load_s)}"
    if first_inference_s is not None:
        yield f"first inference {units.seconds(first_inference_s)}"


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def shares(pct: Mapping[str, float] | None) -> str:
    """Return shares by precision, the largest first: "98% half, 2.0% float"."""
    if pct is None:
        return "of unknown precision"
    ranked = sorted(pct.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{units.share(value / 100)} {precision}" for precision, value in ranked)


_STYLES = {"passed": "32", "failed": "31", "regressed": "31", "not comparable": "31"}
_OTHER_STYLE = "33"

#: What the last column says where a baseline is new; "not recorded" is not a verdict.
_UPDATES = {"first": "recorded", "added": "run added"}

#: Metrics, the one first that is shown of a baseline that was recorded.
_LEADING: tuple[Metric, ...] = ("p99", "p95", "p50", "throughput")

#: Columns for the name of what was measured, however narrow the terminal is.
_SUBJECT_LEAST = 12


def speed_lines(
    records: Sequence[BenchmarkResult], *, width: int, color: bool, ellipsis: str = "..."
) -> Iterator[str]:
    """Yield a line for each record: what was measured, a figure, its change, the verdict.

    Args:
        records: Results of benchmarks.
        width: Columns of the terminal.
        color: Whether to use escape sequences.
        ellipsis: Replaces the middle of names that are too long.
    """
    subjects = [" ".join(filter(None, (one.model, one.precision, one.arch))) for one in records]
    # Several tests may measure one engine, or engines of one name: name the tests then.
    names = [record.test for record in records]
    for tests in ([name.rpartition("::")[2] for name in names], names):
        if len(set(subjects)) < len(subjects):
            subjects = [f"{test} {one.arch}" for test, one in zip(tests, records, strict=True)]
    rows = [
        (terminal(subject), *_figures(record), _outcome_word(record))
        for subject, record in zip(subjects, records, strict=True)
    ]
    if not rows:
        return
    fixed = sum(max(cell_len(row[column]) for row in rows) + 2 for column in (1, 2, 3))
    room = max(width - fixed - len("speed  "), _SUBJECT_LEAST)
    subject_width = min(room, max(cell_len(row[0]) for row in rows))
    widths = [max(cell_len(row[column]) for row in rows) for column in (1, 2)]
    for row, record in zip(rows, records, strict=True):
        subject = shortened(row[0], subject_width, ellipsis)
        verdict = row[3]
        if color:
            verdict = f"\x1b[{_STYLES.get(record.verdict, _OTHER_STYLE)}m{verdict}\x1b[0m"
        yield (
            f"speed  {subject.ljust(subject_width)}  {row[1].ljust(widths[0])}  "
            f"{row[2].ljust(widths[1])}  {verdict}"
        )


def _figures(record: BenchmarkResult) -> tuple[str, str]:
    """Return the most important figure, and how it relates to its limit."""
    structure = record.leading_engine_limit
    if structure is not None:
        return _engine_figures(structure)
    limit, change = record.leading_limit, record.leading_change
    speedup = record.leading_speedup
    # It is shown where it alone decides, or where there is nothing else.
    others = [one.outcome for one in (limit, change) if one is not None]
    decided = bool(others) and record.verdict in others
    if speedup is not None and not decided:
        return (
            f"p50 {units.latency(speedup.candidate_ms)}",
            f"{factor_text(speedup.ratio)} {terminal(speedup.opponent.rpartition('/')[2])} "
            f"(limit {factor_text(speedup.factor)})",
        )
    regressed = change is not None and change.outcome == "regressed" and not record.update
    if limit is not None and (change is None or (limit.outcome == "failed" and not regressed)):
        metric = METRIC_OF[limit.name]
        shown = f"{units.METRIC_NAMES[metric].lower()} {units.figure(metric, limit.measured)}"
        return shown, f"(limit {units.figure(metric, limit.limit)})"
    metric = change.metric if change else "p99" if "p99_ms" in record.candidate else "p50"
    if record.update and not record.failed:
        leading = sorted(_LEADING, key=lambda one: one not in record.limited)
        # The change is in the line about the baseline file, and no limit applies to it.
        change, metric = (
            None,
            next((m for m in leading if FIGURE_OF[m] in record.candidate), metric),
        )
    value = record.candidate.get(FIGURE_OF[metric])
    shown = (
        f"{units.METRIC_NAMES[metric].lower()} {units.figure(metric, value)}"
        if value is not None
        else ""
    )
    if change is None or change.change is None:
        return shown, ""
    return shown, f"{units.change(change.change)} (limit {units.percent(change.limit)})"


def _engine_figures(one: StructuralLimitResult) -> tuple[str, str]:
    name, limit = ENGINE_NAMES[one.name], engine_limit(one).removeprefix("+")
    if one.measured is None:
        return name, f"(limit {limit})"
    in_bytes = name in ("plan size", "device memory")
    shown = units.size(one.measured) if in_bytes else engine_figure(one.name, one.measured)
    grown = f"{units.change(one.measured / one.stored - 1)} " if one.stored else ""
    return f"{name} {shown}", f"{grown}(limit {limit})"


def _outcome_word(record: BenchmarkResult) -> str:
    if record.update and not record.failed:
        return _UPDATES.get(record.update, record.update)
    return record.verdict
