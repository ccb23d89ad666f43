"""The shape of a convolution's kernel, said where a parser cannot see it in the weights."""

from __future__ import annotations

from onnx import GraphProto, helper

_CONVOLUTIONS = ("Conv", "ConvTranspose")

#: What stands between a convolution and its weights in a quantised model.
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def state_kernel_shapes(graph: GraphProto) -> None:
    """Give every convolution of quantised weights its `kernel_shape`, which ONNX lets a model omit.

    TensorRT infers it from weights only where they are a constant of the convolution itself. Behind
    a DequantizeLinear it takes the kernel for 1x1 and refuses the node: "The input tensor shape
    misaligns with the input kernel shape" (seen with 8.6.0).
    """
    sizes = {weights.name: list(weights.dims) for weights in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type not in _CONVOLUTIONS or len(node.input) < 2:
            continue
        if any(attribute.name == "kernel_shape" for attribute in node.attribute):
            continue
        weights = node.input[1]
        while weights in producers and producers[weights].op_type in _QUANTISING:
            weights = producers[weights].input[0]
        if weights in sizes:
            # Output and input channels first, then the spatial dims.
            node.attribute.append(helper.make_attribute("kernel_shape", sizes[weights][2:]))
