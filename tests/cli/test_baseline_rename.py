"""`pytest-trt baseline rename`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders_baseline import SLUG, save_answers, save_baselines, stored, stored_run
from builders_cli import run_command
from builders_processes import commit_all

from pytest_trt.baseline.answers import AnswerFile, read_answers, read_data
from pytest_trt.baseline.file import write_baselines
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    MetricsFile,
    StoredMetric,
    metrics_target,
    read_metrics,
)

OLD, NEW = "tests/test_speed.py::test_old", "tests/test_speed.py::test_new"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = Path("trt_baselines")
    save_baselines(root, {"test_old[fp16]": stored()})
    save_answers(root, {"test_old": {"1" * 20: {"y": np.zeros(3)}}})
    return root


def metrics(top1: float) -> MetricsEntry:
    return MetricsEntry("2026-11-02T10:00:00+00:00", "x", {"top1": StoredMetric(top1)})


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
        ("models/a.onnx", "models"),
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


def test_a_baseline_that_was_recorded_since_is_replaced_on_request(root) -> None:
    right, module = {"test_old": metrics(0.9)}, Path("tests/test_speed.json")
    file = root / "metrics-cpu" / module
    write_baselines(file, MetricsFile(metrics_target("cpu"), {**right, "test_new": metrics(0.1)}))
    old, new = ({"1" * 20: {"y": np.full(3, value)}} for value in (1.0, 2.0))
    save_answers(root, {"test_old": old, "test_new": new})
    done = run_command("baseline", "rename", OLD, NEW)
    assert done.returncode == 2
    command = f"pytest-trt baseline rename --replace {OLD} {NEW}"
    assert command in done.stderr
    shown = run_command(*command.split()[1:])
    assert shown.returncode == 0, shown.stderr
    assert f"{NEW}: answers, replacing the one there" in shown.stdout
    assert names() == {f"speed {NEW}[fp16]", f"answers {NEW}", f"metrics {NEW}"}
    assert read_metrics(file).tests == {"test_new": right["test_old"]}
    answers = root / "answers" / module
    (entry,) = read_answers(answers).tests.values()
    (numbers,) = read_data(answers, AnswerFile({"test_new": entry}).data).values()
    (array,) = numbers.values()
    assert array.tolist() == [1.0] * 3


class TestModels:
    @pytest.fixture(autouse=True)
    def zoo(self, root) -> None:
        """Baselines of three models, each of two shapes, as one test over a pattern has them."""
        for name in ("a", "b", "my-a"):
            Path("models").mkdir(exist_ok=True)
            Path(f"models/{name}.onnx").write_text(name)
        ids = {
            f"[../models/{name}.onnx-{at}]": name for name in ("a", "my-a") for at in ("min", "max")
        }
        save_baselines(
            root,
            {
                f"test_speed{one}": stored(
                    stored_run(len(name)), spec={"model": f"models/{name}.onnx"}
                )
                for one, name in ids.items()
            },
        )
        save_answers(
            root,
            {
                f"test_x[fp16-../models/a.onnx{at}]": {"1" * 20: {"y": np.ones(3)}}
                for at in ("", "-max")
            },
            model="models/a.onnx",
        )
        path = root / "metrics-sm90" / "tests" / "test_speed.json"
        tests = {"test_top1[fp16-../models/a.onnx]": metrics(0.5)}
        write_baselines(path, MetricsFile(metrics_target("sm90"), tests))

    def test_all_node_ids_of_a_model_are_renamed_at_once(self) -> None:
        commit_all(Path())
        Path("models/a.onnx").rename("models/clicks.onnx")
        done = run_command("baseline", "rename", "models/a.onnx", "./models/clicks.onnx")
        assert done.returncode == 0, done.stderr
        assert "5 baselines moved" in done.stdout
        assert not any("models/a.onnx" in name for name in names())
        assert len([name for name in names() if "../models/clicks.onnx" in name]) == 5
        assert len([name for name in names() if "../models/my-a.onnx" in name]) == 2
        (models,) = {
            one["model"]
            for one in json.loads(run_command("baseline", "list", "--json").stdout)
            if one["kind"] == "answers"
        }
        assert models == "models/clicks.onnx"
        shown = run_command("baseline", "diff").stdout
        line = "test_speed[../models/clicks.onnx-max]: renamed, equal; was test_speed[../models/a."
        assert line in shown
        assert "test_x[fp16-../models/clicks.onnx]: answers renamed, equal" in shown
        assert "added" not in shown
        kinds = {
            one.get("kind") for one in json.loads(run_command("baseline", "diff", "--json").stdout)
        }
        assert kinds == {"renamed", None}  # metrics have none

    def test_a_renamed_one_that_differs_is_removed_and_added(self, root) -> None:
        commit_all(Path())
        save_baselines(
            root,
            {
                "test_speed[../models/clicks.onnx-max]": stored(
                    spec={"model": "models/clicks.onnx"}, engine={"key": "cd"}
                )
            },
        )
        shown = run_command("baseline", "diff").stdout
        assert "clicks.onnx-max]: added" in shown
        assert "a.onnx-max]: removed" in shown
        assert "renamed" not in shown

    @pytest.mark.parametrize("stays", [True, False])
    def test_of_a_folder_the_models_that_were_moved(self, stays) -> None:
        Path("models/ranking").mkdir()
        for path in sorted(Path("models").glob("*.onnx")):
            if not (stays and path.name == "my-a.onnx"):
                path.rename(path.parent / "ranking" / path.name)
        done = run_command("baseline", "rename", "models", "models/ranking")
        assert done.returncode == 0, done.stderr
        assert f"{5 if stays else 7} baselines moved" in done.stdout
        assert any("[../models/my-a.onnx-min]" in name for name in names()) == stays
        assert any("[../models/ranking/a.onnx-min]" in name for name in names())

    def test_names_of_folders_may_have_dots(self) -> None:
        Path("models").rename("models-1.1")
        done = run_command("baseline", "rename", "models", "models-1.1")
        assert done.returncode == 0, done.stderr
        assert "7 baselines moved" in done.stdout
        assert any("[../models-1.1/a.onnx-min]" in name for name in names())

    def test_a_model_without_baselines_is_an_error(self) -> None:
        done = run_command("baseline", "rename", "models/b.onnx", "models/c.onnx")
        assert done.returncode == 2
        assert "there is no baseline of models/b.onnx" in done.stderr

    def test_another_baseline_of_the_new_model_is_not_overwritten(self) -> None:
        before = names()
        done = run_command("baseline", "rename", "models/a.onnx", "models/my-a.onnx")
        assert done.returncode == 2
        assert "[TRT652]" in done.stderr
        assert names() == before
