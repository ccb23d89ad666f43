"""Disturbances of a GPU during a measurement, checked between rounds and never inside one.

A measurement is disturbed by throttling and by other processes that compute. A process that only
holds a context, such as a waiting builder, another worker or a notebook, does not disturb, so
processes count by their share of the multiprocessors' time, not by their presence.

The driver names one process for each of its samples: the one that it finds at work, with the share
of all. While this process computes too, another can stay unnamed for long. `listen` detects it by
leaving the GPU idle for a moment.
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
    current_clock_reasons,
    find_device,
    present_processes,
)
from pytest_trt.diagnostics import BackendUnavailableError

#: Share of the multiprocessors' time, in percent, from which on a process counts as a disturbance.
#: The desktop of a workstation stays below it.
BUSY_PCT = 5

#: How long a process counts as computing after its last sample. The driver samples every sixth of a
#: second to every second, and each process has its own last sample: those of two processes that
#: share a GPU are hundreds of milliseconds apart.
#: Source: NVML API Reference, nvmlDeviceGetProcessUtilization, whose unit is the microsecond;
#: samples listed in github.com/NVIDIA/go-nvml/issues/51 and github.com/Syllo/nvtop/issues/110.
_HELD_US = 1_000_000

#: Seconds between the driver's samples: the first one after the end of work still contains part of
#: it. Measured on an H200: 0.2. With up to a second, `listen` detects nothing.
_SAMPLE_S = 0.25

#: Seconds of idle time in `listen`: long enough for a whole sample.
LISTEN_S = 2 * _SAMPLE_S


class Busy(NamedTuple):
    """A process that computed on the GPU.

    Attributes:
        pid: Its PID, as numbered by the host if this process runs in a container.
        pct: Its share of the multiprocessors' time.
    """

    pid: int
    pct: int


def busy_others(
    busy: Sequence[Busy], own_pid: int, present: Collection[int] = ()
) -> tuple[Busy, ...]:
    """Return the processes that disturb a measurement, which itself keeps the GPU busy.

    In a container the driver may report the host's PIDs: then this process is not among them, and
    the busiest is assumed to be it.

    Args:
        busy: Every process that computed recently.
        own_pid: The process that measures.
        present: Every process with a context on the GPU; empty if unknown. Ended processes are
            ignored.
    """
    left = [one for one in busy if not present or one.pid in present]
    ranked = sorted(left, key=lambda one: -one.pct)
    known = own_pid in present or any(one.pid == own_pid for one in ranked)
    others = [one for one in ranked if one.pid != own_pid] if known else ranked[1:]
    return tuple(one for one in others if one.pct >= BUSY_PCT)


class DeviceWatch:
    """Reports disturbances of a GPU; called between rounds of a measurement on it.

    What NVML does not report counts as no disturbance, such as the processes of a slice or of a
    virtual GPU.

    Args:
        nvml: NVML, started.
        handle: The GPU, or the slice.
        whole: The whole GPU.
        clock: Seconds since 1970, the clock of the driver's samples.
        sleep: Waits for a number of seconds.

    Attributes:
        clocks_mhz: Clocks of the multiprocessors, one for each call.
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
        self._last.clear()  # samples from before the measurement

    def __call__(self) -> str | None:
        """Return a description of the disturbance of the GPU, or None.

        Facts about processes remain valid until the driver's next sample.
        """
        clock_mhz = self._nvml.ask(
            "nvmlDeviceGetClockInfo", self._whole, self._nvml.module.NVML_CLOCK_SM
        )
        if clock_mhz is not None:
            self.clocks_mhz.append(clock_mhz)
        reasons = current_clock_reasons(self._nvml, self._whole) or ()
        throttled = [one.name for one in reasons if one.severity is Severity.REFUSE]
        self._look()
        others = self._others()
        found = [f"the GPU is throttled ({', '.join(throttled)})"] if throttled else []
        if others:
            found.append(_described(others))
        return " and ".join(found) or None

    def listen(self) -> str | None:
        """Return a description of what computes on the GPU while this process does not, or None.

        Call it when no work of this process runs on the GPU; it takes `LISTEN_S` seconds.
        """
        alone_us = int((self._clock() + _SAMPLE_S) * 1e6)
        self._sleep(LISTEN_S)
        self._look()
        samples = (Busy(p, one.pct) for p, one in self._last.items() if one.time_us > alone_us)
        others = [one for one in samples if one.pid != os.getpid() and one.pct >= BUSY_PCT]
        return _described(sorted(others, key=lambda one: -one.pct)) if others else None

    @property
    def clock_mhz(self) -> int | None:
        """The median of `clocks_mhz`; None if there are none."""
        return round(median(self.clocks_mhz)) if self.clocks_mhz else None

    @property
    def power_limit_w(self) -> int | None:
        """The power limit in force, in watts."""
        milliwatts = self._nvml.ask("nvmlDeviceGetEnforcedPowerLimit", self._whole)
        return None if milliwatts is None else round(milliwatts / 1000)

    def _look(self) -> None:
        """Read the driver's samples since the last call."""
        module = self._nvml.module
        try:
            samples = self._nvml.ask("nvmlDeviceGetProcessUtilization", self._handle, self._seen_us)
        except module.NVMLError as error:
            # Nothing has computed since then (nvidia-ml-py raises even if the driver returns
            # success), or a process was added during the call.
            if error.value not in (
                module.NVML_SUCCESS,
                module.NVML_ERROR_NOT_FOUND,
                module.NVML_ERROR_INSUFFICIENT_SIZE,
            ):
                raise
            return
        # Buffers of some drivers have unused entries, with shares beyond 100%.
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


def _described(busy: Sequence[Busy]) -> str:
    listed = ", ".join(f"process {one.pid} for {one.pct}% of the time" for one in busy)
    return f"another process computes on the GPU ({listed})"


@contextmanager
def watched_device(uuid: str) -> Iterator[DeviceWatch | None]:
    """Yield a watch of a GPU; None if NVML cannot be used or does not have the GPU.

    Args:
        uuid: The full UUID of the GPU or of a MIG slice; for anything else, None is yielded.
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
