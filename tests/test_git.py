from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders_processes import git

from pytest_trt.diagnostics import BaselineError
from pytest_trt.git import commit_that_added, content_at, head_commit, json_files_at, was_committed


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a/x.json of two commits, the first one tagged."""
    git(tmp_path, "init", "-q")
    path = tmp_path / "a" / "x.json"
    path.parent.mkdir()
    for number, text in enumerate(("first", "sécond")):
        path.write_text(text, encoding="utf-8")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", text)
        if not number:
            git(tmp_path, "tag", "v1")
    return tmp_path


def test_text_is_that_of_the_revision(repository: Path) -> None:
    path = repository / "a" / "x.json"
    path.write_text("now")
    assert content_at("HEAD", path) == "sécond".encode()
    assert content_at("v1", path) == b"first"
    assert content_at("HEAD~1", path) == b"first"


def test_path_may_be_relative(repository: Path, monkeypatch) -> None:
    monkeypatch.chdir(repository / "a")
    assert content_at("v1", Path("x.json")) == b"first"
    assert json_files_at("v1", Path()) == [Path("x.json")]


def test_commit_that_brought_a_text_into_a_file_is_named(repository: Path) -> None:
    path = repository / "a" / "x.json"
    text = path.read_text()
    before = commit_that_added(text, path)
    assert before
    path.write_text(f"{text} and more")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "of another text")
    assert commit_that_added(text, path) == before
    assert commit_that_added("and more", path) not in (before, None)
    path.write_text("not committed")
    assert commit_that_added("not committed", path) is None


def test_commit_of_a_file_is_none_where_it_is_unknown(repository: Path, tmp_path: Path) -> None:
    assert commit_that_added("first", repository / "a" / "y.json") is None
    assert commit_that_added("first", Path("/") / "x.json") is None
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    assert commit_that_added("first", tmp_path / "shallow" / "a" / "x.json") is None


def test_file_that_git_does_not_have_is_none(repository: Path) -> None:
    assert content_at("HEAD", repository / "a" / "y.json") is None
    assert content_at("HEAD", repository / "gone" / "x.json") is None


def test_file_was_committed_also_where_its_folder_is_missing(repository: Path) -> None:
    path = repository / "a" / "x.json"
    path.unlink()
    path.parent.rmdir()
    assert was_committed(path)
    assert not was_committed(repository / "a" / "y.json")


def test_removed_file_is_still_listed(repository: Path) -> None:
    path = repository / "a" / "x.json"
    path.unlink()
    path.parent.rmdir()
    assert json_files_at("HEAD", repository / "a") == [path]
    assert json_files_at("HEAD", repository) == [path]
    assert json_files_at("HEAD", repository / "b") == []


@pytest.mark.parametrize("revision", ["nothing", "--help", "", "v1:a"])
def test_unknown_revision_is_an_error(repository: Path, revision: str) -> None:
    with pytest.raises(BaselineError, match="is not a revision of the git repository") as caught:
        content_at(revision, repository / "a" / "x.json")
    assert caught.value.diagnostic.code == "TRT621"


def test_repository_without_a_commit_has_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(BaselineError, match="'HEAD' is not a revision"):
        json_files_at("HEAD", tmp_path)


def test_folder_without_a_repository_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(BaselineError, match="not in a git repository") as caught:
        content_at("HEAD", folder / "x.json")
    assert caught.value.diagnostic.remedy.commands == ("pytest-trt baseline diff OLD NEW",)


def test_machine_without_git_is_an_error(repository: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(BaselineError, match="git is not installed") as caught:
        content_at("HEAD", repository / "a" / "x.json")
    assert caught.value.diagnostic.remedy.commands == ("pytest-trt baseline diff OLD NEW",)


def test_checked_out_commit_is_known_in_a_repository_only(repository: Path, monkeypatch) -> None:
    commit = head_commit(repository / "a")
    assert commit
    assert len(commit) == 40
    assert head_commit(repository / "none") is None
    monkeypatch.setenv("PATH", str(repository))
    assert head_commit(repository) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_repository_of_another_user_has_a_name_of_its_own(repository: Path, monkeypatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    command = f"git config --global --add safe.directory {repository}"
    for ask in (
        lambda: content_at("HEAD", repository / "a" / "x.json"),
        lambda: head_commit(repository / "a"),
    ):
        with pytest.raises(BaselineError, match="belongs to another user") as found:
            ask()
        assert found.value.diagnostic.code == "TRT622"
        assert found.value.diagnostic.remedy.commands == (command,)
    assert commit_that_added("x", repository / "a" / "x.json") is None


def test_names_that_are_not_utf8_are_found(repository: Path) -> None:
    path = repository / "a" / os.fsdecode(b"\xff.json")
    try:
        path.write_text("third")
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "bytes")
    assert path in json_files_at("HEAD", repository)
    assert content_at("HEAD", path) == b"third"
