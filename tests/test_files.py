from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from builders import full_disk
from builders_processes import holder

from pytest_trt.files import (
    MOUNTS,
    PRIVATE,
    LockTimeoutError,
    atomic_open,
    atomic_write,
    file_system,
    locked,
    open_regular,
    sweep,
    user_lock,
)
from pytest_trt.private import NotPrivateError

HOLDER = """
import sys
from pathlib import Path
from pytest_trt.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def held_elsewhere(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds a lock until its input ends."""
    return holder(HOLDER, str(path))


def test_a_file_is_replaced_and_its_folder_created(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    atomic_write(path, "old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_text_is_utf_8_and_lone_surrogates_are_escaped(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", "\u00e9\ud800")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\\ud800"


@pytest.mark.parametrize(
    ("mode", "umask", "expected"), [(0o666, 0o027, 0o640), (PRIVATE, 0, 0o600)]
)
def test_permissions_follow_the_umask(tmp_path: Path, mode: int, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "a", "", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == expected


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write(path, "old")
    with full_disk(), pytest.raises(OSError, match="too large"):
        atomic_write(path, bytes(10_000))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write(path, "old")

    def interrupted() -> None:
        with atomic_open(path) as file:
            file.write(b"part")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("\u00e9" * 127), "")


def test_a_process_waits_for_the_lock_and_reports_it(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path / "lock")
    reported = []

    def waiting(seconds: float, holder: str) -> None:
        reported.append(holder)
        assert process.stdin is not None
        process.stdin.close()  # the holder ends and releases the lock

    with locked(tmp_path / "lock", waiting=waiting):
        assert process.wait() == 0
    assert process.stdout is not None
    process.stdout.close()
    assert reported == [f"process {process.pid}"]


def test_waiting_ends_at_the_time_limit(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path / "lock")
    with pytest.raises(TimeoutError), locked(tmp_path / "lock", timeout_s=0):
        pass
    process.communicate()
    with locked(tmp_path / "lock", timeout_s=0):
        pass


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path / "lock")
    process.kill()
    process.communicate()
    with locked(tmp_path / "lock", timeout_s=0):
        pass


def test_lock_that_others_may_hold_is_not_waited_for(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path / "lock")
    (tmp_path / "lock").chmod(0o644)  # whoever may read a file may lock it
    with (
        pytest.raises(NotPrivateError, match=r"other users can hold this lock \(mode 644\)"),
        locked(tmp_path / "lock"),
    ):
        pass
    process.communicate()
    with locked(tmp_path / "lock"):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_limit_is_for_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = held_elsewhere(path)
    holders = []

    def waiting(seconds: float, holder: str) -> None:
        holders.append(holder)
        if len(holders) == 1:
            first.communicate()
            following.append(held_elsewhere(path))

    following: list[subprocess.Popen[str]] = []
    with pytest.raises(LockTimeoutError) as caught, locked(path, waiting=waiting, timeout_s=1.5):
        pass
    assert caught.value.holder == f"process {following[0].pid}"
    assert caught.value.waited_s >= 1.5
    following[0].communicate()


def test_lock_of_a_cleared_folder_is_not_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "lock"
    with locked(path):
        shutil.rmtree(path.parent)
        with locked(path, timeout_s=0):
            assert path.exists()


@pytest.mark.parametrize("state", ["state", "file/state"])
def test_a_user_lock_can_be_held_whatever_the_state_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    (tmp_path / "file").touch()  # no folder can be created below it
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / state))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    path = user_lock("name")
    assert path.is_relative_to(tmp_path)
    with locked(path):
        pass


_LIST = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw,nosuid shared:2 - proc proc rw
30 22 0:40 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
31 22 0:41 / /mnt/my\040models rw - fuse.sshfs me@server:/models rw
32 22 0:42 / /data rw - ext4 /dev/vdb rw
33 22 0:43 / /data rw shared:9 master:4 - tmpfs tmpfs rw
34 32 254:0 /srv/one.onnx /opt/one.onnx rw - xfs /dev/vdc rw
"""


@pytest.fixture
def mounts(tmp_path) -> Path:
    (tmp_path / "mountinfo").write_text(_LIST)
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/model.onnx", "ext4"),
        ("/home/me/model.onnx", "nfs4"),
        ("/homes/model.onnx", "ext4"),
        ("/mnt/my models/model.onnx", "fuse.sshfs"),
        ("/data/model.onnx", "tmpfs"),
        ("/opt/one.onnx", "xfs"),
    ],
)
def test_a_file_is_on_the_nearest_mount_above_it(mounts, path, kind) -> None:
    assert file_system(path, mounts) == kind


def test_without_a_list_of_mounts_nothing_is_known(tmp_path) -> None:
    assert file_system("/opt/model.onnx", tmp_path / "none") == ""


@pytest.mark.skipif(not MOUNTS.exists(), reason="Linux only")
def test_the_kernel_s_own_list_is_understood() -> None:
    assert file_system("/proc/self/status") == "proc"
    assert file_system(str(Path(__file__).resolve())) not in ("", "proc")


KILLED = """
import os, signal, sys
from pathlib import Path
from pytest_trt.files import atomic_open
path = Path(sys.argv[1])
with atomic_open(path, drafts=None if sys.argv[2] == "hidden" else path.parent) as file:
    file.write(b"part")
    file.flush()
    if sys.argv[3] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("open", flush=True)
    sys.stdin.read()
"""


def writer(path: Path, hidden: str, then: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KILLED, str(path), hidden, then]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("hidden", ["hidden", "plain"])
def test_what_a_killed_process_left_is_swept_and_what_is_written_is_not(
    tmp_path: Path, hidden: str
) -> None:
    writer(tmp_path / "a", hidden, "kill").communicate()
    writing = writer(tmp_path / "b", hidden, "wait")
    assert writing.stdout is not None
    assert writing.stdout.readline() == "open\n"
    assert len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path, drafts=True)
    assert len(list(tmp_path.iterdir())) == 1
    writing.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_git_does_not_show_what_a_killed_process_left(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    writer(tmp_path / "a", "hidden", "kill").communicate()
    assert len(list(tmp_path.iterdir())) == 2
    status = ["git", "-C", str(tmp_path), "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, check=True).stdout == b""


def test_a_users_hidden_file_is_never_swept(tmp_path: Path) -> None:
    (tmp_path / ".notes.0123456789ab").write_text("mine")
    atomic_write(tmp_path / "a", "")
    assert (tmp_path / ".notes.0123456789ab").exists()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_a_lock_can_leave_no_file_and_still_excludes(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", remove=True):
        assert (tmp_path / "lock").exists()
        with pytest.raises(TimeoutError), locked(tmp_path / "lock", timeout_s=0):
            pass
    assert list(tmp_path.iterdir()) == []
