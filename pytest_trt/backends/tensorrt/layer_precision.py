"""`keep_fp32` where builder flags choose the precision: FP32 as the precision of single layers.

TensorRT 8.6 to 10. Where the types of the model choose it, the conversion keeps the nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.inspection import onnx_nodes
from pytest_trt.engine.spec import keeps_nothing

#: What the parser calls the layers of a node without a name, before the name of its first output.
#: Source: getNodeName in onnx2trt_utils.cpp of github.com/onnx/onnx-tensorrt, 8.6 to 10.
_UNNAMED = "node_of_"


def keep_layers(trt: Any, network: Any, config: Any, plan: BuildPlan) -> None:
    """Let the layers of the nodes that stay in FP32 compute and return FP32, in any case.

    Args:
        trt: The vendor module.
        network: The parsed network.
        config: The builder's configuration, which gets the flag that makes precisions binding.
        plan: What is built, with what to keep.

    Raises:
        ConfigurationError: An entry of `keep_fp32` names no node, or no layer came of any.
    """
    if not plan.keep_fp32:
        return
    names, outputs = _kept(plan.model_name, plan.source, plan.keep_fp32)
    kept = 0
    for node_layer in layers_of(network, names, outputs):
        # Integers stay what they are, and so does what the model itself casts.
        floating = [
            number
            for number in range(node_layer.num_outputs)
            if node_layer.get_output(number).dtype == trt.DataType.FLOAT
        ]
        if floating:
            node_layer.precision = trt.DataType.FLOAT
        for number in floating:
            node_layer.set_output_type(number, trt.DataType.FLOAT)
        kept += bool(floating)
    if not kept:
        raise keeps_nothing(
            f"{plan.version} made no floating-point layer of the nodes of {plan.model_name} that "
            f"keep_fp32 names: {', '.join(sorted(names))}",
            "name nodes that compute with floating-point numbers.",
            model=plan.model_name,
        )
    binding = getattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS", None)
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS if binding is None else binding)


def layers_of(network: Any, names: Collection[str], outputs: Collection[str]) -> Iterator[Any]:
    """Yield the layers of a network that came of some nodes."""
    for index in range(network.num_layers):
        node_layer = network.get_layer(index)
        own = {node_layer.name, *onnx_nodes(str(getattr(node_layer, "metadata", "")))}
        made = {node_layer.get_output(number).name for number in range(node_layer.num_outputs)}
        if not (own.isdisjoint(names) and made.isdisjoint(outputs)):
            yield node_layer


def _kept(
    model_name: str, source: Path, keep_fp32: tuple[str, ...]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the nodes that stay in FP32, as layers have them, and their outputs."""
    import onnx

    from pytest_trt.backends.conversion.converting import kept_in

    model = onnx.load(source, load_external_data=False)
    if model.functions:  # the parser inlines them, too
        model = onnx.inliner.inline_local_functions(model)
    nodes = kept_in(model_name, model, keep_fp32)
    outputs = [[name for name in node.output if name] for node in nodes]
    names = (
        node.name or f"{_UNNAMED}{made[0]}"
        for node, made in zip(nodes, outputs, strict=True)
        if made
    )
    return frozenset(names), frozenset(name for made in outputs for name in made)
