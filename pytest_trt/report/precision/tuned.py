"""What `pytest-trt tune` found, in words, and as a page with a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_trt import units
from pytest_trt.escaping import html
from pytest_trt.precision.marker_edit import literal
from pytest_trt.precision.tune import TradeOff, Tuned
from pytest_trt.report.html.static import static_page
from pytest_trt.report.precision.chart import STYLE, Axis, Point, chart
from pytest_trt.report.precision.page import table
from pytest_trt.report.precision.words import figure
from pytest_trt.wording import count

#: The titles of the table of sets of several sizes.
TRADE_OFF_TITLES = ("in FP32", "rel. L2", "of tolerance", "check", "P50", "plan", "measured on")

#: The titles of the table of nodes.
RANKING_TITLES = ("node", "operator", "error alone", "")

#: Nodes of the ranking that are shown.
_RANKED = 10


def title(found: Tuned) -> str:
    """Return which engine of which test was tuned."""
    return f"{found.test}: {found.model}, {found.precision}, {found.target}"


def verdict(found: Tuned) -> str:
    """Return what was found, in one line."""
    search = found.search
    if search is None:
        return f"not searched: {found.problem}"
    runs = count(found.runs, "run")
    if search.outcome == "passes":
        return f"the check passes already, in {runs}: nothing has to stay in FP32"
    if search.outcome == "impossible":
        return f"not even FP32 passes the check, in {runs}: keeping nodes in FP32 cannot help"
    took = (
        f"{count(search.builds, 'build')}, {count(search.trials, 'trial')}, "
        f"{units.seconds(found.seconds)}"
    )
    of = f"{len(search.kept)} of {count(len(search.ranking), 'node')}"
    if search.outcome == "all":
        every = count(len(search.ranking), "node")
        if found.has_bodies:
            return (
                f"no {found.precision} engine that was tried passes: nodes inside branches and "
                f"loops were not tried, only the {every} outside ({took})"
            )
        return f"no {found.precision} engine passes: all {every} would stay in FP32 ({took})"
    if search.outcome == "timeout" and len(search.kept) == len(search.ranking):
        return (
            f"not finished in time ({took}): no set of nodes that passes was found; raise "
            "--timeout, or let the test run fewer or smaller inputs"
        )
    if search.outcome == "timeout":
        return f"not finished in time ({took}): the last engine keeps {of} in FP32 and fails"
    return f"the check passes with {of} in FP32 ({runs}; {took})"


def argument(found: Tuned) -> str:
    """Return the argument of trt_model, as it is typed; "" where nothing was found."""
    search = found.search
    if search is None or search.outcome != "found":
        return ""
    names = list(found.kept)
    if found.several:
        return f"by_precision={literal({found.precision: {'keep_fp32': names}})}"
    return f"keep_fp32={literal(names)}"


def trade_off_cells(one: TradeOff) -> tuple[str, ...]:
    """Return the cells of one set."""
    return (
        one.label,
        figure(one.score.error),
        units.share(one.score.used),
        "passes" if one.score.passed else "fails",
        "-" if one.p50_ms is None else units.latency(one.p50_ms),
        "-" if one.size_bytes is None else units.size(one.size_bytes),
        "engine" if one.built else "trial",
    )


def ranking_cells(found: Tuned) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the nodes that alone make the largest errors."""
    search = found.search
    for one in search.ranking[:_RANKED] if search else ():
        kept = "kept" if search and one.entry in search.kept else ""
        yield (one.entry, one.operator, figure(one.error), kept)


def tuned_page(tuned: Sequence[Tuned]) -> str:
    """Return what was found as a page."""
    body = "\n".join(part for one in tuned for part in _body(one))
    heading = verdict(tuned[0]) if len(tuned) == 1 else f"{len(tuned)} engines tuned"
    return static_page(heading, body, command="pytest-trt tune", style=STYLE)


def _body(found: Tuned) -> Iterator[str]:
    yield f"<h2>{html(title(found))}</h2>"
    yield f"<p>{html(verdict(found))}</p>"
    if argument(found):
        yield f"<p><code>trt_model({html(argument(found))})</code></p>"
    if not found.trade_off:
        return
    yield chart(
        [_point(one, found) for one in found.trade_off],
        Axis("entries of keep_fp32", "{:.3g}".format),
        Axis("relative L2 error", figure),
        title=f"Error against the number of nodes in FP32, {title(found)}",
        summary="; ".join(" ".join(trade_off_cells(one)) for one in found.trade_off),
    )
    yield "<p>Crosses fail the check. The ring marks what was found.</p>"
    yield table(
        TRADE_OFF_TITLES, [list(map(html, trade_off_cells(one))) for one in found.trade_off]
    )
    yield "<h3>Nodes that alone make the largest errors</h3>"
    yield table(RANKING_TITLES, [list(map(html, row)) for row in ranking_cells(found)])
    if found.disturbed:
        yield f"<p>The timing was disturbed, so repeat it: {html(found.disturbed)}</p>"


def _point(one: TradeOff, found: Tuned) -> Point:
    latency = "" if one.p50_ms is None else f", {units.latency(one.p50_ms)}"
    kept = len(found.search.kept) if found.search else -1
    return Point(
        f"{one.label}{latency}",
        one.kept,
        one.score.error,
        passed=one.score.passed,
        on_line=True,
        ringed=one.kept == kept and bool(argument(found)),
    )
