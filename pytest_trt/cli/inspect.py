"""`pytest-trt inspect`: shows what a model or plan file holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from pytest_trt import units
from pytest_trt.backends.tensorrt.plan_header import read_plan_header
from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import print_table
from pytest_trt.diagnostics import CacheError, Remedy
from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.sidecar import Sidecar, SidecarError, read_entry
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.private import PrivateFolder
from pytest_trt.report.summary import shares
from pytest_trt.tensors.profiles import example_profiles, guessed, needs_profile

#: The first bytes of plans of the two products.
_PLAN_MAGIC = (b"ftrt", b"vtrt")

#: How many operators of a model are listed; there are seldom more.
_LISTED_OPERATORS = 12


@command(
    examples=[
        "pytest-trt inspect models/classifier.onnx",
        "pytest-trt inspect dist/classifier.fp16.sm86.plan",
        "pytest-trt inspect engine.plan --layers",
    ],
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="List the layers of a cached plan.")
@json_option
def inspect(file: Path, layers: bool, as_json: bool) -> None:
    """Show the contents of FILE, an ONNX model or a plan.

    For a model: inputs, outputs, operators and digest. For a plan: its header; and for one in the
    engine cache also its key, size and precisions.
    """
    cached = _cached(file)
    if cached is None and layers:
        raise CacheError(
            f"{file} is not a plan in an engine cache, so its layers are not known",
            code="TRT805",
            facts={"file": str(file)},
            fix=Remedy("This lists the cached engines:", ("pytest-trt cache list",)),
        )
    if as_json:
        is_plan = cached or _is_plan(file)
        echo_json(_plan_data(file, cached) if is_plan else _model_data(load_model(file)))
        return
    for line in _plan_lines(file, cached) if cached or _is_plan(file) else _model_lines(file):
        echo(line)
    if cached is not None and layers:
        _print_layers(cached[1])


def _cached(file: Path) -> tuple[Sidecar, EngineFacts] | None:
    """Return the sidecar and facts of a plan in the cache; None for other files."""
    try:
        with PrivateFolder.at(file.parent) as entry:
            sidecar, facts = read_entry(entry)
            return (sidecar, facts) if file.name == sidecar.plan_name else None
    except (OSError, SidecarError):
        return None


def _is_plan(file: Path) -> bool:
    if file.suffix in (".plan", ".engine", ".trt"):
        return True
    try:
        with file.open("rb") as stream:
            return stream.read(4) in _PLAN_MAGIC
    except OSError:
        return False  # reading it as a model reports what is wrong


def _model_data(model: OnnxModel) -> dict[str, object]:
    return {
        "kind": "model",
        "file": str(model.path),
        "opset": model.opset,
        "ir_version": model.ir_version,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "external_files": [str(one) for one in model.external_files],
        "inputs": [spec.facts for spec in model.inputs],
        "outputs": [spec.facts for spec in model.outputs],
        "operators": dict(model.op_types),
        "is_quantized": model.is_quantized,
    }


def _plan_data(file: Path, cached: tuple[Sidecar, EngineFacts] | None) -> dict[str, object]:
    sidecar, facts = cached or (None, None)
    return {
        "kind": "plan",
        "file": str(file),
        "header": read_plan_header(file) if _is_plan(file) else None,
        "sidecar": sidecar,
        "facts": facts,
    }


def _model_lines(file: Path) -> Iterator[str]:
    model = load_model(file)
    yield f"{file}: ONNX model, opset {model.opset}, IR {model.ir_version}"
    yield f"  digest    {model.digest}"
    external = f", {len(model.external_files)} external" if model.external_files else ""
    yield f"  size      {units.size(model.size_bytes)}{external}"
    for label, specs in (("inputs ", model.inputs), ("outputs", model.outputs)):
        for index, spec in enumerate(specs):
            yield f"  {label if index == 0 else '       '}   {spec}"
    ranked = sorted(model.op_types.items(), key=lambda item: (-item[1], item[0]))
    more = (
        f", and {len(ranked) - _LISTED_OPERATORS} more" if len(ranked) > _LISTED_OPERATORS else ""
    )
    listed = ", ".join(f"{count} {name}" for name, count in ranked[:_LISTED_OPERATORS])
    yield f"  operators {listed}{more}"
    if model.is_quantized:
        yield "  quantised (Q/DQ): precision int8 keeps the model as it is"
    if any(needs_profile(spec) for spec in model.inputs):
        yield "  dynamic shapes; a profile to start from:"
        yield f"    {example_profiles(model.inputs)}"
        if warning := guessed(model.inputs):
            yield f"  {warning}"


def _plan_lines(file: Path, cached: tuple[Sidecar, EngineFacts] | None) -> Iterator[str]:
    if _is_plan(file):
        header = read_plan_header(file)
        yield f"{file}: {header.product} {header.version} plan"
        yield f"  size      {units.size(header.size_bytes)}"
        if header.archs is not None:
            yield f"  archs     {', '.join(header.archs)}"
        elif cached is None:
            yield "  archs     not in the header, and there is no engine.sealed next to the plan"
    elif cached is not None:
        yield f"{file}: ONNX Runtime engine"
        yield f"  size      {units.size(cached[1].size_bytes)}"
    if cached is not None:
        yield from _cached_lines(*cached)


def _cached_lines(sidecar: Sidecar, facts: EngineFacts) -> Iterator[str]:
    if facts.memory_bytes is not None:
        yield f"  memory    {units.size(facts.memory_bytes)} of device memory for each execution"
    if facts.layers is not None:
        yield f"  weights   {shares(facts.weights_pct)}"
        yield f"  layers    {len(facts.layers)}, {shares(facts.layers_pct)}"
    yield f"  model     {sidecar.model_name}"
    reason = f": {sidecar.reason}" if sidecar.reason else ""
    took = f", {units.seconds(facts.build_s)}" if facts.build_s is not None else ""
    yield f"  built     {sidecar.built_at}{took}{reason}"
    for label, value in sidecar.key_fields.items():
        yield f"  {label}: {value}"


def _print_layers(facts: EngineFacts) -> None:
    if facts.layers is None:
        echo("  layers    not reported by the product that built this plan")
        return
    rows = []
    for layer in facts.layers:
        weights = ", ".join(f"{count:,} {precision}" for precision, count in layer.weights.items())
        # A layer that is one node has its name; repeating it would widen the table.
        origins = "" if layer.origins == (layer.name,) else ", ".join(layer.origins)
        rows.append((layer.name, layer.kind, layer.precision or "?", weights, origins))
    titles = ("layer", "kind", "precision", "weights", "from the model's nodes")
    print_table(titles, rows, giving_way=(0, 4))
