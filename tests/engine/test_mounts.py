from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.engine.mounts import MOUNTS, file_system

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
def test_a_file_lies_on_the_mount_that_shows_nearest_above_it(mounts, path, kind) -> None:
    assert file_system(path, mounts) == kind


def test_without_a_list_of_mounts_nothing_is_known(tmp_path) -> None:
    assert file_system("/opt/model.onnx", tmp_path / "none") == ""


@pytest.mark.skipif(not MOUNTS.exists(), reason="Linux only")
def test_the_kernel_s_own_list_is_understood() -> None:
    assert file_system("/proc/self/status") == "proc"
    assert file_system(str(Path(__file__).resolve())) not in ("", "proc")
