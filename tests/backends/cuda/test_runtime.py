from __future__ import annotations

import pytest
from backends.fake_gpu import Error, FakeRuntime, fake_runtime
from builders_model import remedy

from pytest_trt.backends.cuda.runtime import Cuda
from pytest_trt.diagnostics import BackendUnavailableError, DeviceLostError, EngineRunError

__all__ = ["fake_runtime"]


def test_call_returns_the_results_without_the_status(fake_runtime: FakeRuntime) -> None:
    cuda = Cuda(0)
    assert cuda.call("cudaMalloc", 16) in fake_runtime.allocations
    assert cuda.call("cudaStreamSynchronize", 7) == ()


def test_refused_call_is_an_error_that_leaves_the_device(fake_runtime, monkeypatch) -> None:
    cuda = Cuda(0)
    refused = (Error.cudaErrorMemoryAllocation, None)
    monkeypatch.setattr(fake_runtime, "cudaMalloc", lambda size: refused)
    with pytest.raises(EngineRunError, match=r"cudaMalloc failed: \w+ \(2\)") as caught:
        cuda.call("cudaMalloc", 1 << 60)
    assert not isinstance(caught.value, DeviceLostError)
    assert "free device memory" in remedy(caught.value)


def test_error_that_stays_is_a_lost_device(fake_runtime) -> None:
    cuda = Cuda(0)
    fake_runtime.lost = Error.cudaErrorIllegalAddress
    with pytest.raises(DeviceLostError, match="cudaStreamSynchronize failed") as caught:
        cuda.call("cudaStreamSynchronize", 7)
    assert caught.value.status == "cudaErrorIllegalAddress"


def test_refused_call_after_which_the_device_is_lost_names_the_graver_error(
    fake_runtime, monkeypatch
) -> None:
    cuda = Cuda(0)
    fake_runtime.lost = Error.cudaErrorIllegalAddress
    refused = (Error.cudaErrorMemoryAllocation, None)
    monkeypatch.setattr(fake_runtime, "cudaMalloc", lambda size: refused)
    with pytest.raises(DeviceLostError) as caught:
        cuda.call("cudaMalloc", 16)
    assert caught.value.status == "cudaErrorIllegalAddress"


def test_call_that_is_refused_while_capturing_does_not_lose_the_gpu(
    fake_runtime, monkeypatch
) -> None:
    cuda = Cuda(0)
    fake_runtime.lost = Error.cudaErrorStreamCaptureUnsupported
    with pytest.raises(EngineRunError) as caught:
        cuda.call("cudaStreamSynchronize", 7)
    assert not isinstance(caught.value, DeviceLostError)


@pytest.mark.parametrize("capturing", [False, True])
def test_gpu_is_alive_also_while_another_thread_captures(fake_runtime, capturing) -> None:
    fake_runtime.lost = Error.cudaErrorStreamCaptureUnsupported if capturing else None
    Cuda(0).require_alive()
    fake_runtime.lost = Error.cudaErrorIllegalAddress
    with pytest.raises(DeviceLostError):
        Cuda(0).require_alive()


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (11040, "the NVIDIA driver supports CUDA 11.4, and the installed libraries need CUDA 12.9"),
        (0, "there is no NVIDIA driver"),
    ],
)
def test_driver_that_cannot_serve_the_libraries_is_found_at_the_start(
    fake_runtime, monkeypatch, driver: int, said: str
) -> None:
    insufficient = (Error.cudaErrorInsufficientDriver, None)
    monkeypatch.setattr(fake_runtime, "cudaGetDeviceCount", lambda: insufficient)
    monkeypatch.setattr(fake_runtime, "cudaDriverGetVersion", lambda: (Error.cudaSuccess, driver))
    with pytest.raises(BackendUnavailableError, match=said) as caught:
        Cuda(0)
    assert "(cudaErrorInsufficientDriver, 35)" in caught.value.message
    assert remedy(caught.value).startswith(
        "Update the driver" if driver else "Install the NVIDIA driver"
    )


def test_device_that_is_not_there_is_an_error(fake_runtime, monkeypatch) -> None:
    invalid = (Error.cudaErrorInvalidDevice,)
    monkeypatch.setattr(fake_runtime, "cudaSetDevice", lambda device: invalid)
    with pytest.raises(BackendUnavailableError, match=r"GPU 3 cannot be used: .* of that number"):
        Cuda(3)
