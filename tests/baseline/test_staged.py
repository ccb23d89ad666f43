"""Baselines written once and whole, also beside other processes and under `kill -9`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from builders_baseline import SLUG, TARGET, save_baselines, stored, stored_run

from pytest_trt.baseline.entry import Entry, StoredNoise, StoredRun
from pytest_trt.baseline.file import read_baselines
from pytest_trt.baseline.staged import Staged, entry_digest, write_staged
from pytest_trt.records import from_data, to_data


def staged(root: Path, test: str, *runs: StoredRun, module: str = "test_a", **of: object) -> Staged:
    path = root / SLUG / f"{module}.json"
    entry = of.pop("entry", stored(*runs))
    return Staged(path, path.name, TARGET, test, entry, **of)  # type: ignore[arg-type]


def seen(one: Staged) -> Staged:
    """Return it as of a run that has read what is stored now."""
    found = read_baselines(one.path)
    return replace(one, against=entry_digest(found.tests.get(one.test) if found else None))


def content_of(path: Path) -> dict[str, Entry]:
    found = read_baselines(path)
    assert found is not None
    return dict(found.tests)


def test_data_that_crosses_processes_is_the_same(tmp_path: Path) -> None:
    one = staged(tmp_path, "test_x", stored_run(), add=True, why="so", against="ab")
    assert from_data(Staged, json.loads(json.dumps(to_data(one)))) == one


def test_actions_are_reported(tmp_path: Path) -> None:
    (first,), *nothing = write_staged([staged(tmp_path, "test_x", stored_run(1))])
    assert (first.kind, nothing) == ("first", [[], []])
    (added,), *_ = write_staged([staged(tmp_path, "test_x", stored_run(2), add=True)])
    assert (added.kind, added.facts()["runs"], added.facts()["came"]) == ("added", 2, 1)
    slower = staged(tmp_path, "test_x", stored_run(3, 0.6), why="slower")
    (replaced,), *_ = write_staged([seen(slower)])
    assert (replaced.kind, replaced.facts()["why"]) == ("replaced", "slower")
    assert replaced.facts()["now"]["p50"] == pytest.approx(0.6, rel=0.01)
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.002, {})
    entry = stored(*content_of(first.staged.path)["test_x"].runs, noise=noise)
    (calibrated,), *_ = write_staged([seen(staged(tmp_path, "test_x", entry=entry))])
    assert calibrated.kind == "calibrated"


def test_five_runs_are_stored(tmp_path: Path) -> None:
    for day in range(1, 8):
        write_staged([staged(tmp_path, "test_x", stored_run(day), add=True)])
    runs = content_of(tmp_path / SLUG / "test_a.json")["test_x"].runs
    assert [run.recorded[8:10] for run in runs] == ["03", "04", "05", "06", "07"]


def test_runs_of_another_engine_never_join(tmp_path: Path) -> None:
    write_staged([staged(tmp_path, "test_x", stored_run(1))])
    other = stored(stored_run(2), engine={"key": "another"})  # written by a run beside this one
    before = content_of(tmp_path / SLUG / "test_a.json")
    unread = staged(tmp_path, "test_x", entry=other, add=True)
    assert write_staged([unread]) == ([], [], [unread])
    assert content_of(unread.path) == before
    (written,), *_ = write_staged([seen(unread)])
    assert written.kind == "replaced"


def test_a_run_of_the_same_engine_is_added_to_the_first(tmp_path: Path) -> None:
    first = staged(tmp_path, "test_x", stored_run(1))
    second = staged(tmp_path, "test_x", stored_run(2, 9.0))
    write_staged([first])
    (joined,), *_ = write_staged([second])  # it read the file before the first was written
    assert (joined.kind, len(joined.new.runs)) == ("added", 2)
    slower = replace(second, entry=stored(stored_run(3, 9.0), engine={"key": "another"}))
    other = staged(tmp_path, "test_y", stored_run(3))
    written, errors, overtaken = write_staged([slower, other])
    assert ([one.staged for one in written], errors, overtaken) == ([other], [], [slower])
    assert len(content_of(first.path)["test_x"].runs) == 2


def test_what_was_held_against_another_baseline_replaces_none(tmp_path: Path) -> None:
    write_staged([staged(tmp_path, "test_x", stored_run(1))])
    update = seen(staged(tmp_path, "test_x", stored_run(2, 0.6), why="slower"))
    write_staged([seen(staged(tmp_path, "test_x", stored_run(3, 0.7), why="slower still"))])
    assert write_staged([update])[2] == [update]


def test_file_that_cannot_be_read_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    broken = tmp_path / SLUG / "test_a.json"
    broken.parent.mkdir()
    broken.write_text("{")
    both = [staged(tmp_path, "test_x"), staged(tmp_path, "test_y", module="test_b")]
    (written,), (error,), _ = write_staged(both)
    assert written.staged.test == "test_y"
    assert str(broken) in error.message
    assert broken.read_text() == "{"


def test_digest_distinguishes_an_entry_from_its_successor() -> None:
    assert entry_digest(None) == ""
    assert entry_digest(stored()) == entry_digest(stored())
    assert entry_digest(stored()) != entry_digest(stored(stored_run(), stored_run(2)))


WRITER = """
import sys
from pathlib import Path
from builders_baseline import TARGET, stored
from pytest_trt.baseline.staged import Staged, write_staged
path, name = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    _, errors, _ = write_staged([Staged(path, path.name, TARGET, f"{name}_{number}", stored())])
    assert not errors
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX alone")
@pytest.mark.exhaustive
def test_processes_that_write_one_file_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / SLUG / "test_a.json"
    processes = [writer(path, f"test_{name}", 8) for name in "abc"]
    for process in processes:
        process.communicate("go\n", timeout=60)
        assert process.returncode == 0
    assert len(content_of(path)) == 24
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
def test_process_that_is_killed_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    path = save_baselines(tmp_path, {"test_x": stored()}, module="test_a")
    process = writer(path, "test_y", 10_000)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    while "test_y_3" not in path.read_text():  # until it is in the midst of it
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "test_x" in content_of(path)
    (written,), *nothing = write_staged([staged(tmp_path, "test_z")])
    assert (written.kind, nothing) == ("first", [[], []])


HOLDER = """
import sys
from pytest_trt.files import locked, user_lock
with locked(user_lock(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_process_that_hangs_while_it_writes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    save_baselines(tmp_path / "kept", {"test_x": stored()}, module="test_a")
    entry = staged(tmp_path / "kept", "test_y")
    folder = hashlib.sha256(os.fsencode(entry.path.parent.resolve())).hexdigest()[:20]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, f"baselines-{folder}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    monkeypatch.setattr("pytest_trt.baseline.staged._MOST_HELD_S", 0)
    written, (error,), _ = write_staged([entry])
    assert written == []
    assert f"process {process.pid} has been writing" in error.message
    process.communicate()
    assert not write_staged([entry])[1]
