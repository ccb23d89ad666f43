"""Draw the pictures of docs/explanation from recorded latencies.

Run: python docs/pictures.py FOLDER [--out docs/explanation/images]

FOLDER has one `.npz` file for each of at least six processes that timed the same engine one after
another. Their arrays are milliseconds by call, named `<engine>[_graph]_<clock>`: `_graph` where a
CUDA graph was replayed, and the clock is `gpu` (events) or `wall` (the host). It prints the
figures that the page quotes.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytest_trt.statistics.bounds import paired
from pytest_trt.statistics.decide import (
    FIRST_ROUNDS,
    LOOKS,
    MISS_ERROR,
    Decision,
    Samplers,
    as_slowdown,
    check_error,
    decide,
    first_rounds,
)
from pytest_trt.statistics.limits import DEFAULT_LIMITS
from pytest_trt.statistics.noise import Noise
from pytest_trt.statistics.rounds import ROUND_CALLS, Rounds, summarise
from pytest_trt.terms import Metric, Mode

#: The engine of all pictures: a ResNet-50 in FP16 at batch 8.
ENGINE = "r50_b8"
MODES: Mapping[Mode, str] = {"enqueue": "enqueued calls", "graph": "graph replay"}

#: Limits of a run with ten tests of four metrics.
CHECKS = 40

#: Inches: small enough for its text to be read on a phone.
SIZE = (5.6, 2.9)

#: How often a change is drawn to see in what share it is detected.
DRAWS = 300

#: Colors by role: drawn in the first, shown as a variable that a dark theme changes.
COLORS = {
    "paper": ("#fefefe", "#1c1f26"),
    "ink": ("#24292e", "#d6dae0"),
    "faint": ("#9aa0a6", "#7d848c"),
    "good": ("#0a7a4b", "#4cc38a"),
    "bad": ("#c2331d", "#ff8f7a"),
    "open": ("#8a6100", "#e0b050"),
    "blue": ("#1f5fbf", "#7db0ff"),
}
INK, FAINT, GOOD, BAD, OPEN, BLUE = (light for light, _ in list(COLORS.values())[1:])
BY_VERDICT = {"passed": GOOD, "regressed": BAD, "inconclusive": OPEN}

STYLE = {
    "svg.fonttype": "none",  # Text stays text.
    "svg.hashsalt": "pytest-trt",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": COLORS["paper"][0],
    "axes.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": FAINT,
    "legend.frameon": False,
}

Traces = Sequence[Mapping[str, npt.NDArray[np.float64]]]


def rounds_of(trace: Mapping[str, npt.NDArray[np.float64]], mode: Mode) -> Rounds:
    """Return the rounds of one process, as a benchmark makes them."""
    name = f"{ENGINE}_graph" if mode == "graph" else ENGINE
    calls, walls = (trace[f"{name}_{clock}"].astype(np.float64) for clock in ("gpu", "wall"))
    count = len(calls) // ROUND_CALLS * ROUND_CALLS
    by_round = walls[:count].reshape(-1, ROUND_CALLS).sum(axis=1) / 1e3
    return summarise(list(calls[:count].reshape(-1, ROUND_CALLS)), list(by_round))


def draw_processes(traces: Traces) -> Figure:
    """One unchanged engine in several processes: what a rule on single runs compares."""
    figure = Figure(SIZE, layout="constrained")
    for axes, (mode, title) in zip(figure.subplots(1, 2, sharey=True), MODES.items(), strict=True):
        name = f"{ENGINE}_graph_gpu" if mode == "graph" else f"{ENGINE}_gpu"
        for share, color, marker in ((0.5, BLUE, "o"), (0.99, BAD, "^")):
            values = np.array([np.quantile(trace[name], share) for trace in traces])
            change = (values / values.min() - 1) * 100
            axes.plot(range(1, len(values) + 1), change, marker, color=color, markersize=6)
            pairs = [new / old > 1.1 for old, new in itertools.permutations(values, 2)]
            print(f"{title}: P{share * 100:.0f} of {len(values)} processes: up to "
                  f"+{change.max():.2f}%; {sum(pairs)} of {len(pairs)} pairs differ by more "
                  "than 10%")  # fmt: skip
        axes.axhline(10, color=FAINT, linestyle="--", linewidth=1)
        axes.set(title=title, xlabel="process", xticks=range(1, len(traces) + 1),
                 xlim=(0.5, len(traces) + 0.5))  # fmt: skip
    first, *_ = figure.axes
    first.set_ylabel("% above the fastest process")
    first.text(0.7, 10.4, "a limit of 10%", color=INK, fontsize=9)
    figure.axes[1].plot([], [], "o", color=BLUE, label="P50")
    figure.axes[1].plot([], [], "^", color=BAD, label="P99")
    figure.axes[1].legend(loc="upper right", bbox_to_anchor=(1.0, 0.9))
    return figure


def draw_rounds(traces: Traces) -> Figure:
    """Consecutive calls, and what a round makes of them."""
    shown = 10
    calls = traces[0][f"{ENGINE}_gpu"][: shown * ROUND_CALLS]
    figure = Figure(SIZE, layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot(calls, color=FAINT, linewidth=0.6, label="calls in order")
    for at in range(shown):
        one, start = calls[at * ROUND_CALLS : (at + 1) * ROUND_CALLS], at * ROUND_CALLS
        named = at == 0
        axes.hlines(np.median(one), start, start + ROUND_CALLS, color=BLUE, linewidth=2.5,
                    label="median: P50" if named else None)  # fmt: skip
        axes.plot(start + int(one.argmax()), one.max(), "^", color=BAD, markersize=6,
                  label="slowest: P99" if named else None)  # fmt: skip
        axes.axvline(start, color=FAINT, linewidth=0.5)
    axes.set(xlabel=f"call (a round is {ROUND_CALLS} of them)", ylabel="ms", xlim=(0, len(calls)))
    axes.set_ylim(top=calls.max() + 0.3 * np.ptp(calls))
    axes.legend(loc="upper center", ncols=3, markerscale=1.2, fontsize=9)
    return figure


def decided(traces: Traces, mode: Mode, factor: float) -> Decision:
    """Judge the last process, made slower, against the others, as if each was a fresh one."""
    runs = [rounds_of(trace, mode) for trace in traces]
    first = {metric: logs[:FIRST_ROUNDS] for metric, logs in runs[-1].logs.items()}
    slower = Rounds({m: logs + np.log(factor) for m, logs in first.items()}, ROUND_CALLS)
    stored = [
        Rounds({m: logs[:FIRST_ROUNDS] for m, logs in run.logs.items()}, ROUND_CALLS)
        for run in runs[:-1]
    ]
    samplers = Samplers(lambda rounds: slower)
    return decide({"p50": DEFAULT_LIMITS["p50"]}, stored, samplers, checks=CHECKS, mode=mode)


def draw_bounds(traces: Traces) -> Figure:
    """Bounds against the limit: the three verdicts."""
    factors = (1.0, 1.03, 1.05, 1.07, 1.10)
    figure = Figure(SIZE, layout="constrained")
    for axes, (mode, title) in zip(figure.subplots(1, 2, sharey=True), MODES.items(), strict=True):
        for at, factor in enumerate(factors):
            result = decided(traces, mode, factor).metrics["p50"]
            assert result.bounds is not None
            low, estimate, high = (
                np.expm1(log) * 100
                for log in (result.bounds.low, result.bounds.estimate, result.bounds.high)
            )
            color = BY_VERDICT[result.outcome]
            axes.plot([low, high], [at, at], color=color, linewidth=2.5)
            axes.plot([estimate], [at], "o", color=color, markersize=6)
            axes.text(8.5, at + 0.4, result.outcome, va="center", color=color, fontsize=9)
            print(f"{title}: x{factor}: {low:+.1f}% {estimate:+.1f}% {high:+.1f}% {result.outcome}")
        axes.axvline(DEFAULT_LIMITS["p50"] * 100, color=INK, linestyle="--", linewidth=1)
        axes.set(title=title, xlabel="change of P50 in %", xlim=(-6, 19))
        axes.set(ylim=(len(factors) - 0.4, -0.8))
        axes.set_yticks(range(len(factors)), [f"×{factor:g}" for factor in factors])
        axes.text(5.3, -0.5, "limit", color=INK, fontsize=9)
    figure.axes[0].set_ylabel("times multiplied by")
    return figure


def detected(
    differences: npt.NDArray[np.float64], metric: Metric, change: float, rounds: int, floor: float
) -> float:
    """Return how often a change is detected by so many rounds, drawn from recorded ones."""
    random = np.random.default_rng(7)
    error = check_error(CHECKS) / len(LOOKS)
    limit = as_slowdown(metric, DEFAULT_LIMITS[metric])
    hits = 0
    for _ in range(DRAWS):
        # The placement of the two engines is drawn, too: interleaving does not cancel it.
        apart = random.normal(0.0, np.sqrt(2) * floor)
        sample = random.choice(differences, rounds) + apart + np.log1p(change)
        bounds = paired(sample, error_low=error, error_high=MISS_ERROR, floor=floor)
        hits += bounds.low > limit
    return hits / DRAWS


def draw_power(traces: Traces) -> Figure:
    """How many rounds it takes to detect a change."""
    changes = np.linspace(0.0, 0.30, 31)
    figure = Figure(SIZE, layout="constrained")
    metrics: tuple[Metric, ...] = ("p50", "p99")
    runs = [rounds_of(trace, "enqueue") for trace in traces]
    floor = Noise().placement_of(runs[0], "enqueue")
    for axes, metric in zip(figure.subplots(1, 2, sharey=True), metrics, strict=True):
        apart = [two.logs[metric] - one.logs[metric] for one, two in itertools.pairwise(runs)]
        typical = np.concatenate([one - np.median(one) for one in apart])
        both = np.concatenate([typical, -typical])
        for look, style in zip(LOOKS, (":", "--", "-"), strict=True):
            rounds = first_rounds(check_error(CHECKS)) * look
            power = [detected(both, metric, change, rounds, floor) * 100 for change in changes]
            axes.plot(changes * 100, power, style, color=BLUE, label=f"{rounds} rounds")
            found = [round(c * 100) for c, p in zip(changes, power, strict=True) if p >= 90]
            print(f"{metric}, {rounds} rounds: 90% from +{found[0] if found else '?'}%")
        axes.axvline(DEFAULT_LIMITS[metric] * 100, color=INK, linestyle="--", linewidth=1)
        title = f"{metric.upper()}, limit {DEFAULT_LIMITS[metric]:.0%}"
        axes.set(title=title, xlabel="true change in %")
    figure.axes[0].set_ylabel("detected, in %")
    figure.axes[0].legend(loc="lower right", fontsize=9)
    return figure


PICTURES: Mapping[str, tuple[Callable[[Traces], Figure], str]] = {
    "processes": (draw_processes, "P50 and P99 of one engine in several processes"),
    "rounds": (draw_rounds, "Consecutive calls of one engine, and the figures of their rounds"),
    "bounds": (draw_bounds, "Bounds on a change, its limit, and the verdict"),
    "power": (draw_power, "Share of changes that are detected, by size and number of rounds"),
}


def as_svg(figure: Figure, title: str) -> str:
    """Return a figure as SVG with a title, whose colors follow the reader's theme."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    text = re.sub(r"(\d\.\d{2})\d+", r"\1", buffer.getvalue())  # Fractions of a pixel.
    light = "".join(f"--{name}:{one};" for name, (one, _) in COLORS.items())
    dark = "".join(f"--{name}:{one};" for name, (_, one) in COLORS.items())
    for name, (one, _) in COLORS.items():
        text = text.replace(one, f"var(--{name})")
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    # The document type names an address that nobody has to fetch.
    text = re.sub(r"<!DOCTYPE.*?>\n", "", text, flags=re.DOTALL)
    text = text.replace(" <metadata>", f" {style}\n <metadata>", 1)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def main() -> None:
    """Draw every picture, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "explanation/images")
    arguments = parser.parse_args()
    traces = [dict(np.load(path)) for path in sorted(arguments.folder.glob("*.npz"))]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, (draw, title) in PICTURES.items():
            svg = as_svg(draw(traces), title)
            (arguments.out / f"{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
