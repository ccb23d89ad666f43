from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_trt.private import (
    NotPrivateError,
    PrivateFolder,
    open_private,
    runtime_folder,
    trusted_places,
    user_folder,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

STARTED_IN = Path.cwd()

#: Of another user than the one that runs the tests.
OTHER = 4242


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "above" / "mine"
    made.mkdir(parents=True)
    (made / "file").write_bytes(b"content")
    (made / "file").chmod(0o600)
    return made


def read(folder: Path, trusted: tuple[Path, ...] = ()) -> bytes:
    with open_private(folder, trusted=trusted) as opened:
        return opened.read("file")


def refused(folder: Path, trusted: tuple[Path, ...] = ()) -> NotPrivateError:
    with pytest.raises(NotPrivateError) as caught:
        read(folder, trusted)
    return caught.value


def test_own_file_is_read(folder: Path) -> None:
    assert read(folder) == b"content"


@pytest.mark.parametrize("part", ["above", "above/mine", "above/mine/file"])
@pytest.mark.parametrize("mode", [pytest.param(0o770, marks=needs_root), 0o707])
def test_what_others_can_write_is_refused_at_every_level(
    folder: Path, part: str, mode: int
) -> None:
    path = folder.parent.parent / part
    path.chmod(mode)
    if os.geteuid() == 0:  # the user's own group may write: it is that of the user alone
        os.chown(path, 0, OTHER)
    error = refused(folder)
    assert (error.path, error.mode, error.owner) == (path, mode, None)
    assert f"mode {mode:o}" in error.strerror


@needs_root
@pytest.mark.parametrize("part", ["above", "above/mine", "above/mine/file"])
def test_what_belongs_to_others_is_refused_at_every_level(folder: Path, part: str) -> None:
    path = folder.parent.parent / part
    os.chown(path, OTHER, OTHER)
    error = refused(folder)
    assert (error.path, error.owner) == (path, OTHER)


@needs_root
def test_files_of_root_and_of_the_users_own_group_are_read(folder: Path) -> None:
    for path in (folder / "file", folder, folder.parent):
        path.chmod(path.stat().st_mode | 0o020)  # root's group has one member, as users' own have
    assert read(folder) == b"content"


@needs_root
@pytest.mark.parametrize("part", ["above", "above/mine"])
def test_access_lists_are_not_mistaken_for_the_users_own_group(folder: Path, part: str) -> None:
    path = folder.parent.parent / part
    path.chmod(0o770)
    # Version 2, then tag, rights and user of each entry. Source: linux/posix_acl_xattr.h.
    entries = [(1, 7, -1), (2, 7, OTHER), (4, 0, -1), (16, 7, -1), (32, 0, -1)]
    packed = b"".join(
        tag.to_bytes(2, "little")
        + rights.to_bytes(2, "little")
        + (user % 2**32).to_bytes(4, "little")
        for tag, rights, user in entries
    )
    try:
        os.setxattr(path, "system.posix_acl_access", b"\x02\x00\x00\x00" + packed)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    assert refused(folder).path == path


def test_sticky_folder_above_is_used(folder: Path) -> None:
    folder.parent.chmod(0o1777)
    assert read(folder) == b"content"
    folder.chmod(0o1777)  # in the folder itself, others could leave files
    assert refused(folder).path == folder


@pytest.mark.parametrize("place", ["above", "above/mine"])
def test_folders_that_lead_to_a_trusted_place_may_belong_to_others(
    folder: Path, place: str
) -> None:
    folder.parent.chmod(0o777)
    assert read(folder, (folder.parent.parent / place,)) == b"content"
    folder.chmod(0o777)
    assert refused(folder, (folder,)).path == folder


def test_current_folder_and_home_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/some/home")
    started_in, *others = trusted_places()
    assert started_in.samefile(STARTED_IN)
    assert others == [tmp_path, Path("/some/home")]


def test_own_links_above_are_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "relative").symlink_to("above")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    assert read(tmp_path / "absolute" / "mine") == b"content"
    folder.parent.chmod(0o777)
    assert refused(tmp_path / "absolute" / "mine").path == folder.parent


@needs_root
def test_links_of_others_are_not_followed(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("above")
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    error = refused(link / "mine")
    assert (error.path, error.owner) == (link, OTHER)


@needs_root
def test_folders_are_created_where_no_link_of_others_leads(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        open_private(tmp_path / "a" / "b", create=True).close()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")]
    assert modes == [0o755, 0o700]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "shared" / "link").symlink_to(tmp_path / "a")
    with pytest.raises(NotPrivateError):
        open_private(tmp_path / "shared" / "link" / "c", create=True)
    with pytest.raises(NotPrivateError):
        open_private(tmp_path / "shared" / "d" / "e", create=True)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["link"]


def test_circle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match=r"link"):
        open_private(tmp_path / "link" / "mine")


@pytest.mark.parametrize("name", ["", "file"])
def test_links_at_the_end_are_refused(folder: Path, name: str) -> None:
    path = folder / name if name else folder
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    error = refused(folder)
    assert (error.path, error.strerror) == (path, "it is a symbolic link")


def test_pipe_does_not_block(folder: Path) -> None:
    (folder / "file").unlink()
    os.mkfifo(folder / "file")
    assert "not a regular file" in refused(folder).strerror


def test_folder_that_is_open_stays_the_same_whatever_is_renamed(folder: Path) -> None:
    with open_private(folder) as opened:
        folder.parent.rename(folder.parent.with_name("gone"))
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"other")
        assert opened.read("file") == b"content"
        assert (opened.stable_path / "file").read_bytes() == b"content"


def test_no_descriptor_is_left_open(folder: Path) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    read(folder)
    with pytest.raises(FileNotFoundError):
        open_private(folder / "missing" / "one")
    folder.parent.chmod(0o707)
    refused(folder)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_missing_file_is_named_with_its_path(folder: Path) -> None:
    with PrivateFolder.at(folder) as opened, pytest.raises(FileNotFoundError) as caught:
        opened.read("missing")
    assert caught.value.filename == str(folder / "missing")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of a user without any: what a test adds is all there is."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "file").touch()  # no folder can be created below it
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_runtime_folder_is_the_systems_if_it_is_private(places: Path) -> None:
    runtime = places / "runtime"
    runtime.mkdir()
    assert runtime_folder() == runtime / "pytest-trt"
    assert (runtime / "pytest-trt").stat().st_mode & 0o777 == 0o700
    runtime.chmod(0o777)
    assert runtime not in runtime_folder().parents


@pytest.mark.skipif(Path(f"/run/user/{os.geteuid()}").exists(), reason="the system has one")
def test_runtime_folder_of_last_resort_is_named_by_the_users_number(places: Path) -> None:
    assert runtime_folder() == places / f"pytest-trt-{os.geteuid()}"


def test_folder_that_somebody_else_made_is_not_used(places: Path) -> None:
    (places / "elsewhere").mkdir()
    (places / f"pytest-trt-{os.geteuid()}").symlink_to("elsewhere")
    with pytest.raises(NotPrivateError, match="symbolic link"):
        user_folder()


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """A temporary folder in which other users can create files; pytest's own are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@needs_root
@pytest.mark.parametrize("home", [{}, {"HOME": "/"}], ids=["none", "not writable"])
def test_user_without_a_name_and_a_home_has_a_cache_and_locks(
    reachable_path: Path, home: dict[str, str]
) -> None:
    program = """
import os, sys
import platformdirs, fcntl
from pytest_trt.engine.cache import EngineCache, default_cache_dir
from pytest_trt.files import locked, user_lock
os.setgroups([])
os.setgid(4242)
os.setuid(4242)
os.chdir("/")
with locked(user_lock("gpu")):
    print(user_lock("gpu"))
print(EngineCache(default_cache_dir()).folder)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(reachable_path), **home},
        capture_output=True,
        text=True,
        check=False,
    )
    own = reachable_path / "pytest-trt-4242"
    assert done.stdout.split() == [str(own / "gpu.lock"), str(own / "cache" / "v1")], done.stderr
