"""A reference that is not the model itself: does the engine differ from its model, or the model?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.subject import OtherModel
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import PytestTrtError, as_typed
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.elements import SMALL_TYPES
from pytest_trt.tensors.spec import Tensors

#: The most bytes of two models that are read again for a line of advice.
_COMPARED_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class OtherReference:
    """What gives the reference, and what the model under test computes in FP32.

    Attributes:
        model: The model under test.
        reference: The model that computes the reference; None for an object of the project.
        own: Computes the outputs of the model under test in FP32.
    """

    model: OnnxModel
    reference: OnnxModel | None
    own: Callable[[Tensors], Tensors]

    def agrees(
        self, inputs: Tensors, outputs: Tensors, tolerances: Mapping[str, Tolerance]
    ) -> bool | None:
        """Return whether outputs agree with the engine's own model, where that can be computed.

        A measure that cannot be checked at all says nothing about agreement.
        """
        with suppress(PytestTrtError):  # such as a model that only TensorRT can run
            own_items = items_of(self.own(inputs), self.model.outputs).tensors
            own = compare_outputs(outputs, own_items, tolerances)
            return own.kinds <= {"not applicable"}
        return None

    def as_subject(self, *, agrees: bool | None) -> OtherModel:
        """Return the other model, as an explanation needs it.

        Args:
            agrees: Whether the engine agrees with its own model, where that is known.
        """
        if self.reference is None:
            model = as_typed(self.model.path)
            return OtherModel("trt_reference", model, agrees=agrees, is_fixture=True)
        converted = _is_converted(self.model, self.reference)
        return OtherModel(
            path=as_typed(self.reference.path),
            model=as_typed(self.model.path),
            agrees=agrees,
            differs=self._difference(self.reference) if agrees and not converted else "",
            converted=converted,
        )

    def _difference(self, reference: OnnxModel) -> str:
        if self.model.size_bytes + reference.size_bytes > _COMPARED_BYTES:
            return ""
        digests = (self.model.digest, reference.digest)
        return _difference(self.model.path, reference.path, digests)


def _is_converted(model: OnnxModel, reference: OnnxModel) -> bool:
    """Whether a model was quantised, or cast to half precision, and its reference was not.

    Judged by the types that it stores: converters to custom operators leave no other common trace.
    Simulated quantisation stores float32.
    """
    gained = SMALL_TYPES & (model.elements.keys() - reference.elements.keys())
    return bool(gained) or (model.is_quantized and not reference.is_quantized)


@lru_cache(maxsize=16)
def _difference(model: Path, reference: Path, digests: tuple[str, str]) -> str:
    """Return what differs, computed once however many tests fail; digests identify the files."""
    from pytest_trt.onnx.difference import model_difference

    with suppress(PytestTrtError):
        return model_difference(model, reference)
    return ""
