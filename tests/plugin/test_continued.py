"""Errors that add up over runs, each of which continues from what the run before left."""

from __future__ import annotations

import pytest

SUITE = """
import onnx
from onnx import TensorProto, helper, numpy_helper

def save(path, keep):
    '''Save a model that keeps a share of its state: new = keep * state + 0.1 * x.'''
    arrays = {{"keep": np.float32(keep), "share": np.float32(0.1)}}
    shape = TensorProto.FLOAT, ["n", 8]
    nodes = [("Mul", ["state", "keep"], ["old"]), ("Mul", ["x", "share"], ["part"]),
        ("Add", ["old", "part"], ["new"]), ("Tanh", ["new"], ["y"])]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "filter",
        [helper.make_tensor_value_info(name, *shape) for name in ("x", "state")],
        [helper.make_tensor_value_info(name, *shape) for name in ("y", "new")],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)

save("right.onnx", 0.99)
save("wrong.onnx", {keep})
X = np.random.default_rng(0).random(({steps}, 2, 8), dtype=np.float32)

{reference}
@pytest.mark.trt_model("wrong.onnx", reference={file}, profiles={{
    name: ((1, 8), (2, 8), (4, 8)) for name in ("x", "state")}})
@pytest.mark.trt_consistency(rtol=0.0, atol=0.01)
def test_sequence(trt_session):
    state = np.zeros((2, 8), np.float32)
    for number, x in enumerate(X):
        outputs = trt_session.run({{"x": x, "state": state}})
        state = {state}
"""

NOTE = (
    "*errors of wrong.onnx fp32 add up over runs that continue from 'new': after * runs, "
    "*each run alone is within it*TRT186]"
)

OWN = """
@pytest.fixture
def trt_reference():
    return lambda inputs: (np.tanh(inputs["state"] * 0.99 + inputs["x"] * np.float32(0.1)),
        inputs["state"] * np.float32(0.99) + inputs["x"] * np.float32(0.1))
"""


@pytest.mark.parametrize(
    ("changed", "noted"),
    [
        ({}, True),
        ({"keep": 0.99}, False),  # the same model
        ({"keep": 0.9899}, False),  # what adds up is within the tolerance
        ({"steps": 2}, False),
        ({"state": 'outputs["new"] * 0 + 0.5'}, False),  # it does not continue
        ({"state": 'outputs["new"] + np.float32(0.001)'}, False),  # it changes what was left
        ({"reference": OWN, "file": None}, False),  # which may have a state
    ],
)
def test_errors_that_add_up_are_noted(project, monkeypatch, changed: dict, noted: bool) -> None:
    monkeypatch.chdir(project.path)
    given = {"keep": 0.985, "steps": 40, "state": 'outputs["new"]', "reference": ""}
    project.test_file(SUITE.format(**{**given, "file": '"right.onnx"', **changed}))
    result = project.run()
    result.assert_outcomes(passed=1)
    if noted:
        result.stdout.fnmatch_lines([NOTE])
    else:
        result.stdout.no_fnmatch_line("*TRT186*")


def test_each_sequence_begins_with_its_own_state(project, monkeypatch) -> None:
    monkeypatch.chdir(project.path)
    short = 'outputs["new"] if number != 19 else np.zeros((2, 8), np.float32)'
    given = {"keep": 0.9893, "steps": 40, "state": short, "reference": "", "file": '"right.onnx"'}
    project.test_file(SUITE.format(**given))
    split = project.run()
    project.test_file(SUITE.format(**{**given, "state": 'outputs["new"]'}))
    whole = project.run()
    for result, noted in ((split, False), (whole, True)):
        result.assert_outcomes(passed=1)
        assert any("TRT186" in line for line in result.outlines) is noted
