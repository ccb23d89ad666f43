"""`pytest-trt baseline collect`."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders_baseline import SLUG, TARGET, save_answers, save_baselines, stored, stored_run
from builders_cli import run_command
from builders_processes import commit_all

from pytest_trt.baseline import staged
from pytest_trt.baseline.answers import data_path, read_answers, read_data
from pytest_trt.baseline.file import read_baselines, write_baselines
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    MetricsFile,
    StoredMetric,
    metrics_target,
    read_metrics,
)

MODULE = "tests/test_speed"
OTHER = {"arch": "sm86", "gpu": "NVIDIA A10", "sm_count": "72"}
OTHER_SLUG = "sm86-nvidia-a10-72"
INPUTS = "1" * 20


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """A project with one test module; returns its folder of baselines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    Path("pytest.ini").write_text("[pytest]\n")
    Path("tests").mkdir()
    Path(f"{MODULE}.py").write_text("")
    return Path("trt_baselines")


def collect(*args: str, status: int = 0) -> dict[str, str]:
    """Collect, and return the status of each test, or of each file that was refused."""
    done = run_command("baseline", "collect", "--json", *args)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("Error: " in done.stderr) == bool(status)
    return {
        one["test"] or one["file"]: f"{one['status']} {one.get('code', '')}".strip()
        for one in json.loads(done.stdout)["baselines"]
    }


def node(name: str = "a") -> str:
    return f"{MODULE}.py::test_{name}"


def speed(root: str | Path, day: int = 2, name: str = "a", **of: Any) -> Path:
    return save_baselines(Path(root), {f"test_{name}": stored(stored_run(day))}, **of)


def answers(root: str | Path, value: float = 0.0, name: str = "a", day: int = 1, **of: Any) -> Path:
    array = np.full((8, 10), value, np.float32)
    recorded = f"2026-11-{day:02}T10:00:00+00:00"
    return save_answers(
        Path(root), {f"test_{name}": {INPUTS: {"y": array}}}, recorded=recorded, **of
    )


def metrics(root: str | Path, value: float) -> Path:
    path = Path(root) / "metrics-sm90" / f"{MODULE}.json"
    entry = MetricsEntry("2026-11-02T10:00:00+00:00", "TensorRT", {"top1": StoredMetric(value)})
    write_baselines(path, MetricsFile(metrics_target("sm90"), {"test_a": entry}))
    return path


def days(path: Path) -> dict[str, str]:
    found = read_baselines(path)
    assert found is not None
    return {test: entry.runs[-1].recorded[:10] for test, entry in found.tests.items()}


def zipped(folder: str) -> str:
    return shutil.make_archive(folder, "zip", folder)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class TestWhatComesBack:
    def test_speeds_answers_and_metrics_are_new(self, root) -> None:
        speed("artifact"), answers("artifact", 1.0), metrics("artifact", 0.5)
        done = run_command("baseline", "collect", "artifact")
        assert done.returncode == 0, done.stderr
        assert "3 new" in done.stdout
        assert "commit trt_baselines" in done.stdout
        assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}
        assert read_metrics(root / "metrics-sm90" / f"{MODULE}.json") is not None
        found = read_answers(root / "answers" / f"{MODULE}.json")
        assert found is not None
        assert read_data(root / "answers" / f"{MODULE}.json", found.data)

    @pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
    @pytest.mark.parametrize("inside", ["", f"{SLUG}/trt_baselines"])
    def test_archives_are_read_as_ci_stores_them(self, root, kind, inside) -> None:
        speed(Path("artifact", inside))
        if inside:  # of the whole folder, with other files
            Path("artifact/report.json").write_text("{}")
        archive = shutil.make_archive("artifact", kind, "artifact")
        assert collect(archive) == {node(): "new"}
        assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}

    def test_several_runners_live_side_by_side(self, root) -> None:
        speed("all/one"), speed("all/two", target=OTHER, slug=OTHER_SLUG)
        done = run_command("baseline", "collect", "all")
        assert "2 new" in done.stdout
        assert {path.name for path in root.iterdir()} == {SLUG, OTHER_SLUG}

    def test_other_tests_of_the_module_stay(self, root) -> None:
        path = speed(root, 1, "b")
        speed("artifact", 2)
        assert collect("artifact") == {node(): "new"}
        assert days(path) == {"test_a": "2026-11-02", "test_b": "2026-11-01"}

    def test_changed_answers_replace_their_arrays_and_leave_others(self, root) -> None:
        path = answers(root, 1.0)
        old = read_answers(path)
        shutil.copytree(root, "artifact")
        answers("more", 3.0, "b")
        answers("artifact", 2.0, day=2)
        assert collect("artifact", "more") == {node(): "changed", node("b"): "new"}
        new = read_answers(path)
        assert old is not None
        assert new is not None
        assert sorted(new.tests) == ["test_a", "test_b"]
        assert len(read_data(path, new.data)) == 2
        assert not old.data & new.data

    def test_a_dry_run_writes_nothing(self, root) -> None:
        speed("artifact")
        assert collect("artifact", "--dry-run") == {node(): "new"}
        assert not root.exists()
        assert "dry run" in run_command("baseline", "collect", "artifact", "--dry-run").stdout


class TestNothing:
    def test_what_is_stored_already_is_collected_already(self, root) -> None:
        speed("artifact"), answers("artifact", 1.0), metrics("artifact", 0.5)
        assert run_command("baseline", "collect", "artifact").returncode == 0
        before = snapshot(root)
        for is_committed in (False, True):
            if is_committed:
                commit_all(Path())
            done = run_command("baseline", "collect", "artifact")
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(
                "3 unchanged\nCollected already: trt_baselines has these baselines."
            )
            assert snapshot(root) == before

    def test_copies_of_the_last_commit_are_nothing_to_collect(self, root) -> None:
        """The working tree has another baseline, which is not from this artifact."""
        speed(root, 1)
        commit_all(Path())
        shutil.copytree(root, "artifact")
        speed(root, 2)
        done = run_command("baseline", "collect", "artifact")
        assert done.returncode == 1
        assert done.stdout == "1 unchanged\n"
        assert "[TRT659]" in done.stderr

    def test_an_artifact_without_baselines_is_named(self) -> None:
        Path("artifact").mkdir()
        done = run_command("baseline", "collect", "artifact")
        assert done.returncode == 1
        assert "nothing to collect from artifact: no baselines in it [TRT659]" in done.stderr

    def test_one_of_several_artifacts_without_baselines_is_named(self, root) -> None:
        speed("artifact")
        Path("empty").mkdir()
        assert collect("artifact", "empty", status=1) == {
            node(): "new",
            "empty": "refused TRT659",
        }
        assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}

    def test_a_source_has_to_exist(self) -> None:
        assert collect("none.zip", status=1) == {"none.zip": "refused TRT654"}
        assert run_command("baseline", "collect").returncode == 2


class TestOlderAndNewer:
    def test_newer_baseline_is_not_overwritten_unless_told(self, root) -> None:
        path = speed(root, 3)
        speed("artifact", 2)
        assert collect("artifact", status=1) == {node(): "refused TRT656"}
        assert days(path) == {"test_a": "2026-11-03"}
        assert collect("artifact", "--prefer=artifact") == {node(): "changed"}
        assert days(path) == {"test_a": "2026-11-02"}

    def test_newer_answers_are_not_overwritten_unless_told(self, root) -> None:
        path = answers(root, 1.0, day=3)
        answers("artifact", 2.0, day=2)
        assert collect("artifact", status=1) == {node(): "refused TRT656"}
        assert collect("artifact", "--prefer=artifact") == {node(): "changed"}
        found = read_answers(path)
        assert found is not None
        assert found.tests["test_a"].recorded.startswith("2026-11-02")

    def test_older_baseline_is_replaced(self, root) -> None:
        path = speed(root, 1)
        speed("artifact", 2)
        assert collect("artifact") == {node(): "changed"}
        assert days(path) == {"test_a": "2026-11-02"}

    def test_copies_of_the_last_commit_are_not_what_a_runner_recorded(self, root) -> None:
        """Each runner uploads the whole folder: its own figures, and those of all others as is."""
        speed(root, 1), speed(root, 1, target=OTHER, slug=OTHER_SLUG)
        commit_all(Path())
        shutil.copytree(root, "one"), shutil.copytree(root, "two")
        speed("one", 2), speed("two", 2, target=OTHER, slug=OTHER_SLUG)
        for artifact in ("one", "two"):  # also one after the other
            done = run_command("baseline", "collect", artifact)
            assert done.returncode == 0, done.stderr
            assert "1 changed, 1 unchanged" in done.stdout
        assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}
        assert days(root / OTHER_SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}


class TestTheSameTargetTwice:
    def test_different_figures_are_refused_unless_told_which(self, root) -> None:
        speed("one", 2), speed("two", 3)
        speed("two", 3, "b", module="tests/test_other")
        Path("tests/test_other.py").write_text("")
        other = "tests/test_other.py::test_b"
        assert collect("one", "two", status=1) == {node(): "refused TRT655", other: "new"}
        assert not (root / SLUG / f"{MODULE}.json").exists()
        assert collect("one", "two", "--prefer=one") == {node(): "new", other: "unchanged"}
        assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}

    @pytest.mark.parametrize("kind", ["speeds", "answers"])
    @pytest.mark.parametrize("is_committed", [False, True], ids=["new", "changed"])
    def test_a_repetition_changes_nothing(self, root, kind, is_committed) -> None:
        """What is here already still counts where sources differ: else the others would win."""
        if is_committed:
            speed(root, 1), answers(root, 0.0, day=1)
            commit_all(Path())
        if kind == "speeds":
            speed("one", 2), speed("two", 3)
        else:
            answers("one", 1.0, day=2), answers("two", 2.0, day=3)
        (status,) = collect("one", "two", "--prefer=one").values()
        assert status == ("changed" if is_committed else "new")
        before = snapshot(root)
        for _ in range(2):
            assert collect("one", "two", "--prefer=one") == {node(): "unchanged"}
        assert collect("one", "two", status=1) == {node(): "refused TRT655"}
        assert snapshot(root) == before

    def test_also_within_one_source(self, root) -> None:
        speed("all/one", 2), speed("all/two", 3)
        assert collect("all", status=1) == {node(): "refused TRT655"}
        assert "each folder in it as a source" in run_command("baseline", "collect", "all").stderr

    def test_the_same_figures_are_collected_once(self, root) -> None:
        speed("one", 2), speed("two", 2)
        assert collect("one", "two") == {node(): "new"}

    def test_preferred_source_has_to_be_one(self) -> None:
        speed("one", 2)
        done = run_command("baseline", "collect", "one", "--prefer=two")
        assert done.returncode == 2
        assert "--prefer=two: expected one of the SOURCES: one." in done.stderr

    @pytest.mark.parametrize(
        ("sources", "prefer"),
        [(["all/one", "all/two"], "all/one/"), (["all/one/", "all/two/"], "./all/one")],
    )
    def test_paths_may_be_typed_differently(self, root, sources, prefer) -> None:
        speed("all/one", 2), speed("all/two", 3)
        assert collect(*sources, f"--prefer={prefer}") == {node(): "new"}
        assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}

    def test_answers_of_several_runners_have_the_errors_of_all(self, root) -> None:
        """Answers are the same on all devices; each adds the errors of its engines."""
        answers(root, errors={"cpu fp16": {"y": 0.1}, "sm90 fp16": {"y": 0.1}})
        commit_all(Path())
        answers("one", day=2, errors={"cpu fp16": {"y": 0.1}, "sm90 fp16": {"y": 0.2}})
        answers("two", day=3, errors={"sm90 fp16": {"y": 0.1}, "sm86 fp16": {"y": 0.3}})
        assert collect("one", "two") == {node(): "changed"}
        found = read_answers(root / "answers" / f"{MODULE}.json")
        assert found is not None
        assert found.tests["test_a"].errors == {
            "cpu fp16": {"y": 0.1},
            "sm90 fp16": {"y": 0.2},
            "sm86 fp16": {"y": 0.3},
        }

    def test_errors_of_others_are_collected_with_the_answers_of_the_preferred(self, root) -> None:
        """Processors differ in the last bit of the answers, not in the errors of engines."""
        answers("one", 1.0, errors={"sm90 fp16": {"y": 0.1}})
        answers("two", 2.0, errors={"sm86 fp16": {"y": 0.3}})
        answers("three", 2.0, errors={"sm89 fp16": {"y": 0.3}}, model_digest="cd" * 32)
        assert collect("one", "two", "three", "--prefer=two") == {node(): "new"}
        found = read_answers(root / "answers" / f"{MODULE}.json")
        assert found is not None
        assert sorted(found.tests["test_a"].errors) == ["sm86 fp16", "sm90 fp16"]

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            ({"value": 1.0}, {"value": 2.0}),
            ({"errors": {"cpu fp16": {"y": 0.1}}}, {"errors": {"cpu fp16": {"y": 0.2}}}),
        ],
        ids=["other numbers", "other errors of one engine"],
    )
    def test_different_answers_are_refused_unless_told_which(self, root, one, two) -> None:
        answers("one", **one), answers("two", **two)
        assert collect("one", "two", status=1) == {node(): "refused TRT655"}
        assert not root.exists()
        assert collect("one", "two", "--prefer=two") == {node(): "new"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_file_that_is_not_valid_is_refused_by_name_and_others_are_collected(root) -> None:
    edit(speed("artifact", module="tests/test_broken"), '"calls": 70', '"calls": 0')
    edit(speed("artifact", module="tests/test_format"), '"schema": 1', '"schema": 9')
    speed("artifact", module="tests/test_missing")
    Path("artifact/report.json").write_text('{"tests": []}')
    speed("artifact")
    assert collect("artifact", status=1) == {
        node(): "new",
        f"artifact/{SLUG}/tests/test_broken.json": "refused TRT602",
        f"artifact/{SLUG}/tests/test_format.json": "refused TRT603",
        f"artifact/{SLUG}/tests/test_missing.json": "refused TRT657",
        "artifact/report.json": "refused TRT602",
    }
    assert days(root / SLUG / f"{MODULE}.json") == {"test_a": "2026-11-02"}
    assert list(snapshot(root)) == [str(root / SLUG / f"{MODULE}.json")]


def test_answers_are_refused_unless_both_files_belong_together(root) -> None:
    path = data_path(answers("swapped", 1.0))
    shutil.copy(data_path(answers("other", 2.0)), path)
    data_path(answers("alone", 1.0)).unlink()
    answers("orphan", 1.0).unlink()
    data_path(answers("pointer", 1.0)).write_text("version https://git-lfs.github.com/spec/v1\n")
    edit(answers("shape", 1.0), '"shape": [8, 10]', '"shape": [80, 10]')
    with zipfile.ZipFile(data_path(answers("compressed", 1.0))) as plain:
        (name,) = plain.namelist()
        content = plain.read(name)
    with zipfile.ZipFile(data_path(answers("compressed", 1.0)), "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr(name, content)
    for source, code in (
        ("swapped", "TRT673"),
        ("alone", "TRT673"),
        ("orphan", "TRT658"),
        ("pointer", "TRT674"),
        ("shape", "TRT673"),
        ("compressed", "TRT673"),
    ):
        (status,) = collect(source, status=1).values()
        assert status == f"refused {code}", source
    assert not root.exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "shape"])
def test_answers_that_an_artifact_lacks_are_recorded_there_again(damage) -> None:
    path = data_path(answers("artifact", 1.0))
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        edit(path.with_suffix(".json"), '"shape": [8, 10]', '"shape": [80, 10]')
    error = run_command("baseline", "collect", "artifact").stderr
    assert "Error: stored answers artifact/answers/tests/test_speed." in error
    assert "[TRT673]" in error
    assert "record the baselines again on the machine that made it" in " ".join(error.split())
    assert "git checkout" not in error  # it would discard what was collected before


@pytest.mark.parametrize(
    ("target", "slug"),
    [
        (TARGET, OTHER_SLUG),
        ({"arch": "answers"}, "answers"),
        ({"arch": "metrics", "gpu": "sm90"}, "metrics-sm90"),
        ({"arch": "../.."}, "sm90"),
        ({}, "sm90"),
        ({"arch": "."}, "x.json"),
    ],
)
def test_a_file_in_the_place_of_another_is_refused(root, target, slug) -> None:
    speed("artifact", target=target, slug=slug)
    (status,) = collect("artifact", status=1).values()
    assert status == "refused TRT658"
    assert not root.exists()


def test_a_file_of_another_target_than_the_stored_one_is_refused(root) -> None:
    path = speed(root, 1, target={**TARGET, "gpu": "nvidia h200"})
    before = path.read_bytes()
    speed("artifact")
    (status,) = collect("artifact", status=1).values()
    assert status == "refused TRT605"
    assert path.read_bytes() == before


def test_nothing_of_a_hostile_archive_is_read(root, tmp_path) -> None:
    speed("artifact")
    archive = zipped("artifact")
    with zipfile.ZipFile(archive, "a") as changed:
        changed.writestr("../outside.json", "{}")
    speed("good", target=OTHER, slug=OTHER_SLUG)
    assert collect(archive, "good", status=1) == {
        "artifact.zip": "refused TRT653",
        node(): "new",
    }
    assert not (root / SLUG).exists()
    assert not (tmp_path.parent / "outside.json").exists()


def test_test_modules_outside_the_root_folder_keep_their_place(root) -> None:
    speed("artifact", module="__up__/elsewhere/test_x")
    assert collect("artifact", status=1) == {
        f"artifact/{SLUG}/__up__/elsewhere/test_x.json": "refused TRT657"
    }


def test_a_stored_file_that_is_not_valid_is_never_overwritten(root) -> None:
    path = speed(root, 1)
    edit(path, '"calls": 70', '"calls": 0')
    before = path.read_bytes()
    speed("artifact")
    (status,) = collect("artifact", status=1).values()
    assert status == "refused TRT602"
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_left_and_a_repetition_completes(root) -> None:
    answers("artifact", 1.0), speed("artifact")
    root.mkdir()
    blocked = root / SLUG  # a file in the place of a folder
    blocked.write_text("")
    found = collect("artifact", status=1)
    assert sorted(found.values()) == ["new", "refused TRT601"]
    blocked.unlink()
    done = run_command("baseline", "collect", "artifact")
    assert "1 new, 1 unchanged" in done.stdout
    assert SLUG in done.stdout
    assert "answers" not in done.stdout.partition("1 new")[0]


@pytest.mark.parametrize(("option", "rows"), [((), 0), (("--all",), 1)])
def test_what_is_unchanged_is_counted_and_listed_on_request(root, option, rows) -> None:
    speed("artifact"), speed(root)
    answers("artifact", 1.0)
    shown = run_command("baseline", "collect", "artifact", "--dry-run", *option).stdout
    assert [line.split()[-1] for line in shown.splitlines()[1:-1]].count("unchanged") == rows
    assert "1 new, 1 unchanged" in shown


def test_another_process_that_writes_the_folder_is_not_overtaken(root, monkeypatch) -> None:
    speed("artifact")
    monkeypatch.setattr(staged, "_MOST_HELD_S", 0.05)
    with staged.only_writer(root / SLUG / "tests"):
        assert list(collect("artifact", status=1).values()) == ["refused TRT604"]
        assert collect("artifact", "--dry-run") == {node(): "new"}
    assert not root.exists()
    assert collect("artifact") == {node(): "new"}


def test_names_of_an_artifact_are_escaped(root) -> None:
    entry = {"test_\x1b[2J": stored()}
    save_baselines(Path("artifact"), entry)
    done = run_command("baseline", "collect", "artifact")
    assert done.returncode == 0
    assert "\x1b[2J" not in done.stdout
    assert "test_\\x1b[2J" in done.stdout
