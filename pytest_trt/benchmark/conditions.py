"""What a speed depends on besides the engine: the device's clock and power, the host's load.

Rounds at another clock say nothing about an engine and cannot be compared, while two interleaved
engines run at the same clock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.benchmark.rounds import check_alone
from pytest_trt.diagnostics import DeviceBusyError, Remedy
from pytest_trt.files import LockTimeoutError, locked, user_lock
from pytest_trt.terms import Mode

#: Median clock of the multiprocessors over the rounds of a run.
CLOCK = "sm_clock_mhz"

#: The power cap, which decides the clocks under load.
POWER_LIMIT = "power_limit_w"

#: Share by which clocks may differ in comparable rounds. The steps of clocks are below 1%.
MOST_CLOCK_CHANGE = 0.02

_DEVICE = (CLOCK, POWER_LIMIT)
_LABELS = (*_DEVICE, HOST_BUSY)

#: A device that was free so many seconds ago is taken to be free: listening takes half a second
#: and lets the clocks fall. Whoever begins in between is mostly seen between rounds.
_FREE_FOR_S = 10.0

#: Longest wait for one process that holds a device: none measures an engine for that long, so it
#: hangs, or was stopped in a debugger.
_MOST_HELD_S = 1800.0


class BenchmarkPlace(NamedTuple):
    """Where engines are timed.

    Attributes:
        target: What a baseline belongs to, by label: "arch" first, then the device.
        device: Identifies the device on this machine.
        environment: What may change from run to run and explain a difference.
    """

    target: Mapping[str, str]
    device: str
    environment: Mapping[str, str]


@contextmanager
def device_lock(
    device: str,
    say: Callable[[str], None],
    *,
    folder: Path | None = None,
    most_held_s: float = _MOST_HELD_S,
) -> Iterator[None]:
    """Hold the right to measure on a device. The kernel releases it when the process dies.

    It excludes the user's other processes. Those of other users are seen by NVML while they
    compute, see `pytest_trt.backends.devices.watch`; a lock that they share could be held by any of
    them for ever.

    Args:
        device: Identifies the device on this machine: a GPU's UUID, or the host's name.
        say: Receives who is waited for, about once a second.
        folder: Where the lock file lies; by default a folder of the user, whatever the cache is.
        most_held_s: Seconds to wait at most for one process, which others may follow.

    Raises:
        DeviceBusyError: A process held it for longer, or no lock can be held.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", device)

    def waiting(seconds: float, holder: str) -> None:
        say(f"waiting for {holder}, which measures on this device ({seconds:.0f} s)")

    with ExitStack() as held:
        try:
            path = user_lock(name) if folder is None else folder / f"{name}.lock"
            held.enter_context(locked(path, waiting=waiting, timeout_s=most_held_s))
        except LockTimeoutError as error:
            raise _held_for_too_long(device, error) from error
        except OSError as error:
            raise _no_lock(device, error) from error
        yield


def _held_for_too_long(device: str, error: LockTimeoutError) -> DeviceBusyError:
    minutes = f"{error.waited_s / 60:.0f}"
    commands = () if error.pid is None else (f"ps -fp {error.pid}",)
    return DeviceBusyError(
        f"{error.holder} has been measuring on {device} for more than {minutes} minutes",
        fix=Remedy("End it if it hangs, or run again later. This shows what it is:", commands)
        if commands
        else "Run again later.",
        facts={"device": device, "holder": error.holder, "waited_s": round(error.waited_s)},
    )


def _no_lock(device: str, error: OSError) -> DeviceBusyError:
    return DeviceBusyError(
        f"{device} cannot be reserved for this measurement: {error.strerror} ({error.filename})",
        fix="Set XDG_RUNTIME_DIR to a folder on a local disk that only you can write to.",
        facts={"device": device, "path": str(error.filename)},
    )


def free_since(
    watch: DeviceWatch | None, free_at_s: float, say: Callable[[str], None], *, again: bool = False
) -> float:
    """Return when the device was last known to be free; listen where that is too long ago.

    Args:
        watch: What watches the device; None where nothing can.
        free_at_s: When it was last known, by the monotonic clock.
        say: Receives what takes a while.
        again: Whether to listen in any case: before something fails or is recorded.

    Raises:
        Disturbed: Other processes use the device.
    """
    if watch is None or not (again or free_at_s < time.monotonic() - _FREE_FOR_S):
        return free_at_s
    say("listening for other processes on the device")
    check_alone(watch.listen)
    return time.monotonic()


def conditions_of(watch: DeviceWatch | None) -> dict[str, str]:
    """Return the conditions that a watch has seen, by label, as far as NVML reports them."""
    seen = (watch.clock_mhz, watch.power_limit_w) if watch else (None, None)
    return {label: str(v) for label, v in zip(_DEVICE, seen, strict=True) if v is not None}


def load_conditions(mode: Mode, load: HostLoad) -> dict[str, str]:
    """Return the conditions of rounds that the host's clock has timed, by label."""
    return {HOST_BUSY: load.busy} if mode == "end_to_end" and load.busy else {}


def incomparable_reason(then: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return why rounds of then cannot be compared with those of now, or None."""
    names = {CLOCK: ("the GPU's clock", "MHz"), POWER_LIMIT: ("the GPU's power limit", "W")}
    for label, (name, unit) in names.items():
        old, new = then.get(label), now.get(label)
        if old and new and abs(float(new) / float(old) - 1) > _allowed(label):
            return f"{name} is {new} {unit}, it was {old} {unit} with the baseline"
    for environment, when in ((then, "when the baseline was recorded"), (now, "now")):
        if environment.get(HOST_BUSY):
            return f"the host was overloaded {when} ({environment[HOST_BUSY]})"
    return None


def _allowed(label: str) -> float:
    return MOST_CLOCK_CHANGE if label == CLOCK else 0.0


def without_insignificant_drift(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of now without differences that are as small as they always are."""
    steady = {label: value for label, value in now.items() if label not in _DEVICE}
    for label in _DEVICE:
        if label in now and label in then:
            drifted = incomparable_reason({label: then[label]}, {label: now[label]})
            steady[label] = now[label] if drifted else then[label]
    return steady


def is_same(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two environments are the same, the conditions of the moment left out."""
    return all(
        then.get(label) == now.get(label)
        for label in then.keys() | now.keys()
        if label not in _LABELS
    )
