"""magika: tells the type of a file by its bytes with a convolution, GELU and normalisations."""

from __future__ import annotations

import json

import pytest

MAGIKA = """

def features(content):
    '''The first and the last 1024 bytes, padded with 256: int32 [2048].'''
    content = content.strip()
    ends = np.full((2, 1024), 256, np.int32)
    head, tail = content[:1024], content[-1024:]
    ends[0, : len(head)] = list(head)
    ends[1, 1024 - len(tail) :] = list(tail)
    return ends.reshape(-1)

def read(path):
    with open(path, "rb") as file:
        return file.read()

FILES = {
    # Without the constants at its top, which hold paths of this machine.
    "python": b"def features" + read(__file__).partition(b"def features")[2],
    "onnx": read(MODEL),
    "sql": b"".join(
        b"INSERT INTO orders (id, name, price) VALUES (%d, 'tea', %d.5);\\n"
        b"SELECT name FROM orders WHERE price > %d ORDER BY id;\\n" % (i, i, i)
        for i in range(40)
    ),
    "randombytes": np.random.default_rng(0).bytes(4096),
}

# A page cut off: the model is not sure of it, so its probabilities show every difference.
UNSURE = b"<!DOCTYPE html>\\n<html><head><title>a</title></head>\\n<body>" + b"<p>b</p>\\n" * 200

@pytest.fixture
def contents():
    return np.stack([features(content) for content in FILES.values()])

@pytest.fixture
def trt_inputs(contents, trt_shape):
    contents = np.concatenate([features(UNSURE)[None], contents])
    return {"bytes": np.resize(contents, ({"min": 1, "opt": 4, "max": 8}[trt_shape], 2048))}

@pytest.fixture
def trt_calibration(contents):
    # Both ends of every file, and pieces of it.
    pieces = [content[at : at + 1500] for content in FILES.values() for at in range(0, 1000, 200)]
    return [{"bytes": contents}, {"bytes": np.stack([features(one) for one in pieces])}]

pytestmark = [
    pytest.mark.trt_model(MODEL, precision=PRECISION, reference=REFERENCE,
        profiles={"bytes": ((1, 2048), (4, 2048), (8, 2048))}, keep_fp32=KEEP),
    pytest.mark.trt_consistency(outputs={"target_label": {"rtol": 0.0, "atol": ATOL, **TOP1}}),
]

def test_probabilities(trt_session, trt_inputs):
    trt_session.run(trt_inputs)

def test_labels(trt_session, contents):
    labels = trt_session.run({"bytes": contents})["target_label"].argmax(axis=1)
    assert [LABELS[label] for label in labels] == list(FILES)
"""

#: What keeps the sum of squares of the second normalisation out of float16: it reaches 191,000.
SUM_OF_SQUARES = ("LayerNorm_1/Sum_1", "LayerNorm_1/truediv_1")


#: Every label is the same. Quantised, that of the page may be another one, as two are as likely.
SURE = {"top1": 1.0}


@pytest.fixture
def magika(package_file):
    model = package_file("magika", "standard_v3_3/model.onnx")
    labels = json.loads(model.with_name("config.min.json").read_text())["target_labels_space"]
    return {"MODEL": model, "REFERENCE": None, "KEEP": [], "LABELS": labels, "TOP1": SURE}


# Measured: probabilities differ by up to 1e-6.
def test_fp32(project, magika) -> None:
    project.run(MAGIKA, PRECISION="fp32", ATOL=1e-4, **magika).assert_outcomes(passed=4)


# The sum of squares becomes infinite in fp16, on GPUs too: every file gets the same answer.
def test_fp16_overflows_and_that_is_found(project, magika) -> None:
    result = project.run(MAGIKA, PRECISION="fp16", ATOL=0.02, **magika)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "target_label: * over tolerance (model.onnx, fp16, cpu) *",
            "*share of rows with the same largest element is 0, below the limit of 1",
            "Fix: * an intermediate overflow above 65504 could*",
        ]
    )


# Measured: probabilities differ by up to 2.5e-3.
def test_fp16_with_the_sum_of_squares_in_fp32(project, magika) -> None:
    magika["KEEP"] = [f"*{name}" for name in SUM_OF_SQUARES]
    project.run(MAGIKA, PRECISION="fp16", ATOL=0.02, **magika).assert_outcomes(passed=4)


# The sum of squares that float16 cannot hold reaches 191,000.
def test_bf16_does_not_overflow_where_fp16_does(project, magika) -> None:
    project.run(MAGIKA, PRECISION="bf16", ATOL=0.1, **magika).assert_outcomes(passed=4)


# Measured: probabilities differ by up to 0.10 in fp8 and 0.12 in int4, that of the unsure page.
@pytest.mark.parametrize("precision", ["fp8", "int4"])
def test_fp8_and_int4(project, magika, perturbed, precision: str) -> None:
    magika["TOP1"] = {}
    project.run(MAGIKA, PRECISION=precision, ATOL=0.2, **magika).assert_outcomes(passed=4)
    magika.update(MODEL=perturbed(magika["MODEL"], -1.0), REFERENCE=magika["MODEL"])
    wrong = project.run(MAGIKA, "-k", "prob", PRECISION=precision, ATOL=0.2, **magika)
    wrong.assert_outcomes(failed=3)


# Measured: probabilities differ by up to 0.11.
def test_mixed_overflows_as_fp16_unless_the_sum_of_squares_stays_fp32(project, magika) -> None:
    magika["TOP1"] = {}
    project.run(MAGIKA, PRECISION="mixed", ATOL=0.2, **magika).assert_outcomes(failed=4)
    magika["KEEP"] = [f"*{name}" for name in SUM_OF_SQUARES]
    project.run(MAGIKA, PRECISION="mixed", ATOL=0.2, **magika).assert_outcomes(passed=4)


# Measured: probabilities differ by up to 0.022.
def test_int8(project, magika) -> None:
    magika["TOP1"] = {}
    project.run(MAGIKA, PRECISION="int8", ATOL=0.1, **magika).assert_outcomes(passed=4)


def test_a_weight_that_is_off_by_a_tenth_is_caught(project, magika, perturbed) -> None:
    magika.update(MODEL=perturbed(magika["MODEL"], 1.1), REFERENCE=magika["MODEL"])
    result = project.run(MAGIKA, "-k", "prob", PRECISION="fp32", ATOL=1e-4, **magika)
    result.assert_outcomes(failed=3, deselected=1)
