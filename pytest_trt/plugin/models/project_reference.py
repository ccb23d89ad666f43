"""The reference that a project's own `trt_reference` fixture gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident

import pytest

from pytest_trt.accuracy.own_reference import OwnReference
from pytest_trt.accuracy.reference import ReferenceSession
from pytest_trt.accuracy.repeatable import Outputs
from pytest_trt.diagnostics import ConfigurationError, PytestTrtError
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import TestState, state_of
from pytest_trt.tensors.containers import shapes_text
from pytest_trt.tensors.spec import Tensors


@dataclass(frozen=True, slots=True)
class ProjectReference:
    """Gives reference outputs: those of a version are computed once, others at each call.

    Attributes:
        model: The model under test.
        run: What all tests of the run share.
        state: The test that is running, which drops its references when it is over.
    """

    model: OnnxModel
    run: TrtRun
    state: TestState

    @property
    def own(self) -> OwnReference:
        """What computes them, or holds them."""
        return self.state.references[self.model.digest]

    def __call__(self, inputs: Tensors) -> Tensors:
        """Return the outputs for inputs.

        Raises:
            ConfigurationError: They cannot be compared.
        """
        __tracebackhide__ = True
        if not self.own.producer:
            return self.compute(inputs)

        def compute() -> Outputs:
            __tracebackhide__ = True
            return self.compute(inputs)

        producer = f"{self.own.producer} in {self.own.file}"
        return self.run.stored_outputs(self.model, inputs, producer, compute)

    def compute(self, inputs: Tensors) -> Outputs:
        """Compute the outputs, even if they are cached.

        Raises:
            ConfigurationError: They cannot be compared, or it runs the engine under test.
        """
        __tracebackhide__ = True
        if get_ident() in self.state.in_reference:
            raise circular("ran an engine of trt_session or trt_build")
        self.state.in_reference.add(get_ident())
        try:
            return self.own.outputs(inputs)
        except PytestTrtError:
            raise
        except Exception as error:
            self.state.reference_error = error
            if hasattr(error, "add_note"):  # Python 3.11
                shapes = shapes_text(self.model.inputs, inputs)
                error.add_note(f"raised by the reference of trt_reference, inputs {shapes}")
            raise
        finally:
            self.state.in_reference.discard(get_ident())


def circular(what: str) -> ConfigurationError:
    """Return the error of a reference that needs a run which is compared with the reference.

    Args:
        what: What the fixture did: "requests trt_session".
    """
    return ConfigurationError(
        f"trt_reference {what}, whose outputs are compared with trt_reference",
        fix="Run an engine of trt_engines instead, or another library.",
        code="TRT157",
        facts={"problem": "circular"},
    )


def project_reference(
    given: object, item: pytest.Item, run: TrtRun, model: OnnxModel
) -> Callable[[Tensors], Tensors]:
    """Return what gives reference outputs, for what the trt_reference fixture returned.

    Raises:
        ConfigurationError: It cannot be used.
    """
    if isinstance(given, ReferenceSession):
        return given.run
    state = state_of(item)
    # One for the whole test: golden outputs fit one set of inputs, whichever engine runs.
    if model.digest not in state.references:
        state.references[model.digest] = OwnReference(given, item.path.parent, model)
    return ProjectReference(model, run, state)
