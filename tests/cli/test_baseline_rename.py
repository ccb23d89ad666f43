"""`pytest-trt baseline rename`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders_baseline import SLUG, save_answers, save_baselines, stored
from builders_cli import run_command

OLD, NEW = "tests/test_speed.py::test_old", "tests/test_speed.py::test_new"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = Path("trt_baselines")
    save_baselines(root, {"test_old[fp16]": stored()})
    save_answers(root, {"test_old": {"1" * 20: {"y": np.zeros(3)}}})
    return root


def names() -> set[str]:
    listed = json.loads(run_command("baseline", "list", "--json").stdout)
    return {f"{one['kind']} {one['test']}" for one in listed}


def test_it_shows_what_it_moves_and_the_files_to_commit(root) -> None:
    done = run_command("baseline", "rename", OLD, f"./{NEW}")
    assert done.returncode == 0, done.stderr
    assert f"{OLD}[fp16] -> {NEW}[fp16]: speed on {SLUG}" in done.stdout
    assert f"{OLD} -> {NEW}: answers" in done.stdout
    assert "2 baselines moved; files: trt_baselines/sm90" in done.stdout
    assert names() == {f"speed {NEW}[fp16]", f"answers {NEW}"}


def test_a_dry_run_moves_nothing(root) -> None:
    before = names()
    done = run_command("baseline", "rename", OLD, NEW, "--dry-run")
    assert "2 baselines would be moved" in done.stdout
    assert names() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, OLD),
        (OLD, "tests/test_speed.py"),
        ("/tests/test_speed.py", "tests/test_b.py"),
        ("test_old", "test_new"),
        (OLD, "tests/test_speed.py::"),
        ("tests", "other"),
    ],
)
def test_names_of_other_forms_are_refused(root, old: str, new: str) -> None:
    before = names()
    done = run_command("baseline", "rename", old, new)
    assert done.returncode == 2
    assert "test" in done.stderr
    assert names() == before


def test_it_neither_overwrites_nor_renames_nothing(root) -> None:
    save_answers(root, {"test_x": {"1" * 20: {"y": np.ones(3)}}}, module="tests/test_b")
    before = names()
    for old, new, message in (
        (OLD, "tests/test_b.py::test_x", "another baseline of test_x"),
        ("tests/test_none.py", "tests/test_b.py", "there is no baseline of tests/test_none.py"),
    ):
        done = run_command("baseline", "rename", old, new)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Fix: " in done.stderr
    assert names() == before
