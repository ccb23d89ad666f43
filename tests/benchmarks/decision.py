"""The decision rule over simulated processes and over recorded latencies: alarms, power, cost.

The acceptance list: false alarms at no change, none inside the limit, the power to call 10% and
20%, tails alone, the size of the test at its limit, calls and time that a decision costs. Each line
is a figure beside its target.

Run: PYTHONPATH=.:tests python tests/benchmarks/decision.py [--scale 1.0] [--traces FOLDER]
(scale 1.0 takes some minutes; 0.05 is a glance. The folder holds recorded latencies, one
NPZ file for each process, arrays named <engine>[_graph]_<gpu|wall>.)
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from simulated_processes import MACHINES, Change, Machine, rounds_of, samplers, stored_runs

from pytest_trt.statistics.bounds import paired
from pytest_trt.statistics.decide import FRESH_LOOKS, Decision, Samplers, Unavailable, decide
from pytest_trt.statistics.rounds import Rounds, summarise
from pytest_trt.terms import Mode

LIMITS = {"p50": 0.05, "throughput": 0.05, "p95": 0.10, "p99": 0.10}
CHECKS = 800


def simulated(
    machine: Machine, count: int, change: Change, *, turns: bool, runs: int, seed: int
) -> tuple[Counter[str], float, Counter[str]]:
    """Return verdicts, mean calls of a decision (both engines), and which metrics regressed."""
    verdicts: Counter[str] = Counter()
    regressed: Counter[str] = Counter()
    calls = 0.0
    for trial in range(count):
        random = np.random.default_rng([seed, trial])
        stored = stored_runs(machine, random, runs)
        decision = decide(
            LIMITS,
            stored,
            samplers(machine, random, change, turns=turns),
            checks=CHECKS,
            mode="end_to_end",
        )
        verdicts[decision.outcome] += 1
        regressed.update(m for m, found in decision.metrics.items() if found.outcome == "regressed")
        paired_rounds = max(
            (f.rounds for f in decision.metrics.values() if f.step == "interleaved"), default=0
        )
        calls += (decision.candidate_rounds + paired_rounds) * 70
    return verdicts, calls / count, regressed


def share(verdicts: Counter[str], name: str) -> float:
    return verdicts[name] / max(sum(verdicts.values()), 1) * 100


def line(what: str, verdicts: Counter[str], target: str, extra: str = "") -> None:
    total = sum(verdicts.values())
    shown = "  ".join(
        f"{name} {verdicts[name]}" for name in ("passed", "regressed", "inconclusive")
    )
    print(f"{what:66} {total:5}: {shown:48} target: {target} {extra}", flush=True)


def acceptance(scale: float) -> None:
    def trials(count: int) -> int:
        return max(10, round(count * scale))

    print("A2, A7: no change, interleaved A/B, one stored run")
    for name, machine in MACHINES.items():
        found, calls, _ = simulated(machine, trials(2000), Change(), turns=True, runs=1, seed=1)
        allowed = {"throttled": "<= 1 of 2000"}.get(name, "0")
        most = {"quiet": 1500, "usual": 1800}.get(name, 6000)
        line(f"  {name}", found, f"{allowed} regressed", f"; {calls:.0f} calls, at most {most}")
    for runs, targets in ((5, ("0", "0", "0", "<= 2")), (1, ("0", "0", "-", "<= 8 of 1000"))):
        print(f"A2: no change, stored runs only: {runs}")
        for (name, machine), target in zip(MACHINES.items(), targets, strict=True):
            found, _, _ = simulated(
                machine, trials(1000), Change(), turns=False, runs=runs, seed=2 + runs
            )
            line(f"  {name}", found, f"{target} regressed")
    print("A3: 3% slower, inside the limit")
    for turns in (True, False):
        for name, machine in MACHINES.items():
            found, _, _ = simulated(
                machine, trials(150), Change(1.03), turns=turns, runs=5, seed=10
            )
            line(f"  {name}, {'turns' if turns else 'stored only'}", found, "0 regressed")
    print("A4: power")
    least = {
        (True, 1.10): (99, 99, 99, 90),
        (True, 1.20): (99, 99, 99, 99),
        (False, 1.10): (95, 95, 40, 0),
        (False, 1.20): (99, 99, 99, 88),
    }
    for (turns, factor), targets in least.items():
        for (name, machine), target in zip(MACHINES.items(), targets, strict=True):
            found, _, _ = simulated(
                machine, trials(300), Change(factor), turns=turns, runs=5, seed=20
            )
            what = f"  +{(factor - 1) * 100:.0f}% {name}, {'turns' if turns else 'stored only'}"
            line(what, found, f">= {target}% regressed")
    print("A5: 8% of calls 25% slower")
    for (name, machine), target in zip(MACHINES.items(), (95, 95, 70, 0), strict=True):
        found, _, by = simulated(
            machine, trials(120), Change(some=0.08), turns=True, runs=1, seed=30
        )
        line(f"  {name}", found, f">= {target}% regressed", f"; by metric {dict(by)}")


def size(scale: float) -> None:
    print("A6: a change exactly at the limit, alpha 1%, 20 rounds, no floor")
    count = max(100, round(3000 * scale))
    for name, machine in MACHINES.items():
        still = Machine(**{**machine.__dict__, "placement": 0.0})
        calls: Counter[str] = Counter()
        for trial in range(count):
            random = np.random.default_rng([40, trial])
            turn = samplers(still, random, Change(), turns=True).measure_interleaved
            assert turn is not None
            base, cand = turn(20)
            for metric in LIMITS:
                difference = cand.logs[metric] - base.logs[metric]
                bounds = paired(difference, error_low=0.01, error_high=0.05, floor=0.0)
                calls[metric] += bounds.low > 0
        shown = "  ".join(f"{metric} {calls[metric] / count:.2%}" for metric in LIMITS)
        print(f"  {name:10} {count}: {shown}   target: <= 1.5%", flush=True)


def cost() -> None:
    random = np.random.default_rng(5)
    machine = MACHINES["noisy"]
    stored = stored_runs(machine, random, 5)
    rounds = iter(
        [rounds_of(np.full(70 * n, 2.0) + random.random(70 * n)) for n in (20, 20, 20, 40)]
    )
    prepared = list(rounds)
    taken = iter(prepared[1:])
    source = Samplers(lambda n: prepared[0], lambda n: (lambda r: (r, r))(next(taken)))
    started = time.process_time()
    decide({"p50": 0.0001, "p99": 0.0001}, stored, source, checks=CHECKS, mode="enqueue")
    cpu_ms = (time.process_time() - started) * 1e3
    print(f"A7: a decision of three looks: {cpu_ms:.1f} ms CPU, at most 20")


#: By which factor recorded latencies are made slower, and against which limit; 0 for the usual.
CASES = ((1.0, 0.0), (1.10, 0.0), (1.0, 0.02), (1.04, 0.02))

#: Percent that are to be regressed, by mode, stored processes and factor. Where calls are enqueued,
#: fresh processes are to confirm it: one process alone has luck of a size with what is looked for.
#: The rule that the 80% were set by (85%, looks at three and five processes) comes to 27% without
#: them, as this one does; an error of 1% for a single check, the largest there is, would come to
#: 73%, with two of sixty unchanged processes failing.
LEAST = {("graph", 1, 1.10): 95, ("graph", 5, 1.04): 95, ("enqueue", 5, 1.10): 80}


@dataclass(frozen=True)
class Split:
    """Which processes are stored, and which are the candidate's: the first of them, then the fresh.

    Attributes:
        how: How they were chosen, for people.
        stored: Their first rounds are.
        candidate: Their first rounds are, or their later ones where a process can be on both sides.
        later: Whether it can.
    """

    how: str
    stored: tuple[int, ...]
    candidate: tuple[int, ...]
    later: bool = False


def recorded(folder: Path, scale: float) -> None:
    """Nothing differs between the processes, so every regression at +0% is a false alarm."""
    files = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    cut = list(splits(len(files), draws=max(5, round(100 * scale))))
    groups: dict[tuple[str, str], Counter[str]] = {}
    for key in files[0]:
        engine, _, _ = key.rpartition("_")
        mode: Mode = "graph" if engine.endswith("_graph") else "enqueue"
        runs = [traced(file[key], file[f"{engine}_wall"]) for file in files]
        for split, (factor, limit), checks in itertools.product(cut, CASES, (CHECKS, 1)):
            decision = on_traces(runs, split, factor, limit, mode, checks)
            label = (
                f"{mode}, {len(split.stored)} stored, {split.how}, {(factor - 1) * 100:+.0f}%, "
                f"limit {f'{limit:.0%}' if limit else 'default'}, checks {checks}"
            )
            least = LEAST.get((mode, len(split.stored), factor))
            slower = f"0 passed, >= {least}% regressed" if least else "<= 5% passed"
            if least and mode == "enqueue" and len(split.candidate) == 1:
                slower += " once fresh processes confirm it"
            target = "0 regressed" if factor == 1 else slower
            groups.setdefault((label, target), Counter())[decision.outcome] += 1
    print("Recorded latencies, by device events and by the host's clock")
    for (label, target), verdicts in sorted(groups.items()):
        line(f"  {label}", verdicts, target, f"; {share(verdicts, 'regressed'):.1f}%")


def splits(files: int, draws: int) -> Iterator[Split]:
    """Every pair and every five against the sixth, alone and with what is left as fresh processes.

    Six processes are too few for five on one side and as many as the rule asks for on the other.
    For that both sides are drawn from them, with replacement, as if they were all that there are:
    a process that is on both sides by chance gives each of them other rounds.
    """
    everyone = range(files)
    for stored, candidate in itertools.permutations(everyone, 2):
        rest = tuple(at for at in everyone if at not in (stored, candidate))
        yield Split("1 process", (stored,), (candidate,))
        yield Split("fresh", (stored,), (candidate, *rest))
    for candidate in everyone:
        rest = tuple(at for at in everyone if at != candidate)
        yield Split("1 process", rest, (candidate,))
    random = np.random.default_rng(9)
    for _ in range(draws):
        drawn = [int(at) for at in random.integers(files, size=5 + FRESH_LOOKS[-1])]
        yield Split("fresh, drawn", tuple(drawn[:5]), tuple(drawn[5:]), later=True)


def traced(latencies: np.ndarray, walls: np.ndarray) -> Rounds:
    count = len(latencies) // 70 * 70
    return summarise(
        list(latencies[:count].reshape(-1, 70)),
        list(walls[:count].reshape(-1, 70).sum(axis=1) / 1e3),
    )


def on_traces(
    runs: list[Rounds], split: Split, factor: float, limit: float, mode: Mode, checks: int
) -> Decision:
    left = iter(split.candidate)

    def candidate(rounds: int) -> Rounds:
        at = next(left, None)
        if at is None:
            raise Unavailable("there is no further recorded process")
        start = 20 if split.later else 0
        taken = runs[at].logs
        slower = {m: logs[start : start + rounds] + np.log(factor) for m, logs in taken.items()}
        return Rounds(slower, runs[at].calls)

    return decide(
        dict.fromkeys(LIMITS, limit) if limit else LIMITS,
        [Rounds({m: logs[:20] for m, logs in runs[at].logs.items()}, 70) for at in split.stored],
        Samplers(candidate, None, candidate if len(split.candidate) > 1 else None),
        checks=checks,
        mode=mode,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--traces", type=Path)
    arguments = parser.parse_args()
    cost()
    if arguments.traces:
        recorded(arguments.traces, arguments.scale)
    size(arguments.scale)
    acceptance(arguments.scale)


if __name__ == "__main__":
    main()
