"""Whether two interleaved engines on the CPU run as fast as one alone.

ONNX Runtime lets the threads of a session spin after a call. With more spinning threads than cores,
the two sessions of an A/B run slow each other down, and the comparison no longer measures what a
user runs. The embedded backend therefore stops spinning after each call; this script compares it
with one that does not.

For both, and for three sizes of a call, it prints P50, P99 and calls per second of one session
alone and of the same session interleaved with another (medians over cycles in which both kinds
alternate), and two ratios: interleaved to alone (target for the backend: throughput at least 0.8),
and alone with spinning stopped to alone without (its cost; target: P50 at most 1.1). Other work on
the machine moves the figures more than the ratios.

Run: PYTHONPATH=.:tests python tests/benchmarks/interleaved_cpu.py [--json FILE]
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnxruntime
from builders import save_linear
from figures import Figures

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.benchmark.rounds import measure_interleaved, summarised, take_rounds
from pytest_trt.benchmark.sampling import timer_of
from pytest_trt.benchmark.warmup import ON_CPU, warm_up
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.onnx.file import load_model
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.terms import Metric

#: Features and classes of a linear layer, and the batch; the first is too small for two threads.
SIZES = {"small": (8, 4, 4), "medium": (8, 20_000, 4), "large": (1024, 2048, 16)}
CYCLES, ROUNDS, CALLS = 9, 20, 70
METRICS: tuple[Metric, ...] = ("p50", "p99", "throughput")


class Spinning(OnnxRuntimeBackend):
    """The backend as ONNX Runtime has it by default."""

    def _session_options(self, level: str) -> Any:
        options = super()._session_options(level)
        options.add_session_config_entry("session.force_spinning_stop", "0")
        return options


def cycle(backend: OnnxRuntimeBackend, plan: Path, batch: int) -> Iterator[Rounds]:
    """Yield the rounds of one session alone, and of the same one beside another."""
    model = load_model(plan)
    inputs = {"image": np.zeros((batch, int(model.inputs[0].shape[1])), np.float32)}

    def opened() -> Any:
        session = backend.open(Plan(plan), model, EngineSpec("fp32"), Target("cpu", {}))
        stretch = timer_of(session, inputs, "end_to_end")
        warm_up(stretch, ON_CPU)
        return stretch

    first = opened()
    yield summarised(take_rounds(first, ROUNDS, CALLS), items_per_call=1)
    yield measure_interleaved((first, opened()), ROUNDS, CALLS, random=Random(0))[0]


def main() -> None:
    figures = Figures.from_arguments()
    onnxruntime.set_default_logger_severity(3)  # it warns of an option that is set anew
    backends = {"stopped": OnnxRuntimeBackend(), "spinning": Spinning()}
    with tempfile.TemporaryDirectory() as folder:
        for size, (features, classes, batch) in SIZES.items():
            plan = save_linear(Path(folder, f"{size}.onnx"), features=features, classes=classes)
            seen: dict[tuple[str, str, Metric], list[float]] = defaultdict(list)
            for number in range(CYCLES):
                for kind in Random(number).sample(sorted(backends), 2):
                    taken = cycle(backends[kind], plan, batch)
                    for how, rounds in zip(("alone", "turns"), taken, strict=True):
                        for metric in METRICS:
                            seen[kind, how, metric].append(rounds.median(metric))
            report(figures, size, {key: float(np.median(values)) for key, values in seen.items()})


def report(figures: Figures, size: str, times_ms: dict[tuple[str, str, Metric], float]) -> None:
    for (kind, how, metric), time_ms in times_ms.items():
        value, unit = (1e3 / time_ms, "1/s") if metric == "throughput" else (time_ms, "ms")
        figures.add(f"{size}, {kind}, {how}: {metric}", value, unit)
    for kind in ("stopped", "spinning"):
        target = "at least 0.8" if kind == "stopped" else ""
        ratio = times_ms[kind, "alone", "throughput"] / times_ms[kind, "turns", "throughput"]
        figures.add(f"{size}, {kind}: throughput in turns to alone", ratio, "", target)
    for metric in ("p50", "p99"):
        ratio = times_ms["stopped", "alone", metric] / times_ms["spinning", "alone", metric]
        target = "at most 1.1" if metric == "p50" else ""
        figures.add(f"{size}: {metric} alone, stopped to spinning", ratio, "", target)


if __name__ == "__main__":
    main()
