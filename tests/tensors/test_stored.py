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
    write_samples(tmp_path / "samples.npz", [sample, {}])
    found, empty = read_samples(tmp_path / "samples.npz")
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
        write_samples(tmp_path / "samples.npz", [{"x": value}])


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", layout=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_samples(tmp_path / "samples.npz")
