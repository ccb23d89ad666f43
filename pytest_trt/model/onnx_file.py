"""An ONNX file as a value: what it takes, what it gives, and a digest of every byte that matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.model.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """Facts of one ONNX file. Nothing of its weights is held in memory.

    Attributes:
        path: The file, absolute.
        digest: Hex SHA-256 over the file and every external-data region that it refers to. Equal
            for a copy of the model in another folder; another for any changed weight byte.
        inputs: What must be fed (initialisers that old models also list as inputs are left out).
        outputs: What comes back, in the graph's order.
        opset: Version of the default operator set.
        ir_version: ONNX IR version.
        size_bytes: The file plus its external-data regions.
        external_files: External data files, absolute, in order of first use.
        is_quantized: Whether the graph holds QuantizeLinear or DequantizeLinear nodes.
        op_types: How many nodes there are of each operator, subgraphs included; operators outside
            the default domain as "domain::Operator".
        index_limits: For integer inputs that index a constant table (a Gather, as an embedding
            does): how many rows the table has, so that valid indices are known.
    """

    path: Path
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    ir_version: int
    size_bytes: int
    external_files: tuple[Path, ...]
    is_quantized: bool
    op_types: Mapping[str, int]
    index_limits: Mapping[str, int]
