from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.accuracy.reference_store import ReferenceStore, reference_key

KEY = "k" * 64


class Counted:
    """Gives outputs, and counts how often it was asked."""

    def __init__(self, **outputs: np.ndarray) -> None:
        self.outputs = outputs
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return self.outputs


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array(1.5),
        np.zeros((0, 4), np.int64),
        np.array([True, False]),
        np.array([np.nan, np.inf, -0.0], np.float16),
        np.array([2**64 - 1], np.uint64),
        *(np.array([0, 1], dtype) for dtype in ("uint8", "int8", "int32", "int64")),
        np.array(True),
    ],
)
def test_stored_outputs_come_back_as_they_were(tmp_path: Path, array: np.ndarray) -> None:
    compute = Counted(**{"output/0": array, "file": array})
    ReferenceStore(tmp_path).get(KEY, compute)
    outputs = ReferenceStore(tmp_path).get(KEY, compute)
    assert compute.calls == 1
    assert list(outputs) == ["output/0", "file"]
    for output in outputs.values():
        assert (output.dtype, output.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(output, array)


@pytest.mark.parametrize("position", [0, 40, 150, 250, -30, -1])
def test_damaged_file_is_computed_again_or_read_as_it_was(tmp_path: Path, position: int) -> None:
    compute = Counted(y=np.arange(50.0))
    ReferenceStore(tmp_path).get(KEY, compute)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)
    found = ReferenceStore(tmp_path).get(KEY, compute)
    np.testing.assert_array_equal(found["y"], np.arange(50.0))


@pytest.mark.parametrize("size", [0, 1, 100])
def test_truncated_file_is_computed_again(tmp_path: Path, size: int) -> None:
    compute = Counted(y=np.arange(50.0))
    ReferenceStore(tmp_path).get(KEY, compute)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:size])
    found = ReferenceStore(tmp_path).get(KEY, compute)
    np.testing.assert_array_equal(found["y"], np.arange(50.0))
    assert compute.calls == 2


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint2"])
def test_types_that_numpy_lacks_are_computed_once(tmp_path, name: str) -> None:
    array = np.array([[0, 1], [1, 0]], dtype=getattr(ml_dtypes, name))
    compute = Counted(y=array)
    for _ in range(2):
        stored = ReferenceStore(tmp_path).get(KEY, compute)["y"]
        assert stored.dtype == array.dtype
        np.testing.assert_array_equal(stored, array)
    assert compute.calls == 1


@pytest.mark.parametrize("array", [np.array(["a", "b"], dtype=object), [np.zeros(2)], None])
def test_outputs_that_numpy_cannot_store_are_computed_every_time(tmp_path, array) -> None:
    compute, store = Counted(y=array), ReferenceStore(tmp_path)
    for _ in range(2):
        assert store.get(KEY, compute)["y"] is array
    assert compute.calls == 2
    assert list(tmp_path.iterdir()) == []


def test_store_that_cannot_be_written_computes_in_every_process(tmp_path: Path) -> None:
    compute = Counted(y=np.arange(3.0))
    for _ in range(2):
        ReferenceStore(tmp_path / "none").get(KEY, compute)
    assert compute.calls == 2


def test_small_outputs_are_read_once_and_belong_to_the_caller(tmp_path: Path) -> None:
    store, compute = ReferenceStore(tmp_path), Counted(y=np.arange(3.0))
    store.get(KEY, compute)["y"][:] = 9
    (file,) = tmp_path.iterdir()
    file.unlink()
    np.testing.assert_array_equal(store.get(KEY, compute)["y"], np.arange(3.0))
    assert compute.calls == 1
    other = Counted(y=np.ones(3))
    np.testing.assert_array_equal(store.get("l" * 64, other)["y"], np.ones(3))
    store.get(KEY, compute)
    assert compute.calls == 2


def test_large_outputs_are_not_held_in_memory(tmp_path: Path) -> None:
    store, compute = ReferenceStore(tmp_path), Counted(y=np.zeros(1 << 18))
    store.get(KEY, compute)
    (file,) = tmp_path.iterdir()
    file.unlink()
    store.get(KEY, compute)
    assert compute.calls == 2


@pytest.mark.parametrize("field", ["model_digest", "inputs_digest", "producer"])
def test_key_differs_on(field: str) -> None:
    fields = {"model_digest": "m", "inputs_digest": "i", "producer": "p"}
    assert reference_key(**fields) != reference_key(**{**fields, field: "x"})
