"""A GPU without free memory, one that a test lost unnoticed, and a graph of nothing.

These need the GPU for themselves.
"""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import onnx
import pytest
from gpu import test_planted as planted
from gpu.test_device import CONFTEST as LOSING

pytestmark = pytest.mark.gpu

FULL = f"""
import numpy as np
import pytest
from cuda.bindings import runtime as cuda

SHAPE = {planted.SHAPE}

def chain(largest):
    return pytest.mark.trt_model(
        "chain.onnx",
        profiles={{"x0": ((1, *SHAPE), (largest, *SHAPE), (largest, *SHAPE))}},
        builder_options={{"builder_optimization_level": 1}},
    )

def rows(count):
    return {{"x0": np.random.default_rng(count).random((count, *SHAPE), np.float32)}}

class Memory:
    def __init__(self):
        self.taken = []

    def take(self):
        size = 1 << 36
        while size >= 1 << 20:
            status, address = cuda.cudaMalloc(size)
            if int(status):
                cuda.cudaGetLastError()
                size //= 2
            else:
                self.taken.append(address)

    def give_back(self):
        for address in self.taken:
            assert int(cuda.cudaFree(address)[0]) == 0
        self.taken.clear()

@pytest.fixture
def memory():
    found = Memory()
    yield found
    found.give_back()

@chain(8)
@pytest.mark.trt_consistency
def test_before(trt_session):
    trt_session.run(rows(1))

@chain(8)
@pytest.mark.trt_consistency
def test_no_memory_for_larger_shapes(trt_session, memory):
    trt_session.run(rows(1))
    memory.take()
    trt_session.run(rows(8))

@chain(8)
@pytest.mark.trt_consistency
def test_after(trt_session):
    for count in (1, 8, 8, 8, 1):
        trt_session.run(rows(count))

@chain(9)
@pytest.mark.trt_consistency
def test_no_memory_for_another_engine(trt_session, memory):
    memory.take()
    trt_session.run(rows(1))

@chain(9)
@pytest.mark.trt_consistency
def test_after_that(trt_session):
    for count in (1, 9, 9, 9, 1):
        trt_session.run(rows(count))
"""


def test_engine_without_memory_is_red_and_later_tests_are_right(
    gpu, tmp_path: Path, inner_pytest
) -> None:
    onnx.save(networks.conv_chain(3, batch="batch"), tmp_path / "chain.onnx")
    (tmp_path / "test_full.py").write_text(FULL)
    result = inner_pytest(tmp_path)
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*TRT342*",
            "*cannot be loaded: device memory ran out*TRT324*",
        ]
    )


LOST = """
import pytest
from cuda.bindings import runtime as cuda

def test_that_runs_no_engine(lose_the_gpu):
    assert int(cuda.cudaFree(0)[0]) == 0  # starts CUDA
    lose_the_gpu()  # nobody waits for the kernel, so nobody sees that it failed

pytestmark = pytest.mark.trt_model("small.onnx", profiles={"image": (8, 3, 16, 16)})

@pytest.mark.trt_consistency
def test_next(trt_session, trt_inputs):
    trt_session.run(trt_inputs)

@pytest.mark.trt_consistency
def test_last(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def test_gpu_that_an_earlier_test_lost_unnoticed_leaves_no_test_green(
    gpu, tmp_path: Path, inner_pytest
) -> None:
    onnx.save(networks.conv_net(), tmp_path / "small.onnx")
    (tmp_path / "conftest.py").write_text(LOSING)
    (tmp_path / "test_lost.py").write_text(LOST)
    result = inner_pytest(tmp_path, "-k", "next or last")
    result.assert_outcomes(passed=2, deselected=1)
    result = inner_pytest(tmp_path)
    # Another status would be that of a process that TensorRT ended.
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1, skipped=1)


SPEED = """
import pytest

@pytest.mark.trt_model("small.onnx", profiles={"image": (8, 3, 16, 16)})
@pytest.mark.trt_benchmark(p50=None, p95=None, p99=None, throughput=None, p99_ms=1000.0)
def test_speed(trt_benchmark, trt_inputs):
    trt_benchmark(trt_inputs)
"""


def test_graph_that_replays_nothing_is_not_timed(gpu, tmp_path: Path, inner_pytest) -> None:
    onnx.save(networks.conv_net(), tmp_path / "small.onnx")
    (tmp_path / "conftest.py").write_text(planted.CONFTEST)
    (tmp_path / "test_speed.py").write_text(SPEED)
    inner_pytest(tmp_path).assert_outcomes(passed=1)
    result = inner_pytest(tmp_path, env={"PLANT": "empty_graph"})
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*TRT343*"])
