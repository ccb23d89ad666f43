"""The decision rule over simulated processes and over recorded latencies: alarms, power, cost.

The acceptance list: false alarms at no change, none inside the limit, the power to call 10% and
20%, tails alone, the size of the test at its limit, calls and time that a decision costs. Each line
is a figure beside its target.

Run: PYTHONPATH=.:tests python tests/benchmarks/decision.py [--scale 1.0] [--traces FOLDER]
(scale 1.0 takes tens of minutes; 0.05 is a glance. The folder holds recorded latencies, one
NPZ file for each process, arrays named <engine>[_graph]_<gpu|wall>.)
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from performance.processes import MACHINES, Change, Machine, rounds_of, samplers, stored_runs

from pytest_trt.performance import Decision, Mode, Rounds, Samplers, decide
from pytest_trt.performance.bounds import paired

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
        regressed.update(m for m, found in decision.found.items() if found.outcome == "regressed")
        paired_rounds = max(
            (f.rounds for f in decision.found.values() if f.step == "taking turns"), default=0
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
    print(f"{what:52} {total:5}: {shown:48} target: {target} {extra}", flush=True)


def acceptance(scale: float) -> None:
    def trials(count: int) -> int:
        return max(10, round(count * scale))

    print("A2, A7: no change, taking turns, one stored run")
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
            turn = samplers(still, random, Change(), turns=True).take_turns
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


def recorded(folder: Path) -> None:
    """Every ordered pair of processes, and every five against the sixth."""
    files = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    groups: dict[tuple[str, int], Counter[str]] = {}
    for key in files[0]:
        engine, _, clock = key.rpartition("_")
        graph = engine.endswith("_graph")
        mode: Mode = "graph" if graph else "enqueue"
        walls = key if clock == "wall" else f"{engine}_wall"
        for stored_count, stored, candidate in splits(len(files)):
            base = [traced(files[at][key], files[at][walls]) for at in stored]
            for factor, limits in (
                (1.0, LIMITS),
                (1.10, LIMITS),
                (1.0, dict.fromkeys(LIMITS, 0.02)),
                (1.04, dict.fromkeys(LIMITS, 0.02)),
            ):
                latencies, wall = files[candidate][key] * factor, files[candidate][walls] * factor
                decision = on_trace(base, latencies, wall, limits, mode)
                label = (
                    f"{mode} {clock}, {stored_count} stored, {(factor - 1) * 100:+.0f}%, limit "
                    f"{'default' if limits is LIMITS else '2%'}"
                )
                groups.setdefault((label, 0), Counter())[decision.outcome] += 1
    print("Recorded latencies")
    for (label, _), verdicts in sorted(groups.items()):
        line(f"  {label}", verdicts, "", f"{share(verdicts, 'regressed'):.0f}% regressed")


def splits(files: int) -> Iterator[tuple[int, list[int], int]]:
    for stored, candidate in itertools.permutations(range(files), 2):
        yield 1, [stored], candidate
    for candidate in range(files):
        yield files - 1, [at for at in range(files) if at != candidate], candidate


def traced(latencies: np.ndarray, walls: np.ndarray) -> Rounds:
    from pytest_trt.performance import summarise

    count = len(latencies) // 70 * 70
    return summarise(
        list(latencies[:count].reshape(-1, 70)),
        list(walls[:count].reshape(-1, 70).sum(axis=1) / 1e3),
    )


def on_trace(
    base: list[Rounds], latencies: np.ndarray, walls: np.ndarray, limits: dict, mode: Mode
) -> Decision:
    whole = traced(latencies, walls)

    def screen(rounds: int) -> Rounds:
        return Rounds({m: logs[:rounds] for m, logs in whole.logs.items()}, whole.calls)

    return decide(
        limits,
        [Rounds({m: logs[:20] for m, logs in run.logs.items()}, run.calls) for run in base],
        Samplers(screen),
        checks=CHECKS,
        mode=mode,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--traces", type=Path)
    arguments = parser.parse_args()
    cost()
    if arguments.traces:
        recorded(arguments.traces)
    size(arguments.scale)
    acceptance(arguments.scale)


if __name__ == "__main__":
    main()
