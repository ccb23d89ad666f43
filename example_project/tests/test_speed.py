"""Is the digit classifier as quick as it was on this machine?"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.trt_model(
    "../models/digits.onnx",
    precision=("fp32", "fp16"),
    profiles={"image": ((1, 1, 16, 16), (8, 1, 16, 16), (64, 1, 16, 16))},
)


# The first run records a baseline in trt_baselines/. Commit yours; .gitignore leaves it out here,
# as it would be of whichever machine ran last. Accept another speed with --trt-update.
@pytest.mark.trt_benchmark(p99="10%", throughput="5%")
def test_speed(trt_benchmark, digits):
    trt_benchmark({"image": digits["images"][:8]})
