from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest
from attacks import mutated_json
from attacks.mutated_json import attack, fault

#: The modules of commands; their names in the package are the commands.
SHOW, COMPARE = (sys.modules[f"pytest_trt.cli.{name}"] for name in ("report", "compare"))


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_command_ends_in_a_traceback_or_overwrites_a_damaged_file() -> None:
    tally = attack(60, seed=1)
    assert len(tally.files) == 5
    assert not tally.faults, str(tally)
    assert not tally.lost, str(tally)


def test_attack_finds_a_reader_that_checks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (SHOW, COMPARE):
        monkeypatch.setattr(module, "read_document", lambda path: json.loads(path.read_bytes()))
    assert attack(30, seed=1).faults


def test_attack_finds_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutated_json, "LIMIT_S", 1)
    monkeypatch.setattr(SHOW, "read_document", lambda path: all(n >= 0 for n in itertools.count()))
    assert "TimeoutError" in (fault(["report", "show", "a.json"]) or "")
