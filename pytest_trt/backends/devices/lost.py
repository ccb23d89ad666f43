"""A GPU that a test has lost for its whole process, and what becomes of the tests after it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pytest_trt.diagnostics import DeviceLostError
from pytest_trt.engine.protocols import Session


@dataclass(slots=True)
class Loss:
    """How the GPU was lost.

    Attributes:
        test: The test in which it was.
        status: CUDA's name of the error.
        told: Whether a test has failed since, so that the others may be skipped: without one, a
            run that skips them all would be taken for a pass.
    """

    test: str
    status: str
    told: bool = False

    def __str__(self) -> str:
        return f"not run: the GPU was lost in {self.test} ({self.status})"


class LostDevice:
    """Whether this process can still use CUDA.

    CUDA gives no way back: all its devices are lost with the first context that is.

    Attributes:
        loss: How it was lost; None while it is not.
    """

    def __init__(self) -> None:
        self.loss: Loss | None = None

    @contextmanager
    def watching(self, test: str) -> Iterator[None]:
        """Remember a GPU that is lost meanwhile, and the test that lost it."""
        try:
            yield
        except DeviceLostError as error:
            self.loss = self.loss or Loss(test, error.status)
            raise

    def release(self, session: Session) -> None:
        """Close a session; keep it forever where closing would call a CUDA that is lost."""
        if self.loss is None:
            # Every verdict stands by now: what shows at the end changes none of them.
            with suppress(DeviceLostError), self.watching("the end of the run"):
                session.close()
        if self.loss is not None:
            # One reference that nobody gives back: TensorRT's destructors free device memory, and
            # some end the process when that fails.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
