"""Baseline files as git has them."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from pytest_trt.diagnostics import BaselineError

#: Seconds that git may take to read a file; it takes milliseconds unless its disk is gone.
_TIMEOUT_S = 60


def text_at(revision: str, path: Path) -> str | None:
    """Return a file's text at a revision, or None where the revision has no such file.

    Args:
        revision: A commit, branch or tag, as git understands it.
        path: The file; it need not be there now, but its folder or one above it must.

    Raises:
        BaselineError: There is no git, no repository, or no such revision.
    """
    top, commit = _resolved(revision, path)
    name = (path.parent.resolve() / path.name).relative_to(top).as_posix()
    found = _git(top, "ls-tree", "--name-only", "--full-tree", commit, "--", name)
    if not found:
        return None
    return _git(top, "cat-file", "blob", f"{commit}:{name}")


def commit_of(text: str, path: Path) -> str | None:
    """Return the short name of the commit that brought a text into a file, or None if nobody knows.

    Of a shallow clone the oldest commit seems to have made everything that it holds.

    Args:
        text: The text; a file may have come to hold it more than once, then the last time counts.
        path: The file.
    """
    with suppress(BaselineError, _GitError):
        if _git(path.parent, "rev-parse", "--is-shallow-repository").strip() == "false":
            log = ("log", "-1", "--format=%h", f"-S{text}", "--", path.name)
            return _git(path.parent, *log).strip() or None
    return None


def files_at(revision: str, folder: Path) -> list[Path]:
    """Return every JSON file below a folder at a revision, by the path that it has or had.

    Raises:
        BaselineError: There is no git, no repository, or no such revision.
    """
    top, commit = _resolved(revision, folder)
    name = folder.resolve().relative_to(top).as_posix()
    listed = _git(top, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
    names = [one for one in listed.split("\0") if one.endswith(".json")]
    inside = [one for one in names if name == "." or one.startswith(f"{name}/")]
    return [folder / (top / one).relative_to(folder.resolve()) for one in inside]


def _resolved(revision: str, path: Path) -> tuple[Path, str]:
    """Return the repository's top folder and the commit."""
    there = path.absolute()
    while not there.is_dir():
        there = there.parent
    try:
        top = _git(there, "rev-parse", "--show-toplevel").strip()
    except _GitError as error:
        raise BaselineError(
            f"{path} is in no git repository ({error}).",
            fix="name two files to compare: `pytest-trt baseline diff OLD NEW`.",
        ) from error
    try:
        # What begins with a dash is an option for git, unless told that it is a revision.
        wanted = ("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        commit = _git(there, "rev-parse", *wanted).strip()
    except _GitError as error:
        raise BaselineError(
            f"{revision!r} is no revision of the git repository {top}.",
            fix="name a commit, a branch or a tag: `--git main`; `git log` lists commits.",
        ) from error
    return Path(top), commit


class _GitError(Exception):
    """git ended with an error; the text is what it said."""


def _git(folder: Path, *args: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *args], capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise BaselineError(
            "git is not installed, or not on the PATH.",
            fix="install it, or name two files to compare: `pytest-trt baseline diff OLD NEW`.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BaselineError(
            f"git gave no answer for {_TIMEOUT_S} s in {folder}.",
            fix="see whether `git status` answers there.",
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise _GitError(said.partition("\n")[0] or f"git ended with exit status {done.returncode}")
    return done.stdout.decode("utf-8", errors="replace")
