"""The example classifier in INT8, calibrated on images of all classes or of one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

NONE: Mapping[str, str] = MappingProxyType({})

EXAMPLE = Path(__file__).resolve().parent.parent / "example_project"

#: Tolerances are those of the example's own test, here on all held-out images.
SOURCE = '''
import numpy as np
import pytest

DIGITS = dict(np.load("digits.npz"))

pytestmark = pytest.mark.trt_model("digits.onnx", precision="int8", builder_options=OPTIONS,
    profiles={"image": ((1, 1, 16, 16), (8, 1, 16, 16), (256, 1, 16, 16))})

@pytest.fixture
def trt_calibration(trt_reference):
    """Images of all classes, or of one, as the reference classifies them."""
    return (
        {"image": batch[kept]}
        for batch in np.split(DIGITS["calibration"], 16)
        for found in [trt_reference.run({"image": batch})["probs"].argmax(axis=-1)]
        for kept in [np.isin(found, CLASSES)]
        if kept.any()
    )

def accuracy(session):
    return np.mean(session.run({"image": DIGITS["images"]})["probs"].argmax(-1) == DIGITS["labels"])

def test_accuracy(trt_session, trt_reference):
    lost = accuracy(trt_reference) - accuracy(trt_session)
    assert lost < 0.005

@pytest.mark.trt_consistency(outputs={
    "logits": {"rtol": 0.0, "atol": 0.3, "cosine": 0.995},
    "probs": {"rtol": 0.0, "atol": 0.05, "top1": 0.98}})
def test_same_answers(trt_session):
    trt_session.run({"image": DIGITS["images"]})
'''


def lay_out(folder: Path, classes: tuple[int, ...], options: Mapping[str, str] = NONE) -> None:
    """Write the test file, and what it reads, into a folder.

    Args:
        folder: The folder.
        classes: The classes of the calibration data.
        options: Builder options.
    """
    shutil.copy(EXAMPLE / "models" / "digits.onnx", folder)
    shutil.copy(EXAMPLE / "data" / "digits.npz", folder)
    constants = f"CLASSES, OPTIONS = {list(classes)}, {dict(options)}\n"
    (folder / "test_it.py").write_text(constants + SOURCE, encoding="utf-8")
