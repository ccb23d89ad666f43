"""A run of an engine or a reference in the child process, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_trt.backends.conversion.isolated import (
    Task,
    failure,
    lack_of_memory,
    reply_isolated,
    reply_waiting,
)
from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.backends.onnxruntime.reference import NO_REFERENCE
from pytest_trt.backends.onnxruntime.session import listed, shapes_of, too_slow
from pytest_trt.diagnostics import (
    EngineBuildError,
    EngineLoadError,
    EngineRunError,
    Fact,
    ModelError,
    PytestTrtError,
    Remedy,
)
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.files import FileStamp, memory_file
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.libraries import Library
from pytest_trt.records import to_data
from pytest_trt.tensors.spec import Tensors
from pytest_trt.tensors.stored import read_samples, write_samples
from pytest_trt.workers.process import Reply, Worker

_DOES = "pytest_trt.backends.onnxruntime.running:do_run"

#: Lines of the child's standard error that are shown.
_STDERR_LINES = 20


@dataclass(frozen=True, slots=True)
class Source:
    """What is loaded for a run.

    Attributes:
        model: The model's file.
        size_bytes: Size of the model.
        plan: The plan, by a path that other processes can open; None for the model as it is, which
            is the reference.
        shown: The plan, as messages name it.
        spec: What was requested, without profiles.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        custom_ops: Libraries of custom operators.
        stamps: Stamps of the model's files when they were hashed: what was loaded before for other
            ones may be of other bytes.
    """

    model: Path
    size_bytes: int
    plan: Path | None = None
    shown: Path = Path()
    spec: EngineSpec = field(default_factory=EngineSpec)
    threads: int = 0
    custom_ops: tuple[Library, ...] = ()
    stamps: tuple[FileStamp, ...] = ()


@dataclass(frozen=True, slots=True)
class RunJob:
    """One run.

    Attributes:
        subject: What is run, as messages name it: "the fp32 engine of digits.onnx".
        inputs: The file of the inputs.
        outputs: The file for the outputs.
        timeout_s: Seconds after which the run is ended, apart from loading; 0 for no limit.
        source: What is loaded and run; None for what the child process holds.
        held: What it holds, see `RunThere`.
        built: In place of that: the plan that it built, and holds if the file has not changed.
        threads: Threads of one inference of that plan.
        ahead: What the next job is expected to run. It is loaded while the parent works on.
    """

    subject: str
    inputs: Path
    outputs: Path
    timeout_s: float
    source: Source | None = None
    held: str = ""
    built: Path | None = None
    threads: int = 0
    ahead: Source | None = None


class RunThere(NamedTuple):
    """What came of a run in the child process.

    Attributes:
        outputs: The outputs by name.
        load_s: Seconds that loading took.
        run_s: Seconds that the run took.
        held: By which name the child process holds what it loaded; empty if it does not.
    """

    outputs: dict[str, npt.NDArray[np.generic]]
    load_s: float
    run_s: float
    held: str


def run_isolated(
    subject: str,
    model: OnnxModel,
    inputs: Tensors,
    *,
    source: Source | None = None,
    held: str = "",
    built: Path | None = None,
    threads: int = 0,
    ahead: Source | None = None,
    load_timeout_s: float,
    timeout_s: float,
) -> RunThere | None:
    """Run an engine or a reference once in the child process.

    Args:
        subject: What is run, as messages name it.
        model: Its model.
        inputs: Its inputs.
        source: What is loaded; None for what the child process holds.
        held: What it holds, see `RunThere`.
        built: In place of that: the plan that it built, and holds if the file has not changed.
        threads: Threads of one inference of that plan.
        ahead: What the next job is expected to run; see `RunJob`.
        load_timeout_s: Seconds after which loading is ended; 0 for no limit.
        timeout_s: Seconds after which the run is ended; 0 for no limit.

    Returns:
        The outputs, or None if the inputs cannot be sent to another process, or it does not hold
        that any more.

    Raises:
        ModelError, EngineLoadError: Loading the reference or the engine failed, crashed, took too
            long, or needs more memory than there is.
        EngineRunError: The run did.
        OSError: A file cannot be read or written.
    """
    precision = "fp32" if source is None else source.spec.precision
    task = Task(f"loading {subject}", model, precision, load_timeout_s)
    call = reply_waiting if source is None else reply_isolated
    with memory_file() as given, memory_file() as outputs:
        try:
            write_samples(given, [inputs])
        except ValueError:
            return None
        job = RunJob(subject, given, outputs, timeout_s, source, held, built, threads, ahead)
        ended = call(_DOES, task, job=to_data(job))
        if ended is None:
            return None
        worker, reply = ended
        if reply.is_done:
            if not reply.result:
                return None
            (found,) = read_samples(outputs)
            return RunThere(dict(found), **reply.result)
    if reply.step_timeout_s is None:
        is_engine = source is not None and source.plan is not None
        raise _load_failure(worker, reply, task, is_engine=is_engine) from reply.error
    raise _run_failure(reply, subject, inputs, timeout_s) from reply.error


def _load_failure(
    worker: Worker, reply: Reply, task: Task, *, is_engine: bool
) -> PytestTrtError | OSError:
    error = failure(worker, reply, task)
    if not isinstance(error, EngineBuildError):
        return error
    found, kind = error.diagnostic, EngineLoadError if is_engine else ModelError
    details = found.details if is_engine else (NO_REFERENCE, *found.details)
    return kind(
        error.message, fix=found.remedy, code=found.code, facts=found.facts, details=details
    )


def _run_failure(
    reply: Reply, subject: str, inputs: Tensors, timeout_s: float
) -> PytestTrtError | OSError:
    if reply.timed_out:
        return too_slow(subject, inputs, timeout_s, stuck=False)
    lack, shapes, version = lack_of_memory(reply), shapes_of(inputs), onnxruntime_version()
    if reply.error is not None and not lack:
        return reply.error
    facts: dict[str, Fact] = {
        "subject": subject,
        "backend": "onnxruntime",
        "version": version,
        "shapes": shapes,
    }
    if lack:
        return EngineRunError(
            f"{subject} failed on {listed(shapes)} (ONNX Runtime {version}): {lack}",
            fix="Feed a smaller batch, or free memory on this machine.",
            code="TRT342",
            facts=facts,
        )
    how = reply.signal_name or f"exit status {reply.status}"
    fix = Remedy(
        "Check the values of the inputs. If they are valid:",
        alternatives=(
            "another version of ONNX Runtime",
            "report it to the ONNX Runtime project with the model, the inputs and this log",
        ),
    )
    if reply.signal_name == "SIGKILL":
        fix = Remedy(
            "Memory may have run out: free memory, feed a smaller batch, or test in fewer "
            "processes (pytest -n). The kernel's log names the processes that it killed:",
            ("dmesg",),
        )
    return EngineRunError(
        f"{subject} crashed ONNX Runtime {version} ({how}) on {listed(shapes)}",
        fix=fix,
        code="TRT346",
        facts={**facts, "signal": reply.signal_name, "status": reply.status},
        details=[f"| {line}" for line in list(reply.stderr)[-_STDERR_LINES:]],
    )
