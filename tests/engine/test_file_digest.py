from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_trt.engine import file_digest as module
from pytest_trt.engine.file_digest import PIECE_BYTES, FileDigest, digest_file

FEW_EXAMPLES = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "engine.plan"
    path.write_bytes(content)
    return path


def test_the_form_of_a_file_digest_is_fixed(tmp_path: Path) -> None:
    """Spelled out by hand: whoever changes it must raise the schema's number."""
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"the rest"
    expected = hashlib.sha256()
    for label, payload in (
        (b"schema", b"pytest-trt file 1"),
        (b"size", str(len(content)).encode()),
        (b"piece", hashlib.sha256(content[:PIECE_BYTES]).digest()),
        (b"piece", hashlib.sha256(b"the rest").digest()),
    ):
        for part in (label, payload):
            expected.update(len(part).to_bytes(8, "little") + part)

    assert digest_file(write(tmp_path, content)) == FileDigest(expected.hexdigest(), len(content))


@pytest.fixture
def small_pieces(monkeypatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 16)
    monkeypatch.setattr(module, "_STEP_BYTES", 5)


@FEW_EXAMPLES
@given(content=st.binary(min_size=1, max_size=100), data=st.data())
def test_one_changed_byte_is_another_digest(tmp_path, small_pieces, content, data) -> None:
    before = digest_file(write(tmp_path, content))
    changed = bytearray(content)
    position = data.draw(st.integers(0, len(content) - 1))
    changed[position] ^= data.draw(st.integers(1, 255))

    after = digest_file(write(tmp_path, changed))

    assert after.digest != before.digest
    assert after.size_bytes == before.size_bytes == len(content)


@FEW_EXAMPLES
@given(pieces=st.permutations([b"a" * 16, b"b" * 16, b"c" * 16]))
def test_pieces_keep_their_places(tmp_path, small_pieces, pieces) -> None:
    in_order = digest_file(write(tmp_path, b"a" * 16 + b"b" * 16 + b"c" * 16))
    moved = pieces != [b"a" * 16, b"b" * 16, b"c" * 16]

    assert (digest_file(write(tmp_path, b"".join(pieces))) != in_order) == moved


def test_the_number_of_cores_does_not_matter(tmp_path: Path, small_pieces) -> None:
    path = write(tmp_path, bytes(range(200)))
    on_all = digest_file(path)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert digest_file(path) == on_all
    finally:
        os.sched_setaffinity(0, cores)


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    assert digest_file(write(tmp_path, b"")).size_bytes == 0


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


def test_a_file_with_fewer_bytes_than_it_said_is_an_error() -> None:
    page = Path("/sys/devices/system/cpu/online")  # said to have 4096 bytes, holds a few
    if not page.exists() or page.stat().st_size < 100:
        pytest.skip("no such file here")
    with pytest.raises(OSError, match="became shorter"):
        digest_file(page)
