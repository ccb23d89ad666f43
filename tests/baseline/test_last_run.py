from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from builders_baseline import TARGET, stored

from pytest_trt.baseline.last_run import Candidate, LastRun, read_last_run, write_last_run
from pytest_trt.baseline.staged import Staged
from pytest_trt.diagnostics import BaselineError
from pytest_trt.sealed import write_sealed

WHEN = "2026-11-20T10:00:00+00:00"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def keep(cache: Path, root: Path, *tests: str) -> None:
    file = root / "trt_baselines" / "a.json"
    candidates = [Candidate(t, Staged(file, file.name, TARGET, t, stored())) for t in tests]
    write_last_run(cache, LastRun(root, WHEN, candidates))


def test_run_is_found_from_its_root_and_below(cache, tmp_path) -> None:
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    keep(cache, root, "test_x")
    for folder in (root, root / "tests"):
        found = read_last_run(cache, folder)
        assert found is not None
        assert (found.root, found.finished) == (root, WHEN)
        assert [one.test for one in found.candidates] == ["test_x"]
    assert read_last_run(cache, tmp_path) is None


def test_last_run_takes_the_place_of_the_one_before(cache, tmp_path) -> None:
    keep(cache, tmp_path, "test_x", "test_y")
    keep(cache, tmp_path, "test_z")
    found = read_last_run(cache, tmp_path)
    assert found is not None
    assert [one.test for one in found.candidates] == ["test_z"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_it_is_the_users_alone(cache, tmp_path) -> None:
    keep(cache, tmp_path, "test_x")
    (path,) = cache.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 200])
def test_anything_but_a_stored_run_is_an_error(cache, tmp_path, content) -> None:
    keep(cache, tmp_path, "test_x")
    (path,) = cache.iterdir()
    path.write_bytes(content)
    (tmp_path / "below").mkdir()
    with pytest.raises(BaselineError, match="it has no seal") as found:
        read_last_run(cache, tmp_path / "below")
    assert found.value.diagnostic.code == "TRT641"
    assert str(path) in found.value.message


def test_a_run_that_was_changed_is_not_read(cache, tmp_path) -> None:
    keep(cache, tmp_path, "test_x")
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes().replace(b"trt_baselines", b"trt_elsewhere"))
    with pytest.raises(BaselineError, match="do not match its seal"):
        read_last_run(cache, tmp_path)


def test_a_run_of_another_folder_is_not_read(cache, tmp_path) -> None:
    keep(cache, tmp_path / "a", "test_x")
    (path,) = cache.iterdir()
    keep(cache, tmp_path / "b", "test_x")
    (other,) = {*cache.iterdir()} - {path}
    other.replace(path)
    with pytest.raises(BaselineError, match="it was stored as last-run"):
        read_last_run(cache, tmp_path / "a")


def test_a_run_that_does_not_fit_is_an_error_that_names_the_field(cache, tmp_path) -> None:
    keep(cache, tmp_path, "test_x")
    (path,) = cache.iterdir()
    write_sealed(path, "last-run", path.stem, b'{"root": "/", "finished": 1, "candidates": []}')
    with pytest.raises(BaselineError, match="finished: expected str, found 1"):
        read_last_run(cache, tmp_path)


def test_old_runs_of_removed_projects_are_deleted(cache, tmp_path) -> None:
    for number in range(60):
        keep(cache, tmp_path / str(number), "test_x")
    assert len(list(cache.iterdir())) == 50
    assert read_last_run(cache, tmp_path / "59") is not None
