"""Profiles for TensorRT's builder: set and read back, as the builder ignores invalid ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy
from pytest_trt.onnx.input_roles import require_values
from pytest_trt.tensors.profiles import Profile, ShapeRange, example_profiles, needs_profile, pasted
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import ValueRange

if TYPE_CHECKING:
    from pytest_trt.backends.tensorrt.build_job import BuildPlan

#: The largest value of a shape input in versions that compute INT64 in INT32.
_INT32_MAX = (1 << 31) - 1

_VALUES_FIX = "give values with min <= opt <= max, as many as the input has."


def require_profiles(inputs: Sequence[TensorSpec], profiles: Sequence[Profile]) -> None:
    """Refuse dynamic inputs without a range of shapes.

    Raises:
        ConfigurationError: The remedy has a `profiles=` to paste.
    """
    dynamic = [spec for spec in inputs if needs_profile(spec)]
    for number, profile in enumerate(profiles or ({},)):
        missing = [str(spec) for spec in dynamic if spec.name not in profile]
        if missing:
            where = f"profile {number} has" if profiles else "there is"
            raise ConfigurationError(
                f"{where} no range of shapes for {'; '.join(missing)}; TensorRT builds only for a "
                "range of shapes",
                fix=Remedy(
                    "add to the trt_model marker (min, opt, max):",
                    commands=(example_profiles(dynamic),),
                ),
                code="TRT211",
                facts={"missing": missing, "profile": number},
            )
        for spec in dynamic:
            values = profile[spec.name]
            if isinstance(values, ValueRange):
                # Source: TensorRT's developer guide, "Execution Tensors vs. Shape Tensors". The
                # parser of TensorRT-RTX 1.7 stops at such a model with a failed assertion.
                raise ConfigurationError(
                    f"input {spec} has a range of values but a dynamic length; TensorRT "
                    "takes shapes only from inputs of fixed length",
                    fix=f"export the model with that length fixed at {len(values.opt)}.",
                    code="TRT210",
                    facts=spec.facts,
                )


def add_profiles(builder: Any, network: Any, config: Any, plan: BuildPlan) -> None:
    """Give the builder the profiles of a plan.

    Raises:
        ConfigurationError: A profile does not fit the network, or the builder refuses it.
    """
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    inputs = {tensor.name: tensor for tensor in tensors}
    # Only that the type is an integer matters here: 8.6 shows INT64 as INT32.
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
                raise _refused(
                    f"the profile names input {name!r}, which the network of {plan.model_name} "
                    "does not have",
                    f"its inputs are {', '.join(sorted(inputs))}.",
                    tensor=name,
                    model=plan.model_name,
                )
            if isinstance(bounds, ShapeRange):
                _set_shape(profile, name, bounds)
            elif inputs[name].is_shape_tensor:
                _set_values(profile, name, bounds, plan.version)
            else:
                raise _refused(
                    f"the profile has a range of values for input {name!r} of {plan.model_name}, "
                    "whose values are not used as a shape",
                    "give a range of shapes, or leave it out if the shape is fixed.",
                    tensor=name,
                    model=plan.model_name,
                )
        if config.add_optimization_profile(profile) < 0:
            raise _refused(
                f"{plan.version} refuses profile {number} of {plan.model_name}: {pasted(ranges)}",
                "give every dynamic input a range with min <= opt <= max.",
                model=plan.model_name,
                version=plan.version,
            )


def _set_shape(profile: Any, name: str, shapes: ShapeRange) -> None:
    """Set one range and read it back: `set_shape` silently ignores invalid ranges."""
    requested = [tuple(shapes.min), tuple(shapes.opt), tuple(shapes.max)]
    profile.set_shape(name, *requested)
    stored = [tuple(shape) for shape in profile.get_shape(name)]
    if stored != requested:
        raise _refused(
            f"the builder changed the profile of input {name!r}: requested {requested}, "
            f"stored {stored}",
            "give min <= opt <= max, each of the input's rank, fixed dimensions as they are.",
            tensor=name,
        )


def _set_values(profile: Any, name: str, values: ValueRange, version: str) -> None:
    """Set one range of values and read it back."""
    requested = [tuple(values.min), tuple(values.opt), tuple(values.max)]
    try:
        profile.set_shape_input(name, *requested)
        stored = [tuple(point) for point in profile.get_shape_input(name)]
    except TypeError as error:
        # The bindings have no overload for integers that do not fit theirs.
        raise _refused(
            f"{version} does not accept the values {pasted({name: values})}: {_first_line(error)}",
            f"give values up to {_INT32_MAX}; versions before 10.0 compute INT64 in INT32.",
            tensor=name,
            version=version,
        ) from error
    except RuntimeError as error:
        raise _refused(
            f"{version} refuses the profile {pasted({name: values})}: {_first_line(error)}",
            _VALUES_FIX,
            tensor=name,
            version=version,
        ) from error
    if stored != requested:
        raise _refused(
            f"the builder changed the profile of input {name!r}: requested values {requested}, "
            f"stored {stored}",
            _VALUES_FIX,
            tensor=name,
        )


def _refused(message: str, fix: str, **facts: Fact) -> ConfigurationError:
    return ConfigurationError(message, fix=fix, code="TRT213", facts=facts)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
