from __future__ import annotations

import ctypes

import pytest

from pytest_trt.backends.device import Gpu, probe_devices, visible


def gpu(uuid: str, name: str = "NVIDIA A10") -> Gpu:
    return Gpu(name, "sm86", uuid, 72, 24 << 30, "580.1", mig=False)


FIRST, SECOND, THIRD = gpu("GPU-aaa1"), gpu("GPU-bbb2"), gpu("GPU-bbb3")
ALL = (FIRST, SECOND, THIRD)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("1", [SECOND]),
        ("2,0", [THIRD, FIRST]),
        (" 0 , 1 ", [FIRST, SECOND]),
        ("GPU-aaa1", [FIRST]),
        ("GPU-a", [FIRST]),
        ("GPU-bbb3,0", [THIRD, FIRST]),
        ("", []),
        ("-1", []),
        ("7", []),
        ("0,7,1", [FIRST]),
        ("0,0", [FIRST]),
        ("GPU-bbb", []),
        ("nonsense,0", []),
    ],
)
def test_the_mask_leaves_what_cuda_would_see(mask: str | None, expected: list[Gpu]) -> None:
    assert visible(ALL, mask) == expected


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_driver_the_reason_says_so() -> None:
    probe = probe_devices()
    assert probe.gpus == ()
    assert probe.reason == "no NVIDIA driver: libcuda.so.1 not found"


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_with_a_driver_there_are_gpus_or_a_reason() -> None:
    probe = probe_devices()
    assert bool(probe.gpus) != bool(probe.reason)
    for found in probe.gpus:
        assert found.sm_count > 0
        assert found.memory_bytes > 1 << 30
        assert found.uuid.startswith(("GPU-", "MIG-"))


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_hidden_gpus_are_said_to_be_hidden() -> None:
    probe = probe_devices({"CUDA_VISIBLE_DEVICES": ""})
    assert probe.gpus == ()
    assert probe.reason == "CUDA_VISIBLE_DEVICES='' hides every GPU"
