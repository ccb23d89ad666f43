"""Whether the model that `reference=` names fits the model under test."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.plugin.planning.keywords import invalid
from pytest_trt.plugin.planning.markers import ModelMarker
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.wording import known_names

#: Inputs and outputs.
Interface: TypeAlias = tuple[Sequence[TensorSpec], Sequence[TensorSpec]]


def check_reference(marker: ModelMarker, model: Interface, reference: Interface) -> None:
    """Refuse a reference with other inputs, and names that neither side has.

    Raises:
        ConfigurationError: It is one, or there are some.
    """
    names, only = marker.reference_names, marker.reference_only
    _check_names(names, only, model, reference)
    inputs = {names.get(spec.name, spec.name): spec.dtype for spec in model[0]}
    wanted = {spec.name: spec.dtype for spec in reference[0] if spec.name not in only}
    if wanted != inputs:
        assert marker.reference is not None
        raise ConfigurationError(
            f"the reference {marker.reference.name} and the model {marker.name} have different "
            f"inputs: {_with_types(wanted)}; {_with_types(inputs)}",
            fix=Remedy(
                "set reference= to a model that has the same inputs.",
                alternatives=(
                    'reference_names={"NAME": "NAME IN THE REFERENCE"} where only the names differ',
                    'reference_only=("NAME",) for an input that only the reference has',
                ),
            ),
            code="TRT152",
            facts={"model": marker.name, "reference": marker.reference.name},
        )


def _check_names(
    names: Mapping[str, str], only: Sequence[str], model: Interface, reference: Interface
) -> None:
    theirs = [[spec.name for spec in side] for side in reference]
    ours = [[spec.name for spec in side] for side in model]
    for name in only:
        if name not in (known := [*theirs[0], *theirs[1]]):
            raise _unknown("reference_only", "reference", "input or output", name, known)
    for name, other in names.items():
        if name not in (known := [*ours[0], *ours[1]]):
            raise _unknown("reference_names", "model", "input or output", name, known)
        is_output = name not in ours[0]
        if other not in theirs[is_output]:
            kind = "output" if is_output else "input"
            raise _unknown("reference_names", "reference", kind, other, theirs[is_output])
    for is_output, side in zip((False, True), ours, strict=True):
        found = [names.get(name, name) for name in side]
        # It would be given to both, or compared with another output than that of its name.
        apart = [name for name in theirs[is_output] if name in side and name not in found]
        ignored = only if is_output else ()
        twice = [name for name in found if found.count(name) > 1 or name in only]
        for name in (*twice, *(name for name in apart if name not in ignored)):
            raise invalid(
                ModelMarker.NAME,
                f"trt_model: {name!r} of the reference has no single counterpart in the model",
                "name each input and output of the reference once, in reference_names or "
                "reference_only; what neither names has the same name on both sides.",
            )


def _unknown(
    keyword: str, side: str, kind: str, name: str, known: Collection[str]
) -> ConfigurationError:
    return invalid(
        ModelMarker.NAME,
        f"trt_model: {keyword} names {name!r}, but the {side} has no such {kind}",
        known_names(kind, name, known),
    )


def _with_types(dtypes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in dtypes.items()) or "nothing"
