"""Profiles for TensorRT's builder: set, read back, and refused where it would ignore them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.onnx.input_roles import require_values
from pytest_trt.tensors.profiles import Profile, ShapeRange, example_profiles, needs_profile, pasted
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange

if TYPE_CHECKING:
    from pytest_trt.backends.tensorrt.build_job import BuildPlan

#: The largest value of a shape input where TensorRT computes INT64 in INT32.
_INT32_MAX = (1 << 31) - 1


def require_profiles(inputs: Sequence[TensorSpec], profiles: Sequence[Profile]) -> None:
    """Refuse dynamic inputs without a range, as far as the model tells which inputs need one.

    Raises:
        ConfigurationError: With a `profiles=` to paste.
    """
    dynamic = [spec for spec in inputs if needs_profile(spec)]
    for number, profile in enumerate(profiles or ({},)):
        missing = [str(spec) for spec in dynamic if spec.name not in profile]
        if missing:
            where = f"profile {number} has" if profiles else "there is"
            raise ConfigurationError(
                f"{where} no range of shapes for {'; '.join(missing)}, and TensorRT builds for a "
                "range of shapes only.",
                fix=f"add to the trt_model marker: {example_profiles(dynamic)} (min, opt, max).",
            )
        for spec in dynamic:
            values = profile[spec.name]
            if isinstance(values, ValueRange):
                # Source: TensorRT's developer guide, "Execution Tensors vs. Shape Tensors". The
                # parser of TensorRT-RTX 1.7 stops at such a model with a failed assertion.
                raise ConfigurationError(
                    f"input {spec} has a range of values and no fixed length; TensorRT takes "
                    "shapes from inputs of fixed length only.",
                    fix=f"export the model with that length fixed, at {len(values.opt)}.",
                )


def add_profiles(builder: Any, network: Any, config: Any, plan: BuildPlan) -> None:
    """Give the builder the profiles of a plan.

    Args:
        builder: The vendor's builder.
        network: The network, parsed: only then is known which of its inputs hold a shape.
        config: Where the profiles go.
        plan: What is built.

    Raises:
        ConfigurationError: A profile does not fit the network, or the builder refuses it.
    """
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    inputs = {tensor.name: tensor for tensor in tensors}
    # Of its type only that it is an integer matters here: 8.6 shows INT64 as INT32.
    holders = [
        TensorSpec(tensor.name, "int64", tuple(tensor.shape))
        for tensor in tensors
        if tensor.is_shape_tensor
    ]
    require_values(holders, plan.profiles, plan.model_name)
    for number, ranges in enumerate(plan.profiles):
        profile = builder.create_optimization_profile()
        for name, bounds in ranges.items():
            if name not in inputs:
                raise ConfigurationError(
                    f"the profile names input {name!r}, which the network does not have.",
                    fix=f"its inputs are {', '.join(sorted(inputs))}.",
                )
            if isinstance(bounds, ShapeRange):
                _set_shape(profile, name, bounds)
            elif inputs[name].is_shape_tensor:
                _set_values(profile, name, bounds, plan.version)
            else:
                raise ConfigurationError(
                    f"the profile has a range of values for input {name!r} of {plan.model_name}, "
                    "whose values are not used as a shape.",
                    fix="give a range of shapes, or nothing where the shape is fixed.",
                )
        if config.add_optimization_profile(profile) < 0:
            raise ConfigurationError(
                f"{plan.version} refuses profile {number} of {plan.model_name}: {pasted(ranges)}.",
                fix="give every dynamic input a range with min <= opt <= max.",
            )


def _set_shape(profile: Any, name: str, shapes: ShapeRange) -> None:
    """Set one range and read it back: `set_shape` says nothing when it ignores what it got."""
    asked = [tuple(shapes.min), tuple(shapes.opt), tuple(shapes.max)]
    profile.set_shape(name, *asked)
    kept = [tuple(shape) for shape in profile.get_shape(name)]
    if kept != asked:
        raise ConfigurationError(
            f"the profile of input {name!r} did not take: asked for {asked}, the builder has "
            f"{kept}.",
            fix="give min <= opt <= max, each of the input's rank, fixed dimensions as they are.",
        )


def _set_values(profile: Any, name: str, values: ValueRange, version: str) -> None:
    """Set one range of values and read it back."""
    asked = [tuple(values.min), tuple(values.opt), tuple(values.max)]
    try:
        profile.set_shape_input(name, *asked)
        kept = [tuple(point) for point in profile.get_shape_input(name)]
    except TypeError as error:
        # The bindings find no function for integers that theirs cannot hold.
        raise ConfigurationError(
            f"{version} does not take the values {pasted({name: values})}: {_first_line(error)}",
            fix=f"give values up to {_INT32_MAX}; versions before 10.0 compute INT64 in INT32.",
        ) from error
    except RuntimeError as error:
        raise ConfigurationError(
            f"{version} refuses the profile {pasted({name: values})}: {_first_line(error)}",
            fix="give values with min <= opt <= max, as many as the input has.",
        ) from error
    if kept != asked:
        raise ConfigurationError(
            f"the profile of input {name!r} did not take: asked for the values {asked}, the "
            f"builder has {kept}.",
            fix="give values with min <= opt <= max, as many as the input has.",
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
