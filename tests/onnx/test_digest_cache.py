"""A digest that is remembered is never that of other bytes, and spares reading unchanged ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builders_model import (
    external_model,
    external_tensor,
    flip_byte,
    keep_times,
    model_proto,
    replace_with_other_bytes,
    save,
    value,
)
from builders_shapes import resizer
from clocks import much_later, next_tick
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pytest_trt.diagnostics import ModelError
from pytest_trt.files import REST_NS, FileStamp
from pytest_trt.onnx.digest_cache import CachedDigest, Stamps, recall_or_hash
from pytest_trt.onnx.file import load_model, read_interface

_PLANTED = "f" * 64

_EXAMPLES = sorted((Path(__file__).parents[2] / "example_project" / "models").glob("*.onnx"))


class Memory(dict[Stamps, CachedDigest]):
    """What is remembered, in a dictionary; several records of one model are kept."""

    def recall(self, model):
        found = [one for stamps, one in self.items() if stamps[0] == model]
        return found[-1] if found else None

    def wants(self, stamps):
        return True

    def remember(self, found):
        self[found.stamps] = found

    @property
    def digests(self) -> set[str]:
        return {found.digest for found in self.values()}

    def plant(self, **changes) -> None:
        """Change what is remembered of all models."""
        for stamps, found in self.items():
            self[stamps] = replace(found, **changes)


class CachedDigest:
    """A model with external data whose digest is remembered, as one that no bytes have.

    Whoever returns that digest has not hashed anything.
    """

    def __init__(self, folder: Path) -> None:
        self.path = external_model(folder)
        self.data = folder / "w.bin"
        self.memory = Memory()
        self.true_digest = self.load()
        (self.stamps,) = self.memory
        self.memory.plant(digest=_PLANTED)
        next_tick(folder)

    def load(self, path: Path | None = None, clock=much_later) -> str:
        return load_model(path or self.path, digests=self.memory, clock=clock).digest


@pytest.fixture
def remembered(tmp_path) -> CachedDigest:
    return CachedDigest(tmp_path / "model")


def test_an_unchanged_model_is_not_hashed_again(remembered):
    assert remembered.load() == _PLANTED


def test_without_a_memory_every_byte_is_hashed(remembered):
    assert load_model(remembered.path).digest == remembered.true_digest


@pytest.mark.parametrize("times", ["moved", "kept"])
@pytest.mark.parametrize("change", [flip_byte, replace_with_other_bytes])
def test_a_changed_data_byte_changes_the_digest(remembered, change, times):
    if times == "kept":
        keep_times(change, remembered.data)
    else:
        change(remembered.data)

    assert remembered.load() == load_model(remembered.path).digest != remembered.true_digest


@pytest.mark.parametrize("times", ["moved", "kept"])
def test_a_changed_byte_of_the_model_changes_the_digest(tmp_path, times):
    remembered = CachedDigest(tmp_path)

    def rename_graph(path):
        path.write_bytes(path.read_bytes().replace(b"graph", b"grapf"))

    if times == "kept":
        keep_times(rename_graph, remembered.path)
    else:
        rename_graph(remembered.path)

    assert remembered.load() == load_model(remembered.path).digest != remembered.true_digest


@pytest.mark.parametrize("name", ["model.onnx", "w.bin"])
def test_a_touched_file_is_hashed_and_cached_again(remembered, name):
    os.utime(remembered.path.with_name(name), ns=(1, 1))

    assert remembered.load() == remembered.true_digest
    assert len(remembered.memory) == 2
    assert remembered.memory.digests == {_PLANTED, remembered.true_digest}


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
    ("change", "message"),
    [(Path.unlink, "does not exist"), (lambda path: os.truncate(path, 5), "which has 5")],
)
def test_missing_or_truncated_data_is_refused_with_a_cached_digest(remembered, change, message):
    change(remembered.data)

    with pytest.raises(ModelError, match=message):
        remembered.load()


# Only what was left alone for a while counts.


def test_the_digest_of_a_recent_file_is_neither_cached_nor_trusted(remembered):
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


def hashed(path: Path, memory: Memory, meanwhile: Callable[[], object]) -> str:
    def hash_files() -> str:
        content = path.read_bytes() + (path.parent / "w.bin").read_bytes()
        meanwhile()
        return hashlib.sha256(content).hexdigest()

    with path.open("rb", buffering=0) as file:
        return recall_or_hash(
            memory,
            None,
            (path, FileStamp.of(path, file)),
            [path.parent / "w.bin"],
            started_ns=much_later(),
            hash_files=hash_files,
            contents=dict,
        )[0]


@pytest.mark.parametrize(
    "meanwhile",
    [
        flip_byte,
        lambda path: keep_times(flip_byte, path),
        replace_with_other_bytes,
        lambda path: path.rename(path.with_name("aside")),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "w.bin"])
def test_a_file_that_changes_while_it_is_hashed_is_an_error(tmp_path, meanwhile, name):
    path, memory, times = external_model(tmp_path), Memory(), []
    next_tick(tmp_path)

    def once() -> None:
        if not times:
            meanwhile(tmp_path / name)
        times.append(1)

    with pytest.raises(ModelError, match="changed while it was being read"):
        hashed(path, memory, once)
    assert not memory


def test_a_file_that_is_only_touched_while_it_is_hashed_has_its_digest(tmp_path):
    path, memory, times = external_model(tmp_path), Memory(), []
    next_tick(tmp_path)

    def touched_once() -> None:
        if not times:
            os.utime(path)
        times.append(1)

    assert hashed(path, memory, touched_once) == hashed(path, Memory(), lambda: None)
    assert len(times) == 2
    assert not memory


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


@settings(max_examples=60)
@given(deeds=st.lists(st.sampled_from(sorted(_DEEDS)), max_size=8))
def test_whatever_was_done_to_the_data_the_digest_is_that_of_its_bytes(tmp_path_factory, deeds):
    folder = tmp_path_factory.mktemp("deeds")
    path, memory = external_model(folder, length=64), Memory()
    for deed in ["nothing", *deeds]:
        next_tick(folder)
        _DEEDS[deed](folder / "w.bin")

        digest = load_model(path, digests=memory, clock=much_later).digest

        assert digest == load_model(path).digest


# What is known of the model's own file.


def plant_input(remembered) -> None:
    """Have the memory say of the model what its file does not."""
    (found,) = remembered.memory.values()
    inputs = [{"name": "planted", "dtype": "float32", "shape": [1]}]
    remembered.memory.plant(contents={**found.contents, "inputs": inputs})


def names(specs) -> list[str]:
    return [spec.name for spec in specs]


def test_an_unchanged_file_is_not_walked_again(remembered):
    plant_input(remembered)

    model = load_model(remembered.path, digests=remembered.memory, clock=much_later)

    assert names(model.inputs) == ["planted"]
    interface = read_interface(remembered.path, digests=remembered.memory, clock=much_later)
    assert names(interface[0]) == ["planted"]


def test_a_changed_file_is_walked_again(remembered):
    plant_input(remembered)
    keep_times(
        lambda path: path.write_bytes(path.read_bytes().replace(b"graph", b"grapf")),
        remembered.path,
    )

    model = load_model(remembered.path, digests=remembered.memory, clock=much_later)

    assert names(model.inputs) == ["x"]


def test_a_file_of_just_now_is_walked(remembered):
    plant_input(remembered)

    interface = read_interface(remembered.path, digests=remembered.memory, clock=time.time_ns)

    assert names(interface[0]) == ["x"]


def test_digests_stored_by_another_release_are_not_trusted(remembered):
    plant_input(remembered)
    (found,) = remembered.memory.values()
    remembered.memory.plant(contents={**found.contents, "schema": 0})

    model = load_model(remembered.path, digests=remembered.memory, clock=much_later)

    assert names(model.inputs) == ["x"]
    assert model.digest == _PLANTED


def _model(folder: Path, name: str | Path) -> Path:
    if isinstance(name, Path):
        return name
    if name == "external":
        return external_model(folder, length=64)
    if name == "shape by value":
        return save(resizer(), folder / "m.onnx")
    gather = helper.make_node("Gather", ["w", "x"], ["y"])
    inputs = [value("x", None, TensorProto.INT64)]
    return save(model_proto([gather], inputs=inputs), folder / "m.onnx")


@pytest.mark.parametrize("name", ["external", "shape by value", "indices", *_EXAMPLES])
def test_what_is_cached_is_what_was_found(tmp_path, name):
    path, memory = _model(tmp_path, name), Memory()
    found = load_model(path, digests=memory, clock=much_later)
    (record,) = memory.values()
    memory.plant(contents=json.loads(json.dumps(record.contents)))

    recalled = load_model(path, digests=memory, clock=much_later)

    assert recalled == found == load_model(path)
