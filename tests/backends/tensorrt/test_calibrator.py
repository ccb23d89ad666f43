"""What a builder's calibrator is given: samples in device memory one by one, and a stored table.

The builder is played by this test; tests/gpu/test_calibrator.py has the real one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from backends.fake_gpu import FakeRuntime, fake_runtime

from pytest_trt.backends.tensorrt.build_job import BuildPlan, Calibrator
from pytest_trt.backends.tensorrt.calibrator import calibrating
from pytest_trt.backends.tensorrt.log import LogTail
from pytest_trt.diagnostics import ConfigurationError, EngineRunError, InputError
from pytest_trt.tensors.spec import Tensors
from pytest_trt.tensors.stored import write_samples

__all__ = ["fake_runtime"]

SAMPLES = [
    {"image": np.full((2, 3), number, np.float32), "ids": np.array([number, 7])}
    for number in range(3)
]


class Base:
    """The vendor's class, which has to be constructed."""

    def __init__(self) -> None:
        self.constructed = True


class Profile(dict):
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self[name] = shapes


TRT = SimpleNamespace(IInt8EntropyCalibrator2=Base, IInt8MinMaxCalibrator=type("M", (Base,), {}))


def _tensor(name: str, shape: tuple[int, ...], member: str) -> SimpleNamespace:
    dtype = SimpleNamespace(name=member)
    return SimpleNamespace(name=name, shape=shape, dtype=dtype, is_shape_tensor=name == "size")


@contextmanager
def built(
    folder: Path,
    algorithm: str = "entropy",
    tail: LogTail | None = None,
    ids: str = "ids",
    samples: Sequence[Tensors] = SAMPLES,
) -> Iterator[Any]:
    """Provide the configuration with which a network is built."""
    write_samples(folder / "samples", samples)
    calibrator = Calibrator(algorithm, folder / "samples", folder / "tables" / "a.calibration", 0)
    plan = BuildPlan("", "m.onnx", "", folder, folder, calibrator=calibrator)
    # TensorRT 8.6 takes INT64 inputs as INT32.
    tensors = [_tensor("image", (-1, 3), "FLOAT"), _tensor(ids, (2,), "INT32")]
    network = SimpleNamespace(num_inputs=2, get_input=tensors.__getitem__)
    builder = SimpleNamespace(create_optimization_profile=Profile)
    config = SimpleNamespace(profiles=[])
    config.set_calibration_profile = config.profiles.append
    with calibrating(TRT, builder, network, config, plan, tail or LogTail()):
        yield config


def test_samples_are_read_from_device_memory_one_by_one(
    fake_runtime: FakeRuntime, tmp_path: Path
) -> None:
    with built(tmp_path) as config:
        assert config.profiles == [{"image": ((2, 3),) * 3}]
        calibrator = config.int8_calibrator
        assert calibrator.constructed
        assert calibrator.read_calibration_cache() is None
        for sample in SAMPLES:
            image, ids = calibrator.get_batch(["image", "ids"])
            assert ctypes.string_at(image, 24) == sample["image"].tobytes()
            assert ctypes.string_at(ids, 8) == sample["ids"].astype(np.int32).tobytes()
        assert len(fake_runtime.allocations) == 2
        assert calibrator.get_batch(["image", "ids"]) is None
    assert fake_runtime.allocations == {}


@pytest.mark.parametrize("algorithm", ["entropy", "minmax"])
def test_the_table_is_read_unless_it_is_damaged(
    fake_runtime: FakeRuntime, tmp_path: Path, algorithm: str
) -> None:
    with built(tmp_path, algorithm) as config:
        assert isinstance(config.int8_calibrator, TRT.IInt8MinMaxCalibrator) == (
            algorithm == "minmax"
        )
        config.int8_calibrator.write_calibration_cache(memoryview(b"ranges"))
    with built(tmp_path, algorithm) as config:
        assert config.int8_calibrator.read_calibration_cache() == b"ranges"
    table = tmp_path / "tables" / "a.calibration"
    table.write_bytes(table.read_bytes()[:-1])
    with built(tmp_path, algorithm) as config:
        assert config.int8_calibrator.read_calibration_cache() is None


def test_an_exception_in_a_callback_is_not_lost(fake_runtime: FakeRuntime, tmp_path: Path) -> None:
    tail = LogTail()
    with built(tmp_path, tail=tail) as config:
        assert config.int8_calibrator.get_batch(["an input that is not there"]) is None
    with pytest.raises(KeyError):
        tail.raise_pending()


def test_ranges_of_some_of_the_samples_are_not_stored(
    fake_runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when memory runs out: TensorRT takes that for the end of the samples."""
    tail, names = LogTail(), ["image", "ids"]
    with built(tmp_path, tail=tail) as config:
        calibrator = config.int8_calibrator
        assert calibrator.get_batch(names)
        no_memory = (fake_runtime.cudaError_t.cudaErrorMemoryAllocation,)
        monkeypatch.setattr(fake_runtime, "cudaMemcpyAsync", lambda *args: no_memory)
        assert calibrator.get_batch(names) is None
        calibrator.write_calibration_cache(memoryview(b"ranges"))
        assert calibrator.read_calibration_cache() is None
    with pytest.raises(EngineRunError, match="cudaMemcpyAsync failed"):
        tail.raise_pending()


def test_an_index_that_the_builder_cannot_hold_is_refused(
    fake_runtime: FakeRuntime, tmp_path: Path
) -> None:
    tail = LogTail()
    large = [{**SAMPLES[0], "ids": np.array([1, 1 << 31])}]
    with built(tmp_path, tail=tail, samples=large) as config:
        assert config.int8_calibrator.get_batch(["image", "ids"]) is None
    with pytest.raises(InputError, match="which ends at 2147483647"):
        tail.raise_pending()


def test_an_input_that_holds_a_shape_is_refused(fake_runtime: FakeRuntime, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="'size' holds a shape"),
        built(tmp_path, ids="size"),
    ):
        pass
