"""Tests on a real NVIDIA GPU with a real TensorRT.

They are skipped where there is none, and fail there when PYTEST_TRT_REQUIRE_GPU=1 says that there
must be one.
"""

from __future__ import annotations

import importlib.util
import os

import pytest

from pytest_trt.backends.device import Gpu, probe_devices


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The GPU that CUDA would use first."""
    probe = probe_devices()
    reason = None if probe.gpus else probe.reason
    if importlib.util.find_spec("tensorrt") is None:
        reason = "tensorrt is not installed"
    if reason is None:
        return probe.gpus[0]
    if os.environ.get("PYTEST_TRT_REQUIRE_GPU") == "1":
        pytest.fail(f"PYTEST_TRT_REQUIRE_GPU=1, but {reason}", pytrace=False)
    pytest.skip(reason)
