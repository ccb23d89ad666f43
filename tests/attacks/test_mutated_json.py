from __future__ import annotations

import importlib
import itertools
import json
import random
from pathlib import Path

import pytest
from attacks import runner
from attacks.mutated_json import ATTACKS, run_command
from attacks.runner import Attack, Outcomes

#: The modules of commands; their names in the package are the commands.
SHOW, COMPARE, DIFF = (
    importlib.import_module(f"pytest_trt.cli.{name}")
    for name in ("report", "compare", "baseline.diff")
)


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attack:
    monkeypatch.chdir(tmp_path)
    return Attack(tmp_path, False, random.Random(1), Outcomes())


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", [one for one in ATTACKS if one != "runs of pytest"])
def test_no_command_ends_in_a_traceback_or_overwrites_a_damaged_file(attack, kind: str) -> None:
    ATTACKS[kind](attack)
    assert attack.outcomes.attempts >= 20
    assert not any(attack.outcomes.counts[1:]), attack.outcomes.notes


def test_attack_finds_a_reader_that_checks_nothing(attack, monkeypatch) -> None:
    for module in (SHOW, COMPARE):
        monkeypatch.setattr(module, "read_document", lambda path: json.loads(path.read_bytes()))
    ATTACKS["report"](attack)
    assert attack.outcomes.tracebacks


def test_attack_finds_a_reader_of_answers_that_checks_nothing(attack, monkeypatch) -> None:
    monkeypatch.setattr(DIFF, "content_of", lambda kind, text, *_, **__: json.loads(text))
    ATTACKS["answers"](attack)
    assert attack.outcomes.tracebacks


def test_attack_finds_a_command_that_hangs(attack, monkeypatch) -> None:
    monkeypatch.setattr(runner, "HANG_S", 1)
    monkeypatch.setattr(SHOW, "read_document", lambda path: all(n >= 0 for n in itertools.count()))
    with attack.attempt("show"):
        run_command(["report", "show", "a.json"])
    assert attack.outcomes.hangs == 1
