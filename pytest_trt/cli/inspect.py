"""`pytest-trt inspect`: what a model or a plan says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from pytest_trt.backends.plan_header import read_plan_header
from pytest_trt.engine.sidecar import SidecarError, read_sidecar
from pytest_trt.model import load_model
from pytest_trt.model.profiles import example_profiles, needs_profile
from pytest_trt.report import units

#: How plans of the two products begin.
_PLAN_MAGIC = (b"ftrt", b"vtrt")

#: Operators listed of a model; there are seldom many more.
_LISTED_OPERATORS = 12


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def inspect(file: Path) -> None:
    """Show what FILE is: an ONNX model's inputs, outputs and digest, or a plan's header."""
    for line in _plan_lines(file) if _is_plan(file) else _model_lines(file):
        click.echo(line)


def _is_plan(file: Path) -> bool:
    if file.suffix in (".plan", ".engine", ".trt"):
        return True
    try:
        with file.open("rb") as stream:
            return stream.read(4) in _PLAN_MAGIC
    except OSError:
        return False  # the model reader says what is wrong


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


def _plan_lines(file: Path) -> Iterator[str]:
    header = read_plan_header(file)
    yield f"{file}: {header.product} {header.version} plan"
    yield f"  size      {units.size(header.size_bytes)}"
    if header.archs is not None:
        yield f"  archs     {', '.join(header.archs)}"
    try:
        sidecar = read_sidecar(file.parent)
    except (FileNotFoundError, SidecarError):
        if header.archs is None:
            yield "  archs     not in the header, and no engine.json lies beside the plan"
        return
    yield f"  model     {sidecar.model_name}"
    yield f"  built     {sidecar.built_at}, {units.seconds(sidecar.build_s)}: {sidecar.reason}"
    for label, value in sidecar.key_fields.items():
        yield f"  {label}: {value}"
