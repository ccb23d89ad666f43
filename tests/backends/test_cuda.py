from __future__ import annotations

import pytest
from backends.fake_gpu import Error, FakeRuntime, fake_runtime

from pytest_trt.backends.cuda import Cuda, begin_context
from pytest_trt.errors import BackendUnavailableError, DeviceLostError, EngineRunError

__all__ = ["fake_runtime"]


def test_context_is_created_on_the_device_in_the_background(fake_runtime, monkeypatch) -> None:
    done: list[tuple[str, int]] = []
    for name in ("cudaSetDevice", "cudaFree"):
        monkeypatch.setattr(
            fake_runtime, name, lambda number, name=name: done.append((name, number))
        )
    begin_context(3).join()
    assert done == [("cudaSetDevice", 3), ("cudaFree", 0)]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_context_that_cannot_be_created_is_for_the_session_to_tell(
    fake_runtime, monkeypatch
) -> None:
    def no_driver(*arguments: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    for name in ("cudaSetDevice", "cudaGetDeviceCount"):
        monkeypatch.setattr(fake_runtime, name, no_driver)
    begin_context(0).join()
    with pytest.raises(BackendUnavailableError, match="libcuda"):
        Cuda(0)


def test_call_returns_the_results_without_the_status(fake_runtime: FakeRuntime) -> None:
    cuda = Cuda(0)
    assert cuda.call("cudaMalloc", 16) in fake_runtime.allocations
    assert cuda.call("cudaStreamSynchronize", 7) == ()


def test_refused_call_is_an_error_that_leaves_the_device(fake_runtime, monkeypatch) -> None:
    cuda = Cuda(0)
    refused = (Error.cudaErrorMemoryAllocation, None)
    monkeypatch.setattr(fake_runtime, "cudaMalloc", lambda size: refused)
    with pytest.raises(EngineRunError, match=r"cudaMalloc failed: \w+ \(2\)\.\n") as caught:
        cuda.call("cudaMalloc", 1 << 60)
    assert not isinstance(caught.value, DeviceLostError)
    assert "free device memory" in caught.value.fix


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


def test_call_that_is_refused_while_capturing_is_no_loss(fake_runtime, monkeypatch) -> None:
    cuda = Cuda(0)
    fake_runtime.lost = Error.cudaErrorStreamCaptureUnsupported
    with pytest.raises(EngineRunError) as caught:
        cuda.call("cudaStreamSynchronize", 7)
    assert not isinstance(caught.value, DeviceLostError)


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (11040, "the NVIDIA driver serves CUDA 11.4, and the installed libraries are of CUDA 12.9"),
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
    assert caught.value.fix.startswith("update the driver" if driver else "install one")


def test_device_that_is_not_there_is_an_error(fake_runtime, monkeypatch) -> None:
    invalid = (Error.cudaErrorInvalidDevice,)
    monkeypatch.setattr(fake_runtime, "cudaSetDevice", lambda device: invalid)
    with pytest.raises(BackendUnavailableError, match=r"GPU 3 cannot be used: .* of that number"):
        Cuda(3)
