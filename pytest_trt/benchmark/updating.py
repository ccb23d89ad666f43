"""What new rounds make of a test's baseline: one more run of it, or another one.

A run of the same engine under the same conditions joins those that are stored, unless it is surely
of another speed. Whatever else replaces them; where it is slower than a limit of the test allows,
only with a reason, so that nobody accepts a slower engine unawares. Nor in small steps: what other
engines come to that replaced each other without a reason is held against the limit as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_trt import units
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.benchmark.baselines import stored_rounds
from pytest_trt.benchmark.calibration import noise_of
from pytest_trt.benchmark.conditions import incomparable_reason, is_same
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.plugin.settings import Settings
from pytest_trt.records import to_data
from pytest_trt.report.baseline_text import metric_change
from pytest_trt.report.speed_text import NAMES, update_command
from pytest_trt.statistics.agreement import drifted_metrics
from pytest_trt.statistics.rounds import as_change
from pytest_trt.terms import METRICS, Metric


@dataclass(frozen=True, slots=True)
class Update:
    """What new runs make of a baseline.

    Attributes:
        add: Whether they join those that are stored.
        why: Why they do not, where there are any.
        beyond: By which figure they are slower than a limit allows; empty where they are not.
        drifted: The same, of all that was accepted without a reason together.
    """

    add: bool
    why: str = ""
    beyond: str = ""
    drifted: str = ""


def update_of(entry: Entry, new: Entry, limits: Mapping[Metric, float]) -> Update:
    """Return what new runs make of a stored baseline.

    Args:
        entry: The stored one.
        new: The new one, of the same mode and spec.
        limits: By metric the share by which it may be slower.
    """
    why = _another(entry, new) or _strayed(entry, new, limits)
    # What a busy host made of the baseline is no speed to fall short of.
    free = HOST_BUSY not in entry.runs[-1].environment
    if not (why and free):
        return Update(not why, why)
    now = new.figures()
    drifted = ""
    if entry.engine.get("key") != new.engine.get("key"):  # not the same one on another machine
        drifted = _beyond(entry.accepted, now, limits)
    return Update(add=False, why=why, beyond=_beyond(entry.figures(), now, limits), drifted=drifted)


def with_update(
    record: BenchmarkResult,
    place: BaselineLocation,
    entry: Entry | None,
    new: Entry,
    limits: Mapping[Metric, float],
    settings: Settings,
    *,
    recorded: bool,
    passed: bool,
) -> BenchmarkResult:
    """Return a record with what is to become of the baseline, or could if somebody accepts it.

    Args:
        record: What is known of the test.
        place: Where its baseline is kept.
        entry: Its baseline, comparable or not, if there is one.
        new: What was measured.
        limits: By metric the share by which it may be slower.
        settings: What the options say.
        recorded: Whether it is to be written.
        passed: Whether it has passed its relative limits.
    """
    update = Update(add=False)
    if entry is not None:
        different = entry.differs(mode=new.mode, spec=new.spec)
        update = Update(False, different) if different else update_of(entry, new, limits)
        if not (different or update.add or settings.update_reason):
            new = replace(new, accepted=entry.accepted or entry.figures())
    staged = place.staged(new, add=update.add, why=update.why, against=entry_digest(entry))
    record = replace(record, staged=to_data(staged))
    if not recorded:
        return record
    beyond = update.beyond if not passed else ""
    if not beyond and update.drifted:
        beyond = f"since a reason was last given, {update.drifted}"
    if beyond and not settings.update_reason:
        return replace(
            record,
            why=f"{beyond}: --trt-update accepts that only with a reason",
            fix=f"make it quicker; or say why it may be slower: {update_command([record.test])}",
        )
    return replace(record, update="added" if update.add else "replaced" if entry else "first")


def _another(entry: Entry, new: Entry) -> str:
    """Return what besides their speed tells new runs from those that are stored, or nothing."""
    then, now = entry.runs[-1], new.runs[-1]
    if entry.engine.get("key") != new.engine.get("key"):
        return "the engine is another one"
    if then.toolchain != now.toolchain:
        return f"{then.toolchain} -> {now.toolchain}"
    if then.calls != now.calls:
        return f"rounds have {now.calls} calls, they had {then.calls}"
    if not is_same(then.environment, now.environment):
        labels = dict.fromkeys([*then.environment, *now.environment])
        told = {
            label: (then.environment.get(label), now.environment.get(label)) for label in labels
        }
        return ", ".join(f"{label} {a} -> {b}" for label, (a, b) in told.items() if a != b)
    return incomparable_reason(then.environment, now.environment) or ""


def _strayed(entry: Entry, new: Entry, limits: Mapping[Metric, float]) -> str:
    calls = new.runs[-1].calls
    found = drifted_metrics(
        [stored_rounds(run) for run in entry.runs if run.calls == calls],
        [stored_rounds(run) for run in new.runs],
        new.mode,
        noise_of(entry.noise),
        metrics=tuple(limits) or METRICS,
    )
    if not found:
        return ""
    metric = next(iter(found))
    change = units.change(as_change(metric, found[metric].estimate))
    differs = f"{NAMES[metric]} {change} is more than its runs differ"
    return f"the engine is the same, but {differs}" if entry.engine.get("key") else differs


def _beyond(
    before: Mapping[str, float], now: Mapping[str, float], limits: Mapping[Metric, float]
) -> str:
    worst, told = 1.0, ""
    for metric, limit in limits.items():
        if metric not in before or metric not in now:
            continue
        worse = now[metric] / before[metric] - 1
        if metric == "throughput":
            worse = -worse
        if worse / limit > worst:
            worst = worse / limit
            change = metric_change(metric, before[metric], now[metric])
            told = f"{change} is beyond the limit of {units.percent(limit)}"
    return told
