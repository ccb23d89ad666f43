from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_trt.engine import run_records
from pytest_trt.engine.run_records import RunRecords, kind_of

X = np.zeros((2, 9), np.float32)


def test_what_ran_is_known_to_other_processes_of_the_same_producer(tmp_path: Path) -> None:
    records = RunRecords(tmp_path, producer="a")
    records.of("model", "plan").add("x")
    assert "x" in records.of("model", "plan")
    records.save()
    assert "x" in RunRecords(tmp_path, producer="a").of("model", "plan")
    assert "x" not in RunRecords(tmp_path, producer="a").of("model", "reference")
    assert "x" not in RunRecords(tmp_path, producer="a").of("other", "plan")
    assert "x" not in RunRecords(tmp_path, producer="b").of("model", "plan")


def test_processes_add_to_one_record_and_the_last_kinds_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "_MOST_KINDS", 2)
    both = [RunRecords(tmp_path), RunRecords(tmp_path)]
    for kind, records in zip("ab", both, strict=True):
        records.of("model", "plan").add(kind)
    for records in both:
        records.save()
    assert list(RunRecords(tmp_path).of("model", "plan")) == ["a", "b"]
    both[0].of("model", "plan").add("c")
    both[0].save()
    assert len(list(RunRecords(tmp_path).of("model", "plan"))) == 2


def test_a_damaged_record_does_not_count(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    records.of("model", "plan").add("x")
    records.save()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"plan", b"play"))
    assert "x" not in RunRecords(tmp_path).of("model", "play")


@pytest.mark.parametrize("name", [None, "missing"])
def test_without_a_folder_it_holds_for_this_process(name: str | None, tmp_path: Path) -> None:
    records = RunRecords(name and tmp_path / name)
    records.of("model", "plan").add("x")
    records.save()
    assert "x" in records.of("model", "plan")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"x": X}, {"x": X + 1}, True),
        ({"x": X}, {"x": X[:1]}, False),
        ({"x": X}, {"x": X.astype(np.float64)}, False),
        ({"x": X}, {"z": X}, False),
        ({"n": np.array(3)}, {"n": np.array(3)}, True),
        ({"n": np.array(3)}, {"n": np.array(4)}, False),
        ({"n": np.array([True])}, {"n": np.array([False])}, False),
        ({"ids": np.arange(9)}, {"ids": np.arange(9)[::-1]}, True),
        ({"s": [X]}, {"s": [X, X]}, False),
        ({"s": None}, {"s": [X]}, False),
        ({"m": {1: 2.0}}, {"m": {1: 2.0, 2: 3.0}}, False),
        ({str(n): X for n in range(99)}, {str(n): X[:1] for n in range(99)}, False),
    ],
)
def test_shapes_types_and_what_may_be_a_size_make_the_kind(one, other, same: bool) -> None:
    assert (kind_of(one) == kind_of(other)) is same


def test_models_that_were_not_used_for_longest_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "_MOST_MODELS", 2)
    for models in ("ab", "a", "c"):
        records = RunRecords(tmp_path)
        for model in models:
            records.of(model, "plan").add(f"of {models}")
        records.save()
    found = RunRecords(tmp_path)
    assert [list(found.of(model, "plan")) for model in "abc"] == [["of ab", "of a"], [], ["of c"]]
    assert len(list(tmp_path.iterdir())) == 1
