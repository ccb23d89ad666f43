"""Names of dimensions that stand for several sizes, taken out before TensorRT parses a model.

From 8.6 on TensorRT takes dimensions of one name for equal, and refuses a profile that gives them
different sizes: "Input dimensions with this name are inconsistent". paddle2onnx calls all of them
"?". Clearing the names of the parsed network (`ITensor.set_dimension_name`) comes too late: the
shapes that the parser computed refer to them (seen with TensorRT-RTX 1.7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pytest_trt.onnx.file import read_interface
from pytest_trt.tensors.profiles import Profile, ShapeRange
from pytest_trt.tensors.spec import TensorSpec


def without_ambiguous_names(source: Path, profiles: Sequence[Profile]) -> bytes | None:
    """Return a model without names of input dimensions that stand for several sizes.

    Returns:
        The model, its external data left where they are; None if no name has to be removed.
    """
    # Without profiles no input has dimensions of several sizes.
    names = ambiguous_names(read_interface(source)[0], profiles) if profiles else None
    if not names:
        return None
    import onnx

    model = onnx.load(source, load_external_data=False)
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.ClearField("dim_param")
    return bytes(model.SerializeToString())


def ambiguous_names(inputs: Sequence[TensorSpec], profiles: Sequence[Profile]) -> frozenset[str]:
    """Return the names of input dimensions that have several sizes, or that name nothing ("?")."""
    names = {dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)}
    found = {name for name in names if not re.search("[A-Za-z0-9]", name)}
    for profile in profiles:
        sizes: dict[str, set[tuple[int, ...]]] = {}
        for spec in inputs:
            bounds = profile.get(spec.name)
            if not isinstance(bounds, ShapeRange):
                continue
            for index, dim in enumerate(spec.shape or ()):
                if isinstance(dim, str):
                    size = bounds.min[index], bounds.opt[index], bounds.max[index]
                    sizes.setdefault(dim, set()).add(size)
        found |= {name for name, several in sizes.items() if len(several) > 1}
    return frozenset(found)
