"""What git has stored: files at a revision, commits. The only place that runs git."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

from pytest_trt.diagnostics import BaselineError, Remedy

#: Seconds that git may take; it takes milliseconds unless its disk does not answer.
_TIMEOUT_S = 60


def head_commit(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder, or None if that is unknown.

    Raises:
        UntrustedError: The repository belongs to another user.
    """
    try:
        return _text(folder, "rev-parse", "HEAD")
    except UntrustedError:
        raise
    except (BaselineError, _Refused, OSError):
        return None


def content_at(revision: str, path: Path, *, filtered: bool = False) -> bytes | None:
    """Return a file's bytes at a revision, or None where the revision has no such file.

    Args:
        revision: A commit, branch or tag, as git understands it.
        path: The file; it need not exist now, but its folder or one above it must.
        filtered: Whether git's filters apply as in a checkout: Git LFS is one. Where the filter
            fails, the bytes are those that git itself has: a pointer.

    Raises:
        BaselineError: There is no git, no repository, or no such revision.
    """
    top, commit = _resolved(revision, path)
    name = (path.parent.resolve() / path.name).relative_to(top).as_posix()
    if not _git(top, "ls-tree", "--name-only", "--full-tree", commit, "--", name):
        return None
    place = f"{commit}:{name}"
    if filtered:
        with suppress(_Refused):
            return _git(top, "cat-file", "--filters", place)
    return _git(top, "cat-file", "blob", place)


def commit_that_added(text: str, path: Path) -> str | None:
    """Return the short name of the last commit that added a text to a file, or None if unknown.

    A shallow clone does not know: its oldest commit seems to have added everything.
    """
    with suppress(BaselineError, _Refused):
        if _text(path.parent, "rev-parse", "--is-shallow-repository") == "false":
            log = ("log", "-1", "--format=%h", f"-S{text}", "--", path.name)
            return _text(path.parent, "--literal-pathspecs", *log) or None
    return None


def is_unmerged(path: Path) -> bool:
    """Whether a file has a conflict in an unfinished merge; False where there is no git."""
    with suppress(BaselineError, _Refused, OSError):
        listed = _text(
            path.parent, "--literal-pathspecs", "ls-files", "--unmerged", "--", path.name
        )
        return bool(listed)
    return False


def was_committed(path: Path) -> bool:
    """Whether a commit that the checkout knows has a file, which may have been removed since."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    with suppress(BaselineError, _Refused):
        name = os.path.relpath(path, folder)
        log = ("log", "-1", "--format=%h", "--", name)
        return bool(_text(folder, "--literal-pathspecs", *log))
    return False


def json_files_at(revision: str, folder: Path) -> list[Path]:
    """Return every JSON file below a folder at a revision, by the path that it has or had.

    Raises:
        BaselineError: There is no git, no repository, or no such revision.
    """
    top, commit = _resolved(revision, folder)
    name = folder.resolve().relative_to(top).as_posix()
    listed = _git(top, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
    names = [os.fsdecode(one) for one in listed.split(b"\0") if one.endswith(b".json")]
    inside = [one for one in names if name == "." or one.startswith(f"{name}/")]
    return [folder / (top / one).relative_to(folder.resolve()) for one in inside]


def _resolved(revision: str, path: Path) -> tuple[Path, str]:
    """Return the repository's top folder and the commit."""
    there = path.absolute()
    while not there.is_dir():
        there = there.parent
    try:
        top = _text(there, "rev-parse", "--show-toplevel")
    except _Refused as error:
        raise BaselineError(
            f"{path}: not in a git repository ({error})",
            fix=Remedy("Name two files to compare.", ("pytest-trt baseline diff OLD NEW",)),
            code="TRT620",
            facts={"path": str(path), "git": str(error)},
        ) from error
    try:
        # Without --end-of-options, git takes what begins with a dash for an option.
        wanted = ("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        commit = _text(there, "rev-parse", *wanted)
    except _Refused as error:
        raise BaselineError(
            f"{revision!r} is not a revision of the git repository {top}",
            fix=Remedy("Name a commit, a branch or a tag.", ("git log --oneline",)),
            code="TRT621",
            facts={"revision": revision, "repository": top},
        ) from error
    return Path(top), commit


class UntrustedError(BaselineError):
    """git reads nothing of a repository that belongs to another user."""

    CODE = "TRT622"


class _Refused(Exception):
    """git ended with an error; the text is the first line that it printed."""


def _text(folder: Path, *args: str) -> str:
    """Return what git printed, in one line; a path may have bytes that are not UTF-8."""
    return os.fsdecode(_git(folder, *args)).removesuffix("\n")


def _git(folder: Path, *args: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *args],
            env={**os.environ, "LC_ALL": "C"},  # its messages are read below
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise BaselineError(
            "git is not installed, or not on the PATH",
            fix=Remedy(
                "Install git; or name two files to compare.", ("pytest-trt baseline diff OLD NEW",)
            ),
            code="TRT620",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BaselineError(
            f"git did not answer within {_TIMEOUT_S} s in {folder}",
            fix=Remedy("Check whether git answers there.", ("git status",)),
            code="TRT620",
            facts={"folder": str(folder)},
        ) from error
    if done.returncode:
        printed = done.stderr.decode(errors="replace").strip()
        if "dubious ownership" in printed:
            raise _untrusted(folder)
        raise _Refused(printed.partition("\n")[0] or f"git: exit status {done.returncode}")
    return done.stdout


def _untrusted(folder: Path) -> UntrustedError:
    owned = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
    return UntrustedError(
        f"the git repository {owned} belongs to another user, so git reads nothing of it",
        fix=Remedy(
            "If you trust it, allow it:",
            (f"git config --global --add safe.directory {shlex.quote(str(owned))}",),
        ),
        facts={"repository": str(owned)},
    )
