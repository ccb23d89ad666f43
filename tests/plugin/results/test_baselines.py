"""Baselines as runs leave them: what is written, by whom, and what is said of it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import save_linear
from click.testing import CliRunner, Result
from plugin.conftest import LIGHT, assert_shows
from plugin.test_benchmark import FAILING, MODEL, TIGHT, Speed, times
from quiet_host import OVERLOADED

from pytest_trt.baseline.last_run import read_last_run
from pytest_trt.benchmark.sampling import Sampling
from pytest_trt.cli import commands
from pytest_trt.engine.cache import EngineCache
from pytest_trt.records import to_data


class Baselines(Speed):
    def is_noisy(self) -> None:
        """Let runs of the engine differ by whatever they do, as if that had been calibrated."""
        metrics = ("p50", "throughput", "p95", "p99")
        noise = {"recorded": "2026-11-01T10:00:00+00:00", "processes": 5, "placement": 5.0}
        self.rewrite(lambda e: e.update(noise={**noise, "between_runs": dict.fromkeys(metrics, 5)}))

    def last_run(self) -> Any:
        return read_last_run(EngineCache(self.project.cache).last_runs, self.project.path)

    def accept(self, *args: str) -> Result:
        given = ["baseline", f"--cache-dir={self.project.cache}", "accept", *args]
        return CliRunner().invoke(commands, given)


@pytest.fixture
def speed(project) -> Baselines:
    return Baselines(project)


@pytest.fixture
def recorded(speed) -> Baselines:
    speed.run().assert_outcomes(passed=1)
    return speed


def test_update_of_the_same_engine_adds_runs_and_says_how_many(recorded) -> None:
    recorded.is_noisy()
    for number in (2, 3):
        result = recorded.run("--trt-update")
        assert_shows(
            result,
            "speed * run added",
            "wrote trt_baselines/*test_it.json (1 baseline; commit the file)",
            f"  test_speed: added run {number} of 5",
            passed=1,
        )
        assert len(recorded.entry()["runs"]) == number
    assert "noise" in recorded.entry()


def test_update_of_the_same_engine_at_another_speed_replaces_and_says_so(recorded) -> None:
    recorded.rewrite(lambda entry: times(entry, 1000))
    assert_shows(
        recorded.run("--trt-update"),
        "speed * replaced",
        "  test_speed: replaced, P99 * -> * ms (-*%): same engine, but *",
        passed=1,
    )
    assert len(recorded.entry()["runs"]) == 1


def test_slower_engine_is_accepted_with_a_reason_alone(recorded) -> None:
    before = recorded.files[0].read_bytes()
    recorded.slow_down()
    result = recorded.run("--trt-update")
    assert_shows(
        result,
        "not updated: * -> *), limit *% (linear.onnx, fp32, cpu) *TRT662]",
        "*baseline *now*",
        "Fix: Make the engine faster, or accept the slower speed with a reason:",
        "    pytest *_speed* --trt-update --trt-update-reason *",
        failed=1,
    )
    result.stdout.no_fnmatch_line("wrote *")
    assert recorded.files[0].read_bytes() == before
    result = recorded.run("--trt-update", "--trt-update-reason=more classes")
    assert_shows(result, "  test_speed: replaced, * ms (+*%): the engine differs", passed=1)
    assert recorded.entry()["runs"][0]["reason"] == "more classes"
    recorded.run().assert_outcomes(passed=1)


def test_quicker_engine_passes_and_needs_no_reason(recorded) -> None:
    # Quicker than that on any host; without its engine, the stored times alone decide.
    recorded.rewrite(lambda entry: times(entry, 1000))
    shutil.rmtree(recorded.project.cache)
    save_linear(recorded.project.path / "models" / "linear.onnx", seed=7)
    recorded.run().stdout.fnmatch_lines(["speed *-*% (limit *%)  passed"])
    result = recorded.run("--trt-update")
    assert_shows(result, "  test_speed: replaced, P99 * ms (-*%): the engine differs", passed=1)


def test_small_steps_need_a_reason_once_they_are_beyond_a_limit_together(recorded) -> None:
    p50 = recorded.entry()["runs"][0]["rounds"]["p50"][0]
    # The step itself is one to a quicker engine, whatever else this host does.
    recorded.rewrite(lambda entry: (times(entry, 1000), entry.update(accepted={"p50": p50 / 10})))
    save_linear(recorded.project.path / "models" / "linear.onnx", seed=7)
    result = recorded.run("--trt-update")
    assert_shows(result, "not updated: * since a reason was last given, limit *", failed=1)
    assert recorded.entry()["accepted"] == {"p50": p50 / 10}
    recorded.run("--trt-update", "--trt-update-reason=seven").assert_outcomes(passed=1)
    assert "accepted" not in recorded.entry()


def test_replacing_an_engine_without_a_reason_retains_the_accepted_figures(speed) -> None:
    speed.slow_down()
    speed.run().assert_outcomes(passed=1)
    slow = speed.entry()["runs"][0]["rounds"]["p50"]
    for seed in (0, 1):
        save_linear(speed.project.path / "models" / "linear.onnx", seed=seed)
        if seed:  # by the host's clock, one may be slower than the other: that asks for a reason
            speed.rewrite(lambda entry: times(entry, 10))
        speed.run("--trt-update").assert_outcomes(passed=1)
        kept = speed.entry()["accepted"]
        assert set(kept) == {"p50", "p95", "p99", "throughput"}
        # Of the first of them, not of the one before.
        assert min(slow) <= kept["p50"] <= max(slow)


@pytest.mark.exhaustive
def test_note_on_a_different_engine_does_not_advise_more_baseline_runs(
    recorded,
) -> None:
    recorded.rewrite(lambda entry: times(entry, 0.001))
    recorded.run("--trt-inconclusive=warn").stdout.no_fnmatch_line("*--trt-update-reason*")
    recorded.rewrite(lambda entry: entry["engine"].update(key="another"))
    result = recorded.run("--trt-inconclusive=fail")
    for line in result.outlines:
        assert "record more runs" not in line


@pytest.mark.parametrize("why", FAILING)
def test_summary_does_not_say_recorded_of_what_was_not(speed, why) -> None:
    model = MODEL + ', precision="fp16"'
    accuracy = "consistency" in why
    speed.write("", FAILING[why], model=model, more=TIGHT * accuracy)
    result = speed.run("--trt-update")
    result.assert_outcomes(failed=1)
    reported = (
        "its accuracy check did not pass"
        if accuracy
        else "the test failed for a reason other than its speed"
    )
    result.stdout.fnmatch_lines(
        ["speed * not recorded", f"not recorded: test_it.py::test_speed: {reported}"]
    )
    result.stdout.no_fnmatch_line("wrote *")
    assert speed.files == []


def test_failing_test_on_a_busy_host_does_not_say_that_its_baseline_was_recorded(speed) -> None:
    speed.project.host.load = OVERLOADED
    recorded_on = "*the host was overloaded while the baseline was measured *"
    for why in FAILING:
        speed.write("", FAILING[why], model=MODEL + ', precision="fp16"', more=TIGHT)
        speed.run().stdout.no_fnmatch_line(recorded_on)
    speed.write()
    speed.run().stdout.fnmatch_lines([recorded_on])


def test_failing_teardown_prevents_recording_and_this_is_reported(speed) -> None:
    speed.project.test_file(
        f"@pytest.fixture\ndef broken():\n    yield\n    assert 0\n"
        f"@pytest.mark.trt_model({MODEL})\n"
        "@pytest.mark.trt_benchmark\n"
        "def test_speed(trt_benchmark, images, broken):\n"
        '    trt_benchmark({"image": images})\n'
    )
    result = speed.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["not recorded: test_it.py::test_speed: its setup or teardown*"])
    assert speed.files == []


def test_file_that_cannot_be_written_fails_the_run_and_is_not_reported_as_recorded(speed) -> None:
    measure = 'trt_benchmark({"image": images})'
    speed.write(body=f"{measure}\nopen('trt_baselines', 'w').close()")
    result = speed.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["speed * not recorded", "*could not be written*", "Fix: *"])


def test_report_says_what_was_not_recorded(speed) -> None:
    speed.write("", FAILING["a failing assertion"])
    speed.run("--trt-update", "--trt-report=report.json")
    (test,) = json.loads((speed.project.path / "report.json").read_text())["tests"]
    assert test["results"][0]["speed"]["baseline_update"] == "not recorded"


def test_lines_of_several_tests_of_one_engine_all_begin_with_their_names(speed) -> None:
    tests = "".join(
        f"@pytest.mark.trt_model({MODEL}, precision={precision!r})\n"
        "@pytest.mark.trt_benchmark\n"
        f'def test_{name}(trt_benchmark, images):\n    trt_benchmark({{"image": images}})\n'
        for name, precision in (("one", "fp32"), ("two", "fp32"), ("three", "fp16"))
    )
    speed.project.test_file(tests)
    result = speed.run()
    names = [line.split()[1] for line in result.outlines if line.startswith("speed ")]
    assert names == ["test_one", "test_two", "test_three"]


def test_the_printed_remedy_for_a_broken_file_fixes_it(recorded) -> None:
    (file,) = recorded.files
    file.write_text("{")
    result = recorded.run("--trt-update")
    result.assert_outcomes(failed=1)
    (move,) = {line.removeprefix("E").strip() for line in result.outlines if " mv " in line}
    record = "pytest --trt-update-new"
    assert any(line.endswith(f"  {record}") for line in result.outlines)
    subprocess.run(shlex.split(move), check=True, cwd=recorded.project.path)
    recorded.run(*shlex.split(record)[1:]).assert_outcomes(passed=1)
    assert len(recorded.entry()["runs"]) == 1
    assert Path(f"{file}.broken").read_text() == "{"


def test_missing_metric_is_an_error_rather_than_a_dropped_limit(recorded) -> None:
    recorded.rewrite(lambda entry: entry["runs"][0]["rounds"].update(throughput=[]))
    assert_shows(
        recorded.run(), "*tests.test_speed.runs[[]0].rounds.throughput: empty*", "*Fix: *", failed=1
    )


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
@pytest.mark.exhaustive
def test_run_that_is_killed_leaves_the_file_as_it_was(recorded) -> None:
    recorded.is_noisy()
    before = recorded.files[0].read_bytes()
    more = "def test_kill():\n    import os\n    os.kill(os.getpid(), 9)\n"
    test = recorded.project.path / "test_it.py"
    test.write_text(f"{test.read_text()}\n\n{more}")
    result = recorded.run("--trt-update", subprocess=True)
    assert result.ret == -signal.SIGKILL
    assert recorded.files[0].read_bytes() == before
    assert list(recorded.files[0].parent.iterdir()) == recorded.files


def two_files(speed: Baselines) -> None:
    test = (
        "import numpy as np\nimport pytest\n"
        f"@pytest.mark.trt_model({MODEL}, precision=('fp32', 'fp16'))\n"
        "@pytest.mark.trt_benchmark\n"
        'def test_speed(trt_benchmark, images):\n    trt_benchmark({"image": images})\n'
    )
    speed.project.pytester.makepyfile(test_it=test, test_other=test)


@pytest.mark.usefixtures("engines_of_other_tests")
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
@pytest.mark.exhaustive
def test_one_process_writes_all_files_of_a_run(speed, workers) -> None:
    two_files(speed)
    # pytest-xdist gives two tests to each worker first: those of this file come from both.
    path = speed.project.path / "test_it.py"
    source = path.read_text()
    test = source.partition("import pytest\n")[2].replace("test_speed", "test_speed_2")
    path.write_text(f"{source}\n{test}")
    names = ["test_speed[fp16]", "test_speed[fp32]", "test_speed_2[fp16]", "test_speed_2[fp32]"]
    result = speed.run(*workers)
    result.assert_outcomes(passed=6)
    assert [file.name for file in speed.files] == ["test_it.json", "test_other.json"]
    for file, expected in zip(speed.files, (names, names[:2]), strict=True):
        count = f"{len(expected)} baselines; commit *"
        result.stdout.fnmatch_lines([f"wrote trt_baselines/*/{file.name} ({count})"])
        assert sorted(json.loads(file.read_text())["tests"]) == sorted(expected)


@pytest.mark.usefixtures("engines_of_other_tests")
@pytest.mark.exhaustive
def test_concurrent_runs_preserve_each_others_baselines(speed) -> None:
    two_files(speed)
    runs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", precision),
                *("--trt-arch=cpu", f"--trt-cache-dir={speed.project.cache}"),
                *(*LIGHT, "-p", "quiet_host"),
            ],
            cwd=speed.project.path,
            stdout=subprocess.PIPE,
        )
        for precision in ("fp32", "fp16")
    ]
    for run in runs:
        assert run.communicate()[0] is not None
        assert run.returncode == 0
    for file in speed.files:
        assert len(json.loads(file.read_text())["tests"]) == 2


def test_interrupted_run_says_that_nothing_was_recorded(speed) -> None:
    stop = "def test_stop():\n    raise KeyboardInterrupt\n"
    test = speed.project.path / "test_it.py"
    test.write_text(f"{test.read_text()}\n\n{stop}")
    result = speed.run(interrupted=True)
    result.stdout.fnmatch_lines(["not recorded: test_it.py::test_speed: the run was interrupted"])
    assert speed.files == []


def test_slower_speed_of_the_last_run_is_accepted_without_measuring_again(recorded) -> None:
    recorded.slow_down()
    recorded.run().assert_outcomes(failed=1)
    (candidate,) = recorded.last_run().candidates
    accepted = recorded.accept("test_speed", "--reason", "more classes")
    assert accepted.exit_code == 0, accepted.output
    assert "test_speed: replaced, " in accepted.output
    assert "P99" in accepted.output
    (run,) = recorded.entry()["runs"]
    assert run["reason"] == "more classes"
    assert run["rounds"] == to_data(candidate.staged.entry.runs[0])["rounds"]
    recorded.run().assert_outcomes(passed=1)


def test_speed_of_another_model_than_that_of_the_run_is_not_accepted(recorded, project) -> None:
    model = project.path / "models" / "linear.onnx"
    own = model.read_bytes()
    recorded.rewrite(lambda entry: times(entry, 0.25))
    recorded.run("--trt-inconclusive=warn")
    save_linear(model, nudge=1)
    refused = recorded.accept("--all", "--reason=x")
    assert refused.exit_code == 1
    assert "linear.onnx has changed since that run" in refused.output
    model.write_bytes(own)
    assert recorded.accept("--all", "--reason=x").exit_code == 0


@pytest.mark.exhaustive
def test_the_command_below_several_failed_tests_accepts_all_of_them(speed) -> None:
    test = speed.project.path / "test_it.py"
    body = test.read_text().partition("@pytest")
    other = "".join(body[1:]).replace("def test_speed", "def test_other")
    test.write_text(test.read_text() + "\n" + other)
    speed.run().assert_outcomes(passed=2)
    speed.slow_down()
    reported = speed.run()
    assert_shows(
        reported,
        "*= trt: what to do =*",
        "  Fix: Restore the model that the baseline was recorded with. *",
        "*git checkout COMMIT -- models/linear.onnx",
        failed=2,
    )
    command = next(line for line in reversed(reported.outlines) if "--trt-update" in line)
    accepted = speed.run(*shlex.split(command.replace("...", "more classes"))[1:])
    accepted.assert_outcomes(passed=2)
    for name in ("test_speed", "test_other"):
        # On a busy machine rounds can be too short for P99.
        accepted.stdout.fnmatch_lines([f"  {name}: replaced, P?? * ms (+*"])


def test_rounds_are_spread_over_time_where_they_are_stored_alone(speed, monkeypatch) -> None:
    spread: list[int] = []
    monkeypatch.setattr(Sampling, "spread", lambda _, rounds: spread.append(rounds))
    speed.run().assert_outcomes(passed=1)
    assert spread == [20]
    speed.run()
    assert spread == [20]
    speed.run("--trt-update", "--trt-update-reason=tried").assert_outcomes(passed=1)
    assert spread == [20, 20]


@pytest.mark.exhaustive
def test_last_run_is_what_workers_measured(recorded) -> None:
    recorded.slow_down()
    recorded.run("-n", "1").assert_outcomes(failed=1)
    assert recorded.accept("--all", "--reason", "more classes").exit_code == 0


def test_figures_of_a_test_whose_accuracy_failed_are_never_accepted(recorded) -> None:
    model = MODEL + ', precision="fp16"'
    recorded.write("", FAILING["a failing consistency check"], model=model, more=TIGHT)
    recorded.run("--trt-missing-baseline=record").assert_outcomes(failed=1)
    before = recorded.files[0].read_bytes()
    refused = recorded.accept("--all", "--reason", "why not")
    assert refused.exit_code == 1
    assert "test_speed is not accepted: its accuracy check did not pass" in refused.output
    assert recorded.files[0].read_bytes() == before


def test_what_a_run_has_recorded_is_not_accepted_again(recorded) -> None:
    assert not recorded.last_run().candidates
    assert recorded.accept("--all", "--reason", "x").exit_code != 0


FOLDER_TEST = """
import numpy as np
import pytest

@pytest.mark.trt_model({model!r}, profiles={{"image": ((1, 8), (4, 8), (16, 8))}})
@pytest.mark.trt_benchmark(p50="900%")
def test_speed(trt_benchmark):
    trt_benchmark({{"image": np.ones((4, 8), np.float32)}})
"""


def place_test(folder: Path, model: Path) -> Path:
    """Write a test of speed that needs no conftest; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "test_speed.py"
    path.write_text(FOLDER_TEST.format(model=str(model)))
    return path


def stored_files(project: Path) -> list[str]:
    found = project.rglob("trt_baselines/*/**/*.json")
    return sorted(path.relative_to(project).as_posix() for path in found)


def test_a_run_from_a_subfolder_compares_with_the_same_baseline(speed, monkeypatch) -> None:
    """Without an ini file, pytest's root folder is wherever it is started."""
    project = speed.project.path
    model = project / "models" / "linear.onnx"
    place_test(project / "inner" / "tests", model)
    for start, nodeid in (("inner", "tests/test_speed.py"), ("inner/tests", "test_speed.py")):
        monkeypatch.chdir(project / start)
        args = ("--trt-missing-baseline=fail",) if start != "inner" else ()
        speed.project.run(nodeid, "--import-mode=importlib", *args).assert_outcomes(passed=1)
    (file,) = stored_files(project)
    assert file.startswith("inner/trt_baselines/")
    assert file.endswith("/tests/test_speed.json")


def test_a_command_names_the_test_as_it_is_typed_in_the_folder_of_the_run(
    speed, monkeypatch
) -> None:
    """Node ids are relative to rootdir, and may hold what a shell would take apart."""
    project = speed.project.path
    path = place_test(project / "in ner" / "tests", project / "models" / "linear.onnx")
    parametrized = "@pytest.mark.parametrize('x', ['$a b'])\ndef test_speed(x, "
    path.write_text(path.read_text().replace("def test_speed(", parametrized))
    (project / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(project / "in ner")
    given = ("--import-mode=importlib", "--trt-missing-baseline=fail")
    result = speed.project.run("tests", *given)
    result.assert_outcomes(failed=1)
    (line,) = [line for line in result.outlines if line.startswith("    pytest ")]
    command = shlex.split(line)
    assert command[1:] == ["tests/test_speed.py", "--trt-update-new"]
    speed.project.run(*command[1:], "--import-mode=importlib").assert_outcomes(passed=1)
    speed.project.host.load = OVERLOADED
    result = speed.project.run("tests", "--import-mode=importlib", "--trt-update")
    (line,) = [line for line in result.outlines if line.startswith("    pytest ")]
    assert shlex.split(line)[1] == "tests/test_speed.py::test_speed[$a b]"


def test_a_second_folder_below_another_is_reported_with_both(speed, monkeypatch) -> None:
    project = speed.project.path
    place_test(project / "inner", project / "models" / "linear.onnx")
    (project / "inner" / "pytest.ini").write_text("[pytest]\n")
    (project / "trt_baselines").mkdir()
    monkeypatch.chdir(project / "inner")
    result = speed.project.run("--import-mode=importlib")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            f"created the baseline folder trt_baselines, but {project / 'trt_baselines'} exists "
            "already [[]TRT610]",
            "Fix: *remove the new folder and set in the ini file:*",
            f"    trt_baseline_dir = {project / 'trt_baselines'}",
        ]
    )
    assert "TRT610" not in speed.project.run("--import-mode=importlib").stdout.str()


def test_tests_outside_of_the_root_folder_have_their_own_baselines(speed, monkeypatch) -> None:
    project = speed.project.path
    model = project / "models" / "linear.onnx"
    place_test(project / "tests", model)
    place_test(project / "inner" / "tests", model)
    (project / "inner" / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(project / "inner")
    tests = ("tests/test_speed.py", "../tests/test_speed.py")
    given = ("--import-mode=importlib", f"--rootdir={project / 'inner'}")
    speed.project.run(*tests, *given).assert_outcomes(passed=2)
    assert len(stored_files(project)) == 2
    speed.project.run(*tests, *given, "--trt-missing-baseline=fail").assert_outcomes(passed=2)


def test_models_with_one_file_name_are_distinguished_in_baselines(speed) -> None:
    project = speed.project.path
    for team in ("team_a", "team_b"):
        save_linear(project / team / "model.onnx")
    path = place_test(project, project / "team_a" / "model.onnx")
    speed.project.run(path.name).assert_outcomes(passed=1)
    place_test(project, project / "team_b" / "model.onnx")
    result = speed.project.run(path.name)
    assert_shows(result, "*model team_a/model.onnx, this run has team_b/model.onnx*", failed=1)


def test_what_failed_in_an_earlier_run_is_not_accepted_after_one_that_passed(speed) -> None:
    model = speed.project.path / "models" / "linear.onnx"
    checked = {"consistency": 'against="stored"'}
    speed.project.check(**checked).assert_outcomes(passed=1)
    right = model.read_bytes()
    save_linear(model, seed=5)
    speed.project.check(**checked).assert_outcomes(failed=1)
    speed.run("-k", "no_such_test")
    assert "failed; can be accepted" in speed.accept().output
    model.write_bytes(right)
    speed.project.check(**checked).assert_outcomes(passed=1)
    result = speed.accept("--failed", "--reason=mistake")
    assert "has nothing to accept" in str(result.exception)
