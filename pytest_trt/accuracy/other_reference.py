"""A reference that another model gives: is the engine to blame for a difference, or its model?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_trt.accuracy.advice import OtherModel
from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import PytestTrtError, as_typed, git_restore_hint
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import SMALL_TYPES, Tensors

#: The most bytes of two models that are read once more for a line of advice.
_COMPARED_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class OtherReference:
    """The two models, and what the one under test computes by itself.

    Attributes:
        model: The model under test.
        reference: The one that gives the reference.
        own: Gives what the model under test computes in FP32.
    """

    model: OnnxModel
    reference: OnnxModel
    own: Callable[[Tensors], Tensors]

    @property
    def name(self) -> str:
        """The reference's file name."""
        return self.reference.path.name

    def agrees(
        self, inputs: Tensors, outputs: Tensors, tolerances: Mapping[str, Tolerance]
    ) -> bool | None:
        """Return whether outputs are those of the engine's own model, where that can be told."""
        with suppress(PytestTrtError):  # such as a model that only TensorRT can run
            return compare_outputs(outputs, self.own(inputs), tolerances).passed
        return None

    def told(self, *, agrees: bool | None) -> OtherModel:
        """Return what advice says of the two.

        Args:
            agrees: Whether the engine agrees with its own model, where that is known.
        """
        converted = _is_converted(self.model, self.reference)
        return OtherModel(
            path=as_typed(self.reference.path),
            model=as_typed(self.model.path),
            git_restore_hint=git_restore_hint(self.model.path),
            agrees=agrees,
            differs=self._difference() if agrees and not converted else "",
            converted=converted,
        )

    def _difference(self) -> str:
        if self.model.size_bytes + self.reference.size_bytes > _COMPARED_BYTES:
            return ""
        digests = (self.model.digest, self.reference.digest)
        return _difference(self.model.path, self.reference.path, digests)


def _is_converted(model: OnnxModel, reference: OnnxModel) -> bool:
    """Whether a model was quantised, or cast to half precision, and its reference was not.

    Told by the types that it stores: converters to operators of their own leave no other trace that
    is common to all of them. What simulates quantisation stores float32.
    """
    gained = SMALL_TYPES & (model.elements.keys() - reference.elements.keys())
    return bool(gained) or (model.is_quantized and not reference.is_quantized)


@lru_cache(maxsize=16)
def _difference(model: Path, reference: Path, digests: tuple[str, str]) -> str:
    """Return what differs; one difference fails many tests. Digests tell changed files apart."""
    from pytest_trt.onnx.difference import model_difference

    with suppress(PytestTrtError):
        return model_difference(model, reference)
    return ""
