from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pytest_trt.tensors.stored import read_samples, write_samples


def test_samples_of_every_kind_come_back_as_they_were(tmp_path: Path) -> None:
    text = np.array([["a", "b\0"], ["", "\N{SNOWMAN}"]], dtype=object)
    sample = {
        "a/b:0": np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::2],
        "half": np.arange(4).astype(ml_dtypes.bfloat16),
        "empty": np.zeros((0, 3), np.int64),
        "text": text,
        "sequence": [np.zeros(2), np.ones((1, 3), np.int8)],
        "map": {1: np.float32(0.5), "two": "three"},
        "optional": None,
    }
    write_samples(tmp_path / "samples", [sample, {}])
    found, empty = read_samples(tmp_path / "samples")
    assert list(found) == list(sample)
    assert empty == {}
    for name in ("a/b:0", "half", "empty", "text"):
        assert found[name].dtype == sample[name].dtype
        np.testing.assert_array_equal(found[name], sample[name])
    for one, other in zip(found["sequence"], sample["sequence"], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert found["map"] == sample["map"]
    assert found["optional"] is None


@pytest.mark.parametrize("value", [object(), np.array([object()]), [b"bytes"]])
def test_other_objects_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="Python object"):
        write_samples(tmp_path / "samples", [{"x": value}])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "0 bytes"),
        (lambda content: content[:-4], "188 bytes"),
        (lambda content: content.replace(b"<f4", b"|O8"), "Python objects"),
        (lambda content: content.replace(b"shape", b"forms"), "shape"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage, reason: str) -> None:
    path = tmp_path / "samples"
    write_samples(path, [{"x": np.ones(4, np.float32)}])
    assert read_samples(path)[0]["x"].tolist() == [1, 1, 1, 1]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=reason):
        read_samples(path)


def test_arrays_are_aligned_and_the_readers_own(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    write_samples(path, [{"a": np.ones(3, np.int8), "b": np.arange(2.0)}])
    (found,) = read_samples(path)
    assert all(array.ctypes.data % 64 == 0 for array in found.values())
    found["b"][:] = 7
    assert read_samples(path)[0]["b"].tolist() == [0, 1]
