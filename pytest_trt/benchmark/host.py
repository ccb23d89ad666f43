"""The host: which CPU it has, and what else it did while its clock timed something.

A call takes longer by the time that its threads wait for a core. Linux counts that, thread by
thread, to the nanosecond, which distinguishes an overloaded host from a slower engine. Load that is
not counted as waiting is read from the cores: what other processes use, which slows the second
thread of a core and its clock, and what a hypervisor takes.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: Share of the time for which threads may wait for a core.
#: Source: an engine on one and on two of two cores, seconds at a time: 0 to 2.4% where nothing else
#: ran, 32 to 87% alongside as many busy processes as leave it fewer cores than it has threads.
#: Alongside those that leave it enough it waited for 0.1%, and its P50 was 3% longer.
_MOST_WAITING = 0.1

#: Share of all cores that others may use, or that a hypervisor may take.
_MOST_CORES = 0.25

#: Core time is counted in ticks of 10 ms: over less time than this it means nothing.
_LEAST_FOR_CORES_S = 0.4

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

_PROC = Path("/proc")


def host_cpu(cpuinfo: Path = _PROC / "cpuinfo") -> Mapping[str, str]:
    """Return the CPU's name and how many cores this process may use, by label.

    Args:
        cpuinfo: Where Linux names it; elsewhere the platform module does.
    """
    names = []
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(names), platform.processor() or platform.machine())
    return {"cpu": name, "cores": f"{len(_usable())} cores"}


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What the host did for others over some time.

    Attributes:
        elapsed_s: How long that was.
        waited_s: How long threads of this process were ready to run and had no core, summed.
        others_s: How long other processes used cores, summed over cores.
        stolen_s: How long cores were with other guests of a hypervisor, summed.
        cores: How many cores this process may use.
    """

    elapsed_s: float = 0.0
    waited_s: float = 0.0
    others_s: float = 0.0
    stolen_s: float = 0.0
    cores: int = 1

    def __add__(self, other: HostLoad) -> HostLoad:
        return HostLoad(
            self.elapsed_s + other.elapsed_s,
            self.waited_s + other.waited_s,
            self.others_s + other.others_s,
            self.stolen_s + other.stolen_s,
            max(self.cores, other.cores),
        )

    @property
    def busy(self) -> str:
        """How the host was overloaded; empty where it was not, or where that is not known."""
        if not self.elapsed_s:
            return ""
        waited = self.waited_s / self.elapsed_s
        if waited > _MOST_WAITING:
            return f"threads waited {waited:.2f}x their run time for a CPU core"
        if self.elapsed_s < _LEAST_FOR_CORES_S:
            return ""
        for taken_s, what in (
            (self.others_s, "other processes used {} of {} cores"),
            (self.stolen_s, "the hypervisor took {} of {} cores"),
        ):
            if taken_s / self.elapsed_s > _MOST_CORES * self.cores:
                return what.format(f"{taken_s / self.elapsed_s:.1f}", self.cores)
        return ""


class _Moment(NamedTuple):
    time_s: float
    waited_s: float
    own_s: float
    used_s: float
    stolen_s: float


class LoadMeter:
    """Sums up what the host did for others while something was timed.

    Args:
        proc: Where Linux reports it. Where it does not, the load is zero.

    Attributes:
        load: All of it so far.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self.load = HostLoad()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure until the block ends."""
        began = _moment(self._proc)
        try:
            yield
        finally:
            ended = _moment(self._proc)
            if began is not None and ended is not None:
                self.add(_between(began, ended))

    def add(self, load: HostLoad) -> None:
        """Add what another process has measured."""
        self.load += load


class HostMonitor:
    """Makes load meters. Tests replace it.

    Attributes:
        proc: Where Linux reports load, to fresh processes too.
    """

    proc = _PROC

    def meter(self) -> LoadMeter:
        """Return a new meter."""
        return LoadMeter(self.proc)

    def believed(self, load: HostLoad) -> HostLoad:
        """Return a load that a fresh process has measured, as verdicts take it."""
        return load


def _between(began: _Moment, ended: _Moment) -> HostLoad:
    passed = _Moment(*(late - early for early, late in zip(began, ended, strict=True)))
    return HostLoad(
        passed.time_s,
        # Threads that have ended take what they waited with them.
        max(0.0, passed.waited_s),
        max(0.0, passed.used_s - passed.own_s),
        max(0.0, passed.stolen_s),
        len(_usable()),
    )


def _moment(proc: Path) -> _Moment | None:
    try:
        used_s, stolen_s = _cores(proc / "stat")
        waited_s = sum(map(_waited_s, (proc / "self" / "task").iterdir()))
    except (OSError, ValueError):
        return None
    return _Moment(time.perf_counter(), waited_s, time.process_time(), used_s, stolen_s)


def _waited_s(task: Path) -> float:
    """Return how long a thread waited for a core.

    Source: Linux, Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat": time on a core
    and time on a run queue, in nanoseconds, and how often it was on a core.
    """
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:  # it has ended
        return 0.0


def _cores(stat: Path) -> tuple[float, float]:
    """Return how long the cores that this process may use were busy, and stolen, in seconds.

    Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    """
    names = {f"cpu{number}" for number in _usable()}
    used = stolen = 0
    for line in stat.read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, fields)
            used += user + nice + system + irq + softirq
            stolen += steal
    return used / _TICKS_PER_S, stolen / _TICKS_PER_S


def _usable() -> set[int]:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return affinity(0) if affinity else set(range(os.cpu_count() or 1))
