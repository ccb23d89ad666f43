from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pytest_trt.tensors.npz import read_npz

ARRAYS = {
    "y": np.arange(12, dtype=np.float32).reshape(3, 4),
    "outputs/a/b": np.array(True),
    "none": np.zeros((0, 3), np.int64),
    "text": np.array(["a", "bc"]),
    "fortran": np.asfortranarray(np.eye(3)),
}
MOST = 10_000


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_wrote_them(write, tmp_path: Path) -> None:
    write(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz", MOST)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_second_version_of_the_format_is_read_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("y.npy", "w") as file:
        np.lib.format.write_array(file, ARRAYS["y"], version=(2, 0))
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz", MOST)["y"], ARRAYS["y"])


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.array([{}], dtype=object))
    with pytest.raises(
        ValueError, match="array 'y': it holds Python objects, which are never unpickled"
    ):
        read_npz(tmp_path / "a.npz", MOST)


def test_arrays_larger_than_allowed_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", y=np.zeros(10_000_000, np.int8))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000
    with pytest.raises(ValueError, match="its arrays take 10 MB, more than the 10 kB"):
        read_npz(tmp_path / "bomb.npz", MOST)


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"y.npy": header("(1000000, 1000000)") + bytes(8)}, "declares .* and 8 follow"),
        ({"y.npy": header("(1,)") + bytes(8)}, "is damaged"),
        ({"y.npy": header("(-1, -2)") + bytes(8)}, "is damaged"),
        ({"y.npy": header("(1,)")[:20]}, "EOF"),
        ({"y.npy": header("__import__('os')")}, "array 'y': "),
        ({"y.npy": b""}, "EOF"),
        ({"y.npy": b"\x93NUMPY\x03\x00" + bytes(20)}, "structured"),
        ({"weights.bin": b"123"}, "'weights.bin' is no array"),
    ],
)
def test_foreign_and_damaged_members_are_named(members, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=message):
        read_npz(tmp_path / "a.npz", MOST)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("y.npy", header("(1,)") + bytes(4))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("y.npy", header("(1,)") + bytes(4))
    with pytest.raises(ValueError, match="there twice"):
        read_npz(tmp_path / "a.npz", MOST)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_damaged_files_are_read_right_or_refused(write, tmp_path: Path) -> None:
    """Whatever bytes are changed: no other error, and no other values."""
    file = io.BytesIO()
    write(file, **ARRAYS)
    whole, path, refused = file.getvalue(), tmp_path / "a.npz", 0
    chance = random.Random(1)
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            found = read_npz(path, MOST)
        except ValueError as error:
            refused += bool(str(error))
            continue
        for name in found.keys() & ARRAYS.keys():
            np.testing.assert_array_equal(found[name], ARRAYS[name])
    assert refused > 500
