"""What a run and a sample cost on a GPU, beside Polygraphy and beside a bare loop. Needs TensorRT.

For a ResNet-50 in FP16 and a small CNN in FP32, batch 8, on one plan each:
- `trt_session.run` (numpy in, numpy out) against Polygraphy's `TrtRunner.infer`, in blocks that
  alternate; and where the time goes: compute, staging copies, the bus;
- latencies sampled as a graph and by enqueuing, against a bare loop of cuda-bindings calls over
  the same work, in blocks that alternate; and the same bare loop against itself, which shows how
  far two equal loops differ here, and the steps in which the GPU's events count;
- memory of host and device over 10,000 runs whose shapes change.

Run: PYTHONPATH=.:tests python tests/benchmarks/gpu_session.py [--json FILE]
         [--networks small_cnn resnet50] [--only-samples]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from figures import Figures
from gpu_engines import Built, built

BATCH = 8
BLOCKS = 12
CALLS = 250
SAMPLED = 1000
SAMPLED_BLOCKS = 36
RUNS = 10_000

#: Precision, and the target of runs against Polygraphy.
NETWORKS = {
    "resnet50": ("fp16", "at least 1.5"),
    # As small as it is, builders leave it in FP32 whatever they are asked for.
    "small_cnn": ("fp32", "at least 5"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--only-samples", action="store_true", help="only latencies as sampled")
    options = parser.parse_args()
    figures = Figures(options.json)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            precision, run_target = NETWORKS[name]
            engine = built(name, precision, Path(folder))
            image = np.random.default_rng(0).random((BATCH, *engine.image), np.float32)
            inputs = {engine.input: image}
            against_bare_loops(figures, engine, inputs)
            if not options.only_samples:
                against_polygraphy(figures, engine, inputs, run_target)
                shares(figures, engine, inputs)
                memory(figures, engine)
            engine.session.close()


def against_polygraphy(
    figures: Figures, engine: Built, inputs: Mapping[str, Any], target: str
) -> None:
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    with TrtRunner(EngineFromBytes(BytesFromPath(str(engine.plan)))) as runner:
        ours, theirs = alternating(
            lambda: engine.public.run(inputs), lambda: runner.infer(dict(inputs)), timed_calls
        )
        found = engine.public.run(inputs)
        expected = runner.infer(dict(inputs))
        for output, array in found.items():
            np.testing.assert_array_equal(array, np.asarray(expected[output]))
    figures.add(f"{title(engine)}: trt_session.run, p50", statistics.median(ours), "ms")
    figures.add(f"{title(engine)}: TrtRunner.infer, p50", statistics.median(theirs), "ms")
    ratio = statistics.median(theirs) / statistics.median(ours)
    figures.add(f"{title(engine)}: Polygraphy over ours", ratio, "x", target)


def shares(figures: Figures, engine: Built, inputs: Mapping[str, Any]) -> None:
    """Where the time of a run goes."""
    cuda, stream = engine.session._cuda, engine.session._stream
    binding = engine.session._binding
    assert binding is not None
    (staged,) = binding.inputs.values()
    (array,) = inputs.values()

    def copy_to_staging() -> None:
        np.copyto(staged.host, array)

    def over_the_bus() -> None:
        cuda.upload(staged.device_address, staged.host_address, staged.host.nbytes, stream)
        binding.download(cuda, stream)
        cuda.call("cudaStreamSynchronize", stream)

    compute = statistics.median(
        engine.session.sample(inputs, mode="graph", calls=CALLS).latencies_ms
    )
    figures.add(f"{title(engine)}: compute as a graph, p50", compute, "ms")
    for what, call in (("staging copy", copy_to_staging), ("bus, both ways", over_the_bus)):
        figures.add(f"{title(engine)}: {what}, p50", statistics.median(timed_calls(call)), "ms")


def against_bare_loops(figures: Figures, engine: Built, inputs: Mapping[str, Any]) -> None:
    session = engine.session
    session.sample(inputs, mode="graph", calls=1)
    binding = session._binding
    assert binding is not None
    assert binding.graph is not None
    runtime, stream = session._cuda.runtime, session._stream
    executable, context = binding.graph._executable, session._context
    _, before = runtime.cudaEventCreate()
    _, after = runtime.cudaEventCreate()

    def bare(launch: Callable[[], Any]) -> np.ndarray:
        found = np.empty(SAMPLED)
        for call in range(SAMPLED):
            runtime.cudaEventRecord(before, stream)
            launch()
            runtime.cudaEventRecord(after, stream)
            runtime.cudaEventSynchronize(after)
            found[call] = runtime.cudaEventElapsedTime(before, after)[1]
        return found

    loops: dict[str, Callable[[], Any]] = {
        "graph": lambda: runtime.cudaGraphLaunch(executable, stream),
        "enqueue": lambda: context.execute_async_v3(int(stream)),
    }
    for mode, launch in loops.items():
        sampled: dict[str, Callable[[], Any]] = {
            "sampled": lambda: session.sample(inputs, mode=mode, calls=SAMPLED).latencies_ms,  # noqa: B023
            "bare": lambda: bare(launch),  # noqa: B023
            "second bare": lambda: bare(launch),  # noqa: B023
        }
        found: dict[str, list[Any]] = {kind: [] for kind in sampled}
        order = list(sampled)
        for _ in range(SAMPLED_BLOCKS + 1):
            for kind in order:
                found[kind].append(sampled[kind]())
            order = [*order[1:], order[0]]
        step_ms = np.diff(np.unique(np.concatenate(found["bare"]))).min()
        figures.add(f"{title(engine)}: step of {mode} times", step_ms * 1e3, "us")
        for p in (50, 99):
            # The first block warms up.
            value = {
                kind: statistics.median(np.percentile(block, p) for block in blocks[1:])
                for kind, blocks in found.items()
            }
            figures.add(f"{title(engine)}: bare {mode} loop, p{p}", value["bare"], "ms")
            for kind, allowed in (
                ("sampled", {"graph": "within 1%", "enqueue": "within 3%"}[mode]),
                ("second bare", ""),
            ):
                over = (value[kind] / value["bare"] - 1) * 100
                name = f"{title(engine)}: {kind} {mode} over bare loop, p{p}"
                figures.add(name, over, "%", allowed)


def memory(figures: Figures, engine: Built) -> None:
    """Growth over many runs; shapes come in the order that changes bindings most."""
    sizes = [1, BATCH, BATCH, BATCH, 3, 3, 3]
    feeds = [
        {engine.input: np.random.default_rng(size).random((size, *engine.image), np.float32)}
        for size in sizes
    ]
    process = psutil.Process()

    def used() -> tuple[float, float]:
        free, total = engine.session._cuda.call("cudaMemGetInfo")
        return process.memory_info().rss / 1e6, (total - free) / 1e6

    for feed in feeds * 20:
        engine.public.run(feed)
    host, device = used()
    started = time.perf_counter()
    for run in range(RUNS):
        engine.public.run(feeds[run % len(feeds)])
    seconds = time.perf_counter() - started
    host_after, device_after = used()
    figures.add(f"{title(engine)}: {RUNS} runs of changing shapes", seconds, "s")
    figures.add(f"{title(engine)}: host memory, grown over them", host_after - host, "MB", "none")
    figures.add(
        f"{title(engine)}: device memory, grown over them", device_after - device, "MB", "none"
    )


def title(engine: Built) -> str:
    return f"{engine.engine.model.path.stem} {engine.engine.spec.precision} b{BATCH}"


def timed_calls(call: Callable[[], Any]) -> list[float]:
    found = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1e3)
    return found


def alternating(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    measure: Callable[[Callable[[], Any]], list[float]],
) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = ([], [])
    for block in range(BLOCKS + 1):
        order = [(0, ours), (1, theirs)]
        for which, call in order if block % 2 else reversed(order):
            samples = measure(call)
            if block:  # the first block warms up
                found[which].extend(samples)
    return found


if __name__ == "__main__":
    main()
