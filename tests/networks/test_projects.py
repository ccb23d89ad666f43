"""The projects that GPUs run, on the embedded backend with reduced models, so that they hold."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import networks

pytestmark = pytest.mark.exhaustive


# TF32 is for GPUs only.
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_project_passes_in_fp32_and_fp16(run_project, name: str) -> None:
    network = networks.NETWORKS[name]
    result = run_project(name, "--trt-arch=cpu", "-k", "not tf32")
    result.assert_outcomes(passed=network.all_tests - network.tests, deselected=network.tests)


def spoil(folder: Path, name: str) -> None:
    """Raise the largest weight of the model by a tenth, and compare with the model as it was."""
    file = folder / f"{name}.onnx"
    model = onnx.load(file)
    onnx.save(model, folder / "right.onnx")
    largest = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    values = numpy_helper.to_array(largest) * np.float32(1.1)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, file)
    test = folder / f"test_{name}.py"
    named = f'"{file.name}"'
    test.write_text(test.read_text().replace(named, f'{named}, reference="right.onnx"'))


@pytest.mark.parametrize("name", ["resnet50", "bert"])
def test_project_catches_a_weight_that_is_off(run_project, name: str) -> None:
    network = networks.NETWORKS[name]
    change = partial(spoil, name=name)
    result = run_project(name, "--trt-arch=cpu", "-k", "fp16", change=change)
    result.assert_outcomes(failed=network.tests, deselected=2 * network.tests)


def test_every_project_has_an_entry_and_every_model_is_used() -> None:
    folders = {path.name for path in networks.PROJECTS.iterdir() if path.suffix == ""}
    assert folders - {"__pycache__"} == set(networks.NETWORKS)
    for name, network in networks.NETWORKS.items():
        source = (networks.PROJECTS / name / f"test_{name}.py").read_text()
        assert all(f'"{file}"' in source for file in network.models)
