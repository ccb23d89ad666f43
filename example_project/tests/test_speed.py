"""The digit classifier: no slower than its baseline on this machine."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.trt_model(
    "../models/digits.onnx",
    precision=("fp32", "fp16"),
    profiles={"image": ((1, 1, 16, 16), (8, 1, 16, 16), (64, 1, 16, 16))},
)


# The first run records a baseline in trt_baselines/. Commit yours; here .gitignore excludes it,
# since it would belong to whichever machine ran last. Accept a new speed with --trt-update.
@pytest.mark.trt_benchmark(p99="10%", throughput="5%")
def test_speed(trt_benchmark, digits):
    trt_benchmark({"image": digits["images"][:8]})
