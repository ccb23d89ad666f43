"""Names of inputs and outputs where the reference has others than the model under test."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReferenceNames:
    """How the reference calls what the model under test has.

    Attributes:
        names: Names in the reference by name in the model, where the two differ.
        only: Inputs and outputs that only the reference has.
        inputs: Names of the model's inputs.
        outputs: Names of the model's outputs.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    only: Collection[str] = ()
    inputs: Collection[str] = ()
    outputs: Collection[str] = ()

    def engine_inputs(self, given: Mapping[str, _T]) -> Mapping[str, _T]:
        """Return the inputs of a test without those for the reference alone."""
        return given if not self.only else {n: v for n, v in given.items() if self._is_own(n)}

    def reference_inputs(self, given: Mapping[str, _T]) -> Mapping[str, _T]:
        """Return the inputs of a test under the reference's names."""
        own = {self.names.get(name, name): v for name, v in given.items() if self._is_own(name)}
        return {**own, **{name: v for name, v in given.items() if not self._is_own(name)}}

    def model_outputs(self, found: Mapping[str, _T]) -> dict[str, _T]:
        """Return the reference's outputs under the model's names, without those that it lacks."""
        own = {self.names.get(name, name): name for name in self.outputs}
        return {own.get(name, name): v for name, v in found.items() if self._is_output(name, own)}

    def _is_own(self, name: str) -> bool:
        return name in self.inputs or name not in self.only

    def _is_output(self, name: str, own: Collection[str]) -> bool:
        return name in own or name not in self.only
