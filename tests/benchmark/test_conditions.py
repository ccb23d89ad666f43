from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pytest_trt.benchmark.conditions import device_lock
from pytest_trt.benchmark.host import host_cpu

HOLDER = """
import sys
from pathlib import Path
from pytest_trt.benchmark.conditions import device_lock
with device_lock(sys.argv[1], lambda s: None, folder=Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def held_elsewhere(folder: Path, device: str) -> subprocess.Popen[str]:
    """Start a process that holds a device until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, device, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_process_waits_and_says_so(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "GPU-1")
    reported = []

    def waiting(seconds: float) -> None:
        reported.append(seconds)
        assert process.stdin is not None
        process.stdin.close()  # the other one ends, and with it its hold

    with device_lock("GPU-1", waiting, folder=tmp_path):
        assert process.wait() == 0
    assert process.stdout is not None
    process.stdout.close()
    assert len(reported) >= 1


def test_other_device_is_free(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "GPU-1")
    with device_lock("GPU-2", lambda seconds: None, folder=tmp_path):
        assert process.poll() is None
    process.communicate()


def test_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, "cpu-host")
    process.kill()
    process.communicate()
    with device_lock("cpu-host", lambda seconds: None, folder=tmp_path):
        pass


def test_device_is_free_again_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        try:
            with device_lock("cpu", lambda seconds: None, folder=tmp_path):
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
