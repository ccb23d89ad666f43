"""Baselines of a test that was renamed: moved whole, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders_baseline import SLUG, save_answers, save_baselines, stored, stored_run

from pytest_trt.baseline import answers, file
from pytest_trt.baseline.answers import answer_files, read_answers, read_data
from pytest_trt.baseline.file import baseline_files, module_of, read_baselines
from pytest_trt.baseline.renaming import is_mentioned, rename_baselines, rename_command
from pytest_trt.diagnostics import BaselineError

OTHER = "sm86-a10"


def outputs(value: int) -> dict[str, dict[str, np.ndarray]]:
    return {"1" * 20: {"y": np.full((2, 3), value, np.float32)}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Speeds on two targets, and answers, of a test with parameters and of others."""
    root = tmp_path / "trt_baselines"
    speeds = {"test_a[fp16]": stored(), "test_a[fp32]": stored(stored_run(2)), "test_ab": stored()}
    save_baselines(root, speeds, module="tests/test_a")
    save_baselines(
        root, {"test_a[fp16]": stored()}, module="tests/test_a", target={"arch": "a"}, slug=OTHER
    )
    save_answers(root, {"test_a": outputs(1), "test_ab": outputs(2)}, module="tests/test_a")
    return root


def everything(root: Path) -> dict[str, object]:
    """Every entry by its place, with the numbers of answers."""
    found: dict[str, object] = {}
    for path in baseline_files(root):
        for test, entry in read_baselines(path).tests.items():
            found[f"{path.relative_to(root).parts[0]} {module_of(root, path)}::{test}"] = entry
    for path in answer_files(root):
        for test, entry in read_answers(path).tests.items():
            (digest,) = entry.data
            value = read_data(path, [digest])[digest]["values"][0, 0]
            found[f"answers {module_of(root, path)}::{test}"] = float(value)
    return found


@pytest.mark.parametrize("module", ["tests/test_a.py", "tests/deep/test_new.py"])
def test_a_renamed_test_keeps_everything(root: Path, module: str) -> None:
    before = everything(root)
    rename_baselines(root, "tests/test_a.py::test_a", f"{module}::test_new")
    assert everything(root) == {
        name.replace("tests/test_a.py::test_a[", f"{module}::test_new[").replace(
            "answers tests/test_a.py::test_a", f"answers {module}::test_new"
        )
        if not name.endswith("test_ab")
        else name: entry
        for name, entry in before.items()
    }


def test_a_moved_module_keeps_everything(root: Path) -> None:
    before = everything(root)
    moves = rename_baselines(root, "tests/test_a.py", "other/test_b.py")
    assert len(moves) == 3
    moved = [name.replace("tests/test_a.py", "other/test_b.py") for name in before]
    assert everything(root) == dict(zip(moved, before.values(), strict=True))
    assert not list(root.glob("*/tests/test_a.*"))


def test_one_parameter_and_a_class_may_be_renamed(root: Path) -> None:
    rename_baselines(root, "tests/test_a.py::test_a[fp32]", "tests/test_a.py::test_a[tf32]")
    assert f"{SLUG} tests/test_a.py::test_a[tf32]" in everything(root)
    save_baselines(root, {"TestOld::test_x": stored(), "TestOlder::test_x": stored()}, module="b")
    rename_baselines(root, "b.py::TestOld", "b.py::TestNew")
    assert read_baselines(root / SLUG / "b.json").tests.keys() == {
        "TestNew::test_x",
        "TestOlder::test_x",
    }


def test_further_parameters_are_those_of_one_test(root: Path) -> None:
    """Answers have no precision in their names; without other baselines, they are meant."""
    save_baselines(root, {"test_b": stored(), "test_b[x]": stored()}, module="b")
    save_answers(root, {"test_b": outputs(1), "test_c": outputs(1)}, module="b")
    rename_baselines(root, "b.py::test_b", "b.py::test_b[fp16]")
    rename_baselines(root, "b.py::test_c", "b.py::test_c[small]")
    assert read_baselines(root / SLUG / "b.json").tests.keys() == {"test_b[fp16]", "test_b[x]"}
    assert read_answers(root / "answers" / "b.json").tests.keys() == {"test_b", "test_c[small]"}


def test_nothing_is_overwritten(root: Path) -> None:
    save_answers(root, {"test_new": outputs(9)}, module="tests/test_b")
    before = everything(root)
    with pytest.raises(BaselineError, match=r"another baseline of test_new") as caught:
        rename_baselines(root, "tests/test_a.py::test_a", "tests/test_b.py::test_new")
    assert caught.value.diagnostic.code == "TRT652"
    assert everything(root) == before


def test_what_does_not_exist_is_refused(root: Path) -> None:
    for name in ("tests/test_a.py::test", "tests/test_a.py::test_a[int8]", "tests/test_none.py"):
        with pytest.raises(BaselineError, match="there is no baseline of"):
            rename_baselines(root, name, name.replace("test", "best"))


def test_damaged_numbers_move_nothing(root: Path) -> None:
    (root / "answers" / "tests" / "test_a.npz").unlink()
    with pytest.raises(BaselineError, match="No such file"):
        rename_baselines(root, "tests/test_a.py", "tests/test_b.py")
    assert read_answers(root / "answers" / "tests" / "test_a.json").tests.keys() == {
        "test_a",
        "test_ab",
    }


class KilledError(BaseException):
    pass


def test_a_renaming_that_is_killed_loses_nothing_and_is_completed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(root)
    after = {name.replace("test_a.py", "test_b.py"): entry for name, entry in before.items()}
    writes = kills = 0

    def killing(function: Callable[..., None]) -> Callable[..., None]:
        def write(*args: object) -> None:
            nonlocal writes
            if writes == kills:
                raise KilledError
            writes += 1
            function(*args)

        return write

    for module, name in (
        (file, "atomic_write"),
        (answers, "atomic_write"),
        (answers, "_write_data"),
    ):
        monkeypatch.setattr(module, name, killing(getattr(module, name)))
    for kills in range(20):
        writes = 0
        try:
            rename_baselines(root, "tests/test_a.py", "tests/test_b.py")
        except KilledError:
            kills += 1
            found = everything(root)
            assert {name.replace("test_a.py", "test_b.py") for name in found} == after.keys()
        else:
            break
    assert kills > 1
    assert everything(root) == after


class TestProposals:
    def command(self, nodeid: str, *fitting: str, exists: bool = True) -> str:
        return rename_command(nodeid, fitting, lambda module: exists)

    def test_parameters_that_stay_are_left_out(self) -> None:
        command = self.command("a.py::test_new[fp16]", "a.py::test_old[fp16]")
        assert command == "pytest-trt baseline rename a.py::test_old a.py::test_new"
        command = self.command("a.py::test_new[x 2]", "a.py::test_old[1]")
        assert command == "pytest-trt baseline rename 'a.py::test_old[1]' 'a.py::test_new[x 2]'"

    def test_a_module_that_is_missing_was_moved(self) -> None:
        command = self.command("b.py::test_a[fp16]", "a.py::test_a[fp16]", exists=False)
        assert command == "pytest-trt baseline rename a.py b.py"
        assert "::test_a" in self.command("b.py::test_a[fp16]", "a.py::test_a[fp16]")

    def test_the_likeliest_is_proposed(self) -> None:
        assert not self.command("a.py::test_logits")
        fitting = ("a.py::test_x", "b.py::test_logits", "a.py::test_logit")
        assert "b.py::test_logits" in self.command("a.py::test_logits", *fitting)
        assert "test_logit " in self.command("a.py::test_logits", *fitting[::2])

    @pytest.mark.parametrize(
        ("test", "found"),
        [("test_a", True), ("test_a[fp16]", True), ("test", False), ("T::test_a", False)],
    )
    def test_a_name_in_the_source_may_be_a_test(self, test: str, found: bool) -> None:
        assert is_mentioned(test, "class T1:\n    def test_a(): ...") == found
