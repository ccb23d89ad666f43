"""PyTorch as the reference, in a process of its own."""

from __future__ import annotations

import importlib.util

import pytest
from plugin.conftest import LIGHT
from test_docs import blocks, page, section

pytestmark = pytest.mark.exhaustive

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


@pytest.fixture
def run(torch_project: pytest.Pytester) -> pytest.RunResult:
    """All that is tried, in one process: PyTorch takes seconds to import."""
    (shown,) = blocks("python", section(page("references.md"), "PyTorch"))
    last = "dynamo=False)\n"
    assert last in shown
    changed = f"{last}    torch.nn.init.ones_(network[2].bias)\n"
    # The changed network is that of the file that runs last.
    torch_project.makepyfile(
        test_exported=EXPORTED,
        test_it=TEST,
        test_shown=shown,
        test_shown_changed=shown.replace(last, changed),
    )
    return torch_project.runpytest_subprocess(
        "--trt-arch=cpu", f"--trt-cache-dir={torch_project.path / 'cache'}", "-v", *LIGHT
    )


def test_pytorch_is_compared_and_what_cannot_be_is_named(run: pytest.RunResult) -> None:
    run.assert_outcomes(passed=5 + 6 + 1, failed=6 + 6 + 1)
    right = ("gradient", "inferred", "named", "tuple", "in_place")
    for line in (
        # What a fixture returns.
        *(f"test_it.py::test_it[[]{kind}[]] PASSED*" for kind in right),
        "y: *x over tolerance against trt_reference (network.onnx, fp32, cpu) *TRT415*",
        "*returned Sequential, a torch.nn.Module: it takes tensors by position, *TRT157*",
        '*return lambda inputs: module(torch.from_numpy(inputs[[]"x"[]]))',
        "y: wrong dtype against trt_reference (network.onnx, fp32, cpu) *TRT405*",
        "*'y' is a tensor of torch.bfloat16 that NumPy cannot hold: *TRT157*",
        "*trt_reference returned different outputs for the same inputs *TRT175*",
        "E *RuntimeError: mat1 and mat2 shapes cannot be multiplied*",
        # A model that a fixture exports.
        "test_exported.py::test_it[[]right-fp32-min[]] PASSED*",
        "test_exported.py::test_it[[]wrong-fp16-max[]] FAILED*",
        # What docs/how-to/references.md shows.
        "test_shown.py::test_same_as_pytorch PASSED*",
        "test_shown_changed.py::test_same_as_pytorch FAILED*",
        "*x over tolerance against trt_reference (network.onnx, fp16, cpu) *TRT415*",
        "Fix: The engine agrees with *network.onnx in FP32, so the outputs of trt_reference*",
    ):
        run.stdout.fnmatch_lines([line])


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
