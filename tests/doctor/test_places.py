from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders_baseline import save_answers, stored
from builders_cache import store

from pytest_trt.baseline.file import BaselineFile, write_baselines
from pytest_trt.doctor.finding import Finding, Level, remedy_text
from pytest_trt.doctor.places import (
    BaselineFacts,
    CacheFacts,
    baseline_findings,
    cache_findings,
    look_at_baselines,
    look_at_cache,
    unknown_place,
)
from pytest_trt.engine.cache import EngineCache
from pytest_trt.records import from_data

ENTRY = stored()


def cache(root: Path) -> list[Finding]:
    return list(cache_findings(from_data(CacheFacts, look_at_cache(str(root))), 20 * 10**9))


def baselines(root: Path) -> list[Finding]:
    return list(baseline_findings(from_data(BaselineFacts, look_at_baselines(str(root)))))


#: Become a user who may read what is there and write nothing.
AS_NOBODY = "os.geteuid() or (os.setgroups([]), os.setuid(65534))"

#: A limit on the size of files is met with the same class of error as a full disk.
ON_A_FULL_DISK = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"


def ask_elsewhere(question: str, path: Path, circumstance: str) -> dict:
    """Ask a question of `places` in a process that cannot write as this one can."""
    program = (
        "import json, os, resource\n"
        f"from pytest_trt.doctor.places import {question}\n"
        f"{circumstance}\n"
        f"print(json.dumps({question}({str(path)!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        # What is imported late shall not be compiled into files that are cut off.
        env={"PYTHONPATH": ":".join(sys.path), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_cache_that_is_not_there_is_well_and_stays_away(tmp_path: Path) -> None:
    (found,) = cache(tmp_path / "deep" / "cache")
    assert found.level is Level.OK
    assert "does not exist yet" in found.what
    assert list(tmp_path.iterdir()) == []


def test_a_cache_is_reported_with_its_size(tmp_path: Path) -> None:
    root = EngineCache(tmp_path).root
    before = sorted(root.rglob("*"))
    (found,) = cache(root)
    assert found.level is Level.OK
    assert found.what.startswith(f"{root}: 0 engines, ")
    assert " of 20 GB, " in found.what
    assert sorted(root.rglob("*")) == before


def test_damaged_engines_are_counted_by_what_is_cheap_to_see(tmp_path: Path) -> None:
    engines = EngineCache(tmp_path).folder / "engines"
    (engines / "linear-fp16-cpu-1").mkdir()
    (engines / "linear-fp16-cpu-2").mkdir()
    (engines / "linear-fp16-cpu-2" / "engine.sealed").write_text("{")
    whole, found = cache(tmp_path)
    assert whole.level is Level.OK
    assert found.level is Level.WARN
    assert found.what == "damaged engines: 2 of 2"
    assert remedy_text(found.remedy) == "pytest-trt cache verify --remove"


def test_an_engine_of_another_size_than_was_stored_is_damaged(tmp_path: Path) -> None:
    plan = store(EngineCache(tmp_path)).folder / "engine.plan"
    (whole,) = cache(tmp_path)
    assert ": 1 engine, " in whole.what
    plan.write_bytes(b"pl")
    _, found = cache(tmp_path)
    assert (found.level, found.what) == (Level.WARN, "damaged engines: 1 of 1")
    assert found.why.startswith(f"{plan.parent.name}: engine.plan has 2 of 4 bytes; ")


def test_a_cache_that_others_can_write_is_an_error(tmp_path: Path) -> None:
    EngineCache(tmp_path).folder.chmod(0o777)
    (found,) = cache(tmp_path)
    assert found.level is Level.ERROR
    assert found.remedy.commands == (f"chmod 700 {tmp_path / 'v1'}",)


def test_a_cache_whose_path_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    (found,) = cache(tmp_path / os.fsdecode(b"caf\xe9"))
    assert found.level is Level.ERROR
    assert "caf\\xe9 cannot be used: its path is not valid UTF-8" in found.why
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    (found,) = cache(tmp_path / "cache")
    assert found.level is Level.ERROR
    assert "it cannot be created" in found.why
    assert "--trt-cache-dir" in remedy_text(found.remedy)


def test_a_read_only_cache_is_warned_of(reachable_path: Path) -> None:
    root = EngineCache(reachable_path / "cache").root
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o555)
    data = ask_elsewhere("look_at_cache", root, AS_NOBODY)
    (found,) = cache_findings(from_data(CacheFacts, data), 10**9)
    assert found.level is Level.WARN
    assert "nothing can be written (Permission denied): every run rebuilds" in found.why


def test_a_full_disk_is_an_error_with_what_to_free(tmp_path: Path) -> None:
    EngineCache(tmp_path)
    data = ask_elsewhere("look_at_cache", tmp_path, ON_A_FULL_DISK)
    (found,) = cache_findings(from_data(CacheFacts, data), 10**9)
    assert found.level is Level.ERROR
    assert found.why == "nothing can be written: File too large"
    assert "pytest-trt cache clear" in remedy_text(found.remedy)


@pytest.mark.parametrize(
    ("fields", "level", "message"),
    [
        ({"free_bytes": 10**8}, Level.WARN, "little space left"),
        ({"file_system": "nfs4"}, Level.WARN, "locks over a network"),
        ({"file_system": "xfs"}, Level.OK, ""),
    ],
)
def test_file_system_of_the_cache_is_judged(tmp_path: Path, fields, level, message) -> None:
    EngineCache(tmp_path)
    facts = from_data(CacheFacts, look_at_cache(str(tmp_path)))
    facts = replace(facts, folder=replace(facts.folder, **{"free_bytes": 10**11, **fields}))
    (found,) = cache_findings(facts, 10**9)
    assert found.level is level
    assert message in found.why


def test_baselines_are_distinguished_by_what_they_were_measured_on(tmp_path: Path) -> None:
    target = {"arch": "sm90", "gpu": "NVIDIA H200"}
    write_baselines(tmp_path / "a" / "x.json", BaselineFile(target, {"test_a": ENTRY}))
    write_baselines(tmp_path / "b" / "x.json", BaselineFile({"arch": "cpu"}, {"test_a": ENTRY}))
    (found,) = baselines(tmp_path)
    assert found.level is Level.OK
    assert found.what == f"{tmp_path}: baselines of 2 tests, recorded on cpu, sm90 NVIDIA H200"


def test_no_baselines_are_nothing_wrong(tmp_path: Path) -> None:
    (found,) = baselines(tmp_path / "none")
    assert found.level is Level.NOTE
    (found,) = baselines(tmp_path)
    assert (found.level, found.what) == (Level.OK, f"{tmp_path}: baselines of 0 tests")


@pytest.mark.parametrize(
    ("text", "why", "fix"),
    [
        ("{", "not JSON", "No commit has it. Move it away"),
        ("<<<<<<< HEAD\n{}", "merge conflict", "from a commit that has no markers"),
        ('{"schema": 99}', "has format 99", "Use the version of pytest-trt that wrote it"),
    ],
)
def test_a_damaged_baseline_file_is_an_error(tmp_path: Path, text, why, fix) -> None:
    write_baselines(
        tmp_path / "cpu" / "good.json", BaselineFile({"arch": "cpu"}, {"test_a": ENTRY})
    )
    (tmp_path / "cpu" / "bad.json").write_text(text)
    good, bad = baselines(tmp_path)
    assert good.what == f"{tmp_path}: baselines of 1 test, recorded on cpu"
    assert bad.level is Level.ERROR
    assert why in bad.why
    assert fix in remedy_text(bad.remedy)


def test_stored_answers_are_counted_and_their_numbers_read(tmp_path: Path) -> None:
    path = save_answers(tmp_path, {"test_a": {"1" * 20: {"y": np.zeros(3)}}})
    (found,) = baselines(tmp_path)
    assert found.what == f"{tmp_path}: baselines of 0 tests; stored answers of 1 test"
    path.with_suffix(".npz").write_text("version https://git-lfs.github.com/spec/v1\n")
    _, bad = baselines(tmp_path)
    assert bad.level is Level.ERROR
    assert "Git LFS pointer" in bad.why
    path.write_text("{")
    assert "not JSON" in baselines(tmp_path)[1].why


def test_the_commands_that_restore_a_damaged_baseline_file_are_shown(tmp_path: Path) -> None:
    broken = tmp_path / "bad" / "x.json"
    broken.parent.mkdir()
    broken.write_text("{broken", encoding="utf-8")
    _, bad = baselines(tmp_path)
    assert any(command.startswith("mv ") for command in bad.remedy.commands)


def test_read_only_baselines_are_warned_of(reachable_path: Path) -> None:
    reachable_path.chmod(0o555)
    data = ask_elsewhere("look_at_baselines", reachable_path, AS_NOBODY)
    (found,) = baseline_findings(from_data(BaselineFacts, data))
    assert found.level is Level.WARN
    assert "no baseline can be recorded" in found.why


def test_a_place_that_does_not_answer_is_an_error() -> None:
    found = unknown_place("cache", "/mnt/gone", "gives no answer within 60 s")
    assert found.level is Level.ERROR
    assert found.why == "examining it: gives no answer within 60 s"
