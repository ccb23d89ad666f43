"""What disturbs a measurement: asked before and after it, and told where it says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_trt.backends.devices.watch import DeviceWatch
from pytest_trt.benchmark.engine_gate import structure_outcomes
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.rounds import check_alone
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import state_of
from pytest_trt.statistics.absolute import combined
from pytest_trt.terms import CPU, Verdict

#: For so many seconds a device that others left alone is taken for one that they do: listening
#: takes half a second, and lets the clocks fall. Who begins in them is mostly seen between rounds.
_HEARD_S = 10.0

_FREE_GPU = "run again when the device is free and not held back (`nvidia-smi -q -d PERFORMANCE`)"
_FREE_HOST = "run again when nothing else computes here, and without -n"


def listen(
    run: TrtRun, watch: DeviceWatch | None, say: Callable[[str], None], *, anew: bool = False
) -> None:
    """Raise `Disturbed` where others compute on the device.

    What fails or is recorded was listened to before and after.

    Args:
        run: Knows when others were last known to leave the device alone.
        watch: What watches the device; None where nothing can.
        say: Told what takes a while.
        anew: Whether to ask although that was of late.
    """
    if watch is None or not (anew or run.listened_s < time.monotonic() - _HEARD_S):
        return
    say("listening for other processes on the device")
    check_alone(watch.listen)
    run.listened_s = time.monotonic()


def disturbed(
    item: pytest.Item, record: BenchmarkResult, why: str, *, recorded: bool, strict: bool
) -> BenchmarkResult:
    """Return the record of rounds that say nothing of the engine, nor make a baseline.

    Args:
        item: The test.
        record: What is known of it.
        why: What disturbed its rounds.
        recorded: Whether they were to be its baseline.
        strict: Whether a test fails where nothing can be told.
    """
    if recorded:
        why += "; nothing was recorded as its baseline"
    fix = _FREE_HOST if record.arch == CPU else _FREE_GPU
    state_of(item).remark(f"{record.subject}: speed is inconclusive: {why}: {fix}")
    # What is exact is so on any device.
    verdict = Verdict(combined([*structure_outcomes(record), "inconclusive"]))
    return replace(
        record,
        verdict=verdict.value,
        fails=verdict in (Verdict.FAILED, Verdict.REGRESSED) or strict,
        why=f"speed is inconclusive: {why}",
        fix=f"{fix}, or let it pass: --trt-inconclusive=warn.",
    )
