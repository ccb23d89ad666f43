from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders_model import (
    FILE_CHANGES,
    external_model,
    flip_byte,
    keep_times,
)
from clocks import much_later, next_tick

from pytest_trt.diagnostics import EngineBuildError, ModelError
from pytest_trt.onnx.file import load_model
from pytest_trt.onnx.unchanged import of_hashed_bytes


class Made:
    """Counts how often something is made, and does something meanwhile the first times."""

    def __init__(self, *meanwhile) -> None:
        self.meanwhile, self.times = list(meanwhile), 0

    def __call__(self) -> int:
        self.times += 1
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return self.times


@pytest.mark.parametrize("clock", [None, much_later], ids=["of just now", "rested"])
def test_what_is_made_of_an_unchanged_model_is_made_once(tmp_path: Path, clock) -> None:
    path = external_model(tmp_path)
    model = load_model(path, clock=clock) if clock else load_model(path)
    assert of_hashed_bytes(model, Made()) == 1


@pytest.mark.parametrize("clock", [None, much_later], ids=["of just now", "rested"])
@pytest.mark.parametrize("change", FILE_CHANGES)
@pytest.mark.parametrize("name", ["model.onnx", "w.bin"])
def test_what_is_made_of_a_changed_model_is_not_returned(
    tmp_path: Path, name: str, change, clock
) -> None:
    path = external_model(tmp_path)
    model = load_model(path, clock=clock) if clock else load_model(path)
    next_tick(tmp_path)
    with pytest.raises(ModelError):
        of_hashed_bytes(model, Made(lambda: change(tmp_path / name)))


def test_a_change_in_the_tick_of_the_stamp_is_noticed(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    for _ in range(20):
        model = load_model(path)
        with pytest.raises(ModelError, match="changed while it was being read"):
            of_hashed_bytes(model, Made(lambda: keep_times(flip_byte, tmp_path / "w.bin")))


def test_a_change_that_is_undone_makes_it_again(tmp_path: Path) -> None:
    path, emptied = external_model(tmp_path), []
    model = load_model(path, clock=much_later)
    next_tick(tmp_path)

    def there_and_back() -> None:
        content = path.read_bytes()
        flip_byte(path)
        path.write_bytes(content)

    made = of_hashed_bytes(model, Made(there_and_back), again=lambda: emptied.append(1))
    assert (made, emptied) == (2, [1])


def test_a_model_that_never_rests_is_an_error(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    model = load_model(path)

    def touched() -> None:
        next_tick(tmp_path)
        os.utime(path)

    with pytest.raises(ModelError, match="changed while it was being read"):
        of_hashed_bytes(model, Made(*[touched] * 9))


def test_a_failure_is_explained_by_the_change_and_stays_without_one(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    model = load_model(path)

    def refused() -> None:
        raise EngineBuildError("the builder refused it", fix="try another one.")

    def refused_after_a_change() -> None:
        flip_byte(tmp_path / "w.bin")
        refused()

    with pytest.raises(EngineBuildError):
        of_hashed_bytes(model, Made(refused))
    next_tick(tmp_path)
    with pytest.raises(ModelError, match="changed while it was being read") as caught:
        of_hashed_bytes(model, Made(refused_after_a_change))
    assert isinstance(caught.value.__cause__, EngineBuildError)
