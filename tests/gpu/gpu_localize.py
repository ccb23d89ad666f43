"""Whether the right layer of a TensorRT engine is named: ten planted faults, and a BERT's time.

    PYTHONPATH=.:tests python tests/gpu/gpu_localize.py [--arch cpu] [--quick] [--only NAME]

Faults of another model (perturbed weights, a wrong scale, swapped axes, one bad channel) are those
of an fp16 engine of the faulty model, against the right model in FP32; overflow and underflow those
of an fp16 engine against its own model. Where an engine does not show its fault, as a builder may
keep a layer in FP32, the next layer is tried. Target: the right layer first in 9 of 10.

Then a network of the size of BERT-base: localising has to end within 3 times one engine build plus
one reference run. `--arch cpu` does the same with ONNX Runtime, `--quick` with a small BERT.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
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

Made = tuple[ModelProto, Mapping[str, np.ndarray]]

#: Relative errors of outputs of fp16 engines without a fault are below it.
SHOWS = 0.02


def resnet() -> Made:
    image = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    return resnet50(blocks=(2, 2, 2, 2), width=32, classes=100), {"image": image}


def bert(**sizes: int) -> Made:
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 2000, (2, 64))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}
    return bert_base(**sizes), inputs


def small_bert() -> Made:
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    return bert(**sizes, intermediate_size=512, vocab_size=2000)


def tiny() -> Made:
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    return planted.network(), {"x": image}


CASES: tuple[tuple[str, Callable[[], Made], str], ...] = (
    ("resnet", resnet, "weights"),
    ("resnet", resnet, "channel"),
    ("resnet", resnet, "overflow"),
    ("resnet", resnet, "underflow"),
    ("bert", small_bert, "weights"),
    ("bert", small_bert, "scale"),
    ("bert", small_bert, "axes"),
    ("bert", small_bert, "overflow"),
    ("bert", small_bert, "underflow"),
    ("tiny", tiny, "channel"),
)


def shown_case(
    made: Made, kind: str, folder: Path, backend: Backend, arch: str
) -> tuple[Case, str, float]:
    """Return a case whose engine shows the fault, its layer, and the error of the outputs."""
    model, inputs = made
    for seed in range(3):
        faulty, layer = planted.plant(model, kind, seed=seed, stored=True)
        right = model if kind in planted.OTHER_MODEL else None
        place = folder / str(seed)
        place.mkdir()
        case = planted.case_of_engine(
            faulty, inputs, place, backend=backend, arch=arch, right=right
        )
        error = outputs_error(case.outputs, case.expected)
        if error > SHOWS:
            break
    return case, layer, error


def search(case: Case) -> tuple[Localization, float]:
    started_s = time.perf_counter()
    return localize(case, timeout_s=900), time.perf_counter() - started_s


def planted_faults(backend: Backend, arch: str, only: str) -> tuple[int, int]:
    right = total = 0
    for family, make, kind in CASES:
        if only and only not in f"{family} {kind}":
            continue
        with TemporaryDirectory() as folder:
            try:
                case, layer, error = shown_case(make(), kind, Path(folder), backend, arch)
                found, took_s = search(case)
            except Exception as problem:  # the other faults are searched all the same
                print(f"{family:8} {kind:10} FAILED: {problem}", flush=True)
                total += 1
                continue
        first = found.first
        named = first.node if first else "(none)"
        total, right = total + 1, right + (named == layer)
        verdict = "right" if named == layer else f"WRONG, planted in {layer}"
        own = f"own error {first.own:.2g}, {first.cause}" if first else ""
        print(
            f"{family:8} {kind:10} {took_s:6.1f} s  error {error:.2g}, changed by looking "
            f"{found.changed:.2g}, {len(found.layers)} of {found.tensors} tensors; "
            f"{named}: {verdict}; {own}",
            flush=True,
        )
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
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    probe = probe_devices()
    arch = given.arch or probe.gpus[0].arch
    name = "onnxruntime" if arch == "cpu" else "tensorrt"
    with TemporaryDirectory() as timings:
        backend = make_backend(
            name,
            probe=probe,
            threads=0,
            build_timeout_s=1800,
            timing_folder=None if arch == "cpu" else Path(timings),
            additional={},
        )
        print(f"{backend.toolchain()} for {backend.target(arch)}", flush=True)
        right, total = planted_faults(backend, arch, given.only)
        print(f"right layer named first: {right} of {total}", flush=True)
        figures = {} if given.no_bert else time_of_bert(backend, arch, quick=given.quick)
    if given.json:
        given.json.write_text(json.dumps({"right": right, "total": total, "bert": figures}))


if __name__ == "__main__":
    main()
