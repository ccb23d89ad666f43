"""A reference other than the model itself: which of engine, model and reference differs?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.explanation import fact, failed_row
from pytest_trt.accuracy.judge import gravest
from pytest_trt.accuracy.own_reference import OwnReference
from pytest_trt.accuracy.remedy import beyond_rounding
from pytest_trt.accuracy.result import Comparison
from pytest_trt.accuracy.subject import OtherModel
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance
from pytest_trt.diagnostics import ConfigurationError, PytestTrtError, Remedy, as_typed
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.elements import SMALL_TYPES
from pytest_trt.tensors.spec import Tensors

_FP32 = DEFAULT_TOLERANCES["fp32"]

#: Largest size of two models together that are read again to name their difference.
_COMPARED_BYTES = 2_000_000_000


class ComputedReference(Protocol):
    """A reference of the project."""

    @property
    def own(self) -> OwnReference:
        """What computes it."""
        ...

    def compute(self, inputs: Tensors) -> Tensors:
        """Compute outputs, even if they are cached."""
        ...


@dataclass(frozen=True, slots=True)
class OtherReference:
    """What gives the reference, and what the model under test computes in FP32.

    Attributes:
        model: The model under test.
        reference: The model that computes the reference; None for an object of the project.
        own: Computes the outputs of the model under test in FP32.
        project: What computes the reference, where that is an object of the project.
    """

    model: OnnxModel
    reference: OnnxModel | None
    own: Callable[[Tensors], Tensors]
    project: ComputedReference | None = None

    def require_repeatable(
        self, inputs: Tensors, reference: Tensors, tolerances: Mapping[str, Tolerance]
    ) -> None:
        """Check that the project's reference returns the same outputs for the same inputs again.

        Args:
            inputs: Inputs of a run that failed.
            reference: What it returned for them, item by item.
            tolerances: What differences the test allows, by item.

        Raises:
            ConfigurationError: It does not, or they differ from the cached ones.
        """
        if self.project is None or not self.project.own.is_computed:
            return
        try:
            found = self.project.compute(inputs)
        except Exception:  # such as a server that stopped: the comparison remains valid
            return
        again = items_of(found, self.model.outputs).tensors
        limits = {
            name: replace(one, nan="match") for name, one in tolerances.items() if name in again
        }
        comparison = compare_values(
            {name: again[name] for name in limits},
            {name: reference[name] for name in limits},
            limits,
        )
        if comparison.kinds <= {"not applicable", "nothing compared"}:
            return
        version = self.project.own.version
        message, fix = (
            "trt_reference returned different outputs for the same inputs",
            "make it repeatable: use inference mode (net.eval() in PyTorch) and fixed seeds.",
        )
        if version:
            message, fix = (
                "trt_reference returns outputs that differ from those cached for version "
                f"{version!r}",
                "change its version whenever its weights or code change.",
            )
        raise ConfigurationError(
            f"{message} ({fact(comparison)}), so nothing can be compared with them",
            fix=fix,
            code="TRT175",
            facts={"model": str(self.model.path), "version": version},
        )

    def require_evaluation_mode(self) -> None:
        """Check that no PyTorch network of the project's reference is in training mode.

        Raises:
            ConfigurationError: One is.
        """
        found = self.project.own.in_training_mode() if self.project is not None else ""
        if found:
            raise ConfigurationError(
                f"the network of trt_reference ({found}) is in training mode, in which batch "
                "normalisation and dropout compute other outputs than the exported model",
                fix=Remedy("Call eval() on it, and run it in inference mode:", ("net.eval()",)),
                code="TRT175",
                facts={"model": str(self.model.path), "network": found},
            )

    def agrees(
        self,
        inputs: Tensors,
        failed: Comparison,
        compared: Callable[[Tensors], Comparison],
        of_model: Callable[[Tensors], Comparison] | None = None,
    ) -> tuple[bool | None, str]:
        """Return whether the model differs from the reference, and not the engine from its model.

        That is so where the engine agrees with the model in FP32, or differs from it at most half
        as much as from the reference, from which the model differs too. None where the model cannot
        run. A measure that cannot be checked does not count.

        Args:
            inputs: What the engine was given.
            failed: How what it returned differs from the reference.
            compared: Compares what it returned with the outputs of another model.
            of_model: Compares the outputs of another model with the reference.

        Returns:
            Also by what the engine differs from its model, where it does.
        """
        try:
            own = self.own(inputs)
            engine = compared(own)
        except PytestTrtError:  # such as a model that only TensorRT can run
            return None, ""
        if engine.kinds <= {"not applicable", "no metric value"}:
            return True, ""
        mostly = of_model is not None and _differs_less(engine, failed, of_model(own))
        output = gravest(engine)[1]
        return mostly, failed_row(output) if mostly and output is not None else ""

    def differing(self, inputs: Tensors, reference: Tensors) -> dict[str, str]:
        """Return outputs of which the model differs from the reference by more than rounding.

        Models in reduced precision do by nature, and so do those converted from the reference.

        Args:
            inputs: What the engine was given.
            reference: What the reference returned for them, item by item.

        Returns:
            Why, by output.
        """
        if self.model.is_quantized or SMALL_TYPES & self.model.elements.keys():
            return {}
        with suppress(PytestTrtError):  # such as a model that only TensorRT can run
            own = items_of(self.own(inputs), self.model.outputs).tensors
            limits = dict.fromkeys(own.keys() & reference.keys(), _FP32)
            compared = compare_values(own, {name: reference[name] for name in limits}, limits)
            other = self.as_subject(agrees=True)
            return {
                one.name: f"the model's own FP32 outputs differ from those of {other.path} by up "
                f"to {one.worst_abs.value:.2g}, more than rounding explains: {_cause(other)}"
                for one in compared.outputs
                if one.worst_abs is not None
                # Where outputs are large, so is the rounding of their small elements.
                and one.worst_abs.value > _FP32.atol * one.scale
                and beyond_rounding(one, "fp32")
            }
        return {}

    def as_subject(
        self, *, agrees: bool | None, engine_differs: str = "", changed: str = ""
    ) -> OtherModel:
        """Return the other model, as an explanation needs it.

        Args:
            agrees: Whether the model differs, and not the engine, where that is known.
            engine_differs: See `OtherModel`.
            changed: See `OtherModel`.
        """
        if self.reference is None:
            model = as_typed(self.model.path)
            return OtherModel(
                "trt_reference",
                model,
                agrees=agrees,
                engine_differs=engine_differs,
                is_fixture=True,
                changed=changed,
            )
        converted = _is_converted(self.model, self.reference)
        return OtherModel(
            path=as_typed(self.reference.path),
            model=as_typed(self.model.path),
            agrees=agrees,
            engine_differs=engine_differs,
            differs=self._difference(self.reference) if agrees and not converted else "",
            converted=converted,
            names_differ=_names(self.model) != _names(self.reference),
        )

    def _difference(self, reference: OnnxModel) -> str:
        if self.model.size_bytes + reference.size_bytes > _COMPARED_BYTES:
            return ""
        digests = (self.model.digest, reference.digest)
        return _difference(self.model.path, reference.path, digests)


def _differs_less(engine: Comparison, failed: Comparison, model: Comparison) -> bool:
    """Whether an engine differs from its model at most half as much as from a reference.

    That is in half of the elements, or by half in the worst one of the output that differs most.
    The model has to differ from the reference in the same way, so that it is a cause for sure.
    """
    finding, output = gravest(failed)
    if output is None or finding.kind not in ("mismatch", "shape"):
        return False
    if finding.kind not in model.kinds or "shape" in engine.kinds:
        return False
    if finding.kind == "shape":
        return True
    of_engine = next((one for one in engine.outputs if one.name == output.name), output)
    total, own = (sum(one.mismatched for one in side.outputs) for side in (failed, engine))
    return 2 * own <= total or 2 * of_engine.used <= output.used


def _cause(other: OtherModel) -> str:
    """Return why a model may differ from its reference."""
    if not other.is_fixture:
        return f"{other.model} differs from it{f' in {other.differs}' if other.differs else ''}"
    return "other weights or preprocessing, or a model that was not exported again"


def _names(model: OnnxModel) -> list[set[str]]:
    return [{spec.name for spec in side} for side in (model.inputs, model.outputs)]


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
