from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def attacked(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HERE / command[0], *command[1:]],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "command",
    [
        ("kills.py", "build", "baseline", "answers", "renaming", "report"),
        ("flips.py",),
        ("replaced.py",),
    ],
    ids=lambda command: command[0],
)
def test_no_attack_on_stored_files_succeeds(command: tuple[str, ...]) -> None:
    done = attacked(*command)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.exhaustive
def test_replaced_models_succeed_against_builds_that_are_not_compared() -> None:
    done = attacked("replaced.py", "--unchecked", "model")
    assert done.returncode == 1
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("model"))
    assert int(row[2]) > 0, done.stdout + done.stderr
