"""Weights in INT4, in blocks with a scale each; all arithmetic stays float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.backends.conversion.conversion import Conversion
from pytest_trt.backends.conversion.converting import (
    explained,
    kept_in,
    raised,
    refuse_dynamically_quantised,
    verify,
)
from pytest_trt.backends.conversion.tensor_types import is_standard
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.loading import load
from pytest_trt.wording import count

#: The first opset with INT4 and blocks.
_OPSET = 21

#: Operators whose second input is quantised.
_WEIGHTED = ("Gemm", "MatMul")

#: The largest value of symmetric INT4; -8 is not used for scales, but may be rounded to.
_LARGEST, _SMALLEST = 7, -8

#: The size of a block, as in the weight quantisers of ONNX Runtime and of NVIDIA's ModelOpt;
#: TensorRT documents 64 and 128.
BLOCK_SIZE = 128


def to_int4(
    model: OnnxModel,
    output: Path,
    *,
    options: Mapping[str, OptionValue] | None = None,
    keep_fp32: Collection[str] = (),
    verified: bool = True,
) -> Conversion:
    """Store the weights of matrix products as symmetric INT4, in blocks along their inner axis.

    A weight [k, n] becomes INT4 [k, n] with float32 scales [k / block, n] behind a
    DequantizeLinear; each scale is the largest absolute value of its block over 7. Weights whose k
    is no multiple of the block's size stay float32. Arguments are those of `to_int8`.

    Raises:
        ConfigurationError: `keep_fp32` names nothing in the model.
        ModelError: The model cannot be read.
        EngineBuildError: It has no such weights, or cannot be converted to opset 21.
    """
    refuse_dynamically_quantised(model, "int4")
    block = int((options or {}).get("block_size", BLOCK_SIZE))
    proto = raised(model, load(model.path), _OPSET, "int4")
    nodes = kept_in(model.path.name, proto, keep_fp32)
    with explained(model, "int4"):
        surgery.modernise(proto)
        surgery.name_nodes(proto)
        kept = {node.name for node in nodes}
        weights = _Weights(proto, block)
        for scope in surgery.walk_graphs(proto.graph):
            for node in scope.node:
                if node.name not in kept:
                    weights.quantise(node)
        if not weights.quantised:
            raise _nothing_quantised(model, block, weights.left)
        weights.add_to_graph()
        surgery.tidy(proto)
        surgery.name_nodes(proto)
        proto.ir_version = max(proto.ir_version, _IR_VERSION)
    surgery.save(proto, output)
    if verified:
        verify(model, output, "int4")
    if not weights.left:
        return Conversion(())
    total = len(weights.left) + len(weights.quantised)
    return Conversion(
        (
            f"{len(weights.left)} of {count(total, 'weight')} of matrix products stay float32: "
            f"their inner size is no multiple of block_size={block}",
        )
    )


#: The first version of the format with INT4. Source: onnx.proto, "IR_VERSION_2024_3_25".
_IR_VERSION = 10


class _Weights:
    """The weights of one model.

    Attributes:
        quantised: The dequantised tensor by weight and whether it was transposed.
        left: Names of the weights that do not consist of whole blocks.
    """

    def __init__(self, proto: ModelProto, block: int) -> None:
        self._graph, self._block = proto.graph, block
        self._stored = {
            name: tensor
            for name, tensor in surgery.constants(proto.graph)
            if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
        }
        self._used = {
            name
            for scope in surgery.walk_graphs(proto.graph)
            for name in (*surgery.defined(scope), *(one.name for one in scope.input))
        }
        self._nodes: list[NodeProto] = []
        self.quantised: dict[tuple[str, bool], str] = {}
        self.left: set[str] = set()

    def quantise(self, node: NodeProto) -> None:
        """Let a node read its weight from INT4, if it has one of whole blocks."""
        if node.op_type not in _WEIGHTED or not is_standard(node) or len(node.input) < 2:
            return
        name = node.input[1]
        if name not in self._stored:
            return
        transposed = [one for one in node.attribute if one.name == "transB" and one.i]
        inner = self._stored[name].dims[1 if transposed else 0]
        if inner % self._block:
            self.left.add(name)
            return
        key = name, bool(transposed)
        if key not in self.quantised:
            self.quantised[key] = self._dequantised(*key)
        node.input[1] = self.quantised[key]
        for one in transposed:
            one.i = 0

    def _dequantised(self, name: str, transposed: bool) -> str:
        values = numpy_helper.to_array(self._stored[name])
        values = values.T if transposed else values
        codes, scales = quantised_blocks(values, self._block)
        names = [surgery.fresh_name(f"{name}_{part}", self._used) for part in ("int4", "scale")]
        result = surgery.fresh_name(f"{name}_dequantised", self._used)
        self._graph.initializer.append(_packed(names[0], codes))
        self._graph.initializer.append(numpy_helper.from_array(scales, names[1]))
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear", names, [result], result, axis=0, block_size=self._block
            )
        )
        return result

    def add_to_graph(self) -> None:
        """Add the nodes, and remove the weights that nothing reads any more."""
        self._graph.node.extend(self._nodes)
        for name in {name for name, _ in self.quantised} - surgery.names_read(self._graph):
            for stored in [one for one in self._graph.initializer if one.name == name]:
                self._graph.initializer.remove(stored)
            for scope in surgery.walk_graphs(self._graph):
                for node in [one for one in scope.node if name in one.output]:
                    scope.node.remove(node)


def quantised_blocks(
    values: npt.NDArray[np.float32], block: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return symmetric INT4 codes, and a scale for each block along the first axis.

    Args:
        values: [k, n] float32; k is a multiple of the block.
        block: The number of values that share a scale.

    Returns:
        Codes [k, n] int8 from -8 to 7, and scales [k / block, n] float32: 1 for a block of zeros.
    """
    inner, outer = values.shape
    blocks = values.reshape(inner // block, block, outer)
    scales = (np.abs(blocks).max(axis=1) / np.float32(_LARGEST)).astype(np.float32)
    scales[scales == 0] = 1.0
    codes = np.clip(np.rint(blocks / scales[:, np.newaxis]), _SMALLEST, _LARGEST)
    return codes.reshape(inner, outer).astype(np.int8), scales


def _packed(name: str, codes: npt.NDArray[np.int8]) -> TensorProto:
    """Return codes as a tensor: two in a byte, the first one in its low half."""
    flat = (codes.reshape(-1).astype(np.uint8)) & 0xF
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    raw = flat[0::2] | (flat[1::2] << 4)
    return TensorProto(
        name=name, data_type=TensorProto.INT4, dims=codes.shape, raw_data=raw.tobytes()
    )


def _nothing_quantised(model: OnnxModel, block: int, left: Collection[str]) -> EngineBuildError:
    why = (
        f"no inner size of its {count(len(left), 'weight')} is a multiple of block_size={block}"
        if left
        else "it has no MatMul or Gemm with constant float32 weights outside keep_fp32"
    )
    fix = "remove int4 from precision=."
    if left:
        fix = 'set a smaller block, builder_options={"block_size": 32}, or remove int4.'
    return EngineBuildError(
        f"nothing in {model.path.name} could be stored in int4: {why}",
        fix=fix,
        code="TRT355",
        facts={"model": str(model.path), "precision": "int4"},
    )
