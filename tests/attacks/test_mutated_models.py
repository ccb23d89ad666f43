from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("mutated_models.py")


def test_every_mutated_model_is_one_answer_and_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--models=40", "--seed=1000000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ended = json.loads(done.stdout.splitlines()[-1])
    assert ended["passed"] > 0
    assert ended["leftovers"] == 0
    assert sum(ended.values()) == 40
