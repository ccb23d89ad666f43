"""Rounds of one engine in fresh processes, one after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pytest_trt.benchmark.evidence import Machine
from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun, hand_over
from pytest_trt.benchmark.fresh_process import measure_fresh
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.engine.build import Engine
from pytest_trt.statistics.decide import FRESH_LOOKS, Unavailable
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Mode

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
        say: Told what is being done.
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

    def take(self, rounds: int, *, beside: bool = False, title: str = "") -> FreshRun:
        """Take so many rounds in a fresh process.

        Args:
            rounds: How many.
            beside: Whether the engine is then also interleaved with a second session of itself.
            title: Which process it is, as a step of something larger; else one of a decision's.

        Raises:
            Unavailable: It could not; the text says why.
            Disturbed: The device was.
        """
        job = self._job(rounds, beside=beside)
        # What earlier tests have loaded is not needed now, and the other process needs the memory.
        self._machine.unload_others(self._engine)
        run = measure_fresh(
            job,
            timeout_s=START_S + _SLOWER * rounds * self._sampling.round_s * (4 if beside else 1),
            progress=lambda text: self._say(f"{title or self._title()}: {text}"),
        )
        return replace(run, load=self._machine.host.believed(run.load))

    def _title(self) -> str:
        # The process of the tests is the first of those that the last look is at.
        return f"fresh process {len(self._sampling.elsewhere) + 1} of {FRESH_LOOKS[-1] - 1}"

    def _job(self, rounds: int, *, beside: bool) -> FreshJob:
        engine, how = self._engine, self._machine.fresh_job(self._engine)
        try:
            if self._inputs_file is None:
                folder = tempfile.TemporaryDirectory(prefix="pytest-trt-")
                self._inputs_file = hand_over(self._inputs, Path(self.enter_context(folder)))
        except (ValueError, OSError) as error:
            raise Unavailable(f"no fresh process can measure it: {error}") from error
        return FreshJob(
            backend=how.backend,
            device=how.device,
            threads=how.threads,
            entry=engine.plan.parent,
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
            beside=beside,
        )
