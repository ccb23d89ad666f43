"""A GPU that the process can no longer use after an error, and why later tests are skipped."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_trt.diagnostics import DeviceLostError
from pytest_trt.engine.protocols import BackendSession


@dataclass(slots=True)
class Loss:
    """How the GPU was lost.

    Attributes:
        test: The test in which it was.
        status: CUDA's name of the error.
        reported: Whether a test has failed since, so that the others may be skipped: without one,
            a run that skips them all would look like a pass.
    """

    test: str
    status: str
    reported: bool = False

    def __str__(self) -> str:
        return f"not run: the GPU was lost in {self.test} ({self.status})"


class LostDevice:
    """Whether this process can still use CUDA.

    There is no way back: a process loses all of its devices with the first context that is lost.

    Attributes:
        loss: How the GPU was lost; None as long as it is not.
    """

    def __init__(self) -> None:
        self.loss: Loss | None = None
        self._test = ""

    @contextmanager
    def watching(self, test: str) -> Iterator[None]:
        """Record a GPU that is lost meanwhile, and the test in which it was."""
        before, self._test = self._test, test
        try:
            yield
        except DeviceLostError as error:
            self._record(error)
            raise
        finally:
            self._test = before

    def release(self, session: BackendSession) -> None:
        """Close a session; where that would call a CUDA that is lost, leak it instead."""
        if self.loss is None:
            # Whoever needs the memory is not to blame, and may not need the GPU: the next test that
            # does is refused.
            try:
                session.close()
            except DeviceLostError as error:
                self._record(error)
        if self.loss is not None:
            # One reference that is never released: TensorRT's destructors free device memory, and
            # some end the process when that fails.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))

    def refuse_if_lost(self) -> None:
        """Raise before anything touches a GPU that is lost.

        Raises:
            DeviceLostError: It is.
        """
        if self.loss is not None:
            raise DeviceLostError(
                str(self.loss),
                fix="fix that test, or run it in its own process.",
                status=self.loss.status,
            )

    def _record(self, error: DeviceLostError) -> None:
        self.loss = self.loss or Loss(self._test or "the end of the run", error.status)
