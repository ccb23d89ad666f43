"""What the speed of a GPU hangs on besides the engine: kept with a baseline, and compared.

Rounds at another clock say nothing of an engine: they cannot be compared with those of now, while
both engines that take turns run at the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.benchmark.differences import HOST_BUSY
from pytest_trt.benchmark.host_load import HostLoad
from pytest_trt.terms import Mode

#: Median clock of the multiprocessors over the rounds of a run.
CLOCK = "sm_clock_mhz"

#: The cap on power, which decides what clocks are held under load.
POWER_LIMIT = "power_limit_w"

#: Share by which clocks may differ and rounds be compared. The steps of clocks are below 1%.
MOST_CLOCK_CHANGE = 0.02

_DEVICE = (CLOCK, POWER_LIMIT)
_LABELS = (*_DEVICE, HOST_BUSY)


def conditions_of(watch: DeviceWatch | None) -> dict[str, str]:
    """Return the conditions that a watch has seen, by label; what NVML does not tell is left out.

    Args:
        watch: What watched the rounds; None where nothing could.
    """
    seen = (watch.clock_mhz, watch.power_limit_w) if watch else (None, None)
    return {label: str(v) for label, v in zip(_DEVICE, seen, strict=True) if v is not None}


def load_conditions(mode: Mode, load: HostLoad) -> dict[str, str]:
    """Return the conditions of rounds that the host's clock has timed, by label.

    Args:
        mode: How they were timed; a device's own clock is not the host's.
        load: What the host did for others meanwhile.
    """
    return {HOST_BUSY: load.busy} if mode == "end_to_end" and load.busy else {}


def incomparable_reason(then: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return why rounds of then cannot be compared with those of now, or None.

    Args:
        then: The environment of a stored run.
        now: The conditions of this one.
    """
    told = {CLOCK: ("the GPU's clock", "MHz"), POWER_LIMIT: ("the GPU's power limit", "W")}
    for label, (name, unit) in told.items():
        old, new = then.get(label), now.get(label)
        if old and new and abs(float(new) / float(old) - 1) > _allowed(label):
            return f"{name} is {new} {unit}, it was {old} {unit} with the baseline"
    for environment, when in ((then, "when the baseline was recorded"), (now, "this time")):
        if environment.get(HOST_BUSY):
            return f"the host was busy {when}: {environment[HOST_BUSY]}"
    return None


def _allowed(label: str) -> float:
    return MOST_CLOCK_CHANGE if label == CLOCK else 0.0


def without_insignificant_drift(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of now without what differs from then only as it always does.

    Args:
        then: The environment of a stored run.
        now: The environment of this one, conditions and all.
    """
    rest = {label: value for label, value in now.items() if label not in _LABELS}
    known = {label: now[label] for label in _LABELS if label in now and label in then}
    busy = {HOST_BUSY: now[HOST_BUSY]} if HOST_BUSY in now else {}
    return (
        rest
        | busy
        | {
            label: value
            if incomparable_reason({label: then[label]}, {label: value})
            else then[label]
            for label, value in known.items()
        }
    )


def is_same(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two environments are one, but for the conditions of the moment."""
    return all(
        then.get(label) == now.get(label)
        for label in then.keys() | now.keys()
        if label not in _LABELS
    )
