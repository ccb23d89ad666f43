from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders_baseline import SLUG, TARGET, save_baselines, stored, stored_run
from builders_cli import run_command
from builders_processes import commit_all
from click.testing import CliRunner, Result

from pytest_trt.baseline.entry import Entry, StoredNoise, StoredRun
from pytest_trt.baseline.file import read_baselines
from pytest_trt.baseline.last_run import Candidate, LastRun, write_last_run
from pytest_trt.baseline.staged import Staged, entry_digest
from pytest_trt.cli import commands
from pytest_trt.diagnostics import BaselineError
from pytest_trt.engine.cache import EngineCache

FP16, FP32 = "test_speed[fp16]", "test_speed[fp32]"
NODE = f"tests/test_speed.py::{FP16}"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in; returns the folder of all baselines in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return Path("trt_baselines")


def call(*args: str) -> Result:
    return CliRunner().invoke(commands, ["baseline", *args], catch_exceptions=False)


def shown(*args: str) -> str:
    """What a command prints where it ends well."""
    result = call(*args)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*args: str, status: int = 2) -> str:
    """What the command says where it has to fail."""
    done = run_command("baseline", *args)
    assert done.returncode == status, done.stdout
    assert done.stderr.startswith("Error: ")
    assert "Fix: " in done.stderr
    return done.stderr


def break_file(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content["tests"])
    path.write_text(json.dumps(content))


def test_list_reports_figures_age_reason_and_machine(root) -> None:
    twice = stored_run(2, 0.75, reason="twice the classes")
    save_baselines(root, {FP16: stored(stored_run(), twice), FP32: stored()})
    lines = shown("list").splitlines()
    assert lines[0].split("  ")[0] == "test"
    assert lines[1] == f"{root}/{SLUG}/tests/test_speed.json"
    assert lines[2] == "  sm90, NVIDIA H200, sm_count 132"
    name, mode, _p50, _p99, _rate, runs, *_age = lines[3].split()
    assert (name, mode, runs) == (FP16, "graph", "2")
    assert lines[4] == "  twice the classes"
    assert lines[5].split()[:6] == [FP32, "graph", "0.500", "0.510", "2,000", "1"]
    assert lines[6] == "2 baselines of 1 target"


def test_list_fits_the_terminal(root) -> None:
    save_baselines(root, {f"test_{'very_' * 20}long[fp16]": stored(mode="end_to_end")})
    assert all(len(line) <= 80 for line in shown("list").splitlines())


def test_list_is_json_for_programs(root) -> None:
    save_baselines(root, {FP16: stored()})
    (entry,) = json.loads(shown("list", "--json"))
    assert entry["test"] == NODE
    assert entry["target"] == TARGET
    assert entry["p50_ms"] == pytest.approx(0.5, rel=0.01)


def test_list_without_baselines_says_so(root) -> None:
    assert "There are no baselines in trt_baselines." in shown("list")
    assert shown("list", "--json") == "[]\n"


def test_list_reports_a_broken_file_and_lists_the_others(root) -> None:
    save_baselines(root, {FP16: stored()})
    path = save_baselines(root, {"test_a": stored()}, module="test_other")
    break_file(path, lambda tests: tests["test_a"]["runs"][0]["rounds"].update(throughput=[]))
    message = refused("list", status=1)
    assert f"{path}: tests.test_a.runs[0].rounds.throughput: empty [TRT602]" in message
    assert FP16 in call("list").output


def test_baselines_may_be_elsewhere(tmp_path) -> None:
    save_baselines(tmp_path / "elsewhere", {FP16: stored()})
    assert FP16 in shown("--baseline-dir=elsewhere", "list")


@pytest.mark.parametrize("name", [FP16, NODE, "fp16"])
def test_show_prints_an_entry_in_full(root, name) -> None:
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.002, {"p50": 0.003})
    runs = stored_run(), stored_run(2, reason="driver")
    save_baselines(root, {FP16: stored(*runs, noise=noise), FP32: stored()})
    output = shown("show", name)
    assert output.splitlines()[0] == NODE
    for reported in ("sm90, NVIDIA H200", "precision fp16", "key ab12", "size 53 MB", "run 2 of 2"):
        assert reported in output
    assert "reason      driver" in output
    assert "between runs P50 0.3%, of 5 processes" in output
    assert FP32 not in output


def test_show_prints_every_target(root) -> None:
    save_baselines(root, {FP16: stored()})
    other = {"arch": "sm86", "gpu": "A10"}
    save_baselines(root, {FP16: stored()}, target=other, slug="sm86-a10")
    output = shown("show", FP16)
    assert output.count(NODE) == 2
    assert "sm86, A10" in output
    assert len(json.loads(shown("show", "--json", FP16))) == 2


def test_show_of_no_test_or_of_several_says_which_there_are(root) -> None:
    save_baselines(root, {FP16: stored(), FP32: stored()})
    assert "there is no baseline of a test named nothing" in refused("show", "nothing")
    message = refused("show", "test_speed")
    assert "matches 2 tests" in message
    assert NODE in message


def test_diff_of_two_files_reports_changes_with_their_bounds() -> None:
    old = save_baselines(
        Path("old"), {FP16: stored(), "test_gone": stored(), "test_same": stored()}
    )
    slower = stored(stored_run(2, 0.6, reason="twice the classes"), engine={"key": "cd34"})
    new = save_baselines(
        Path("new"), {FP16: slower, "test_new": stored(stored_run(3)), "test_same": stored()}
    )
    lines = shown("diff", str(old), str(new)).splitlines()
    assert lines[1] == f"{old} -> {new}"
    at = lines.index(f"{FP16}: replaced: twice the classes")
    assert lines[at + 1].startswith("  the model, its options or the builder changed")
    (row,) = [line.split() for line in lines[at:] if "+20%" in line and line.startswith("  P50")]
    assert row[:5] == ["P50", "0.500", "ms", "0.600", "ms"]
    least, most = row[6].strip("%"), row[8].strip("%")
    assert 15 < float(least) < 20 < float(most) < 25
    assert any(line.startswith("  throughput") and "-17%" in line for line in lines)
    assert "test_gone: removed" in lines
    assert "test_new: added" in lines
    assert not any("test_same" in line for line in lines)
    assert all(len(line) <= 80 for line in lines if line != lines[1])


def test_diff_shows_the_change_of_the_figures_beside_it_and_no_bounds_that_mean_nothing() -> None:
    rates = tuple(10.0 ** (one % 7) for one in range(20))
    quiet = stored_run().rounds
    wild = {**quiet, "throughput": rates}
    old = save_baselines(Path("old"), {FP16: stored(stored_run(rounds=wild))})
    later = {**quiet, "throughput": tuple(6e3 + one for one in range(20))}
    new = save_baselines(Path("new"), {FP16: stored(stored_run(2, rounds=later))})
    lines = shown("diff", str(old), str(new)).splitlines()
    (row,) = [line for line in lines if line.startswith("  throughput")]
    assert row.split()[:4] == ["throughput", "1,000/s", "6,010/s", "+501%"]
    assert row.endswith("cannot be bounded from 1 run")
    (change,) = json.loads(shown("diff", "--json", str(old), str(new)))
    found = change["metrics"]["throughput"]
    assert found["change"] == pytest.approx(found["now"] / found["before"] - 1, abs=1e-6)
    assert (found["low"], found["high"]) == (None, None)
    assert change["metrics"]["p50"]["low"] is not None


def test_diff_shows_added_runs_and_what_cannot_be_compared() -> None:
    old = save_baselines(Path("old"), {"test_a": stored(), "test_b": stored()})
    more = stored(stored_run(), stored_run(2))
    new = save_baselines(Path("new"), {"test_a": more, "test_b": stored(spec={"batch": "4"})})
    output = shown("diff", str(old), str(new))
    assert "test_a: runs added, 1 -> 2" in output
    assert "test_b: replaced, not comparable: it has batch none, this run has 4" in output


@pytest.mark.parametrize(
    ("mode", "plan", "message"),
    [
        ("graph", "aa", "the difference is due to the machine"),
        ("end_to_end", "aa", "the difference is due to the machine"),
        ("end_to_end", "bb", "an overloaded host looks like a slower engine"),
        ("graph", "bb", ""),
    ],
)
def test_diff_says_what_a_change_may_be_of(mode: str, plan: str, message: str) -> None:
    engine = {"key": "ab12", "size_bytes": 53_000_000}
    old = save_baselines(Path("old"), {FP16: stored(mode=mode, engine={**engine, "plan": "aa"})})
    slower = stored(stored_run(2, 0.6), mode=mode, engine={**engine, "plan": plan})
    output = shown("diff", str(old), str(save_baselines(Path("new"), {FP16: slower})))
    assert "+20%" in output
    assert message in output
    assert any(word in output for word in ("machine", "host")) == bool(message)


def test_diff_names_what_happened_to_entries_whose_runs_stayed() -> None:
    runs = stored_run(), stored_run(2, reason="driver")
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.002, {"p50": 0.003})
    old = {name: stored(*runs) for name in ("test_a", "test_b", "test_c")}
    new = {
        "test_a": stored(runs[0]),
        "test_b": stored(*runs, noise=noise),
        "test_c": replace(stored(*runs), accepted={"p50": 0.4}),
    }
    before, after = save_baselines(Path("old"), old), save_baselines(Path("new"), new)
    lines = [
        line for line in shown("diff", str(before), str(after)).splitlines() if "test_" in line
    ]
    assert [line.strip() for line in lines[-3:]] == [
        "test_a: runs removed, 2 -> 1",
        "test_b: same figures, calibrated",
        "test_c: same figures, edited",
    ]


def test_noise_that_was_measured_counts_in_a_diff() -> None:
    def bounds(noise: StoredNoise | None) -> float:
        old = save_baselines(Path("old"), {FP16: stored()})
        new = save_baselines(Path("new"), {FP16: stored(stored_run(2, 0.6), noise=noise)})
        (change,) = json.loads(shown("diff", "--json", str(old), str(new)))
        return change["metrics"]["p50"]["high"] - change["metrics"]["p50"]["low"]

    loud = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.002, {"p50": 0.1})
    assert bounds(loud) > 3 * bounds(None)


@pytest.mark.parametrize(("flag", "status"), [((), 0), (("--exit-code",), 1)])
def test_exit_status_shows_a_difference_on_request(flag, status) -> None:
    old = save_baselines(Path("old"), {FP16: stored()})
    new = save_baselines(Path("new"), {FP16: stored(stored_run(2, 0.6))})
    assert call("diff", str(old), str(new), *flag).exit_code == status
    same = call("diff", str(old), str(old), *flag)
    assert (same.exit_code, same.output) == (0, "The baselines are the same.\n")


def test_diff_compares_with_git(root) -> None:
    path = save_baselines(root, {FP16: stored()})
    gone = save_baselines(root, {"test_gone": stored()}, module="test_gone")
    commit_all(Path())
    assert shown("diff") == "The baselines are the same.\n"
    save_baselines(root, {FP16: stored(stored_run(2, 0.6))})
    save_baselines(root, {"test_new": stored(stored_run(3))}, module="test_new")
    gone.unlink()
    output = shown("diff")
    assert f"{path} since HEAD" in output
    assert f"{FP16}: replaced" in output
    assert "test_gone: removed" in output
    assert "test_new: added" in output
    output = shown("diff", str(path), "--git=HEAD")
    assert "test_new" not in output
    commit_all(Path())
    assert f"{path} since HEAD~1" in shown("diff", "--git", "HEAD~1")


def test_diff_of_nothing_is_an_error(root) -> None:
    save_baselines(root, {FP16: stored()})
    commit_all(Path())
    error = refused("--baseline-dir=typo", "diff")
    assert "there are no baselines in typo, neither in the working tree nor at HEAD" in error
    shown("diff", "--exit-code")


def test_diff_without_git_says_what_to_do(root, monkeypatch, tmp_path) -> None:
    path = save_baselines(root, {FP16: stored()})
    assert "not in a git repository" in refused("diff")
    commit_all(Path())
    assert "'v9' is not a revision of the git repository" in refused("diff", "--git=v9")
    assert "neither in the working tree nor at HEAD" in refused("diff", "nothing.json")
    path.write_text("{")
    commit_all(Path())
    path.unlink()
    assert f"{path} at HEAD: not JSON" in refused("diff")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in refused("diff")


def test_diff_of_files_that_are_none_or_of_other_targets_fails() -> None:
    old = save_baselines(Path("old"), {FP16: stored()})
    assert "there is no baseline file nothing.json" in refused("diff", str(old), "nothing.json")
    new = save_baselines(Path("new"), {FP16: stored()}, target={"arch": "sm86"})
    assert "different targets cannot be compared" in refused("diff", str(old), str(new))


def test_diff_of_two_files_and_git_is_a_usage_error() -> None:
    result = call("diff", "a.json", "b.json", "--git=HEAD")
    assert result.exit_code == 2
    assert "name two files" in result.output


def test_commands_import_no_vendor_library_and_no_pytest(root) -> None:
    save_baselines(root, {FP16: stored()})
    program = (
        "import sys\n"
        "from pytest_trt.cli import commands\n"
        "commands(['baseline', 'list'], standalone_mode=False)\n"
        "loaded = {'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda', 'pytest'}\n"
        "print('loaded:', sorted(loaded & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("loaded: []\n")


def keep_run(
    root: Path,
    tests: dict[str, Entry],
    refused: dict[str, str] | None = None,
    failed: Collection[str] = (),
) -> None:
    """Leave a last run of tests; those that have a baseline replace it."""
    path = root / SLUG / "tests" / "test_speed.json"
    found = read_baselines(path)
    old = found.tests if found else {}
    candidates = [
        Candidate(
            f"tests/test_speed.py::{test}",
            Staged(path.absolute(), str(path), TARGET, test, entry, against=_digest(old, test)),
            (refused or {}).get(test, ""),
            test in failed,
        )
        for test, entry in tests.items()
    ]
    cache = EngineCache(Path("cache"))
    run = LastRun(Path.cwd(), "2026-11-20T10:00:00+00:00", candidates)
    write_last_run(cache.last_runs, run)


def _digest(tests: Mapping[str, Entry], test: str) -> str:
    return entry_digest(tests.get(test))


ACCEPT = ("--cache-dir=cache", "accept")


def runs_of(root: Path, test: str) -> tuple[StoredRun, ...]:
    found = read_baselines(root / SLUG / "tests" / "test_speed.json")
    return found.tests[test].runs if found and test in found.tests else ()


def test_accept_writes_what_was_measured_and_says_what_changed(root) -> None:
    save_baselines(root, {FP16: stored(), "test_other": stored()})
    slower = stored_run(2, 0.6)
    keep_run(root, {FP16: stored(slower), FP32: stored(slower)})
    output = shown(*ACCEPT, FP16, "--reason", "twice the classes")
    assert f"{FP16}: replaced, P99 0.510 -> 0.612 ms (+20%)" in output
    assert f"wrote {root}" in output
    (run,) = runs_of(root, FP16)
    assert run.reason == "twice the classes"
    assert runs_of(root, FP32) == ()  # it was not named
    assert len(runs_of(root, "test_other")) == 1
    assert f"{FP32}: first run" in shown(*ACCEPT, FP32, "--reason", "x")


def test_accept_without_a_run_says_where_it_looked(tmp_path) -> None:
    message = refused(*ACCEPT, "--all", "--reason", "x")
    assert str(tmp_path) in message
    assert "--cache-dir=DIR" in message
    assert not Path("cache").exists()


def test_accept_without_names_lists_what_may_be_accepted(root) -> None:
    keep_run(root, {FP16: stored(), FP32: stored()}, {FP32: "its accuracy check failed"})
    result = call(*ACCEPT)
    assert result.exit_code == 2
    assert f"{NODE}: can be accepted" in result.output
    assert f"tests/test_speed.py::{FP32}: its accuracy check failed" in result.output


def test_accept_without_a_reason_is_refused_without_a_terminal(root) -> None:
    keep_run(root, {FP16: stored()})
    assert "needs a reason" in refused(*ACCEPT, FP16)
    for empty in (" ", "..."):
        assert "needs a reason" in refused(*ACCEPT, FP16, "--reason", empty)
    assert runs_of(root, FP16) == ()


def test_accept_of_an_unknown_test_lists_those_there_are(root) -> None:
    keep_run(root, {FP16: stored()})
    message = refused(*ACCEPT, "test_nothing", "--reason", "x")
    assert "no result of test_nothing" in message
    assert NODE in message


def test_accept_refuses_what_may_not_be_a_baseline_and_accepts_the_rest(root) -> None:
    why = "the device was disturbed"
    keep_run(root, {FP16: stored(), FP32: stored()}, {FP32: why})
    message = refused(*ACCEPT, "--all", "--reason", "x", status=1)
    assert f"{FP32} is not accepted: {why}" in message
    assert "accepted 1 of 2 results, refused 1" in message
    assert len(runs_of(root, FP16)) == 1
    assert runs_of(root, FP32) == ()


def test_accept_takes_all_tests_that_failed_for_their_speed_and_no_others(root) -> None:
    keep_run(root, {FP16: stored(), FP32: stored(), "test_other": stored()}, failed=(FP16, FP32))
    shown(*ACCEPT, "--failed", "--reason", "x")
    assert [len(runs_of(root, test)) for test in (FP16, FP32, "test_other")] == [1, 1, 0]


def test_accept_of_failed_tests_where_none_has_failed_says_so(root) -> None:
    keep_run(root, {FP16: stored()})
    assert "no test failed because of its speed" in refused(*ACCEPT, "--failed", "--reason", "x")
    assert runs_of(root, FP16) == ()


@pytest.mark.parametrize("given", [(FP16, "--failed"), ("--failed", "--all"), (FP16, "--all")])
def test_accept_takes_exactly_one_way_of_naming_tests(root, given: tuple[str, ...]) -> None:
    keep_run(root, {FP16: stored()}, failed=[FP16])
    result = call(*ACCEPT, *given, "--reason", "x")
    assert result.exit_code == 2
    assert f"{NODE}: failed; can be accepted" in result.output
    assert runs_of(root, FP16) == ()


def test_accept_refuses_figures_of_before_the_baseline_changed(root) -> None:
    save_baselines(root, {FP16: stored()})
    keep_run(root, {FP16: stored(stored_run(2, 0.6))})
    save_baselines(root, {FP16: stored(stored_run(3, 0.4))})
    assert "has changed since that run" in refused(*ACCEPT, FP16, "--reason", "x", status=1)
    assert [run.recorded[8:10] for run in runs_of(root, FP16)] == ["03"]


def test_accept_writes_only_where_the_test_has_its_baseline(root, tmp_path) -> None:
    keep_run(root, {FP16: stored()})
    message = refused("--baseline-dir=elsewhere", *ACCEPT, FP16, "--reason", "x")
    assert f"compared {NODE} with {root / SLUG}" in message
    assert "--baseline-dir=DIR" in message
    assert not Path("elsewhere").exists()
    assert runs_of(root, FP16) == ()


def test_accept_of_a_damaged_run_writes_nothing(root) -> None:
    keep_run(root, {FP16: stored()})
    (path,) = Path("cache").rglob("last_runs/*")
    path.write_bytes(path.read_bytes().replace(b"TensorRT 8.6.0", b"TensorRT 8.6.1"))
    assert "do not match its seal" in refused(*ACCEPT, "--all", "--reason", "x")
    assert runs_of(root, FP16) == ()


TESTS = """
import pytest

@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_speed(precision):
    pass

def test_slow():
    pass
"""


@pytest.fixture
def tests(root, monkeypatch) -> Path:
    """A project with tests, and baselines of them and of two that are gone."""
    # pytest collects them in processes of its own, which would import more for nothing.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:anyio -p no:hypothesispytest")
    path = Path("tests/test_speed.py")
    path.parent.mkdir()
    path.write_text(TESTS)
    Path("pytest.ini").write_text("[pytest]\n")
    names = (FP16, FP32, "test_slow", "test_gone[fp16]")
    save_baselines(root, {name: stored() for name in names})
    save_baselines(root, {"test_x": stored()}, module="tests/test_removed")
    return path


def left(root: Path) -> list[str]:
    return [one["test"].partition("::")[2] for one in json.loads(shown("list", "--json"))]


def test_prune_removes_deleted_tests_and_nothing_else(root, tests) -> None:
    output = shown("prune", "--yes")
    assert "no test: tests/test_speed.py::test_gone[fp16] on sm90" in output
    assert "tests/test_removed.py does not exist" in output
    assert "5 baselines: 2 removed." in output
    assert left(root) == ["test_slow", FP16, FP32]
    assert not (root / SLUG / "tests" / "test_removed.json").exists()
    assert "3 baselines: nothing to remove." in shown("prune", "--yes")


def test_prune_only_says_what_would_go(root, tests) -> None:
    result = call("prune", "--dry-run")
    assert result.exit_code == 1
    assert "5 baselines: 2 would be removed." in result.output
    assert len(left(root)) == 5


def test_prune_that_cannot_remove_exits_with_2(root, tests, monkeypatch) -> None:
    def fail(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # Root, whom tests may run as, may remove anything.
    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(BaselineError, match=r"test_removed\.json cannot be written: Permission"):
        call("prune", "--yes")


def test_prune_asks_for_confirmation(root, tests) -> None:
    assert "pytest-trt baseline prune --yes" in refused("prune")
    assert len(left(root)) == 5


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("ini", "conftest"),
    [
        ("addopts = -n 2 -x -k fp16 -m 'not slow' --deselect tests/test_speed.py::test_speed", ""),
        ("", "def pytest_collection_modifyitems(items):\n    del items[:]\n"),
    ],
)
def test_prune_keeps_what_is_merely_deselected(root, tests, ini, conftest) -> None:
    Path("pytest.ini").write_text(f"[pytest]\n{ini}\n")
    Path("conftest.py").write_text(conftest)
    shown("prune", "--yes")
    assert left(root) == ["test_slow", FP16, FP32]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "text",
    ["import nothing_of_this_name\n", "import pytest\npytest.skip('x', allow_module_level=True)\n"],
)
def test_prune_keeps_baselines_of_a_file_that_cannot_be_collected(root, tests, text) -> None:
    tests.write_text(text)
    output = shown("prune", "--yes")
    assert "retained: tests/test_speed.py::test_slow on sm90, NVIDIA H200" in output
    assert len(left(root)) == 4


@pytest.mark.exhaustive
def test_prune_removes_parameters_only_on_request(root, tests) -> None:
    tests.write_text(TESTS.replace('["fp16", "fp32"]', '["fp16"]'))
    assert "not with these parameters" in shown("prune", "--yes")
    assert FP32 in left(root)
    shown("prune", "--yes", "--parameters")
    assert left(root) == ["test_slow", FP16]


def test_prune_removes_nothing_where_pytest_fails(root, tests) -> None:
    Path("pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    message = refused("prune", "--yes")
    assert "could not collect the tests" in message
    assert "--no-such-option" in message
    assert len(left(root)) == 5


def test_prune_elsewhere_removes_nothing(root, tests, monkeypatch, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(elsewhere)
    message = refused(f"--baseline-dir={tmp_path / root}", "prune", "--yes")
    assert "nothing was removed" in message
    monkeypatch.chdir(tmp_path)
    assert len(left(root)) == 5


@pytest.mark.parametrize("command", ["list", "prune"])
def test_a_folder_that_does_not_exist_is_refused(root, command) -> None:
    done = run_command("baseline", "--baseline-dir=typo", command)
    assert done.returncode == 2
    assert "--baseline-dir typo: there is no such folder" in done.stderr


def test_prune_without_baselines_says_so() -> None:
    assert "There are no baselines" in shown("prune")


def test_help_describes_every_command_in_whole_words() -> None:
    assert "..." not in shown("--help").partition("Commands:")[2]
