from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_trt import hashing as module
from pytest_trt.hashing import FileDigest, digest_file

FEW_EXAMPLES = settings(max_examples=50)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "engine.plan"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("size_bytes", "digest"),
    [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
    ],
)
def test_the_digest_is_blake3_of_the_bytes(tmp_path: Path, size_bytes: int, digest: str) -> None:
    """By BLAKE3's published test vectors, one of them longer than a step."""
    content = bytes(i % 251 for i in range(size_bytes))
    assert digest_file(write(tmp_path, content)) == FileDigest(digest, size_bytes)


@FEW_EXAMPLES
@given(content=st.binary(min_size=1, max_size=100), data=st.data())
def test_one_changed_byte_changes_the_digest(tmp_path, monkeypatch, content, data) -> None:
    monkeypatch.setattr(module, "_STEP_BYTES", 5)
    before = digest_file(write(tmp_path, content))
    changed = bytearray(content)
    position = data.draw(st.integers(0, len(content) - 1))
    changed[position] ^= data.draw(st.integers(1, 255))

    after = digest_file(write(tmp_path, changed))

    assert after.digest != before.digest
    assert after.size_bytes == before.size_bytes == len(content)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, b"")
    os.truncate(path, 200_000_000)
    tracemalloc.start()
    try:
        digest_file(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4_000_000


def test_the_size_is_what_was_read_and_not_what_stat_reports() -> None:
    page = Path("/sys/devices/system/cpu/online")  # said to have 4096 bytes, holds a few
    if not page.exists() or page.stat().st_size < 100:
        pytest.skip("no such file here")
    assert digest_file(page).size_bytes == len(page.read_bytes())


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "engine.plan")
