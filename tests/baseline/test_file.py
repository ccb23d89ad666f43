from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from builders_processes import git
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.baseline.entry import MAX_RUNS, Entry, StoredNoise, StoredRun, rounded
from pytest_trt.baseline.file import (
    BaselineFile,
    baseline_files,
    baseline_path,
    module_of,
    read_baselines,
    write_baselines,
)
from pytest_trt.diagnostics import BaselineError, Remedy

TARGET = {"arch": "sm90", "gpu": "NVIDIA H200", "sm_count": "132"}
SPEC = {"model": "resnet50.onnx", "precision": "fp16", "shapes": "image [8, 3, 224, 224]"}


def run(day: int = 1, p50: float = 0.53123456) -> StoredRun:
    return StoredRun(
        recorded=f"2026-11-{day:02}T10:00:00+00:00",
        toolchain="TensorRT 8.6.0",
        calls=7,
        rounds={"p50": (p50, p50 * 1.001), "throughput": (15000.123, 15001.0)},
        reason="first",
        environment={"driver": "580.159.04"},
    )


def entry(*runs: StoredRun) -> Entry:
    return Entry("graph", SPEC, {"key": "ab12", "size_bytes": 53_000_000}, runs or (run(),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "test_speed.json"
    written = BaselineFile(TARGET, {"test_b": entry(run(p50=0.5), run(2, 0.5)), "test_a": entry()})
    write_baselines(path, written)
    found = read_baselines(path)
    assert found is not None
    assert found.target == TARGET
    assert found.tests["test_b"].spec == SPEC
    assert found.tests["test_b"].runs[1].rounds["p50"] == (0.5, 0.5005)
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read_baselines(tmp_path / "none.json") is None


def test_rewriting_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_baselines(path, BaselineFile(TARGET, {"test_a": entry()}))
    text = path.read_text()
    found = read_baselines(path)
    assert found is not None
    write_baselines(path, found)
    assert path.read_text() == text


def test_a_changed_test_changes_only_its_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    tests = {f"test_{name}": entry() for name in "abc"}
    write_baselines(path, BaselineFile(TARGET, tests))
    before = path.read_text().splitlines()
    write_baselines(path, BaselineFile(TARGET, {**tests, "test_b": entry(run(), run(2))}))
    after = path.read_text().splitlines()
    assert [line for line in before if line not in after] == []
    assert len(after) - len(before) == 11
    # The order in which tests ran does not show.
    write_baselines(path, BaselineFile(TARGET, dict(reversed(tests.items()))))
    assert path.read_text().splitlines() == before


def test_a_fusion_that_is_lost_is_a_change_of_the_lines_of_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    kept = ("Gemm", "half", "linear")
    fused = replace(entry(), layers=(("Conv", "half", "conv1", "relu1"), kept))
    write_baselines(path, BaselineFile(TARGET, {"test_a": fused}))
    found = read_baselines(path)
    assert found is not None
    assert found.tests["test_a"].layers == fused.layers
    before = path.read_text().splitlines()
    apart = replace(fused, layers=(("Conv", "half", "conv1"), ("Relu", "half", "relu1"), kept))
    write_baselines(path, BaselineFile(TARGET, {"test_a": apart}))
    after = path.read_text().splitlines()
    assert [line.strip() for line in after if line not in before] == [
        '["Conv", "half", "conv1"],',
        '["Relu", "half", "relu1"],',
    ]
    assert [line.strip() for line in before if line not in after] == [
        '["Conv", "half", "conv1", "relu1"],'
    ]


@given(st.floats(1e-4, 1e6))
def test_rounding_retains_differences_between_replayed_graphs(value: float) -> None:
    assert rounded(value) == pytest.approx(value, rel=5e-5)
    assert rounded(rounded(value)) == rounded(value)


def test_the_oldest_run_is_dropped() -> None:
    kept = entry(run(1))
    for day in range(2, 9):
        kept = kept.with_runs([run(day)], {"key": f"k{day}"})
    assert len(kept.runs) == MAX_RUNS
    assert kept.runs[0].recorded.startswith("2026-11-04")
    assert kept.engine == {"key": "k8"}


def test_several_runs_join_at_once() -> None:
    kept = entry(run(1), run(2)).with_runs([run(3), run(4), run(5), run(6)], {"key": "k"})
    assert [one.recorded[8:10] for one in kept.runs] == ["02", "03", "04", "05", "06"]


@pytest.mark.parametrize(
    ("mode", "spec", "why"),
    [
        ("graph", SPEC, None),
        ("enqueue", SPEC, "its mode is graph, this run has enqueue"),
        ("graph", {**SPEC, "precision": "fp32"}, "it has precision fp16, this run has fp32"),
        ("graph", {**SPEC, "options": "x"}, "it has options none, this run has x"),
    ],
)
def test_other_modes_and_specs_are_not_compared(mode, spec, why) -> None:
    assert entry().differs(mode=mode, spec=spec) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ('{"schema": 1', "not JSON"),
        ('{"schema": 1, "target": {}}', "tests: missing"),
        ('{"schema": "1", "target": {}, "tests": {}}', "schema: expected int, found '1'"),
        ("[]", "expected an object"),
        ('<<<<<<< ours\n{"schema": 1}', "merge conflict markers"),
    ],
)
def test_damaged_files_are_named_and_left_alone(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "test_speed.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=why) as caught:
        read_baselines(path)
    assert str(path) in str(caught.value)
    expected = f"git log -- {path}" if "markers" in why else f"mv {path} {path}.broken"
    assert caught.value.diagnostic.remedy.commands[0] == expected
    assert path.read_text() == text


def test_a_damaged_file_that_was_committed_is_restored_by_the_command(tmp_path: Path) -> None:
    path = tmp_path / "test_speed.json"
    path.write_text("{}")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "a")
    path.write_text("{")
    with pytest.raises(BaselineError) as caught:
        read_baselines(path)
    (command,) = caught.value.diagnostic.remedy.commands
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert path.read_text() == "{}"


@pytest.fixture
def conflict(tmp_path: Path, monkeypatch) -> Path:
    """A file of answers with a conflict in an unfinished merge, its `.npz` beside it."""
    path = tmp_path / "answers" / "test_a.json"
    path.parent.mkdir()

    def commit(text: str, branch: str, *start: str) -> None:
        git(tmp_path, "checkout", "-q", "-B", branch, *start)
        path.write_text(text)
        path.with_suffix(".npz").write_bytes(b"\0" + text.encode())
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", branch)

    git(tmp_path, "init", "-q")
    commit('{"schema": 1, "tests": {}}\n', "main")
    commit('{"schema": 1, "tests": {"ours": 1}}\n', "ours")
    commit('{"schema": 1, "tests": {"theirs": 1}}\n', "theirs", "main")
    git(tmp_path, "checkout", "-q", "ours")
    git(tmp_path, "merge", "theirs", status=1)
    monkeypatch.chdir(tmp_path)
    return path


def remedy_of(path: Path) -> Remedy:
    with pytest.raises(BaselineError, match="merge conflict markers") as caught:
        read_baselines(path)
    return caught.value.diagnostic.remedy


def test_the_fix_of_an_unfinished_merge_works(conflict: Path) -> None:
    take, record = remedy_of(conflict).commands
    subprocess.run(shlex.split(take), check=True)
    assert "theirs" in conflict.read_text()
    assert b"theirs" in conflict.with_suffix(".npz").read_bytes()
    assert "<<<" not in conflict.read_text()
    assert record == "pytest --trt-update-new"


def test_committed_markers_are_not_restored(conflict: Path) -> None:
    git(conflict.parent, "add", ".")
    git(conflict.parent, "commit", "-q", "-m", "with markers")
    _, restore, record = remedy_of(conflict).commands
    subprocess.run(shlex.split(restore.replace("COMMIT", "ours^")), check=True)
    assert "<<<" not in conflict.read_text()
    assert record == "pytest --trt-update-new"


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"schema": BaselineFile.SCHEMA + 1, "target": {}, "tests": {}}))
    with pytest.raises(BaselineError, match=r"has format 2, but .* reads format 1: "):
        read_baselines(path)


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.mkdir()  # os.replace cannot put a file there
    with pytest.raises(BaselineError, match="cannot be written"):
        write_baselines(path, BaselineFile(TARGET, {"test_a": entry()}))
    assert list(tmp_path.iterdir()) == [path]


def test_targets_and_modules_have_their_own_files(tmp_path: Path) -> None:
    found = baseline_path(tmp_path, TARGET, PurePosixPath("tests/perf/test_speed.py"))
    assert found == tmp_path / "sm90-nvidia-h200-132" / "tests" / "perf" / "test_speed.json"
    assert baseline_path(
        tmp_path, {"arch": "cpu", "machine": "x86_64"}, PurePosixPath("test_a.py")
    ) == (tmp_path / "cpu-x86-64" / "test_a.json")


def test_noise_is_stored_with_the_runs_with_two_digits(tmp_path: Path) -> None:
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 6, 0.00123456, {"p50": 0.0112, "p99": 0.2})
    path = tmp_path / "a.json"
    write_baselines(path, BaselineFile(TARGET, {"test_a": replace(entry(), noise=noise)}))
    found = read_baselines(path)
    assert found is not None
    assert found.tests["test_a"].noise == replace(
        noise, placement=0.0012, between_runs={"p50": 0.011, "p99": 0.2}
    )
    # It outlives more runs of the engine.
    assert found.tests["test_a"].with_runs([run(2)], {"key": "k"}).noise is not None


def test_entry_without_noise_says_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_baselines(path, BaselineFile(TARGET, {"test_a": entry()}))
    assert "noise" not in path.read_text()
    found = read_baselines(path)
    assert found is not None
    assert found.tests["test_a"].noise is None


def test_file_names_its_module_and_is_found(tmp_path: Path) -> None:
    path = baseline_path(tmp_path, TARGET, PurePosixPath("tests/perf/test_speed.py"))
    write_baselines(path, BaselineFile(TARGET, {"test_a": entry()}))
    (path.parent / ".test_speed.json.tmp").touch()
    assert baseline_files(tmp_path) == [path]
    assert module_of(tmp_path, path) == "tests/perf/test_speed.py"
    assert baseline_files(tmp_path / "none") == []


def test_figure_is_the_median_over_all_rounds() -> None:
    assert entry(run(p50=1.0), run(2, 2.0)).figure("p50") == pytest.approx(1.5005)
    assert entry().figure("p99") is None
