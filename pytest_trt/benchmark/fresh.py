"""Rounds of one engine in fresh processes, one after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pytest_trt.benchmark.evidence import Machine
from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun, write_inputs
from pytest_trt.benchmark.rounds import Disturbed
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.diagnostics import BackendUnavailableError, PytestTrtError
from pytest_trt.engine.build import Engine
from pytest_trt.statistics.decide import FRESH_LOOKS, Unavailable
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Mode
from pytest_trt.workers.process import Reply, Worker

_CHILD = "pytest_trt.benchmark.fresh_child"

#: Seconds that a fresh process may take before its first round: to start CUDA and the vendor's
#: libraries, to load the plan, to warm up. On an H200 TensorRT 8.6 takes ten of them.
START_S = 180.0

#: How many times as long as here the rounds may take there before the process is taken to hang.
_SLOWER = 20


class FreshRuns(ExitStack):
    """Takes rounds of one engine in processes of their own; to be used under the device's lock.

    Args:
        machine: Where engines are timed.
        engine: The engine.
        inputs: What every call computes on.
        mode: How calls are timed.
        sampling: The same engine in this process, warm: it knows how long rounds are.
        say: Receives what is being done.
    """

    def __init__(
        self,
        machine: Machine,
        engine: Engine,
        inputs: Tensors,
        mode: Mode,
        sampling: Sampling,
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._machine, self._engine, self._inputs, self._mode = machine, engine, inputs, mode
        self._sampling, self._say = sampling, say
        self._inputs_file: Path | None = None

    def rounds(self, rounds: int) -> Rounds:
        """Take so many rounds in a fresh process, and add them to the others; see `take`."""
        run = self.take(rounds)
        self._sampling.elsewhere.append(run.rounds)
        self._sampling.meter.add(run.load)
        return run.rounds

    def take(self, rounds: int, *, interleave: bool = False, title: str = "") -> FreshRun:
        """Take so many rounds in a fresh process.

        Args:
            rounds: How many.
            interleave: Whether the engine is then also interleaved with a second session of itself.
            title: Which process it is, as a step of something larger; else one of a decision's.

        Raises:
            Unavailable: It could not, for the reason in the text.
            Disturbed: The device was.
        """
        job = self._job(rounds, interleave=interleave)
        # What earlier tests have loaded is not needed now, and the other process needs the memory.
        self._machine.unload_others(self._engine)
        run = measure_fresh(
            job,
            timeout_s=START_S
            + _SLOWER * rounds * self._sampling.round_s * (4 if interleave else 1),
            progress=lambda text: self._say(f"{title or self._title()}: {text}"),
        )
        return replace(run, load=self._machine.host.believed(run.load))

    def _title(self) -> str:
        # The process of the tests is the first of those that the last look is at.
        return f"fresh process {len(self._sampling.elsewhere) + 1} of {FRESH_LOOKS[-1] - 1}"

    def _job(self, rounds: int, *, interleave: bool) -> FreshJob:
        engine, how = self._engine, self._machine.fresh_job(self._engine)
        try:
            if self._inputs_file is None:
                folder = tempfile.TemporaryDirectory(prefix="pytest-trt-")
                self._inputs_file = write_inputs(self._inputs, Path(self.enter_context(folder)))
        except (ValueError, OSError) as error:
            raise Unavailable(f"no fresh process can measure it: {error}") from error
        return FreshJob(
            backend=how.backend,
            device=how.device,
            threads=how.threads,
            entry=engine.plan if engine.finished else engine.plan.parent,
            key=engine.key.digest,
            model=engine.model,
            spec=engine.spec,
            target=engine.target,
            inputs=self._inputs_file,
            mode=self._mode,
            items_per_call=self._sampling.items_per_call,
            calls=self._sampling.calls,
            rounds=rounds,
            proc=self._machine.host.proc,
            interleave=interleave,
            plan_digest=engine.plan_digest if engine.finished else "",
        )


def measure_fresh(
    job: FreshJob, *, timeout_s: float, progress: Callable[[str], None] = lambda text: None
) -> FreshRun:
    """Measure an engine in a process of its own, and wait for it.

    The caller holds the device's lock for both. No process is left in any case.

    Raises:
        Unavailable: It could not measure, crashed, was killed or took too long; the text says
            which, with the last lines that it wrote.
        Disturbed: The device was.
    """
    try:
        with Worker(_CHILD, task=f"measures {job.title}") as worker:
            reply = worker.run(job.to_data(), timeout_s=timeout_s, progress=progress)
    except BackendUnavailableError as error:
        raise Unavailable(error.message) from error
    if not reply.is_done:
        lines = " | ".join(line.strip() for line in list(reply.stderr)[-20:])
        output = f"; its output: {lines}" if lines else ""
        raise Unavailable(
            f"the fresh process that measures {job.title} {_failure(reply, timeout_s)}, its last "
            f"step: {reply.step}{output}"
        )
    if "disturbed" in reply.result:
        raise Disturbed(reply.result["disturbed"])
    return FreshRun.from_data(reply.result)


def _failure(reply: Reply, timeout_s: float) -> str:
    if isinstance(reply.error, PytestTrtError):
        return f"failed: {reply.error.message.rstrip('.')}"
    if reply.error is not None:
        return f"failed: {reply.error}"
    if reply.timed_out:
        return f"took longer than {timeout_s:.0f} s and was ended"
    if reply.signal_name == "SIGKILL":
        return "was killed (SIGKILL; the machine's memory may have run out)"
    return (
        f"crashed ({reply.signal_name})"
        if reply.signal_name
        else (f"ended with exit status {reply.status}")
    )
