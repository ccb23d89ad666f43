"""PyTorch as the reference, in a process of its own."""

from __future__ import annotations

import importlib.util

import pytest

TEST = """
import copy
import numpy as np
import pytest
import torch
from network import network

double, training = copy.deepcopy(network).double(), copy.deepcopy(network).train()

@pytest.fixture(scope="module")
def engine(trt_engines, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "network.onnx"
    names = dict(input_names=["x"], output_names=["y"])
    torch.onnx.export(network, (torch.zeros(1, 8),), path, dynamo=False, **names)
    return trt_engines(path)

def x(inputs):
    return torch.from_numpy(inputs["x"])

@torch.inference_mode()
def inferred(inputs):
    return network(x(inputs))

REFERENCES = dict(
    gradient=lambda inputs: network(x(inputs)),
    inferred=inferred,
    named=lambda inputs: {"y": network(x(inputs))},
    tuple=lambda inputs: (network(x(inputs)),),
    in_place=lambda inputs: network(x(inputs).mul_(1)),
    wrong=lambda inputs: network(x(inputs)) + 1,
    module=network,
    double=lambda inputs: double(x(inputs).double()),
    bfloat16=lambda inputs: network(x(inputs)).bfloat16(),
    training=lambda inputs: training(x(inputs)),
    raising=lambda inputs: network(x(inputs)[:, :3]),
)

@pytest.fixture
def trt_reference(kind):
    return REFERENCES[kind]

@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.trt_consistency
def test_it(engine, kind):
    engine.run({"x": np.ones((1, 8), np.float32)})
"""


def test_tensors_are_compared_and_what_cannot_be_is_named(torch_project: pytest.Pytester) -> None:
    torch_project.makepyfile(test_it=TEST)
    result = torch_project.runpytest_subprocess(
        "--trt-arch=cpu", f"--trt-cache-dir={torch_project.path / 'cache'}", "-v"
    )
    result.assert_outcomes(passed=5, failed=6)
    passed = ("gradient", "inferred", "named", "tuple", "in_place")
    result.stdout.fnmatch_lines([f"*::test_it[[]{kind}[]] PASSED*" for kind in passed])
    for line in (
        "y: *x over tolerance against trt_reference (network.onnx, fp32, cpu) *TRT415*",
        "*returned Sequential, a torch.nn.Module: it takes tensors by position, *TRT157*",
        '*return lambda inputs: module(torch.from_numpy(inputs[[]"x"[]]))',
        "y: wrong dtype against trt_reference (network.onnx, fp32, cpu) *TRT405*",
        "*'y' is a tensor of torch.bfloat16 that NumPy cannot hold: *TRT157*",
        "*trt_reference returned different outputs for the same inputs *TRT175*",
        "E *RuntimeError: mat1 and mat2 shapes cannot be multiplied*",
    ):
        result.stdout.fnmatch_lines([line])


@pytest.mark.parametrize(
    ("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_a_missing_torch_skips_unless_it_is_required(
    pytester, request, monkeypatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PYTEST_TRT_REQUIRE_TORCH", required)
    with pytest.raises(outcome, match="torch is not installed"):
        request.getfixturevalue("torch_project")


EXPORTED = """
import pytest
import torch
from network import network

@pytest.fixture(scope="session", params=[torch.nn.Identity, torch.nn.ReLU], ids=["right", "wrong"])
def exported(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "network.onnx"
    changed = torch.nn.Sequential(*network)
    changed.append(request.param())
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    names = dict(input_names=["x"], output_names=["y"], dynamic_axes=axes)
    torch.onnx.export(changed.eval(), (torch.zeros(1, 8),), path, dynamo=False, **names)
    return path

@pytest.fixture
def trt_reference():
    return lambda inputs: network(torch.from_numpy(inputs["x"]))

@pytest.mark.trt_model(
    fixture="exported",
    precision=("fp32", "fp16"),
    profiles={"x": ((1, 8), (4, 8), (16, 8))},
    input_ranges={"x": (-1, 1)},
)
@pytest.mark.trt_consistency
def test_it(exported, trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def test_model_that_a_fixture_exports_is_compared_with_pytorch(torch_project) -> None:
    torch_project.makepyfile(test_it=EXPORTED)
    result = torch_project.runpytest_subprocess(
        "--trt-arch=cpu", f"--trt-cache-dir={torch_project.path / 'cache'}", "-v"
    )
    result.assert_outcomes(passed=6, failed=6)
    result.stdout.fnmatch_lines(["*::test_it[[]right-fp32-min[]] PASSED*"])
    result.stdout.fnmatch_lines(["*::test_it[[]wrong-fp16-max[]] FAILED*"])
