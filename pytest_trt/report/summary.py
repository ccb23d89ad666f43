"""The summary section: one line for each model, precision and architecture, then what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_trt.report.engine_facts import facts_lines
from pytest_trt.report.noise import NoiseRecord, noise_lines
from pytest_trt.report.record import TestResult
from pytest_trt.report.speed import speed_lines
from pytest_trt.report.table import Row, table_lines


def summary_lines(
    results: Sequence[TestResult],
    *,
    width: int,
    color: bool,
    ascii: bool = False,
    environment: bool = False,
    facts: bool = False,
) -> Iterator[str]:
    """Yield the lines of the summary section.

    Args:
        results: Every test that left a record, in any order.
        width: Columns of the terminal.
        color: Whether escape sequences may be used.
        ascii: Whether bars and ellipses have to do with ASCII.
        environment: Whether to begin with what built the engines, for which devices.
        facts: Whether to tell what the engines are made of.
    """
    rows = _rows(results)
    if environment:
        engines = [engine for row in rows.values() for engine in row.engines]
        yield from dict.fromkeys(f"{engine.toolchain} for {engine.target}" for engine in engines)
    if rows:
        yield from table_lines(rows, width=width, color=color, ascii=ascii)
    speeds = [speed for result in results for speed in result.record.speeds]
    yield from speed_lines(speeds, width=width, color=color, ellipsis="..." if ascii else "…")
    yield from _noise(results)
    if facts:
        yield from (line for row in rows.values() for line in facts_lines(row.engines))
    for key, row in rows.items():
        yield from dict.fromkeys(_builds(row, _subject(key)))
        yield from _noted(key, [*_notes(row), *_never_compared(row)])
    yield from _remarks(results)
    skipped = Counter(r.record.skipped for r in results if r.record.skipped)
    for reason, count in skipped.items():
        yield f"skipped {count} test{'s' if count > 1 else ''}: {reason}"


def noted_lines(results: Sequence[TestResult]) -> Iterator[str]:
    """Yield what whoever wants no summary must know: noise asked for, what was mended, doubted."""
    yield from _noise(results)
    for key, row in _rows(results).items():
        yield from _noted(key, [warning for engine in row.engines for warning in engine.warnings])
        yield from _noted(key, _never_compared(row))
    yield from _remarks(results)


def _noise(results: Iterable[TestResult]) -> Iterator[str]:
    for speed in (speed for result in results for speed in result.record.speeds):
        if speed.noise:
            yield from noise_lines(speed.test, NoiseRecord.from_dict(speed.noise))


def _rows(results: Iterable[TestResult]) -> dict[tuple[str, str, str], Row]:
    rows: dict[tuple[str, str, str], Row] = {}
    for result in results:
        mentioned = set()
        for engine in result.record.engines:
            key = (engine.model, engine.arch, engine.precision)
            rows.setdefault(key, Row()).engines.append(engine)
            mentioned.add(key)
        for key in result.record.unbuilt:
            rows.setdefault(key, Row()).unbuilt = True
            mentioned.add(key)
        for check in result.record.checks:
            key = (check.model, check.arch, check.precision)
            rows.setdefault(key, Row()).checks.append(check)
        for key in mentioned:
            rows[key].outcomes[result.outcome] += 1
    return rows


def _remarks(results: Iterable[TestResult]) -> Iterator[str]:
    results = list(results)
    texts = [text for result in results for text in result.record.remarks]
    notes = [note for result in results for note in result.record.notes]
    texts += [note.headline for note in notes if note.severity == "note"]
    yield from (f"note  {text}" for text in dict.fromkeys(texts))


def _noted(key: tuple[str, str, str], texts: Iterable[str]) -> Iterator[str]:
    for text in dict.fromkeys(texts):
        yield f"note  {_subject(key)}: {text}"


def _subject(key: tuple[str, str, str]) -> str:
    model, arch, precision = key
    return f"{model} {precision} {arch}"


def _builds(row: Row, subject: str) -> Iterator[str]:
    """Why engines were built that might have been in the cache."""
    for engine in row.engines:
        first = engine.reason.startswith("first ")
        # What went wrong is told as a warning, in more words.
        warned = any(engine.reason in warning for warning in engine.warnings)
        if not (engine.cached or first or warned):
            yield f"built {subject}: {engine.reason}"


def _notes(row: Row) -> Iterator[str]:
    for engine in row.engines:
        yield from engine.warnings
        # They are about the build; whoever finds the engine in the cache has been told.
        yield from () if engine.cached else engine.notes


def _never_compared(row: Row) -> Iterator[str]:
    """Outputs that passed because they were empty, in every run of a check."""
    for check in row.checks:
        outputs = [output for run in check.comparisons for output in run.get("outputs", ())]
        for name in dict.fromkeys(output["name"] for output in outputs):
            if not any(output["size"] for output in outputs if output["name"] == name):
                yield f"output {name!r} was not compared, it had no elements in any run"
