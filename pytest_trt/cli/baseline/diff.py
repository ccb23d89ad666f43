"""`pytest-trt baseline diff`: compare two versions of baselines, with bounds on each change."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from pytest_trt import units
from pytest_trt.baseline.answers import (
    AnswerFile,
    Data,
    answer_files,
    data_error,
    data_path,
    holds_answers,
    how_to_restore_data,
    parse_data,
    read_data,
)
from pytest_trt.baseline.changes import EntryChange, entry_changes
from pytest_trt.baseline.file import (
    BaselineFile,
    baseline_files,
    content_of,
    how_to_restore,
    read_text,
)
from pytest_trt.baseline.metrics import (
    MetricsFile,
    holds_metrics,
    metrics_files,
)
from pytest_trt.benchmark.differences import Circumstances, differences
from pytest_trt.cli.baseline.answers_diff import Compared, Side, compared, print_answers
from pytest_trt.cli.baseline.metrics_diff import MetricChange, metric_changes, print_metrics
from pytest_trt.cli.baseline.renames_diff import was_text, with_renames
from pytest_trt.cli.baseline.stored import Folders
from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import Cell, Row, print_table
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed
from pytest_trt.git import content_at, json_files_at
from pytest_trt.statistics.agreement import SIDE_ERROR, changes_between
from pytest_trt.statistics.bounds import Bounds
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import Rounds, as_change
from pytest_trt.terms import METRICS, Metric
from pytest_trt.wording import count

#: Confidence of the bounds that are shown.
CONFIDENCE_PCT = round(100 * (1 - 2 * SIDE_ERROR))

#: Natural logarithm of the widest bounds that are shown: a factor of ten.
_WIDEST = math.log(10)

#: What medians may be outside bounds by: half of the last digit that is shown.
_ROUNDING = 0.0005

_file = click.Path(path_type=Path, dir_okay=False)

_File = TypeVar("_File", AnswerFile, BaselineFile, MetricsFile)


@command(
    short_help="Compare two files, or files with a git revision.",
    examples=[
        "pytest-trt baseline diff",
        "pytest-trt baseline diff --git main --exit-code",
        "pytest-trt baseline diff old.json new.json",
    ],
    negative="anything differs and --exit-code is given",
)
@click.argument("files", type=_file, nargs=-1, metavar="[FILE | OLD NEW]")
@click.option(
    "--git",
    "revision",
    metavar="REV",
    help="Git revision to compare with.  [default: HEAD]",
)
@click.option("--exit-code", is_flag=True, help="Exit with status 1 if anything differs.")
@json_option
@click.pass_obj
def diff(
    folders: Folders,
    files: tuple[Path, ...],
    revision: str | None,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Compare two baseline files, or one or all of them with a git revision.

    Each change of a speed has 95% confidence bounds, which include the variance between runs of one
    engine. Only changes whose bounds exclude zero are coloured. Stored answers are compared output
    by output, task metrics value by value.
    """
    if len(files) > 2 or (len(files) == 2 and revision is not None):
        raise click.UsageError("name two files, or one or none and --git REV.")
    if len(files) == 2:
        both = [(f"{files[0]} -> {files[1]}", _version(files[0]), _version(files[1]))]
    else:
        both = list(_against_git(folders.baselines.path, files, revision or "HEAD"))
    speeds, answers, metrics = [], [], []
    for title, old, new in both:
        if _holds(holds_metrics, old, new):
            both_metrics = metric_changes(old.content(MetricsFile), new.content(MetricsFile))
            metrics += [(title, both_metrics)] if both_metrics else []
        elif _holds(holds_answers, old, new):
            answers += [(title, found) for found in [compared(_side(old), _side(new))] if found]
        else:
            changes = entry_changes(old.content(BaselineFile), new.content(BaselineFile))
            speeds += [(title, changes)] if changes else []
    speeds, answers = with_renames(speeds), with_renames(answers)
    if as_json:
        listed = [_as_dict(title, change) for title, changes in speeds for change in changes]
        listed += [one.to_dict(title) for title, changes in answers for one in changes]
        listed += [one.to_dict(title) for title, found in metrics for one in found]
        echo_json(listed)
    else:
        _print_all(speeds, answers, metrics)
    if (speeds or answers or metrics) and exit_code:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a file.

    Attributes:
        path: The file.
        text: Its bytes; None if it does not exist.
        revision: The git revision that it is of; empty for the working tree.
    """

    path: Path
    text: bytes | None
    revision: str = ""

    @property
    def name(self) -> str:
        """Its name in errors."""
        return f"{as_typed(self.path)} at {self.revision}" if self.revision else as_typed(self.path)

    def fix(self) -> Remedy:
        """Return what to do if it is invalid."""
        if self.revision:
            return Remedy("Name another revision with --git.")
        return how_to_restore(self.path)

    def content(self, kind: type[_File]) -> _File | None:
        """Return what it holds; None if it does not exist."""
        return None if self.text is None else content_of(kind, self.text, self.name, fix=self.fix)


def _version(path: Path) -> _Version:
    text = read_text(path)
    if text is None:
        raise _missing(path)
    return _Version(path, text)


def _holds(kind: Callable[[bytes], bool], *versions: _Version) -> bool:
    return any(one.text is not None and kind(one.text) for one in versions)


def _side(one: _Version) -> Side:
    read = partial(_data_at, one) if one.revision else partial(read_data, one.path)
    fix = one.fix if one.revision else partial(how_to_restore_data, one.path)
    return Side(one.name, one.content(AnswerFile), read, fix)


def _data_at(version: _Version, digests: Iterable[str]) -> Data:
    """Return numbers as git has them.

    Raises:
        BaselineError: It does not, or they are damaged.
    """
    path = data_path(version.path)
    name = f"{as_typed(path)} at {version.revision}"
    content = content_at(version.revision, path, filtered=True)
    if content is None:
        problem = "git has no such file: only the JSON file was committed"
        raise data_error(name, problem, version.fix())
    return parse_data(io.BytesIO(content), digests, name, fix=version.fix)


def _missing(path: Path, revision: str = "") -> BaselineError:
    at = f", neither in the working tree nor at {revision}" if revision else ""
    return BaselineError(
        f"there is no baseline file {as_typed(path)}{at}",
        fix=Remedy("Name one of the files that exist:", ("pytest-trt baseline list",)),
        code="TRT630",
        facts={"file": str(path), "revision": revision},
    )


def _against_git(
    root: Path, files: tuple[Path, ...], revision: str
) -> Iterator[tuple[str, _Version, _Version]]:
    here = (*baseline_files(root), *answer_files(root), *metrics_files(root))
    paths = files or sorted({*here, *json_files_at(revision, root)})
    if not paths:
        raise BaselineError(
            f"there are no baselines in {as_typed(root)}, neither in the working tree nor at "
            f"{revision}",
            fix="Run tests with trt_benchmark, or name the folder with --baseline-dir.",
            code="TRT630",
            facts={"folder": str(root), "revision": revision},
        )
    for path in paths:
        old, new = content_at(revision, path), read_text(path)
        if old is None and new is None:
            raise _missing(path, revision)
        title = f"{as_typed(path)} since {revision}"
        yield title, _Version(path, old, revision), _Version(path, new)


def _print_all(
    speeds: list[tuple[str, list[EntryChange]]],
    answers: list[tuple[str, list[Compared]]],
    metrics: list[tuple[str, list[MetricChange]]],
) -> None:
    if not (speeds or answers or metrics):
        echo("The baselines are the same.")
    if speeds:
        _print(speeds)
    if speeds and answers:
        echo()
    if answers:
        print_answers(answers)
    if (speeds or answers) and metrics:
        echo()
    if metrics:
        print_metrics(metrics)


def _print(found: list[tuple[str, list[EntryChange]]]) -> None:
    titles = ("", "before", "now", "change", f"{CONFIDENCE_PCT}% bounds")
    rows: list[Row] = []
    for title, changes in found:
        rows.append(title)
        for change in changes:
            rows.append(f"{change.test}: {_what(change)}")
            rows += [f"  {line}" for line in _why(change)]
            rows += _rows(change)
    print_table(titles, rows, giving_way=(0,))


def _what(change: EntryChange) -> str:
    if change.old is None or change.new is None:
        return change.kind
    before, now = len(change.old.runs), len(change.new.runs)
    if change.kind == "renamed":
        return f"renamed, equal; {was_text(change)}"
    if change.kind == "edited":
        if before != now:
            return f"runs removed, {before} -> {now}"
        same = change.old.noise == change.new.noise
        return f"same figures, {'edited' if same else 'calibrated'}"
    texts = {
        "runs added": f"runs added, {before} -> {now}",
        "not comparable": f"replaced, not comparable: {change.why}",
    }
    reason = change.new.runs[-1].reason
    return f"{texts.get(change.kind, change.kind)}{': ' if reason else ''}{reason}"


def _why(change: EntryChange) -> list[str]:
    if change.old is None or change.new is None or change.kind == "renamed":
        return []
    then, now = (
        Circumstances(one.runs[-1].toolchain, one.runs[-1].environment, one.engine)
        for one in (change.old, change.new)
    )
    lines = [str(one) for one in differences(then, now)]
    if change.compared is not None:
        if _is_one_engine(change):
            lines.append("the plan is identical: the difference is due to the machine")
        elif change.new.mode == "end_to_end":
            lines.append("an overloaded host looks like a slower engine by the host's clock")
    return lines


def _is_one_engine(change: EntryChange) -> bool:
    """Whether both sides measured one plan, where nothing but the machine can differ."""
    plans = {one.engine.get("plan") for one in (change.old, change.new) if one}
    return len(plans) == 1 and None not in plans


def _rows(change: EntryChange) -> Iterator[tuple[Cell, ...]]:
    bounds = _bounds(change)
    for metric in METRICS:
        figures = _figures(change, metric)
        if figures == (None, None) or change.kind in ("edited", "renamed"):
            continue
        then, now = ("-" if v is None else units.figure(metric, v) for v in figures)
        cells: tuple[Cell, ...] = ("", "")
        if metric in bounds and None not in figures:
            cells = _cells(change, metric, bounds[metric])
        yield (f"  {units.METRIC_NAMES[metric]}", then, now, *cells)


def _figures(change: EntryChange, metric: Metric) -> tuple[float | None, float | None]:
    """Return the medians over all rounds of both sides: of the runs that are compared."""
    old, new = change.old, change.new
    if old is not None and new is not None and change.compared is not None:
        old, new = (
            replace(one, runs=runs) for one, runs in zip((old, new), change.compared, strict=True)
        )
    return (old.figure(metric) if old else None, new.figure(metric) if new else None)


def _bounds(change: EntryChange) -> dict[Metric, Bounds]:
    if change.compared is None or change.new is None:
        return {}
    stored = change.new.noise or (change.old.noise if change.old else None)
    noise = Noise()
    if stored is not None:
        between = {m: stored.between_runs[m] for m in METRICS if m in stored.between_runs}
        noise = Noise(between, stored.placement)
    old, new = (
        [Rounds.of_figures(run.rounds, run.calls) for run in runs] for runs in change.compared
    )
    return changes_between(old, new, change.new.mode, noise)


def _cells(change: EntryChange, metric: Metric, bounds: Bounds) -> tuple[Cell, Cell]:
    share = _share(change, metric)
    shown = units.change(share)
    if not _is_bounded(share, metric, bounds):
        runs = min(map(len, change.compared or ((),)))
        return shown, f"cannot be bounded from {count(runs, 'run')}"
    least, most = sorted(as_change(metric, log) for log in (bounds.low, bounds.high))
    style = "red" if bounds.low > 0 else "green" if bounds.high < 0 else ""
    style = "" if _is_one_engine(change) else style
    return (shown, style), f"{units.change(least)} to {units.change(most)}"


def _share(change: EntryChange, metric: Metric) -> float:
    """Return the change of the two figures that are shown, which bounds are of pairs of rounds."""
    then, now = _figures(change, metric)
    return now / then - 1 if now is not None and then else math.nan


def _is_bounded(share: float, metric: Metric, bounds: Bounds) -> bool:
    """Whether bounds narrow down a change: rounds that vary by any factor do not."""
    least, most = sorted(as_change(metric, log) for log in (bounds.low, bounds.high))
    outside = max(least - share, share - most, 0.0)
    return bounds.high - bounds.low <= _WIDEST and outside <= _ROUNDING


def _as_dict(title: str, change: EntryChange) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    bounds = _bounds(change)
    for metric in METRICS:
        old, new = _figures(change, metric)
        if old is None and new is None:
            continue
        found: dict[str, float | None] = {"before": old, "now": new}
        known = bounds.get(metric)
        if known is not None:
            share = _share(change, metric)
            found["change"] = round(share, 6) if math.isfinite(share) else None
            bounded = _is_bounded(share, metric, known)
            for name, log in (("low", known.low), ("high", known.high)):
                found[name] = round(as_change(metric, log), 6) if bounded else None
        metrics[metric] = found
    return {
        "baseline": "speed",
        "file": title,
        "test": change.test,
        "kind": change.kind,
        "was": change.was,
        "why": change.why,
        "differences": _why(change),
        "metrics": metrics,
    }
