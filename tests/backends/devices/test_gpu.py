from __future__ import annotations

import pytest

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.diagnostics import ConfigurationError

A10 = Gpu("NVIDIA A10", "sm86", "GPU-aaa1", 72, 24 << 30, "580.1", mig=False)
H200 = Gpu("NVIDIA H200", "sm90", "GPU-bbb2", 132, 140 << 30, "580.1", mig=False, index=1)
SLICE = Gpu("NVIDIA H200 MIG 1g.18gb", "sm90", "MIG-bbb3", 16, 16 << 30, "580.1", True, index=2)
PROBE = DeviceProbe((A10, H200, SLICE), "")


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("0", A10),
        ("1", H200),
        ("GPU-aaa1", A10),
        ("GPU-b", H200),
        ("gpu-BBB2", H200),
        ("MIG-", SLICE),
    ],
)
def test_one_gpu_is_chosen_and_keeps_its_number(asked: str, chosen: Gpu) -> None:
    probe = PROBE.only(asked)
    assert probe.gpus == (chosen,)
    assert probe.chosen == asked
    assert set(probe.left_out) == {A10, H200, SLICE} - {chosen}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("3", "--trt-device 3: no such GPU; this machine has 0 NVIDIA A10 (sm86) GPU-aaa1, "),
        ("GPU-c", "--trt-device GPU-c: no such GPU"),
        ("GPU-", "--trt-device GPU-: 2 GPUs match"),
    ],
)
def test_what_names_no_gpu_or_several_is_an_error_that_lists_them(asked: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PROBE.only(asked)
    assert caught.value.message.startswith(said)
    assert "1 NVIDIA H200 (sm90) GPU-bbb2" in caught.value.message


def test_without_a_gpu_the_error_says_why_there_is_none() -> None:
    with pytest.raises(ConfigurationError, match=r"--trt-device 0: no NVIDIA GPU \(no driver"):
        DeviceProbe((), "no driver").only("0")


def test_engines_run_on_the_first_gpu_of_their_architecture() -> None:
    assert PROBE.first("sm90") == H200
    assert PROBE.only("2").first("sm90") == SLICE
    assert PROBE.first("sm89") is None
