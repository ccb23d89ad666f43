from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from builders_processes import holder

from pytest_trt.benchmark.conditions import device_lock
from pytest_trt.benchmark.host import host_cpu
from pytest_trt.diagnostics import DeviceBusyError

HOLDER = """
import sys
from pathlib import Path
from pytest_trt.benchmark.conditions import device_lock
with device_lock(sys.argv[1], print, folder=Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def held_elsewhere(folder: Path, device: str) -> subprocess.Popen[str]:
    """Start a process that holds a device until its input ends."""
    return holder(HOLDER, device, str(folder))


def test_second_process_waits_and_says_so(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "GPU-1")
    reported = []

    def waiting(text: str) -> None:
        reported.append(text)
        assert process.stdin is not None
        process.stdin.close()  # the other one ends, and with it its hold

    with device_lock("GPU-1", waiting, folder=tmp_path):
        assert process.wait() == 0
    assert process.stdout is not None
    process.stdout.close()
    assert reported == [f"waiting for process {process.pid}, which measures on this device (1 s)"]


def test_other_device_is_free(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "GPU-1")
    with device_lock("GPU-2", print, folder=tmp_path):
        assert process.poll() is None
    process.communicate()


def test_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "cpu-host")
    process.kill()
    process.communicate()
    with device_lock("cpu-host", print, folder=tmp_path):
        pass


def test_device_is_free_again_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        try:
            with device_lock("cpu", print, folder=tmp_path):
                raise ValueError
        except ValueError:
            pass


def test_cpu_is_described_by_its_name_and_usable_cores(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Quick CPU @ 3 GHz\n\nprocessor\t: 1\n")
    found = host_cpu(cpuinfo)
    assert found["cpu"] == "Quick CPU @ 3 GHz"
    assert found["cores"].endswith(" cores")
    assert host_cpu(tmp_path / "none")["cpu"]


def test_process_that_holds_a_device_for_too_long_is_named(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "GPU-1")
    with (
        pytest.raises(DeviceBusyError, match=f"process {process.pid} has been") as caught,
        device_lock("GPU-1", print, folder=tmp_path, most_held_s=0),
    ):
        pass
    assert caught.value.diagnostic.code == "TRT731"
    assert caught.value.diagnostic.remedy.commands == (f"ps -fp {process.pid}",)
    process.communicate()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_what_only_looks_like_a_lock_file_neither_blocks_nor_leads_elsewhere(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "GPU-1.lock")
    with (
        pytest.raises(DeviceBusyError, match=r"GPU-1 cannot be reserved .*GPU-1\.lock"),
        device_lock("GPU-1", print, folder=tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["GPU-1.lock"]


def test_device_is_locked_in_the_runtime_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with device_lock("GPU-1", print):
        assert (tmp_path / "pytest-trt" / "GPU-1.lock").is_file()
