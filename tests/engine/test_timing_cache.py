from __future__ import annotations

import errno
from pathlib import Path

import pytest
from builders import full_disk
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.engine.timing_cache import (
    TimingFileError,
    read_timings,
    timing_file,
    timing_files,
    write_timings,
)

FOLDER = Path("/cache/v1/timing")


def name(
    product: str = "TensorRT",
    version: str = "8.6.0",
    cuda: str = "cu12",
    arch: str = "sm90",
    gpu: str = "NVIDIA H200",
    sm_count: str = "132",
) -> str:
    toolchain = Toolchain(product, {"tensorrt": version, "cuda": cuda})
    return timing_file(FOLDER, toolchain, Target(arch, {"gpu": gpu, "sm_count": sm_count})).name


def test_a_file_name_shows_what_its_timings_belong_to() -> None:
    assert name().startswith("TensorRT-8.6.0-cu12-sm90-NVIDIA_H200-132-")
    assert name() == name()


@pytest.mark.parametrize(
    "change",
    [
        {"product": "TensorRT-RTX"},
        {"version": "8.6.1"},
        {"cuda": "cu13"},
        {"arch": "sm86"},
        {"gpu": "NVIDIA_H200"},  # another one, though it is written alike in a file's name
        {"sm_count": "16"},
    ],
)
def test_other_products_versions_and_gpus_have_other_files(change: dict[str, str]) -> None:
    assert name(**change) != name()


def test_what_is_written_is_read_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.timing"
    assert read_timings(path) == b""
    for timings in (b"first", b"", b"second\n"):
        write_timings(path, timings)
        assert read_timings(path) == timings
    assert timing_files(tmp_path) == [path] == list(tmp_path.iterdir())


@given(data=st.data())
def test_no_changed_byte_is_trusted(tmp_path_factory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("timing") / "a.timing"
    write_timings(path, bytes(range(64)))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(changed), whole[:place], whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(TimingFileError):
            read_timings(path)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.timing"
    write_timings(path, b"old")
    with full_disk(), pytest.raises(OSError, match="too large") as caught:
        write_timings(path, bytes(10_000))
    assert caught.value.errno == errno.EFBIG
    assert read_timings(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]
