"""The digit classifier of the example in every precision, right and with wrong weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.onnx.file import load_model

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"

#: Of the classifier, only the last layer is a matrix product, of 48 rows.
OPTIONS = {"int4": {"block_size": 16}}

DIGITS = """
DATA = np.load(DATA)

@pytest.fixture
def trt_calibration():
    return [{"image": batch} for batch in np.split(DATA["calibration"], 16)]

@pytest.mark.trt_model(MODEL, precision=PRECISION, reference=REFERENCE, builder_options=OPTIONS,
    profiles={"image": ((1, 1, 16, 16), (8, 1, 16, 16), (64, 1, 16, 16))})
@pytest.mark.trt_consistency(outputs={"probs": {"top1": 0.95}})
def test_digits(trt_session):
    trt_session.run({"image": DATA["images"][:64]})
"""


# With the default tolerances of the precisions.
@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8", "int4", "mixed"])
def test_digits_pass_and_wrong_weights_do_not(project, perturbed, precision: str) -> None:
    model = EXAMPLE / "models" / "digits.onnx"
    given = {
        "DATA": EXAMPLE / "data" / "digits.npz",
        "PRECISION": precision,
        "OPTIONS": OPTIONS.get(precision, {}),
    }
    project.run(DIGITS, MODEL=model, REFERENCE=None, **given).assert_outcomes(passed=1)
    wrong = project.run(DIGITS, MODEL=perturbed(model, 2.0), REFERENCE=model, **given)
    wrong.assert_outcomes(failed=1)
    wrong.stdout.fnmatch_lines(
        [f"* over tolerance against digits.onnx (perturbed.onnx, {precision}, cpu) *"]
    )


def test_a_quantised_model_is_tested_as_it_is_and_says_so_once(project) -> None:
    calibration = np.split(np.load(EXAMPLE / "data" / "digits.npz")["calibration"], 16)
    to_int8(
        load_model(EXAMPLE / "models" / "digits.onnx"),
        [{"image": batch} for batch in calibration],
        project.path / "own.onnx",
    )
    given = {"DATA": EXAMPLE / "data" / "digits.npz", "OPTIONS": {}}
    shown = project.run(
        DIGITS.replace(
            "def test_digits", '@pytest.mark.parametrize("n", [1, 2])\ndef test_digits'
        ).replace("(trt_session)", "(trt_session, n)"),
        MODEL=project.path / "own.onnx",
        REFERENCE=EXAMPLE / "models" / "digits.onnx",
        PRECISION="int8",
        **given,
    )
    shown.assert_outcomes(passed=2)
    notes = [line for line in shown.outlines if "brings its own Q/DQ nodes" in line]
    assert len(notes) == 1
