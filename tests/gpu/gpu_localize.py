"""Whether the right layer of a TensorRT engine is named: ten planted faults, and a BERT's time.

    PYTHONPATH=.:tests python tests/gpu/gpu_localize.py [--jobs 3] [--arch cpu] [--quick]
        [--only NAME] [--no-bert] [--within S]

Faults of another model (perturbed weights, a wrong scale, swapped axes, one bad channel) are those
of an fp16 engine of the faulty model, against the right model in FP32; overflow and underflow those
of an fp16 engine against its own model, scaled and scaled back by several nodes, each of which is
right. Target: the right layer first in 9 of 10.

Faults are planted where ONNX Runtime's fp16 shows them. A builder may keep a layer in FP32: where
its engine does not show the fault, or does not any more while the faulty layer is looked at, the
next layer is tried, and the line says so; this is decided by the outputs, whatever is named. Faults
that no try shows are not counted as right.

The engines are built at optimisation level 1, in as many processes as `--jobs` says. Then a network
of the size of BERT-base, at the default level: localising has to end within 3 times one engine
build plus one reference run. `--arch cpu` does the same with ONNX Runtime, `--quick` with a small
BERT; `--within` begins no case after so many seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import builders_planted as planted
import numpy as np
from networks.bert import bert_base
from networks.resnet import resnet50
from onnx import ModelProto

from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.engine.protocols import Backend
from pytest_trt.precision.localize import Case, Localization, localize, outputs_error
from pytest_trt.tensors.spec import Tensors

Made = tuple[ModelProto, Mapping[str, np.ndarray]]

#: Relative errors of outputs of fp16 engines without a fault are below it.
SHOWS = 0.02

#: Layers that a fault is planted in, one after the other, until the engine shows it; and those that
#: are considered for that.
TRIES, SEEDS = 3, 12

#: Options of TensorRT's builder.
LEVEL = {"builder_optimization_level": 1}


def resnet() -> Made:
    image = np.random.default_rng(0).standard_normal((4, 3, 224, 224)).astype(np.float32)
    return resnet50(blocks=(1, 2, 1), classes=100), {"image": image}


def bert(rows: int = 2, **sizes: int) -> Made:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, sizes.get("vocab_size", 2000), (rows, 64))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}
    return bert_base(**sizes), inputs


def small_bert() -> Made:
    sizes = {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    return bert(8, **sizes, intermediate_size=1024, vocab_size=1000)


def convolutions() -> Made:
    image = np.random.default_rng(0).standard_normal((8, 3, 28, 28)).astype(np.float32)
    return planted.network(channels=256, side=28), {"x": image}


#: Those that take longest first.
CASES: tuple[tuple[str, Callable[[], Made], str], ...] = (
    ("resnet", resnet, "weights"),
    ("bert", small_bert, "weights"),
    ("convs", convolutions, "channel"),
    ("resnet", resnet, "overflow"),
    ("resnet", resnet, "underflow"),
    ("resnet", resnet, "channel"),
    ("bert", small_bert, "overflow"),
    ("bert", small_bert, "underflow"),
    ("bert", small_bert, "scale"),
    ("bert", small_bert, "axes"),
)


@dataclass(frozen=True)
class Setup:
    """What the processes share."""

    arch: str
    timings: Path
    threads: int
    end_s: float

    def backend(self) -> Backend:
        on_cpu = self.arch == "cpu"
        return make_backend(
            "onnxruntime" if on_cpu else "tensorrt",
            probe=probe_devices(),
            threads=0,
            build_timeout_s=1800,
            timing_folder=None if on_cpu else self.timings,
        )

    @property
    def options(self) -> Mapping[str, int]:
        return {} if self.arch == "cpu" else LEVEL


@dataclass
class Looks:
    """Looks into an engine: the error of its outputs meanwhile, if it shows a faulty layer."""

    case: Case
    tensors: frozenset[str]
    errors: list[float] = field(default_factory=list)

    def __call__(
        self, source: Path, tensors: Sequence[str], folder: Path, *, all_of_them: bool
    ) -> Tensors:
        values = self.case.observe(source, tensors, folder, all_of_them=all_of_them)
        if not self.tensors.isdisjoint(tensors):
            self.errors.append(outputs_error(values, self.case.expected))
        return values

    @property
    def remove_the_fault(self) -> bool:
        return bool(self.errors) and max(self.errors) <= SHOWS


def search(case: Case) -> tuple[Localization, float]:
    started_s = time.perf_counter()
    return localize(case, timeout_s=900), time.perf_counter() - started_s


def faults(made: Made, kind: str) -> Iterator[tuple[ModelProto, str]]:
    """Yield models with a fault that ONNX Runtime's fp16 shows well, and the layer of each."""
    model, inputs = made
    right = model if kind in planted.OTHER_MODEL else None
    for seed in range(SEEDS):
        faulty, layer = planted.plant(model, kind, seed=seed, stored=True)
        with TemporaryDirectory() as folder:
            case = planted.case_of_engine(faulty, inputs, Path(folder), right=right)
        if outputs_error(case.outputs, case.expected) > 2 * SHOWS:
            yield faulty, layer


def outcome(
    made: Made, kind: str, faulty: ModelProto, layer: str, setup: Setup, backend: Backend
) -> tuple[str, str]:
    """Build the engine of a fault and search it; return "right" or what else, and a line."""
    model, inputs = made
    group = planted.planted_group(model, faulty, layer)
    started_s = time.perf_counter()
    with TemporaryDirectory() as folder:
        case = planted.case_of_engine(
            faulty,
            inputs,
            Path(folder),
            backend=backend,
            arch=setup.arch,
            right=model if kind in planted.OTHER_MODEL else None,
            options=setup.options,
        )
        made_s, error = time.perf_counter() - started_s, outputs_error(case.outputs, case.expected)
        shown = f"engine {made_s:.1f} s, error {error:.2g}"
        if error <= SHOWS:
            return "not shown", f"{layer}: the engine does not show the fault; {shown}"
        tensors = {name for node in faulty.graph.node if node.name in group for name in node.output}
        looks = Looks(case, frozenset(tensors))
        found, took_s = search(replace(case, observe=looks, threads=setup.threads))
    first = found.first
    named = first.node if first else "(none)"
    own = f"own error {first.own:.2g}, {first.cause}" if first else ""
    shown += (
        f", search {took_s:.1f} s, changed by looking {found.changed:.2g}, "
        f"{len(found.layers)} of {found.tensors} tensors; {own}"
    )
    if looks.remove_the_fault:
        return "removed", f"{layer}: looking removed the fault, {named} was named; {shown}"
    if named in group:
        return "right", f"{named}: right; {shown}"
    return "wrong", f"{named}: WRONG, planted in {layer}; {shown}"


def run_case(number: int, setup: Setup) -> tuple[str, list[str]]:
    """Return the outcome of the last try of a case, and a line for each."""
    family, make, kind = CASES[number]
    lines: list[str] = []
    result, made, backend = "not run", make(), setup.backend()
    if time.monotonic() > setup.end_s:
        return result, [f"{family:7} {kind:9} not run"]
    for faulty, layer in islice(faults(made, kind), TRIES):
        try:
            result, line = outcome(made, kind, faulty, layer, setup, backend)
        except Exception as problem:  # the other faults are searched all the same
            result, line = "failed", f"FAILED: {type(problem).__name__}: {problem}"
        lines.append(f"{family:7} {kind:9} {line}")
        if result not in ("not shown", "removed") or time.monotonic() > setup.end_s:
            break
    return result, lines or [f"{family:7} {kind:9} not run: no layer shows such a fault"]


def outcomes(setup: Setup, only: str, jobs: int) -> Iterator[str]:
    """Yield the outcome of each case as it ends."""
    chosen = [
        number for number, (family, _, kind) in enumerate(CASES) if only in f"{family} {kind}"
    ]
    # Spawned: a process that forks may hold a GPU already. Each has its own process that builds.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for done in as_completed([pool.submit(run_case, number, setup) for number in chosen]):
            result, lines = done.result()
            print(*lines, sep="\n", flush=True)
            yield result


def planted_faults(setup: Setup, only: str, jobs: int) -> tuple[int, int]:
    """Return how many faults were found, and of how many."""
    counts = Counter(outcomes(setup, only, jobs))
    missing = counts.pop("not run", 0)
    right, total = counts["right"], counts.total()
    rest = ", ".join(f"{count} {name}" for name, count in counts.items() if name != "right")
    print(f"right layer named first: {right} of {total} ({rest or 'no other'}), {missing} not run")
    return right, total


def time_of_bert(backend: Backend, arch: str, *, quick: bool) -> dict[str, float]:
    """Return the seconds of a build, a reference run and a search of a BERT-base-sized network."""
    model, inputs = small_bert() if quick else bert()
    with TemporaryDirectory() as folder:
        faulty, layer = planted.plant(model, "overflow", stored=True)
        del model
        case = planted.case_of_engine(faulty, inputs, Path(folder), backend=backend, arch=arch)
        engine = case.observe.engine  # type: ignore[attr-defined]
        build_s = engine.plan_facts.build_s
        started_s = time.perf_counter()
        from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend

        OnnxRuntimeBackend().reference(case.reference).run(inputs)
        reference_s = time.perf_counter() - started_s
        found, search_s = search(case)
    named = found.first.node if found.first else "(none)"
    factor = search_s / (build_s + reference_s)
    print(
        f"bert: build {build_s:.1f} s, reference {reference_s:.1f} s, search {search_s:.1f} s: "
        f"{factor:.2f}x (target: at most 3); {named}, planted in {layer}",
        flush=True,
    )
    return {"build_s": build_s, "reference_s": reference_s, "search_s": search_s, "factor": factor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="", help="cpu for ONNX Runtime")
    parser.add_argument("--quick", action="store_true", help="a small BERT")
    parser.add_argument("--only", default="", help="part of a case's name, such as 'bert overflow'")
    parser.add_argument("--no-bert", action="store_true", help="without the timed network")
    parser.add_argument("--jobs", type=int, default=1, help="processes for the planted faults")
    parser.add_argument("--within", type=float, default=1e9, help="seconds for the planted faults")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    started_s = time.monotonic()
    arch = given.arch or probe_devices().gpus[0].arch
    with TemporaryDirectory() as timings:
        threads = max((os.cpu_count() or 1) // given.jobs, 1)
        setup = Setup(arch, Path(timings), threads, started_s + given.within)
        backend = setup.backend()
        print(f"{backend.toolchain()} for {backend.target(arch)}", flush=True)
        right, total = planted_faults(setup, given.only, given.jobs)
        print(f"after {time.monotonic() - started_s:.0f} s", flush=True)
        figures = {} if given.no_bert else time_of_bert(backend, arch, quick=given.quick)
    if given.json:
        given.json.write_text(json.dumps({"right": right, "total": total, "bert": figures}))


if __name__ == "__main__":
    main()
