"""Models that ModelOpt quantised or onnx-graphsurgeon edited: tested as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from plugin.conftest import assert_shows

MODELOPT = Path(__file__).parents[1] / "files" / "modelopt"

TEST = """
@pytest.mark.trt_model("{model}", precision="{precision}", reference="{reference}",
                       profiles={{"image": ((1, 3, 8, 8), (4, 3, 8, 8), (4, 3, 8, 8))}})
@pytest.mark.trt_consistency({tolerance})
def test_it(trt_session):
    trt_session.run({{"image": np.random.default_rng(3).normal(size=(4, 3, 8, 8)).astype("f4")}})
"""


@pytest.fixture
def run(project):
    """Run a test of a model against another one."""
    shutil.copytree(MODELOPT, project.path, dirs_exist_ok=True)

    def run(model: str, precision: str, reference: str = "fp32.onnx", tolerance: str = ""):
        project.test_file(
            TEST.format(model=model, precision=precision, reference=reference, tolerance=tolerance)
        )
        return project.run()

    return run


QUANTISED = [
    ("int8.onnx", "int8"),
    ("int8_fp16.onnx", "int8"),
    ("int8_fp16.onnx", "mixed"),
    ("fp8.onnx", "fp8"),
    ("int4.onnx", "int4"),
]


@pytest.mark.parametrize(("model", "precision"), QUANTISED)
def test_model_of_modelopt_brings_its_precision(run, model: str, precision: str) -> None:
    result = run(model, precision)
    result.assert_outcomes(passed=1)
    if precision != "mixed":
        result.stdout.fnmatch_lines([f"note  {model} brings its own Q/DQ nodes: *[[]TRT308[]]"])
    run(model, precision, tolerance="rtol=0, atol=1e-6").assert_outcomes(failed=1)


def test_precision_that_modelopt_did_not_use_is_refused(run) -> None:
    result = run("int8.onnx", "fp8")
    assert_shows(result, "int8.onnx was requested in fp8, but nothing *TRT305*", errors=1)


def edited(project, edit) -> str:
    """Write edited.onnx: a model as graphsurgeon exports it, after an edit."""
    graph = gs.import_onnx(onnx.load(project.path / "fp32.onnx"))
    edit(graph)
    onnx.save(gs.export_onnx(graph.cleanup().toposort()), project.path / "edited.onnx")
    return "edited.onnx"


def quantise(graph: gs.Graph) -> None:
    """Insert Q/DQ nodes in front of the second convolution, as NVIDIA's examples do."""
    (node,) = [node for node in graph.nodes if node.name == "conv2"]
    for place, scale in ((0, 0.03), (1, 0.005)):
        scales = [np.array(value) for value in (np.float32(scale), np.int8(0))]
        tensor = node.inputs[place]
        for op, dtype in (("QuantizeLinear", np.int8), ("DequantizeLinear", np.float32)):
            name = f"{tensor.name}_{op}"
            constants = [gs.Constant(f"{name}_{index}", one) for index, one in enumerate(scales)]
            output = gs.Variable(name, dtype=dtype)  # without a shape
            graph.nodes.append(gs.Node(op, name, inputs=[tensor, *constants], outputs=[output]))
            tensor = output
        node.inputs[place] = tensor


def double(graph: gs.Graph) -> None:
    """Append a node to the only output."""
    (logits,) = graph.outputs
    doubled = gs.Variable("doubled", dtype=np.float32, shape=logits.shape)
    two = gs.Constant("two", np.array(2, np.float32))
    graph.nodes.append(gs.Node("Mul", "double", inputs=[logits, two], outputs=[doubled]))
    graph.outputs = [doubled]
    doubled.name, logits.name = "logits", "before"


def test_model_that_graphsurgeon_exported_is_what_it_was(run, project) -> None:
    run(edited(project, lambda graph: graph.fold_constants()), "fp32").assert_outcomes(passed=1)
    run(edited(project, double), "fp32").assert_outcomes(failed=1)


def test_nodes_that_graphsurgeon_inserted_bring_int8(run, project) -> None:
    result = run(edited(project, quantise), "int8")
    assert_shows(result, "note  edited.onnx brings its own Q/DQ nodes: *[[]TRT308[]]", passed=1)
