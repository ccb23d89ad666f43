from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("two_users.py")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


def raced(*options: str) -> tuple[int, dict[str, int]]:
    """Return the exit status of some races, and how they ended."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False
    )
    name, _, counted = done.stdout.splitlines()[-1].partition(" ")
    assert name == "total", done.stderr
    return done.returncode, json.loads(counted)


@pytest.mark.exhaustive
def test_no_foreign_engine_is_loaded_and_no_run_is_blocked() -> None:
    status, ended = raced("--races=18", "--attempts=5")
    assert (status, ended.keys()) == (0, {"races", "own", "refused"})


@pytest.mark.exhaustive
def test_attacks_succeed_against_a_program_that_looks_at_paths_twice() -> None:
    status, ended = raced("--races=5", "--attempts=20", "--unchecked")
    assert status == 1
    assert ended["foreign"] > 0
