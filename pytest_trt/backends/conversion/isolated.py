"""ONNX Runtime and onnx at work in a child process: they may crash, hang or run out of memory.

One process per pytest process, started when it is first needed. It retains the modules that it has
imported, so that a small model costs it a few milliseconds.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.backends.ended import ended_early
from pytest_trt.diagnostics import EngineBuildError, PytestTrtError, Remedy
from pytest_trt.engine.protocols import Progress
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import InputSamples
from pytest_trt.tensors.stored import write_samples
from pytest_trt.workers.process import Reply, Worker
from pytest_trt.workers.warm import WarmBuilder

_CHILD = "pytest_trt.workers.calls"

#: The file of samples, next to what is made with them.
_SAMPLES_NAME = "samples"

#: This process's. All that the functions need from environment and search path is imported first.
_warm = WarmBuilder(fixed_environment=True)


@dataclass(frozen=True, slots=True)
class Task:
    """What is done to a model in the child process.

    Attributes:
        doing: What, for messages: "building digits.onnx fp16 for cpu".
        model: The model.
        precision: The precision that is asked for.
        timeout_s: Seconds after which it is ended; 0 for no limit.
        progress: Called with each step, and with the seconds so far while nothing is new.
    """

    doing: str
    model: OnnxModel
    precision: str = "fp32"
    timeout_s: float = 0
    progress: Progress = lambda message: None


def call_isolated(function: str, task: Task, **arguments: object) -> Any:
    """Call a function of this package in the child process, and return what it returns.

    Args:
        function: "package.module:function". It is called with `progress` and the arguments.
        task: What it does.
        **arguments: JSON-simple, as the result is.

    Raises:
        PytestTrtError: What the function raised; an EngineBuildError where the process took too
            long, crashed, or needs more memory than there is.
        OSError: A file cannot be read or written.
    """
    worker, reply = reply_isolated(function, task, **arguments)
    if reply.is_done:
        return reply.result
    raise failure(worker, reply, task) from reply.error


def reply_isolated(function: str, task: Task, **arguments: object) -> tuple[Worker, Reply]:
    """Call a function of this package in the child process; return that process and its reply."""
    return _warm.run(
        _kind(task),
        lambda: Worker(_CHILD, task=f"is {task.doing}"),
        {"function": function, "arguments": arguments},
        timeout_s=task.timeout_s,
        progress=task.progress,
    )


def reply_waiting(function: str, task: Task, **arguments: object) -> tuple[Worker, Reply] | None:
    """Call a function as `reply_isolated` does; None where no child process waits for it."""
    return _warm.run_waiting(
        _kind(task),
        {"function": function, "arguments": arguments},
        timeout_s=task.timeout_s,
        progress=task.progress,
    )


def _kind(task: Task) -> Hashable:
    # A process that has loaded a library keeps those bytes, whatever its path holds later.
    return "calls", tuple((str(one.path), one.digest) for one in task.model.custom_ops)


def failure(worker: Worker, reply: Reply, task: Task) -> PytestTrtError | OSError:
    """Return the error for a reply without a result; see `call_isolated`."""
    if lack := lack_of_memory(reply):
        return _out_of_memory(task, lack)
    return reply.error or ended_early(
        worker,
        reply,
        doing=task.doing,
        label=f"ONNX Runtime {onnxruntime_version()}",
        timeout_s=task.timeout_s,
        facts={"model": str(task.model.path), "precision": task.precision},
        quicker=('builder_options={"graph_optimization_level": "basic"}', "a smaller model"),
        report_to="the ONNX Runtime project",
    )


@contextmanager
def stored_samples(samples: InputSamples, folder: Path) -> Iterator[Path | None]:
    """Provide a file for `tensors.stored.StoredSamples`; None where there are no samples.

    Args:
        samples: What is stored while the block runs.
        folder: A folder that only this user can read.
    """
    if not len(samples):
        yield None
        return
    path = folder / _SAMPLES_NAME
    try:
        write_samples(path, samples)
        yield path
    finally:
        path.unlink(missing_ok=True)


def lack_of_memory(reply: Reply) -> str:
    """Return what the child process reports of memory that it lacks, or "" if it does not."""
    error = reply.error
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return str(error.strerror)
    return ""


def _out_of_memory(task: Task, lack: str) -> EngineBuildError:
    return EngineBuildError(
        f"{task.doing}: {lack}",
        fix=Remedy(
            "Free memory, or build in fewer processes at once (pytest -n). A small model that "
            "needs so much memory is damaged or hostile: do not use it."
        ),
        code="TRT359",
        facts={"model": str(task.model.path), "precision": task.precision},
    )
