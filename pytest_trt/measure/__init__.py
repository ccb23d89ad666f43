"""Taking samples: warming up, rounds, turns of two engines. What they mean is for `performance`."""

from pytest_trt.measure.rounds import Disturbed, Stretch, Stretches, round_calls, take_rounds
from pytest_trt.measure.stretches import by_events, end_to_end
from pytest_trt.measure.turns import take_turns
from pytest_trt.measure.warmup import WarmUp, warm_up

__all__ = [
    "Disturbed",
    "Stretch",
    "Stretches",
    "WarmUp",
    "by_events",
    "end_to_end",
    "round_calls",
    "take_rounds",
    "take_turns",
    "warm_up",
]
