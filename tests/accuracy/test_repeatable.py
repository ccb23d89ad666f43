from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from pytest_trt.accuracy.repeatable import repeatable, same_outputs
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.file import OnnxModel, load_model

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'
X = {"x": np.ones((2, 8), np.float32)}

#: Graphs x [2, 8] -> y, and the operator by which they draw random numbers.
DRAWING = {
    "RandomNormalLike": "{ n = RandomNormalLike (x)  y = Add (x, n) }",
    "RandomUniform": "{ n = RandomUniform <shape = [8]> ()  y = Add (x, n) }",
    "Bernoulli": "{ h = Mul (x, half)  y = Bernoulli (h) }",
    "Multinomial": "{ m = Multinomial <sample_size = 9> (x)  y = Cast <to = 1> (m) }",
    "Dropout": "{ y = Dropout (x, half, yes) }",
}

REPEATABLE = {
    "without one": "{ y = Add (x, half) }",
    "noise of no effect": "{ n = RandomNormalLike (x)  z = Mul (n, zero)  y = Add (x, z) }",
    "dropout in inference": "{ y = Dropout (x, half, no) }",
    "certain draws": "{ y = Bernoulli (x) }",
}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
        (np.array(["a"], object), np.array(["a", "a"], object)),
        (np.array([1.0, np.nan]), np.array([1.0, -np.nan])),
        ({"a": [np.ones(2)]}, {"a": [np.ones(2), np.ones(2)]}),
    ],
)
def test_outputs_are_the_same_by_their_values(one: object, other: object) -> None:
    assert same_outputs(one, copy.deepcopy(one))
    assert not same_outputs(one, other)


def model(body: str, path: Path) -> OnnxModel:
    text = f"""{HEADER} g (float[2, 8] x) => (float[n, m] y)
        <float half = {{0.5}}, float zero = {{0.0}}, bool yes = {{1}}, bool no = {{0}}> {body}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return load_model(path)


@pytest.mark.parametrize("operator", DRAWING)
def test_a_model_whose_outputs_differ_from_run_to_run_is_refused(
    operator: str, tmp_path: Path
) -> None:
    drawing = model(DRAWING[operator], tmp_path / "m.onnx")
    run = OnnxRuntimeBackend().reference(drawing).run
    with pytest.raises(ModelError, match=rf"draws random numbers \({operator}\)") as got:
        repeatable(drawing, run, X)
    assert got.value.diagnostic.code == "TRT230"


@pytest.mark.parametrize("name", REPEATABLE)
def test_a_model_that_computes_the_same_each_time_is_compared(name: str, tmp_path: Path) -> None:
    same = model(REPEATABLE[name], tmp_path / "m.onnx")
    run = OnnxRuntimeBackend().reference(same).run
    np.testing.assert_array_equal(repeatable(same, run, X)["y"], run(X)["y"])


def test_a_model_without_such_operators_runs_once(tmp_path: Path) -> None:
    plain = model(REPEATABLE["without one"], tmp_path / "m.onnx")
    runs = []
    repeatable(plain, lambda inputs: runs.append(1) or {"y": inputs["x"]}, X)
    assert len(runs) == 1


@pytest.mark.parametrize("differs", [True, False])
def test_sequences_and_maps_are_compared_item_by_item(differs: bool, tmp_path: Path) -> None:
    drawing = model(DRAWING["Bernoulli"], tmp_path / "m.onnx")
    numbers = iter(range(9))

    def run(inputs: object) -> dict:
        last = next(numbers) if differs else 0
        return {"s": [np.zeros(3), np.full(2, np.nan)], "m": [{"a": 1.0, "b": last}]}

    if differs:
        with pytest.raises(ModelError):
            repeatable(drawing, run, X)
    else:
        assert repeatable(drawing, run, X)["m"] == [{"a": 1.0, "b": 0}]
