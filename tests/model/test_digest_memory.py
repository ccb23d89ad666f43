"""A digest that is remembered is never that of other bytes, and spares reading unchanged ones."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from builders_model import external_model, external_tensor, model_proto, save
from clocks import much_later, next_tick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_trt.errors import ModelError
from pytest_trt.model import FileStamp, Stamps, load_model
from pytest_trt.model.digest_memory import REST_NS, recall_or_hash

_PLANTED = "f" * 64


class Memory(dict[Stamps, str]):
    """Digests in a dictionary."""

    def recall(self, stamps):
        return self.get(stamps)

    def remember(self, stamps, digest):
        self[stamps] = digest


class Remembered:
    """A model with external data whose digest is remembered, as one that no bytes have.

    Whoever returns that digest has not hashed anything.
    """

    def __init__(self, folder: Path) -> None:
        self.path = external_model(folder)
        self.data = folder / "w.bin"
        self.memory = Memory()
        self.true_digest = self.load()
        (self.stamps,) = self.memory
        self.memory[self.stamps] = _PLANTED
        next_tick(folder)

    def load(self, path: Path | None = None, clock=much_later) -> str:
        return load_model(path or self.path, digests=self.memory, clock=clock).digest


@pytest.fixture
def remembered(tmp_path) -> Remembered:
    return Remembered(tmp_path / "model")


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def keep_times(change, path: Path) -> None:
    """Change a file and set its times back, as `cp -p` and `touch -d` do."""
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def replace_with_other_bytes(path: Path) -> None:
    shutil.copy(path, f"{path}.new")
    flip_byte(Path(f"{path}.new"))
    Path(f"{path}.new").replace(path)


def test_an_unchanged_model_is_not_hashed_again(remembered):
    assert remembered.load() == _PLANTED


def test_without_a_memory_every_byte_is_hashed(remembered):
    assert load_model(remembered.path).digest == remembered.true_digest


@pytest.mark.parametrize("times", ["moved", "kept"])
@pytest.mark.parametrize("change", [flip_byte, replace_with_other_bytes])
def test_a_changed_data_byte_is_another_digest(remembered, change, times):
    if times == "kept":
        keep_times(change, remembered.data)
    else:
        change(remembered.data)

    assert remembered.load() == load_model(remembered.path).digest != remembered.true_digest


@pytest.mark.parametrize("times", ["moved", "kept"])
def test_a_changed_byte_of_the_model_itself_is_another_digest(tmp_path, times):
    remembered = Remembered(tmp_path)

    def rename_graph(path):
        path.write_bytes(path.read_bytes().replace(b"graph", b"grapf"))

    if times == "kept":
        keep_times(rename_graph, remembered.path)
    else:
        rename_graph(remembered.path)

    assert remembered.load() == load_model(remembered.path).digest != remembered.true_digest


@pytest.mark.parametrize("name", ["model.onnx", "w.bin"])
def test_a_touched_file_is_hashed_again_and_then_remembered_anew(remembered, name):
    os.utime(remembered.path.with_name(name), ns=(1, 1))

    assert remembered.load() == remembered.true_digest
    assert len(remembered.memory) == 2
    assert set(remembered.memory.values()) == {_PLANTED, remembered.true_digest}


def test_a_copy_is_hashed_for_itself(remembered, tmp_path):
    shutil.copytree(remembered.path.parent, tmp_path / "copy")

    assert remembered.load(tmp_path / "copy" / "model.onnx") == remembered.true_digest


def test_a_link_to_the_folder_is_the_same_model(remembered, tmp_path):
    (tmp_path / "link").symlink_to(remembered.path.parent)

    assert remembered.load(tmp_path / "link" / "model.onnx") == _PLANTED


def test_data_files_that_trade_places_are_another_model(tmp_path):
    """Links are followed: nothing about the two files themselves has changed."""
    for name, byte in (("one", b"1"), ("two", b"2")):
        (tmp_path / name).write_bytes(byte * 64)
    (tmp_path / "a.bin").symlink_to("one")
    (tmp_path / "b.bin").symlink_to("two")
    tensors = [external_tensor(name, f"{name}.bin") for name in ("a", "b")]
    path = save(model_proto(initializers=tensors), tmp_path / "m.onnx")
    memory = Memory()
    before = load_model(path, digests=memory, clock=much_later).digest
    for name, target in (("a", "two"), ("b", "one")):
        (tmp_path / f"{name}.bin").unlink()
        (tmp_path / f"{name}.bin").symlink_to(target)

    after = load_model(path, digests=memory, clock=much_later).digest

    assert after == load_model(path).digest != before


@pytest.mark.parametrize(
    ("change", "said"),
    [(Path.unlink, "does not exist"), (lambda path: os.truncate(path, 5), "which has 5")],
)
def test_data_that_is_gone_or_cut_short_is_refused_as_ever(remembered, change, said):
    change(remembered.data)

    with pytest.raises(ModelError, match=said):
        remembered.load()


# Only what was left alone for a while counts.


def test_a_file_of_just_now_is_neither_remembered_nor_believed(remembered):
    assert remembered.load(clock=time.time_ns) == remembered.true_digest

    os.utime(remembered.data, ns=(1, 1))  # the time that a write moves, set back: ctime is of now
    assert remembered.load(clock=time.time_ns) == remembered.true_digest
    assert list(remembered.memory) == [remembered.stamps]


def stamp(**changes: int) -> FileStamp:
    return replace(FileStamp("/m.onnx", 1, 2, 3, mtime_ns=1000, ctime_ns=2000), **changes)


@pytest.mark.parametrize(
    ("changes", "now_ns", "rested"),
    [
        ({}, 2000 + REST_NS + 1, True),
        ({}, 2000 + REST_NS, False),
        ({}, 0, False),
        ({"mtime_ns": 3000}, 2000 + REST_NS + 1, False),
        ({"mtime_ns": 0}, 2000 + REST_NS + 1, True),
        ({"mtime_ns": 1 << 62}, 2000 + REST_NS + 1, False),
        ({"inode": 0}, 2000 + REST_NS + 1, False),
        ({"ctime_ns": 0}, 2000 + REST_NS + 1, False),
    ],
)
def test_a_file_has_rested_when_both_its_times_are_long_past(changes, now_ns, rested):
    assert stamp(**changes).rested(now_ns) is rested


@pytest.mark.parametrize(
    ("meanwhile", "kept"),
    [
        (lambda path: None, True),
        (flip_byte, False),
        (lambda path: keep_times(flip_byte, path), False),
        (replace_with_other_bytes, False),
        (Path.unlink, False),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "w.bin"])
def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(tmp_path, meanwhile, kept, name):
    path, memory = external_model(tmp_path), Memory()
    next_tick(tmp_path)

    def hash_files() -> str:
        meanwhile(tmp_path / name)
        return "digest"

    with path.open("rb", buffering=0) as file:
        digest = recall_or_hash(
            memory,
            (path, file),
            [tmp_path / "w.bin"],
            started_ns=much_later(),
            hash_files=hash_files,
        )

    assert digest == "digest"
    assert bool(memory) is kept


_DEEDS = {
    "nothing": lambda path: None,
    "flip": flip_byte,
    "flip, times kept": lambda path: keep_times(flip_byte, path),
    "replace": replace_with_other_bytes,
    "replace, times kept": lambda path: keep_times(replace_with_other_bytes, path),
    "touch": lambda path: os.utime(path),
    "age": lambda path: os.utime(path, ns=(1, 1)),
    "grow": lambda path: path.write_bytes(path.read_bytes() + b"x"),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deeds=st.lists(st.sampled_from(sorted(_DEEDS)), max_size=8))
def test_whatever_was_done_to_the_data_the_digest_is_that_of_its_bytes(tmp_path_factory, deeds):
    folder = tmp_path_factory.mktemp("deeds")
    path, memory = external_model(folder, length=64), Memory()
    for deed in ["nothing", *deeds]:
        next_tick(folder)
        _DEEDS[deed](folder / "w.bin")

        digest = load_model(path, digests=memory, clock=much_later).digest

        assert digest == load_model(path).digest
