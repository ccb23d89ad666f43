from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_trt.sealed import SealError, read_sealed, write_sealed


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "a.sealed"
    write_sealed(path, "engine", "key", b"first ", memoryview(b"second"))
    return path


def test_content_comes_back_with_its_key(stored: Path) -> None:
    found = read_sealed(stored, "engine", "key")
    assert (found.key, bytes(found.content)) == ("key", b"first second")
    assert read_sealed(stored, "engine").key == "key"


def test_nothing_is_stored_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_sealed(tmp_path / "none" / "a", "engine", "key", b"")
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "a", "engine")


@pytest.mark.parametrize("bit", range(8))
def test_every_changed_bit_is_noticed(stored: Path, bit: int) -> None:
    whole = stored.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << bit
        stored.write_bytes(changed)
        with pytest.raises(SealError):
            read_sealed(stored, "engine", "key")


def test_every_truncation_and_addition_is_noticed(stored: Path) -> None:
    whole = stored.read_bytes()
    for changed in (*(whole[:size] for size in range(len(whole))), whole + b"x"):
        stored.write_bytes(changed)
        with pytest.raises(SealError):
            read_sealed(stored, "engine", "key")


@pytest.mark.parametrize(("kind", "key"), [("engine", "other"), ("reference", "key")])
def test_a_file_in_the_place_of_another_is_noticed(stored: Path, kind: str, key: str) -> None:
    with pytest.raises(SealError, match="it was stored as engine key"):
        read_sealed(stored, kind, key)


def test_content_does_not_bleed_into_the_key(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a", "engine", "key", b"x\ny")
    assert bytes(read_sealed(tmp_path / "a", "engine", "key").content) == b"x\ny"


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_sealed(tmp_path / "pipe", "engine")
