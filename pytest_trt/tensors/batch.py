"""Which axis of a model's inputs and outputs is the batch, and samples taken along it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_trt.diagnostics import ConfigurationError, InputError
from pytest_trt.tensors.elements import is_tensor
from pytest_trt.tensors.profile_choice import select_profile
from pytest_trt.tensors.profiles import Profile, ShapeRange
from pytest_trt.tensors.spec import Tensors, TensorSpec


@dataclass(frozen=True, slots=True)
class BatchAxes:
    """The axis that is the batch, by name; tensors without one are left out.

    Attributes:
        inputs: Of inputs.
        outputs: Of outputs.
        likely: Of outputs whose axis 0 has a name of its own, as exporters give it, or none: the
            batch, if its size is.
    """

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    likely: Mapping[str, int]

    def size(self, inputs: Tensors) -> int:
        """Return the number of samples of inputs."""
        return max(int(np.shape(inputs[name])[axis]) for name, axis in self.inputs.items())

    def of_outputs(self, outputs: Tensors, size: int) -> dict[str, int]:
        """Return the axes of the outputs that have a row for each of `size` samples."""
        return {
            name: axis
            for name, axis in {**self.outputs, **self.likely}.items()
            if name in outputs
            and np.ndim(outputs[name]) > axis
            and np.shape(outputs[name])[axis] == size
        }


def batch_axes(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, where: str
) -> BatchAxes:
    """Return which axes are the batch: those of the symbol that is axis 0 of the inputs.

    Where axis 0 of several inputs have different symbols, it is the one that is axis 0 of an output
    too. Tensors that have the symbol at another axis are divided along that one.

    Raises:
        ConfigurationError: No input or no output has a batch, or several symbols may be it.
    """
    first = _first_axes(inputs)
    symbols = first if len(first) < 2 else [one for one in first if one in _first_axes(outputs)]
    if len(symbols) != 1:
        found = "several of them may be" if len(symbols) > 1 else "none of them is"
        shown = ", ".join(map(str, inputs))
        raise no_batch(
            f"{where}: axis 0 of the inputs has to be a batch of any size, and {found} ({shown})",
            "export the model with one name for a dynamic axis 0 of its inputs and outputs",
            [one.name for one in inputs],
        )
    symbol = symbols[0]
    others = {dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)} - {"?"}
    axes = BatchAxes(
        dict(_axes(inputs, symbol)),
        dict(_axes(outputs, symbol)) if symbol != "?" else {},
        {
            spec.name: 0
            for spec in outputs
            if is_tensor(spec.dtype)
            and (spec.shape is None or (spec.shape and _is_new(spec.shape[0], others)))
        },
    )
    if not axes.outputs and not axes.likely:
        raise no_batch(
            f"{where}: no output has the batch of the inputs ({', '.join(map(str, outputs))})",
            "export the model with the same dynamic axis 0 for its inputs and outputs",
            [one.name for one in inputs],
        )
    return axes


def no_batch(message: str, fix: str, inputs: Sequence[str]) -> ConfigurationError:
    """Return the error of a model, or profiles, that have no batch to vary."""
    return ConfigurationError(
        message,
        fix=f"{fix}; or leave batch_invariant out.",
        code="TRT178",
        facts={"invariant": "batch_invariant", "inputs": list(inputs)},
    )


def require_batches(axes: BatchAxes, profiles: Sequence[Profile], *, where: str) -> None:
    """Refuse profiles that allow batches of one sample alone.

    Raises:
        ConfigurationError: They do.
    """
    if profiles and all(size == 1 for one in profiles for size in _sizes(axes, one)):
        raise no_batch(
            f"{where}: every profile fixes the batch at 1, so there is nothing to compare with",
            "give a profile with larger batches",
            list(axes.inputs),
        )


def taken(
    values: Tensors, axes: Mapping[str, int], samples: Sequence[int], size: int
) -> dict[str, np.ndarray]:
    """Return inputs or outputs of some samples, in this order; a sample may be named repeatedly.

    Args:
        values: Inputs or outputs of `size` samples. Those without that batch are left as they are.
        axes: The axis that is the batch, by name.
        samples: Numbers of samples.
        size: How many samples the values have.
    """
    return {
        name: np.take(value, samples, axes[name])
        if name in axes and np.shape(value)[axes[name]] == size
        else value
        for name, value in values.items()
    }


def allowed_sizes(
    axes: BatchAxes, profiles: Sequence[Profile], specs: Sequence[TensorSpec], inputs: Tensors
) -> list[int]:
    """Return batch sizes that inputs may have with their other dimensions, ascending.

    Without profiles they are 1 and twice the inputs' own; else 1 where a profile allows it, as
    one from 0 up does, and the min, opt and max of each.
    """
    size = axes.size(inputs)
    sizes = {2 * size} if not profiles else {n for one in profiles for n in _sizes(axes, one)}
    return [
        one
        for one in sorted({1, *sizes, size} - {0})
        if one == size or _fits(profiles, specs, taken(inputs, axes.inputs, [0] * one, size))
    ]


def _fits(profiles: Sequence[Profile], specs: Sequence[TensorSpec], inputs: Tensors) -> bool:
    try:
        select_profile(profiles, specs, inputs)
    except InputError:
        return False
    return True


def _sizes(axes: BatchAxes, profile: Profile) -> Iterator[int]:
    for name, axis in axes.inputs.items():
        bounds = profile.get(name)
        if isinstance(bounds, ShapeRange):
            yield from (bounds.min[axis], bounds.opt[axis], bounds.max[axis])


def _first_axes(specs: Iterable[TensorSpec]) -> list[str]:
    """Return the symbols that are axis 0 of tensors, each once."""
    firsts = [spec.shape[0] for spec in specs if is_tensor(spec.dtype) and spec.shape]
    return list(dict.fromkeys(one for one in firsts if isinstance(one, str)))


def _axes(specs: Iterable[TensorSpec], symbol: str) -> Iterator[tuple[str, int]]:
    for spec in specs:
        shape = spec.shape or ()
        # A dimension without a name may be anything, unless it is the first.
        places = shape[:1] if symbol == "?" else shape
        if is_tensor(spec.dtype) and symbol in places:
            yield spec.name, places.index(symbol)


def _is_new(dim: int | str, known: set[str]) -> bool:
    return isinstance(dim, str) and dim not in known
