"""The session that a test runs: an engine that checks what goes in and reports what comes out."""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import InputError, PytestTrtError, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import BackendSession, LoadsLater
from pytest_trt.engine.spec import OptionValue
from pytest_trt.escaping import terminal
from pytest_trt.tensors.checks import check_inputs
from pytest_trt.tensors.profile_choice import select_profile
from pytest_trt.tensors.spec import Tensors

#: Where Python, installed packages and this one are: `Thread(target=trt_session.run)` calls from
#: there.
_LIBRARIES = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)

#: Receives every run: the engine, what went in, and what came out or was raised.
Observer = Callable[[Engine, Tensors, Tensors | BaseException], None]


class Session:
    """An engine that runs: `outputs = trt_session.run({"image": images})`.

    The engine is loaded on first use. Threads may share a session: one runs at a time.

    Args:
        engine: The engine.
        loaded: Gives the loaded engine for one run; it may be unloaded between two runs.
        observer: Receives every run, or None.
        own: Takes those inputs out that are for the observer alone; by default there are none.

    Attributes:
        used: Whether it was run or loaded, or its engine was looked at.
    """

    def __init__(
        self,
        engine: Engine,
        loaded: Callable[[Engine], AbstractContextManager[BackendSession]],
        observer: Observer | None,
        own: Callable[[Tensors], Tensors] = lambda inputs: inputs,
    ) -> None:
        self._engine = engine
        self._loaded = loaded
        self._observer = observer
        self._own = own
        self.used = False

    @property
    def engine(self) -> Engine:
        """The engine that runs, with its facts."""
        self.used = True
        return self._engine

    def __repr__(self) -> str:
        engine = self._engine
        name = f"{engine.model.path.name} {engine.spec.precision} {engine.target.arch}"
        return terminal(f"<session of {name}>")

    @property
    def graph_refusal(self) -> str | None:
        """Why runs of the last shapes are not replayed as a CUDA graph; None where they may be.

        Runs with the same shapes are replayed from the third on, if the engine can be captured. On
        the CPU it is always None.
        """
        self.used = True
        with self._loaded(self._engine) as session:
            return session.graph_refusal

    def __getattr__(self, name: str) -> NoReturn:
        hint = ": write trt_session.run(inputs)" if name == "infer" else ""
        raise AttributeError(f"a pytest-trt session has no attribute {name!r}{hint}")

    def run(self, inputs: Tensors, *more: object) -> dict[str, npt.NDArray[np.generic]]:
        """Return every output of the model for these inputs, by name.

        Under a `trt_consistency` marker the outputs are compared with the FP32 reference.

        Args:
            inputs: Every input of the model by name, as NumPy arrays in the model's dtypes, and
                those of `trt_model(reference_only=...)`. They are read, never changed. A sequence
                is a list, a map a dict, and an optional that is absent is None; so they are in the
                outputs.
            *more: Nothing: `run(None, inputs)`, as ONNX Runtime has it, is refused.

        Returns:
            New arrays in the model's dtypes, which the caller owns. Types that NumPy lacks are
            those of ml_dtypes.

        Raises:
            InputError: An input is missing, unknown, has the wrong dtype, or has a shape (or
                values, where it holds a shape) that the model or all of its profiles exclude. The
                same on every backend.
            EngineRunError: The engine failed.
            DeviceLostError: It failed so that this process can no longer use the GPU.
            ConfigurationError: The test is over, so that its checks would not judge the run.
        """
        __tracebackhide__ = True
        self.used = True
        outputs: dict[str, npt.NDArray[np.generic]] | None = None
        try:
            if more:
                raise InputError(
                    f"trt_session.run takes one argument, the inputs, but was given "
                    f"{1 + len(more)}, like ONNX Runtime's run(None, inputs)",
                    fix='write trt_session.run(inputs)["OUTPUT"].',
                    code="TRT221",
                    facts={"problem": "several arguments"},
                )
            own = self.check(inputs)
            try:
                with self._loaded(self._engine) as session:
                    started_s = time.perf_counter()
                    outputs = session.run(own)
                    self._engine.timings.ran(time.perf_counter() - started_s)
                    if self._observer is not None:
                        self._observer(self._engine, inputs, outputs)
            except InputError:
                raise
            except BaseException as error:
                if outputs is None and self._observer is not None:
                    self._observer(self._engine, inputs, error)
                raise
        except PytestTrtError as error:
            # The engine itself may refuse inputs, too, for their values.
            refused = isinstance(error, InputError) and outputs is None
            if refused and self._observer is not None:
                self._observer(self._engine, inputs, error)
            # Without the package's own frames: the line to fix is the test's.
            raise error.with_traceback(None) from None
        return outputs

    def load(self) -> None:
        """Load the engine now instead of in the first run.

        Raises:
            EngineLoadError: It cannot be loaded.
        """
        self.used = True
        with self._loaded(self._engine) as session:
            load_here(session)

    def check(self, inputs: Tensors) -> Tensors:
        """Return the inputs of the engine, and refuse those that the model or its profiles exclude.

        Raises:
            InputError: They do; see `run`.
        """
        model, spec = self._engine.model, self._engine.spec
        own = self._own(inputs)
        check_inputs(model.inputs, own)
        try:
            select_profile(spec.profiles, model.inputs, own)
        except InputError as error:
            if self._engine.finished:
                remedy = Remedy("feed inputs inside a profile of the plan, or build a wider one.")
                error.diagnostic = replace(error.diagnostic, remedy=remedy)
            raise
        return own


def load_here(session: BackendSession) -> None:
    """Load an engine in this process, where its first runs happen in another one.

    Raises:
        EngineLoadError: It cannot be loaded.
    """
    if isinstance(session, LoadsLater):
        session.load()


class EngineFactory(Protocol):
    """What the `trt_build` fixture is: `trt_build(precision="int8").run(inputs)`.

    What is not given comes from the trt_model marker.
    """

    def __call__(
        self,
        precision: str = ...,
        *,
        profiles: Any = ...,
        builder_options: Mapping[str, OptionValue] = ...,
        keep_fp32: Sequence[str] | str = ...,
    ) -> Session:
        """Build an engine, or take it from the cache, and return a session that runs it.

        Args:
            precision: One of `engine.spec.PRECISIONS`: "fp32", "fp16", "int8".
            profiles: Ranges of the dynamic inputs, as on the trt_model marker.
            builder_options: Options of the backend's builder by name.
            keep_fp32: What stays in FP32: names of nodes, operators, patterns of names of nodes.

        Raises:
            ConfigurationError: Something given is invalid.
            EngineBuildError: The engine cannot be built.
        """
        ...


class SharedEngineFactory(Protocol):
    """What the `trt_engines` fixture is: `trt_engines("models/model.onnx", precision="fp16")`."""

    def __call__(
        self,
        model: str | Path,
        *,
        precision: str = ...,
        arch: str = ...,
        profiles: Any = ...,
        reference: str | Path = ...,
        reference_names: Mapping[str, str] = ...,
        reference_only: Sequence[str] = ...,
        builder_options: Mapping[str, OptionValue] = ...,
        keep_fp32: Sequence[str] | str = ...,
        by_backend: Mapping[str, Mapping[str, Any]] = ...,
        input_ranges: Mapping[str, Any] = ...,
        seed: int = ...,
        calibration: object = ...,
    ) -> Session:
        """Build an engine, or take it from the cache, and return a session that tests may share.

        Args:
            model: Path of the ONNX file, relative to the file that calls.
            precision: One of `engine.spec.PRECISIONS`: "fp32", "fp16", "int8".
            arch: One of the architectures that the run tests; needed where it tests several.
            profiles: Ranges of the dynamic inputs, as on the trt_model marker.
            reference: ONNX file to compare with instead of the model itself.
            reference_names: Names in the reference by name in the model, where the two differ.
            reference_only: Inputs and outputs that only the reference has.
            builder_options: Options of the backend's builder by name.
            keep_fp32: What stays in FP32: names of nodes, operators, patterns of names of nodes.
            by_backend: Both of them by backend, which take precedence.
            input_ranges: Value ranges of seeded calibration inputs.
            seed: Seed of seeded calibration inputs.
            calibration: Inputs that an int8 engine is calibrated on, as trt_calibration returns
                them; seeded ones by default.

        Raises:
            ConfigurationError: Something given is invalid.
            EngineBuildError: The engine cannot be built.
        """
        ...


class CallingLine(str):
    """A line of code, as "test_digits.py:12".

    Attributes:
        file: The path of its file; empty where no line is known.
        line: Its number.
    """

    file, line = "", 0


def calling_line() -> CallingLine:
    """Return the line of the test that called `run` or timed an engine, or the thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    if frame is None:
        return CallingLine(f"thread {threading.current_thread().name}")
    path = Path(frame.f_code.co_filename)
    found = CallingLine(f"{path.name}:{frame.f_lineno}")
    found.file, found.line = str(path), frame.f_lineno
    return found
