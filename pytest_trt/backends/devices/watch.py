"""Whether a GPU was left alone while it was measured: asked between rounds, and never inside one.

What disturbs is what makes times longer that are not the engine's: a GPU that is held back, and
other processes that compute. One that only holds a context, as a waiting builder, another worker
or a notebook does, disturbs nothing, so processes are told by the share of the multiprocessors'
time that they took and not by being there.

The driver names one process for each of its samples: the one that it finds at work, with the share
of all. While this one computes too, another can go unnamed for long. What leaves the GPU alone for
a moment and listens is not taken in by that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from statistics import median
from typing import Any, NamedTuple

from pytest_trt.backends.devices.nvml import Nvml, nvml_started
from pytest_trt.backends.devices.state import (
    Severity,
    asked_reasons,
    find_device,
    present_processes,
)
from pytest_trt.diagnostics import BackendUnavailableError

#: Share of the multiprocessors' time from which on a process disturbs, in percent. What draws the
#: desktop of a workstation stays below it.
BUSY_PCT = 5

#: For so long after it was last seen to compute a process counts as one that does. The driver
#: looks every sixth of a second to every second, and each process has a sample of its own, from
#: when it was last seen: those of two that share a GPU are hundreds of milliseconds apart.
#: Source: NVML API Reference, nvmlDeviceGetProcessUtilization, whose unit is the microsecond;
#: samples listed in github.com/NVIDIA/go-nvml/issues/51 and github.com/Syllo/nvtop/issues/110.
_HELD_US = 1_000_000

#: Seconds between the driver's samples: what is in the first after work has ended is partly that
#: work. Seen on an H200: 0.2. Where it is longer, up to a second, listening hears nothing.
_SAMPLE_S = 0.25

#: Seconds for which the GPU is left alone to listen: then a sample that began in it has ended.
LISTEN_S = 2 * _SAMPLE_S


class Busy(NamedTuple):
    """A process that computed on the GPU.

    Attributes:
        pid: Its number, or that of the host where this process runs in a container.
        pct: Share of the multiprocessors' time that it took.
    """

    pid: int
    pct: int


def busy_others(
    busy: Sequence[Busy], own_pid: int, present: Collection[int] = ()
) -> tuple[Busy, ...]:
    """Return the processes that disturb a measurement, which itself keeps the GPU busy.

    In a container the driver may tell the host's numbers of processes: then this one is not among
    them by its own, and the busiest is taken for it.

    Args:
        busy: Every process that computed of late.
        own_pid: The process that measures.
        present: Every process that is on the GPU, whether it computes or not; none where that is
            not told. One that has ended is not waited for.
    """
    left = [one for one in busy if not present or one.pid in present]
    ranked = sorted(left, key=lambda one: -one.pct)
    known = own_pid in present or any(one.pid == own_pid for one in ranked)
    others = [one for one in ranked if one.pid != own_pid] if known else ranked[1:]
    return tuple(one for one in others if one.pct >= BUSY_PCT)


class DeviceWatch:
    """Says what disturbed a GPU; called between rounds of a measurement that runs on it.

    What NVML does not tell, here or to this user, disturbs nothing: not the processes of a slice
    of a GPU, nor those of a virtual one.

    Args:
        nvml: NVML, started.
        handle: The GPU, or the slice.
        whole: The GPU that it is part of, or it itself.
        clock: Seconds since 1970, as the driver's samples are told.
        sleep: Waits so many seconds.

    Attributes:
        clocks_mhz: Clocks of the multiprocessors, one for each time that it was called.
    """

    def __init__(
        self,
        nvml: Nvml,
        handle: Any,
        whole: Any,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._nvml, self._handle, self._whole = nvml, handle, whole
        self._clock, self._sleep = clock, sleep
        self._seen_us = 0
        self._last: dict[int, _Sample] = {}
        self.clocks_mhz: list[int] = []
        self._look()
        self._last.clear()  # what was before is not of this measurement

    def __call__(self) -> str | None:
        """Return what disturbs the GPU, in words, or None.

        What is known of processes holds until the driver has looked again.
        """
        clock_mhz = self._nvml.ask(
            "nvmlDeviceGetClockInfo", self._whole, self._nvml.module.NVML_CLOCK_SM
        )
        if clock_mhz is not None:
            self.clocks_mhz.append(clock_mhz)
        reasons = asked_reasons(self._nvml, self._whole) or ()
        held_back = [one.name for one in reasons if one.severity is Severity.REFUSE]
        self._look()
        others = self._others()
        told = [f"the GPU is held back ({', '.join(held_back)})"] if held_back else []
        if others:
            told.append(_told(others))
        return " and ".join(told) or None

    def listen(self) -> str | None:
        """Return what computes on the GPU while this process does not, in words, or None.

        To be called when nothing of this process runs on it; takes `LISTEN_S`.
        """
        alone_us = int((self._clock() + _SAMPLE_S) * 1e6)
        self._sleep(LISTEN_S)
        self._look()
        heard = (Busy(p, one.pct) for p, one in self._last.items() if one.time_us > alone_us)
        others = [one for one in heard if one.pid != os.getpid() and one.pct >= BUSY_PCT]
        return _told(sorted(others, key=lambda one: -one.pct)) if others else None

    @property
    def clock_mhz(self) -> int | None:
        """The median of the clocks that were seen, in MHz; None where none was."""
        return round(median(self.clocks_mhz)) if self.clocks_mhz else None

    @property
    def power_limit_w(self) -> int | None:
        """The cap on power that is in force, in watts."""
        milliwatts = self._nvml.ask("nvmlDeviceGetEnforcedPowerLimit", self._whole)
        return None if milliwatts is None else round(milliwatts / 1000)

    def _look(self) -> None:
        """Take in what the driver has sampled since it was last asked."""
        module = self._nvml.module
        try:
            samples = self._nvml.ask("nvmlDeviceGetProcessUtilization", self._handle, self._seen_us)
        except module.NVMLError as error:
            # Nothing has computed since, which nvidia-ml-py raises too where the driver calls it a
            # success; or one more process does than a moment ago.
            if error.value not in (
                module.NVML_SUCCESS,
                module.NVML_ERROR_NOT_FOUND,
                module.NVML_ERROR_INSUFFICIENT_SIZE,
            ):
                raise
            return
        # Buffers of some drivers are longer than what is in them, and hold shares beyond 100%.
        new = [one for one in samples or () if one.timeStamp > self._seen_us]
        for one in new:
            if 0 < one.smUtil <= 100:
                self._last[one.pid] = _Sample(one.timeStamp, one.smUtil)
        self._seen_us = max((one.timeStamp for one in new), default=self._seen_us)

    def _others(self) -> tuple[Busy, ...]:
        since_us, own_pid = self._seen_us - _HELD_US, os.getpid()
        busy = [Busy(pid, one.pct) for pid, one in self._last.items() if one.time_us > since_us]
        if {one.pid for one in busy} <= {own_pid}:
            return ()
        return busy_others(busy, own_pid, present_processes(self._nvml, self._handle) or ())


class _Sample(NamedTuple):
    time_us: int
    pct: int


def _told(busy: Sequence[Busy]) -> str:
    listed = ", ".join(f"process {one.pid} for {one.pct}% of the time" for one in busy)
    return f"another process computes on the GPU ({listed})"


@contextmanager
def watched_device(uuid: str) -> Iterator[DeviceWatch | None]:
    """Lend what watches a GPU; None where NVML cannot be used or does not know it.

    Args:
        uuid: Of the GPU or of a MIG slice, in full; anything else is no GPU that NVML knows.
    """
    if not uuid.startswith(("GPU-", "MIG-")):
        yield None
        return
    with ExitStack() as stack:
        watch = None
        with suppress(BackendUnavailableError):
            nvml = stack.enter_context(nvml_started())
            watch = DeviceWatch(nvml, *find_device(nvml, uuid))
        yield watch
