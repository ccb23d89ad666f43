"""Taking samples: warming up, rounds, turns of two engines. What they mean is for `performance`."""

from pytest_trt.measure.host import host_cpu
from pytest_trt.measure.host_load import HostLoad, LoadMeter
from pytest_trt.measure.lock import device_lock
from pytest_trt.measure.recorded import evenly, recorded_calls, recorded_stretches
from pytest_trt.measure.rounds import (
    MOST_TIMES,
    Disturbed,
    Guard,
    Stretch,
    Stretches,
    check_alone,
    round_calls,
    summarised,
    take_rounds,
    take_stretches,
    undisturbed,
)
from pytest_trt.measure.sessions import mode_for, stretches_of, warmth_of
from pytest_trt.measure.stretches import end_to_end
from pytest_trt.measure.turns import take_turns
from pytest_trt.measure.warmup import ON_CPU, ON_GPU, WarmUp, warm_up

__all__ = [
    "MOST_TIMES",
    "ON_CPU",
    "ON_GPU",
    "Disturbed",
    "Guard",
    "HostLoad",
    "LoadMeter",
    "Stretch",
    "Stretches",
    "WarmUp",
    "check_alone",
    "device_lock",
    "end_to_end",
    "evenly",
    "host_cpu",
    "mode_for",
    "recorded_calls",
    "recorded_stretches",
    "round_calls",
    "stretches_of",
    "summarised",
    "take_rounds",
    "take_stretches",
    "take_turns",
    "undisturbed",
    "warm_up",
    "warmth_of",
]
