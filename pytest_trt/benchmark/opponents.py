"""Another engine of the same run, interleaved with the candidate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from pytest_trt.benchmark.evidence import Interleave, Machine
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.engine.build import Engine
from pytest_trt.engine.session import load_here
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Mode


class EngineOpponent:
    """An engine that the candidate has to be faster than.

    Args:
        machine: Where engines are timed.
        name: The opponent, as the limit names it.
        engine: Its engine.
        inputs: What every call computes on.
        sampling: Takes the rounds of the candidate.
        candidate: The candidate.
        mode: How the candidate is timed.
        budget_s: Seconds that the first rounds of each engine may take.

    Attributes:
        name: The opponent, as the limit names it.
        ran: What it is: model, precision, architecture, toolchain.
        mode: How both are timed: as the candidate is, or end to end where they run on different
            devices.
        pairs: Rounds of the opponent and of the candidate, by look.
    """

    def __init__(
        self,
        machine: Machine,
        name: str,
        engine: Engine,
        inputs: Tensors,
        *,
        sampling: Sampling,
        candidate: Engine,
        mode: Mode,
        budget_s: float,
    ) -> None:
        self.name, self._machine, self._engine = name, machine, engine
        self._inputs, self._sampling, self._budget_s = inputs, sampling, budget_s
        self.mode: Mode = mode if engine.target.arch == candidate.target.arch else "end_to_end"
        of = (engine.model.path.name, engine.spec.precision, engine.target.arch)
        self.ran = ", ".join((*of, str(engine.toolchain)))
        self.pairs: list[tuple[Rounds, Rounds]] = []

    @contextmanager
    def interleaving(self) -> Iterator[Interleave]:
        """Load it, and interleave the candidate with it."""
        with self._machine.opened_beside(self._engine) as session:
            session.run(self._inputs)  # the first run may be another process's
            load_here(session)
            yield self._sampling.with_opponent(
                self.name,
                session,
                self.mode,
                self.pairs,
                budget_s=self._budget_s,
                random=Random(0),
            )
