"""Sessions whose first runs happen in the child process.

A run that crashes, hangs or exhausts memory does so on certain inputs. So each kind of inputs
(`engine.run_records`) runs there first. Once that went well, runs happen in this process, where
they cost no more than ONNX Runtime takes. Two more runs happen there while the child process holds
what it loaded: most tests run an engine once or twice, and loading a small one here (0.9 ms with
the check of its plan; 0.4 ms for a reference) takes as long as what two runs there take longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.onnxruntime.session import OnnxRuntimeSession
from pytest_trt.engine.facts import Timings
from pytest_trt.engine.run_records import Ran, kind_of
from pytest_trt.tensors.spec import Tensors

if TYPE_CHECKING:
    from pytest_trt.backends.onnxruntime.run_job import RunThere

_T = TypeVar("_T")

#: Runs in the child process after which it is loaded here.
_RUNS_THERE = 3


class FirstRunsIsolated:
    """An engine or a reference of the embedded backend, loaded when this process first runs it.

    Args:
        load: Loads it in this process.
        isolated: Runs it in the child process, where what is held by the given name is not loaded
            again; None if the inputs cannot be sent there, or nothing is held by that name.
        ran: Kinds of inputs that it ran on before.
        timings: Receives what the child process measured.
    """

    def __init__(
        self,
        load: Callable[[], OnnxRuntimeSession],
        isolated: Callable[[Tensors, str], RunThere | None],
        ran: Ran,
        timings: Timings,
    ) -> None:
        self._load, self._isolated = load, isolated
        self._ran, self._timings = ran, timings
        self._session: OnnxRuntimeSession | None = None
        # What the child process holds it by, and how often it ran there.
        self._held, self._runs_there = "", 0

    @property
    def graph_refusal(self) -> str | None:
        """None: there are no CUDA graphs on the CPU."""
        return None

    @property
    def is_abandoned(self) -> bool:
        """Whether it cannot be used again: a run did not stop."""
        return self._session is not None and self._session.is_abandoned

    def load(self) -> OnnxRuntimeSession:
        """Load it in this process, if it is not."""
        if self._session is None:
            self._session = self._load()
        return self._session

    def run(self, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output for these inputs.

        Raises:
            EngineRunError: ONNX Runtime failed while running, took too long, or crashed.
            EngineLoadError, ModelError: It cannot be loaded.
        """
        there = self._first_run(inputs) or self._run_again_there(inputs)
        return there.outputs if there else self.load().run(inputs)

    def run_in_loop(
        self, loop: Callable[[Callable[[Tensors], object]], _T], inputs: Tensors, calls: int
    ) -> _T:
        """Return what a loop of runs in this process returns; see `OnnxRuntimeSession`."""
        self._first_run(inputs)
        return self.load().run_in_loop(loop, inputs, calls)

    def _first_run(self, inputs: Tensors) -> RunThere | None:
        """Run in the child process, unless inputs of this kind did before."""
        kind = kind_of(inputs)
        if kind in self._ran:
            return None
        first = self._run_there(inputs, self._held) if self._held else None
        first = first or self._run_there(inputs, "")
        if first is not None:
            self._ran.add(kind)
            self._timings.loaded(first.load_s)
            self._timings.ran(first.run_s)
        return first

    def _run_again_there(self, inputs: Tensors) -> RunThere | None:
        """Run in the child process while that takes less than to load it here."""
        if self._session is not None or not self._held or self._runs_there >= _RUNS_THERE:
            return None
        return self._run_there(inputs, self._held)

    def _run_there(self, inputs: Tensors, held: str) -> RunThere | None:
        run = self._isolated(inputs, held)
        self._held = run.held if run is not None else ""
        self._runs_there += 1
        return run

    def close(self) -> None:
        """Release the session; it cannot run afterwards."""
        if self._session is not None:
            self._session.close()
