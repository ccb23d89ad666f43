from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.workers.memory import available_bytes

MEMINFO = "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:  40 kB\n"


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": MEMINFO}, 40 * 1024),
        (
            {
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/memory.current": "900\n",
            },
            40 * 1024,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                "sys/fs/cgroup/memory.max": "1000\n",
                "sys/fs/cgroup/memory.current": "900\n",
                "sys/fs/cgroup/memory.stat": "anon 600\ninactive_file 300\n",
            },
            400,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/jobs/one\n0::/\n",
                "sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": "1000\n",
                "sys/fs/cgroup/memory/jobs/one/memory.usage_in_bytes": "1200\n",
                "sys/fs/cgroup/memory/jobs/one/memory.stat": "cache 0\n",
            },
            0,
        ),
    ],
)
def test_the_least_of_what_machine_and_container_have_left(
    files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    assert available_bytes(_write(tmp_path, files)) == expected
