from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from builders_model import FILE_CHANGES, flip_byte, remedy, replace_with_other_bytes
from clocks import much_later, next_tick

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.libraries import Library
from pytest_trt.records import from_data, to_data


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A real library, in a place of its own."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    found = next((Path(np.__file__).parent / "random").glob(f"*{suffix}"))
    return Path(shutil.copy(found, tmp_path / "libmyops.so"))


def test_a_library_is_its_bytes(library: Path, tmp_path: Path) -> None:
    read = Library.read(library)
    copy = Library.read(Path(shutil.copy(library, tmp_path / "copy.so")))
    assert read.digest == copy.digest
    assert from_data(Library, to_data(read)) == read
    flip_byte(library)
    assert Library.read(library).digest != read.digest


@pytest.mark.parametrize("clock", [None, much_later], ids=["of just now", "rested"])
def test_an_unchanged_library_is_loaded_and_loaded_again(library: Path, clock) -> None:
    read = Library.read(library, clock) if clock else Library.read(library)
    for _ in range(2):
        with read.loading("ONNX Runtime 1.0"):
            pass


@pytest.mark.parametrize("clock", [None, much_later], ids=["of just now", "rested"])
@pytest.mark.parametrize("change", FILE_CHANGES)
@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "meanwhile"])
def test_other_bytes_than_the_hashed_ones_are_not_loaded(
    library: Path, change, clock, meanwhile: bool
) -> None:
    read = Library.read(library, clock) if clock else Library.read(library)
    next_tick(library.parent)
    if not meanwhile:
        change(library)
    with pytest.raises(ModelError) as caught, read.loading("ONNX Runtime 1.0"):  # noqa: PT012
        assert meanwhile
        change(library)
    gone = change is Path.unlink and not meanwhile
    assert caught.value.diagnostic.code == ("TRT231" if gone else "TRT232")


def test_another_file_is_not_loaded_from_a_path_that_was_loaded(library: Path) -> None:
    with Library.read(library).loading("ONNX Runtime 1.0"):
        pass
    replace_with_other_bytes(library)
    changed = Library.read(library)
    with pytest.raises(ModelError, match="was replaced after") as caught, changed.loading("ORT"):
        raise AssertionError("the loader would return the first one")
    assert caught.value.diagnostic.code == "TRT232"


@pytest.mark.parametrize(
    ("content", "kind", "advice"),
    [
        (b"int main() {}\n", ", which is no library", "name a shared library"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            ", which is a Git LFS pointer",
            "install git lfs",
        ),
        (b"\x7fELF of another machine", "", "name a shared library"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_the_loaders_reason(
    library: Path, content: bytes, kind: str, advice: str
) -> None:
    library.write_bytes(content)
    with pytest.raises(ModelError) as caught, Library.read(library).loading("TensorRT 8.6"):
        raise OSError("invalid ELF header")
    assert caught.value.message == f"TensorRT 8.6 cannot load {library}{kind}"
    assert caught.value.diagnostic.details == ("invalid ELF header",)
    assert caught.value.diagnostic.code == "TRT231"
    assert advice in remedy(caught.value).lower()


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_is_no_file_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "libmyops.so"
    if kind == "folder":
        path.mkdir()
    with pytest.raises(ModelError, match=r"the library .*libmyops.so cannot be read") as caught:
        Library.read(path)
    assert caught.value.diagnostic.code == "TRT231"
