"""Write a trained torch module as the ONNX file that the tests read."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch

ROOT = Path(__file__).resolve().parent.parent
OPSET = 18


def export(
    module: torch.nn.Module,
    example: dict[str, torch.Tensor],
    outputs: list[str],
    dynamic: dict[str, dict[int, torch.export.Dim]],
    name: str,
) -> None:
    """Export `module` to models/NAME.onnx and check it against torch on the example.

    Args:
        module: What was trained; called with the example's tensors in their order.
        example: One input per name, at a batch that is not 1 so that no dimension is specialised.
        outputs: Names of what the module returns, in order.
        dynamic: The dimensions that stay symbolic, by input name and axis.
        name: File name without suffix.
    """
    module.eval()
    # The exporter warns of what these models do not use, and of two inputs that share a dimension.
    warnings.filterwarnings("ignore", module="torch.onnx|copyreg")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        module,
        tuple(example.values()),
        input_names=list(example),
        dynamic_shapes=dynamic,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    name_outputs(program.model.graph, outputs)
    model = without_traces(program.model_proto)
    onnx.checker.check_model(model, full_check=True)
    path = ROOT / "models" / f"{name}.onnx"
    onnx.save(model, path)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    actual = session.run(outputs, {key: value.numpy() for key, value in example.items()})
    with torch.no_grad():
        expected = module(*example.values())
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB, same as torch")


def name_outputs(graph: onnx_ir.Graph, outputs: list[str]) -> None:
    """Name the graph's outputs; an inner value of that name, as from nn.Embedding, makes way."""
    inner = {value.name: value for node in graph for value in node.outputs}
    for value, name in zip(graph.outputs, outputs, strict=True):
        if name in inner:
            inner[name].name = f"{name}_inner"
        value.name = name


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes about the machine: stack traces with paths, in every node."""
    graph = model.graph
    holders = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info]
    for holder in [*holders, *graph.initializer]:
        del holder.metadata_props[:]
        holder.doc_string = ""
    return model
