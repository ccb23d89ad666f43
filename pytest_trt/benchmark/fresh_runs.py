"""Rounds of a test's engine in fresh processes, one after another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pytest_trt.benchmark.fresh_job import FreshJob, FreshRun, hand_over
from pytest_trt.benchmark.fresh_process import measure_fresh
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.engine.build import Engine
from pytest_trt.plugin.run import TrtRun
from pytest_trt.statistics.decide import FRESH_LOOKS, Unavailable
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU, Mode

#: Seconds that a fresh process may take before its first round: to start CUDA and the vendor's
#: libraries, to load the plan, to warm up. On an H200 TensorRT 8.6 takes ten of them.
START_S = 180.0

#: How many times as long as here the rounds may take there before the process is taken to hang.
_SLOWER = 20


class FreshRuns(ExitStack):
    """Takes rounds of one engine in processes of their own; to be used under the device's lock.

    Args:
        run: What the tests of this run share.
        engine: The engine.
        inputs: What every call computes on.
        mode: How calls are timed.
        sampling: The same engine in this process, warm: it tells how long rounds are.
        say: Told what is being done.

    Attributes:
        mode: How calls are timed.
    """

    def __init__(
        self,
        run: TrtRun,
        engine: Engine,
        inputs: Tensors,
        mode: Mode,
        sampling: Sampling,
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._run, self._engine, self._inputs, self.mode = run, engine, inputs, mode
        self._sampling, self._say = sampling, say
        self._handed: Path | None = None

    def rounds(self, rounds: int) -> Rounds:
        """Take so many rounds in a fresh process, and keep them with the others; see `take`."""
        run = self.take(rounds)
        self._sampling.elsewhere.append(run.rounds)
        self._sampling.meter.load += run.load
        return run.rounds

    def take(self, rounds: int, *, beside: bool = False, title: str = "") -> FreshRun:
        """Take so many rounds in a fresh process.

        Args:
            rounds: How many.
            beside: Whether to take as many turns with a second session of the engine as well.
            title: Which process it is, as a step of something larger; else one of a decision's.

        Raises:
            Unavailable: It could not; the text says why.
            Disturbed: The device was.
        """
        job = self._job(rounds, beside=beside)
        # What the tests before have loaded is not needed now, and the other process has to fit.
        self._run.unload_others(self._engine)
        return measure_fresh(
            job,
            timeout_s=START_S + _SLOWER * rounds * self._sampling.round_s * (4 if beside else 1),
            progress=lambda text: self._say(f"{title or self._which()}: {text}"),
        )

    def _which(self) -> str:
        # The process of the tests is the first of those that the last look is at.
        return f"fresh process {len(self._sampling.elsewhere) + 1} of {FRESH_LOOKS[-1] - 1}"

    def _job(self, rounds: int, *, beside: bool) -> FreshJob:
        engine, settings = self._engine, self._run.settings
        try:
            if self._handed is None:
                folder = tempfile.TemporaryDirectory(prefix="pytest-trt-")
                self._handed = hand_over(self._inputs, Path(self.enter_context(folder)))
        except (ValueError, OSError) as error:
            raise Unavailable(f"no fresh process can measure it: {error}") from error
        gpu = None if engine.target.arch == CPU else self._run.probe.first(engine.target.arch)
        return FreshJob(
            backend=self._run.backend(engine.target.arch).name,
            device="" if gpu is None else gpu.uuid or str(gpu.index),
            threads=settings.threads,
            entry=engine.plan.parent,
            key=engine.key.digest,
            model=engine.model,
            spec=engine.spec,
            target=engine.target,
            inputs=self._handed,
            mode=self.mode,
            items_per_call=self._sampling.items_per_call,
            calls=self._sampling.calls,
            rounds=rounds,
            beside=beside,
        )
