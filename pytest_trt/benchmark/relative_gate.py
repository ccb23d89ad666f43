"""Relative limits of one test: the engine against its baseline, by the evidence that there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.baselines import engine_facts, stored_rounds
from pytest_trt.benchmark.calibration import noise_of
from pytest_trt.benchmark.conditions import incomparable_reason, is_same
from pytest_trt.benchmark.fresh_runs import FreshRuns
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.benchmark.testability import left_out
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.git import commit_that_added
from pytest_trt.plugin.run import TrtRun
from pytest_trt.statistics.decide import Decision, Samplers, decide
from pytest_trt.statistics.discount import discount_host_noise, exempt_identical_plan, explained
from pytest_trt.statistics.limits import Limits
from pytest_trt.statistics.rounds import testable


class RelativeGate:
    """Decides whether an engine is slower than its baseline.

    Args:
        run: What the tests of this run share.
        engine: The engine.
        limits: The limits of its test.
        checks: How many limits the tests of this run have in all.
        file: Where the baseline is kept.
    """

    def __init__(
        self, run: TrtRun, engine: Engine, limits: Limits, checks: int, file: Path
    ) -> None:
        self._run, self._engine, self._settings = run, engine, run.settings
        self._limits, self._checks, self._file = limits, checks, file

    def decided(
        self, sampling: Sampling, entry: Entry, fresh: FreshRuns, conditions: Mapping[str, str]
    ) -> Decision:
        """Take the rounds that a decision needs, and return it.

        Args:
            sampling: The engine in this process, warm.
            entry: The baseline.
            fresh: The engine in other processes.
            conditions: What its speed hangs on besides, as of now.
        """
        mode = fresh.mode
        # Rounds of another length cannot be joined with the newest.
        runs = [run for run in entry.runs if run.calls == sampling.calls]
        left = left_out(self._limits, testable(sampling.calls))
        limits = {m: limit for m, limit in self._limits.relative.items() if m not in left}
        alike = [run for run in runs if incomparable_reason(run.environment, conditions) is None]
        same = entry.engine.get("key") == self._engine.key.digest
        here = self._run.place(self._engine.target).environment
        changed = not is_same(entry.runs[-1].environment, here)
        # What is only the machine's by the host's clock, other processes cannot mend.
        futile = self._settings.update or (same and not changed and mode == "end_to_end")
        with (
            self._baseline_engine(entry, same=same) as baseline,
            sampling.against(baseline, Random(0)) as turns,
        ):
            decision = decide(
                limits,
                [stored_rounds(run) for run in alike or runs],
                Samplers(sampling.screen, turns, None if futile else fresh.rounds),
                checks=self._checks,
                mode=mode,
                # By the host's clock, rounds of another hour say less than turns that can be had.
                stored_comparable=bool(alike) and (turns is None or mode != "end_to_end"),
                noise=noise_of(entry.noise),
            )
            gone = turns is None and not same and not self._settings.update
        if not alike and turns is None:
            decision = explained(
                decision, incomparable_reason(runs[-1].environment, conditions) or ""
            )
        if mode == "end_to_end":
            busy = sampling.meter.load.busy
            decision = discount_host_noise(
                decision, same_engine=same, same_environment=not changed, busy=busy
            )
        elif not changed and entry.engine.get("plan") == engine_facts(self._engine)["plan"]:
            decision = exempt_identical_plan(decision)
        if gone and decision.outcome == "inconclusive":
            return explained(decision, self._no_turns(entry))
        return decision

    def _no_turns(self, entry: Entry) -> str:
        """Return why the baseline engine takes no turns, and how it could."""
        then, now = entry.runs[-1].toolchain, str(self._engine.toolchain)
        if then != now:
            return f"the baseline engine is of {then} and cannot take turns with one of {now}"
        # The file's last commit may be that of another test's baseline.
        commit = commit_that_added(str(entry.engine.get("key", "")), self._file)
        return (
            "the baseline engine is not in the engine cache to take turns with; to have it there, "
            f"check out the commit of the baseline{f' ({commit})' if commit else ''}, run `pytest "
            "--trt-build-only` with the same cache, and come back"
        )

    @contextmanager
    def _baseline_engine(self, entry: Entry, *, same: bool) -> Iterator[BackendSession | None]:
        """Lend the baseline engine, where it is another one and still in the cache."""
        # An update only asks whether the new rounds agree with the stored ones.
        if same or self._settings.update:
            yield None
            return
        lent = self._run.opened(str(entry.engine.get("key", "")), self._engine)
        try:
            yield lent
        finally:
            if lent is not None:
                self._run.lost_device.release(lent)
