"""A report as Markdown, for the step summary of GitHub Actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_trt import escaping, units
from pytest_trt.benchmark.result import FIGURE_OF
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import from_data
from pytest_trt.report.coverage import is_covered, missing_verdicts
from pytest_trt.report.groups import Group, group_lines
from pytest_trt.report.notes import notes_of
from pytest_trt.report.status import counted
from pytest_trt.terms import Metric
from pytest_trt.wording import count

#: A step summary may have 1 MiB; a larger one is not shown at all.
#: Source: GitHub Docs, "Workflow commands for GitHub Actions", "Step isolation and limits".
STEP_SUMMARY_BYTES = 1024 * 1024

#: Rows of the table.
_ROWS = 200

#: Statuses that the table lists, in its order. Deselected tests are only counted above it.
_LISTED = ("failed", "error", "inconclusive", "not measured", "xfailed", "skipped", "passed")

_MARKS = {"passed": "✅", "xfailed": "✅", "failed": "❌", "error": "❌"}
_OTHER_MARK = "⚠️"

_CUT = "\n\n*Truncated: a step summary may have 1 MiB. `--trt-report` writes everything.*\n"


def markdown(document: Mapping[str, Any], limit_bytes: int = STEP_SUMMARY_BYTES) -> str:
    """Return a document as Markdown: a table, and failures that unfold.

    Args:
        document: The report.
        limit_bytes: The most bytes in UTF-8; details are left out before rows.
    """
    blocks: list[str] = []
    room = limit_bytes - len(_CUT.encode())
    for block in _blocks(document):
        room -= len(block.encode("utf-8", "backslashreplace"))
        if room < 0:
            return "".join(blocks) + (_CUT if blocks else "")
        blocks.append(block)
    return "".join(blocks)


def _blocks(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield complete pieces of Markdown, so that the text can end after each."""
    for run in document["runs"]:
        yield from _of_run(run)
    if not is_covered(document["coverage"]):
        lines = str(missing_verdicts(document["coverage"], most=50))
        yield f"**Verdicts are missing**\n\n{escaping.markdown_block(lines)}\n\n"
    if document["groups"]:
        groups = [from_data(Group, group) for group in document["groups"]]
        lines = "\n".join(group_lines(groups, [test["id"] for test in document["tests"]]))
        yield f"**What to do**\n\n{escaping.markdown_block(lines)}\n\n"
    if notes := notes_of(document):
        lines = "\n".join(notes)
        yield f"**Notes**\n\n{escaping.markdown_block(lines)}\n\n"
    ran = [test for test in document["tests"] if test["status"] in _LISTED]
    tests = sorted(ran, key=lambda test: _LISTED.index(test["status"]))
    if tests:
        yield "| | test | arch | tolerance used | speed | |\n|---|---|---|---|---|---|\n"
    for test in tests[:_ROWS]:
        yield _row(test)
    if len(tests) > _ROWS:
        more = count(len(tests) - _ROWS, "more test")
        yield f"\nNot listed: {more}.\n"
    yield "\n"
    for test in tests:
        if test["failure"]:
            yield _details(test)


def _of_run(run: Mapping[str, Any]) -> Iterator[str]:
    targets = ", ".join(f"{t['toolchain']} for {t['target']}" for t in run["targets"])
    errors = run["collection_errors"]
    failed = f"{count(len(errors), 'file')} could not be collected" if errors else ""
    counts = ", ".join(filter(None, (failed, counted(run["counts"])))) or "no tests"
    yield f"### pytest-trt: {counts}\n\n"
    yield f"{escaping.markdown(targets)}\n\n" if targets else ""
    for file, why in errors.items():
        shown = escaping.markdown(file)
        yield f"❌ {shown} could not be collected\n\n{escaping.markdown_block(why)}\n\n"
    for file in run["skipped_model_files"]:
        why = escaping.markdown(run["skipped_files"][file])
        yield f"{_OTHER_MARK} {escaping.markdown(file)} was skipped as a whole: {why}\n\n"
    for one in run["diagnostics"]:
        shown = str(from_data(Diagnostic, one))
        yield f"**The run as a whole**\n\n{escaping.markdown_block(shown)}\n\n"


def _row(test: Mapping[str, Any]) -> str:
    shares = (result["accuracy"]["used"] for result in test["results"] if result["accuracy"])
    used = [float(share) for share in shares if share is not None]
    speeds = [result["speed"] for result in test["results"] if result["speed"]]
    cells = (
        _MARKS.get(test["status"], _OTHER_MARK),
        escaping.markdown(test["test"]),
        escaping.markdown(test["arch"]),
        units.share(max(used)) if used else "",
        "; ".join(filter(None, (speed_cell(speed, escaping.markdown) for speed in speeds))),
        "" if test["status"] == "passed" else _status(test),
    )
    return f"| {' | '.join(cells)} |\n"


def _status(test: Mapping[str, Any]) -> str:
    reason = escaping.markdown(test["reason"][:200])
    return f"{test['status']}: {reason}" if reason else str(test["status"])


def speed_cell(
    speed: Mapping[str, Any], shown_name: Callable[[str], str] = escaping.terminal
) -> str:
    """Return speed in few words: "p99 1.23 ms (+4.5%), 1.6x fp32"."""
    changes = {change["metric"]: change["change"] for change in speed["changes"]}
    faster = [
        f", {units.multiple(float(one['ratio']))}x {shown_name(one['opponent'])}"
        for one in speed.get("speedups", ())
    ]
    limited = {*changes, *speed.get("limited", ())}
    # A metric whose limit is off is shown where there is nothing else.
    metrics: tuple[Metric, ...] = ("p99", "p95", "p50", "throughput")
    for metric in sorted(metrics, key=lambda one: one not in limited):
        value = speed["candidate"].get(FIGURE_OF[metric])
        if value is not None:
            change = changes.get(metric)
            shown = "" if change is None else f" ({units.change(change)})"
            return f"{metric} {units.figure(metric, value)}{shown}{''.join(faster)}"
    return ""


def _details(test: Mapping[str, Any]) -> str:
    name = escaping.html(f"{test['id']} on {test['arch']}")
    repeat = (
        f"Repeat it:\n\n{escaping.markdown_block(escaping.terminal(test['repeat']))}\n\n"
        if test["repeat"]
        else ""
    )
    body = f"{escaping.markdown_block(test['failure'])}\n\n{repeat}"
    return f"<details><summary><code>{name}</code></summary>\n\n{body}</details>\n\n"
