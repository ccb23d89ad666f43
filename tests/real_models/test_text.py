"""ddddocr: reads distorted text with a convolutional network and an LSTM over the columns."""

from __future__ import annotations

import pytest

OCR = """
SEGMENTS = {"0": "abcdef", "1": "bc", "2": "abged", "4": "fgbc", "7": "abc", "8": "abcdefg"}
PLACES = {  # rows and columns of a digit of 40 x 24 pixels
    "a": (slice(0, 5), slice(0, 24)), "g": (slice(18, 23), slice(0, 24)),
    "d": (slice(35, 40), slice(0, 24)), "f": (slice(0, 20), slice(0, 5)),
    "b": (slice(0, 20), slice(19, 24)), "e": (slice(20, 40), slice(0, 5)),
    "c": (slice(20, 40), slice(19, 24)),
}

def picture(text, width):
    '''Dark digits on paper with grain, as float32 [1, 1, 64, width] in [0, 1].'''
    page = np.random.default_rng(3).normal(0.93, 0.03, (64, width))
    for number, digit in enumerate(text):
        left = 8 + 32 * number
        if left + 24 <= width:
            for segment in SEGMENTS[digit]:
                rows, columns = PLACES[segment]
                page[12:52, left : left + 24][rows, columns] = 0.08
    return page.clip(0, 1).astype(np.float32)[None, None]

WIDTHS = {"min": 64, "opt": 160, "max": 256}

@pytest.fixture
def trt_inputs(trt_shape):
    return {"input1": picture("7248018", WIDTHS[trt_shape])}

@pytest.mark.trt_model(MODEL, precision=PRECISION, reference=REFERENCE,
    profiles={"input1": tuple((1, 1, 64, width) for width in WIDTHS.values())})
@pytest.mark.trt_consistency(rtol=0.0, atol=ATOL, top1=1.0)
def test_scores_of_every_character(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""

FILE = "common.onnx"


# Scores reach 40. Measured: fp32 differs by up to 2e-5, fp16 by up to 0.031.
@pytest.mark.parametrize(("precision", "atol"), [("fp32", 1e-3), ("fp16", 0.1)])
def test_same_scores(project, package_file, precision: str, atol: float) -> None:
    model = package_file("ddddocr", FILE)
    result = project.run(OCR, MODEL=model, REFERENCE=None, PRECISION=precision, ATOL=atol)
    result.assert_outcomes(passed=3)


@pytest.mark.exhaustive
def test_recurrent_weights_that_are_off_by_a_tenth_are_caught(
    project, package_file, perturbed
) -> None:
    model = package_file("ddddocr", FILE)
    result = project.run(
        OCR, MODEL=perturbed(model, 1.1), REFERENCE=model, PRECISION="fp32", ATOL=0.1
    )
    result.assert_outcomes(failed=3)


# Its scales are computed from each input, so a last bit that differs moves values by a whole INT8
# step. Measured: scores differ by up to 0.37.
def test_a_dynamically_quantised_model_is_tested_as_it_is(project, package_file) -> None:
    model = package_file("ddddocr", "common_old.onnx")
    result = project.run(OCR, MODEL=model, REFERENCE=None, PRECISION="fp32", ATOL=1.0)
    result.assert_outcomes(passed=3)


@pytest.mark.exhaustive
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_dynamically_quantised_model_cannot_be_converted(
    project, package_file, precision: str
) -> None:
    model = package_file("ddddocr", "common_old.onnx")
    result = project.run(OCR, "-k", "opt", MODEL=model, REFERENCE=None, PRECISION=precision, ATOL=1)
    result.assert_outcomes(errors=1, deselected=2)
    result.stdout.fnmatch_lines(
        [
            f"common_old.onnx is dynamically quantised * converted to {precision}*",
            'Fix: Use the float32 model * precision="fp32" on the onnxruntime backend.',
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
