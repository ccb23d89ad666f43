"""Write a trained torch module as the ONNX file that the tests read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch.onnx import register_custom_op_symbolic, symbolic_opset9

ROOT = Path(__file__).resolve().parent.parent

# The parser of TensorRT 8.6 knows opsets up to 17, ignores `start` and `end` of Shape, and takes
# layer normalisation in primitive operators only. torch's older exporter can write all of this.
OPSET = 17
register_custom_op_symbolic("aten::layer_norm", symbolic_opset9.layer_norm, OPSET)


def export(
    module: torch.nn.Module,
    example: dict[str, torch.Tensor],
    outputs: list[str],
    dynamic: dict[str, dict[int, str]],
    name: str,
) -> None:
    """Export `module` to models/NAME.onnx and check it against torch on the example.

    Args:
        module: What was trained; called with the example's tensors in their order.
        example: One input per name.
        outputs: Names of what the module returns, in order.
        dynamic: Names of the dimensions that stay symbolic, by input name and axis.
        name: File name without suffix.
    """
    module.eval()
    path = ROOT / "models" / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            tuple(example.values()),
            path,
            input_names=list(example),
            output_names=outputs,
            dynamic_axes=dynamic | {output: {0: "batch"} for output in outputs},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(path, full_check=True)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    actual = session.run(outputs, {key: value.numpy() for key, value in example.items()})
    with torch.no_grad():
        expected = module(*example.values())
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB, same as torch")
