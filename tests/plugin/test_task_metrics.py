"""`trt_metrics.record`: recorded, compared with the baseline, accepted, refused."""

from __future__ import annotations

import json
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from builders_report import check_schema
from click.testing import CliRunner
from plugin.conftest import assert_shows, text

from pytest_trt.cli import commands

TEST = """
@pytest.mark.trt_model("models/linear.onnx")
def test_it(trt_session, trt_metrics, images):
    trt_session.run({{"image": images}})
    {record}
"""


@pytest.fixture
def stored(project) -> Path:
    """The file of the test module's metrics."""
    project.pytester.makeini("[pytest]\n")
    return project.path / "trt_baselines" / "metrics-cpu" / "test_it.json"


def source(record: str) -> str:
    """Return a test that records this: `source('"f1", 0.9, limit=0.1')`."""
    lines = "\n    ".join(f"trt_metrics.record({one})" for one in record.split(";") if one)
    return TEST.format(record=lines or "pass")


@pytest.fixture
def run(project, stored) -> Callable[..., pytest.RunResult]:
    """Write a test that records this and run it: `run('"f1", 0.9, limit=0.1')`."""

    def run(record: str, *args: str) -> pytest.RunResult:
        project.test_file(source(record))
        return project.run("--trt-missing-baseline=record", *args)

    return run


def accuracy(value: float, limit: str = '"0.5 points"') -> str:
    return f'"accuracy", {value}, of=2000, limit={limit}'


def test_first_value_is_recorded_and_the_same_passes(run, stored) -> None:
    assert_shows(
        run(accuracy(0.981)),
        "task    test_it  accuracy 0.981  recorded",
        "wrote trt_baselines/metrics-cpu/test_it.json (task metrics; commit the file)",
        "  test_it: accuracy 0.981",
        passed=1,
    )
    before = stored.read_bytes()
    again = run(accuracy(0.981), "--trt-missing-baseline=fail")
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(
        ["task    test_it  accuracy 0.981 (baseline 0.981, at most 0.5 points worse)  passed"]
    )
    assert stored.read_bytes() == before


LATER = [
    (accuracy(0.977), ""),
    (accuracy(0.955), "*TRT430*"),
    (accuracy(0.955, '"5%"'), ""),
    (accuracy(0.955, "0.03"), ""),
    ('"accuracy", 0.981, limit=0.1', "*TRT681*"),
    ('"accuracy", 0.981, of=1900, limit=0.1', ""),
    ('"accuracy", 0.981, of=500, limit=0.1', "*of 2,000 trials and is *"),
    ('"accuracy", 0.981, of=2000, limit=0.1, lower_is_better=True', "*TRT681*"),
    ('"f1", 0.981, limit=0.1', "*TRT682*"),
]


def test_later_values_are_compared(project, stored) -> None:
    record = "--trt-missing-baseline=record"
    before = [f"{source(accuracy(0.981))}# {number}\n" for number, _ in enumerate(LATER)]
    project.ends(dict.fromkeys(before, ""), record).assert_outcomes(passed=len(LATER))
    result = project.ends({source(now): found for now, found in LATER}, record)
    result.assert_outcomes(passed=4, failed=5)


def test_small_steps_without_a_reason_add_up(run, stored) -> None:
    """A nightly --trt-update stored each loss within the limit, and the next one began there."""
    run(accuracy(0.98))
    run(accuracy(0.977), "--trt-update").assert_outcomes(passed=1)
    refused = run(accuracy(0.974), "--trt-update")
    refused.assert_outcomes(failed=1)
    refused.stdout.fnmatch_lines(
        [
            "accuracy 0.974 is worse than the best that was stored since a reason was last given, "
            "0.98 by 0.6 points, allowed: 0.5 points *TRT683*"
        ]
    )
    run(accuracy(0.9765), "--trt-update").assert_outcomes(passed=1)
    run(accuracy(0.974)).assert_outcomes(passed=1)
    run(accuracy(0.974), "--trt-update", "--trt-update-reason=less").assert_outcomes(passed=1)
    (entry,) = json.loads(stored.read_text())["tests"].values()
    assert "accepted" not in entry
    run(accuracy(0.971), "--trt-update").assert_outcomes(passed=1)
    run('"accuracy", 0.99, of=2000, limit=0.1', "--trt-update").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("record", "noted"),
    [
        (
            '"accuracy", samples=[1, 0] * 32, limit="0.5 points"',
            "64 samples .* by 7.81 points",
        ),
        ('"errors", samples=[0, 1] * 32, limit=0, lower_is_better=True', "worse by 0.0781"),
        ('"accuracy", 0.8, of=500, limit="0.5 points"', "500 trials .* worse by .* points"),
        ('"accuracy", 0.02, of=50, limit="0.5 points"', "50 trials cannot fail: no value is so"),
        ('"hits", samples=[1] * 3 + [0] * 61, limit=0', "64 samples cannot fail: no value is so"),
        ('"accuracy", samples=[1, 0] * 1000, limit="0.5 points"', ""),
        ('"loss", samples=[0.25, 0.5] * 8, limit="0.5 points"', ""),
        (accuracy(0.981), ""),
        ('"accuracy", 0.8, limit="0.5 points"', ""),
    ],
)
def test_a_limit_far_below_what_the_samples_show_is_noted_once(run, record, noted) -> None:
    """With 64 samples and a limit of half a point, a loss of six points passed."""
    result = run(record, "-W", "error")
    result.assert_outcomes(passed=1)
    assert ("TRT433" in result.stdout.str()) == bool(noted)
    if noted:
        result.stdout.re_match_lines([f".*{noted}.*"])
    assert "TRT433" not in run(record).stdout.str()


@pytest.mark.parametrize("first", [True, False])
def test_the_loss_that_the_note_names_fails_and_one_hit_less_does_not(run, first: bool) -> None:
    """The note named 5 of 20 hits, and a loss of the last 4 failed."""

    def hits(lost: int) -> str:
        kept = [0] * lost + [1] * (20 - lost)
        return f'"hits", samples={kept if first else kept[::-1]}, limit="0 points"'

    run(hits(0)).stdout.re_match_lines([".*20 samples fails only if it gets worse by 25 points.*"])
    run(hits(4)).assert_outcomes(passed=1, warnings=1)
    run(hits(5)).assert_outcomes(failed=1)


def test_an_inconclusive_metric_shows_what_would_fail(run) -> None:
    run('"accuracy", samples=[1, 0] * 32, limit="0.5 points"').assert_outcomes(passed=1)
    lost = '"accuracy", samples={} + [1, 0] * {}, limit="0.5 points"'
    result = run(lost.format("[0] * 8", 28))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*exceeded (worse by*; a change of 7.81 points would fail*"])
    run(lost.format("[0] * 10", 27)).assert_outcomes(failed=1)


NOTED = [
    ('"accuracy", 0.995, limit="0.5 points"', False),
    ('"accuracy", 0.996, limit="0.5 points"', True),
    ('"accuracy", 99.5, limit=0.005', True),
    ('"accuracy", 0.988, limit="0.5 points"', False),
]


def test_a_baseline_that_far_worse_values_pass_is_noted(project, stored) -> None:
    def notes(*args: str) -> list[bool]:
        args = (*args, "--trt-report=r.json", "--trt-missing-baseline=record")
        project.ends({source(now): "" for now, _ in NOTED}, *args).assert_outcomes(passed=4)
        tests = json.loads((project.path / "r.json").read_text())["tests"]
        return [any(note["code"] == "TRT432" for note in test["notes"]) for test in tests]

    before = [source('"accuracy", 0.99, limit=0.1') + f"# {number}\n" for number in range(4)]
    project.ends(dict.fromkeys(before, ""), "--trt-missing-baseline=record")
    assert notes() == [noted for _, noted in NOTED]
    notes("--trt-update")
    assert notes() == [False] * 4


def test_failure_says_how_much_worse_and_what_was_accepted(run) -> None:
    run(accuracy(0.981))
    result = run(accuracy(0.955))
    result.stdout.fnmatch_lines(
        [
            "accuracy 0.955 is worse than its baseline 0.981 by 2.6 points, allowed: 0.5 points *",
            "  with 99% confidence the change is more than the limit (worse by at least * points)",
            "Fix: Restore what changed. If the change is intended, accept it:",
            '    pytest test_it.py::test_it --trt-update --trt-update-reason "..." *',
        ]
    )


def test_the_command_that_accepts_values_repeats_the_options_of_the_run(run, stored) -> None:
    given = ("--trt-threads=1", "--trt-baseline-dir=elsewhere")
    run(accuracy(0.981), *given)
    result = run(accuracy(0.955), *given)
    (line,) = [one for one in result.outlines if one.startswith("    pytest")]
    _, test, *options = shlex.split(line.replace("...", "pruned"))
    assert {"--trt-arch=cpu", *given} <= {*options}
    assert run(accuracy(0.955), test, *options).ret == 0
    run(accuracy(0.955), *given).assert_outcomes(passed=1)
    assert not stored.exists()


def test_value_beyond_the_limit_by_chance_is_inconclusive(run) -> None:
    run(accuracy(0.981))
    result = run(accuracy(0.974))
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*accuracy 0.974 is worse*TRT431*", "task *  inconclusive"])
    assert "record the value of each" in result.stdout.str()
    run(accuracy(0.974), "--trt-inconclusive=fail").assert_outcomes(failed=1)


def test_advice_and_bound_fit_samples_that_may_be_better(run) -> None:
    def samples(wrong: str) -> str:
        return f'"accuracy", samples=[1.0, 1.0, 0.0] * 48 + {wrong}, limit="0.5 points"'

    run(samples("[1.0] * 3 + [0.0]")).assert_outcomes(passed=1)
    result = run(samples("[0.0] * 3 + [1.0]"))
    result.assert_outcomes(passed=1, warnings=1)
    text = " ".join(result.stdout.str().split())
    assert "it may also be better, by up to 1.35 points" in text
    assert "Fix: Evaluate more samples." in text
    assert "samples=[...]" not in text


def test_a_baseline_whose_samples_were_edited_is_refused(run, stored) -> None:
    record = '"accuracy", samples=[1.0, 1.0, 0.0] * 48, limit="0.5 points"'
    run(record).assert_outcomes(passed=1)
    text = stored.read_text("utf-8")
    stored.write_text(text.replace("1.0", "0.0"), "utf-8")
    assert_shows(run(record), "*expected the mean of samples, 0, found 0.66*", failed=1)


def test_samples_are_judged_in_pairs(run) -> None:
    def samples(wrong: int) -> str:
        return f'"accuracy", samples=[1.0] * {2000 - wrong} + [0.0] * {wrong}, limit="0.5 points"'

    run(samples(20)).assert_outcomes(passed=1)
    run(samples(30)).assert_outcomes(passed=1)
    result = run(samples(60))
    assert_shows(result, "accuracy 0.97 is worse than its baseline 0.99 *TRT430]", failed=1)


def test_fewer_samples_are_not_comparable(run) -> None:
    def samples(number: int) -> str:
        return f'"accuracy", samples=[1.0, 0.0] * {number}, limit="0.5 points"'

    run(samples(288)).assert_outcomes(passed=1)
    result = run(samples(64))
    result.assert_outcomes(failed=1)
    assert "a mean of 576 samples and is one of 128" in " ".join(result.stdout.str().split())
    run(samples(300)).assert_outcomes(passed=1)


def test_missing_baseline_fails_where_it_is_required(run, stored) -> None:
    result = run(accuracy(0.981), "--trt-missing-baseline=fail")
    assert_shows(result, "no baseline of accuracy in trt_baselines/*TRT680*", failed=1)
    assert not stored.exists()


def test_new_metric_is_added_to_those_of_the_baseline(run, stored) -> None:
    run(accuracy(0.981))
    run(f'{accuracy(0.981)};"f1", 0.9, limit=0.1').assert_outcomes(passed=1)
    assert json.loads(stored.read_text())["tests"]["test_it"]["metrics"].keys() == {
        "accuracy",
        "f1",
    }


def test_worse_value_is_accepted_only_with_a_reason(run, stored) -> None:
    run(accuracy(0.981))
    assert_shows(run(accuracy(0.95), "--trt-update"), "*TRT683*", failed=1)
    assert '"value": 0.981' in stored.read_text()
    run(accuracy(0.99), "--trt-update").assert_outcomes(passed=1)
    assert '"value": 0.99' in stored.read_text()
    run(accuracy(0.95), "--trt-update", "--trt-update-reason=pruned").assert_outcomes(passed=1)
    text = stored.read_text()
    assert '"value": 0.95' in text
    assert '"reason": "pruned"' in text


def test_metric_is_removed_only_with_a_reason(run, stored) -> None:
    run(f'{accuracy(0.981)};"f1", 0.9, limit=0.1')
    before = stored.read_bytes()
    refused = run(accuracy(0.981), "--trt-update")
    assert_shows(refused, "test_it did not record f1, which its baseline has *TRT682*", failed=1)
    assert stored.read_bytes() == before
    removed = run(accuracy(0.981), "--trt-update", "--trt-update-reason=no longer needed")
    assert_shows(removed, "*test_it: accuracy 0.981 -> 0.981, f1 removed", passed=1)


def test_value_of_a_failing_test_is_not_recorded(run, stored) -> None:
    run(f"{accuracy(0.9)};'x', 1, limit=0.5) or pytest.fail('no'").assert_outcomes(failed=1)
    assert not stored.exists()


NOT_JUDGED = [
    '"a", 0.5, limit=None',
    '"a", 0.5, limit="0.5"+" pints"',
    '"a", 0.5, limit=-1',
    '"a", 0.5, limit=float("nan")',
    '"a", 0.5, of=10, limit=1',
    '"a", 0.5, of=2, limit="0.5 points"',
    '"a", 0.5, of=10, limit=0.9',
    '"a", 0.5, limit="100%"',
    '"a", 50, limit="0.5 points"',
    '"a", float("nan"), limit=1',
    '"a", None, limit=1',
    '"a", True, limit=1',
    '"a", 1.5, of=10, limit=0.1',
    '"a", 0.5, of=0, limit=0.1',
    '"a", samples=[1.0], limit=0.1',
    '"a", samples=["x", "y"], limit=0.1',
    '"a", samples=[1.0, float("inf")], limit=0.1',
    '"a", 0.5, samples=[0.0, 1.0], limit=0.1',
    '"a", samples=[1.0] * 10001, limit=0.1',
    '"", 0.5, limit=0.1',
    '"a", 0.5, limit=0.1;"a", 0.5, limit=0.1',
]


def test_what_cannot_be_judged_fails(project, stored) -> None:
    message = "trt_metrics.record('*): *TRT142]"
    cases = {source(wrong): message for wrong in NOT_JUDGED}
    cases[source('"a", 0.5')] = "*argument: 'limit'"
    project.refuses(cases, "--trt-missing-baseline=record", where="")
    assert not stored.exists()


WORST_AND_BETTER = [
    ('"a", 0.0, of=2000, limit="1 points"', '"a", 0.5, of=2000, limit="1 points"'),
    ('"a", 0.005, limit="1 points"', '"a", 0.02, limit="1 points"'),
    ('"a", samples=[False] * 9, limit=0.01', '"a", samples=[False, True] * 9, limit=0.01'),
    ('"a", 0.0, of=2000, limit="2%"', '"a", 0.001, of=2000, limit="2%"'),
    (
        '"a", 1.0, of=2000, limit="1 points", lower_is_better=True',
        '"a", 0.9, of=2000, limit="1 points", lower_is_better=True',
    ),
]


def test_a_baseline_that_no_value_can_be_worse_than_is_refused(project, stored) -> None:
    record = "--trt-missing-baseline=record"
    refused = "*its value * is so bad that the limit * could never fail *"
    worst = {source(one): refused for one, _ in WORST_AND_BETTER}
    project.refuses(worst, record, where="")
    assert not stored.parent.exists()
    project.ends({source(better): "" for _, better in WORST_AND_BETTER}, record)
    before = [path.read_bytes() for path in sorted(stored.parent.iterdir())]
    assert len(before) == len(WORST_AND_BETTER)
    update = ("--trt-update", "--trt-update-reason", "worse data")
    project.refuses(dict.fromkeys(worst, "*"), *update, where="")
    assert [path.read_bytes() for path in sorted(stored.parent.iterdir())] == before
    assert "could never fail" not in project.run(record).stdout.str()


@pytest.mark.parametrize(
    "best",
    [
        '"error", 0.0, of=2000, limit="1 points", lower_is_better=True',
        '"score", 0.0, limit=0.1',
        '"word errors", samples=[0.0] * 9, limit=0.1, lower_is_better=True',
    ],
)
def test_a_value_that_others_can_be_worse_than_is_recorded(run, stored, best) -> None:
    run(best).assert_outcomes(passed=1)
    assert stored.exists()


def test_a_stored_baseline_that_can_never_fail_fails_until_it_is_replaced(run, stored) -> None:
    run(accuracy(0.5)).assert_outcomes(passed=1)
    stored.write_text(stored.read_text().replace("0.5", "0.0"))
    assert_shows(
        run(accuracy(0.9)),
        "*its baseline 0 is so bad that the limit 0.5 points could never fail*TRT142]",
        "Fix: Correct what was recorded:",
        '    pytest test_it.py::test_it --trt-update --trt-update-reason "..." *',
        failed=1,
    )
    run(accuracy(0.9), "--trt-update").assert_outcomes(passed=1)
    run(accuracy(0.5)).assert_outcomes(failed=1)


def test_tests_of_one_name_in_two_files_are_told_apart(project, run) -> None:
    run(accuracy(0.981))
    other = project.path / "test_other.py"
    other.write_text((project.path / "test_it.py").read_text())
    lines = [f"task    test_{one}.py::test_it  accuracy 0.981 *" for one in ("it", "other")]
    project.run("--trt-missing-baseline=record").stdout.fnmatch_lines(lines)


def test_other_mistakes_have_remedies_of_their_own(project, run) -> None:
    run("")  # prepares the project
    records = [f'trt_metrics.record("a", {one}, limit=1)' for one in ("None", "2, of=9")]
    tests = [
        TEST.format(record=one).replace("test_it", f"test_{n}") for n, one in enumerate(records)
    ]
    project.test_file("".join(tests))
    lines = ["*what to do*", "*Fix: Record a number.", "*Fix: Give a share from 0 to 1."]
    project.run().stdout.fnmatch_lines(lines)


def test_error_that_the_test_catches_fails_it_all_the_same(project, run) -> None:
    project.test_file(
        TEST.format(
            record="with pytest.raises(BaseException):\n"
            '        trt_metrics.record("a", None, limit=1)'
        )
    )
    result = project.run()
    assert_shows(result, "trt_metrics.record('a'): None is not a finite number*TRT142]", failed=1)


def test_metric_that_is_recorded_after_the_test_fails(project, run) -> None:
    test = TEST.format(record='trt_metrics.record("b", np.array(0.5), limit=0.1)')
    late = (
        "@pytest.fixture\ndef late(trt_metrics):\n"
        '    yield\n    trt_metrics.record("a", 0.5, limit=0.1)\n'
    )
    project.test_file(late + test.replace("test_it(", "test_it(late, "))
    result = project.run()
    line = "trt_metrics.record('a'): it was recorded after the test*TRT142]"
    assert_shows(result, line, passed=1, errors=1)
    assert "not recorded: test_it.py::test_it: its setup or teardown failed" in text(result)


def test_recording_nothing_fails(run) -> None:
    assert_shows(run(""), "trt_metrics recorded nothing*TRT160*", failed=1)


@pytest.mark.parametrize("later", ["", '    trt_session.run({"image": images})'])
def test_metric_before_the_engine_ran_fails(project, stored, later: str) -> None:
    """It cannot be of the engine's outputs."""
    source = TEST.format(record=f"trt_metrics.record({accuracy(0.9)})\n{later}")
    project.test_file(source.replace('trt_session.run({"image": images})', "pass", 1))
    result = project.run("--trt-missing-baseline=record")
    message = "trt_metrics recorded accuracy before the linear.onnx fp32 engine ran *TRT160*"
    assert_shows(result, message, "Fix: Compute the metric from the outputs of *", failed=1)
    assert not stored.exists()


@pytest.mark.parametrize(
    ("marker", "runs"),
    [
        ("", "trt_session.run({'image': images})"),
        ("@pytest.mark.trt_benchmark\n", "trt_benchmark({'image': images})"),
    ],
)
def test_metric_after_the_engine_ran_in_a_fixture_passes(project, stored, marker, runs) -> None:
    project.test_file(
        f"@pytest.fixture\ndef outputs({runs.split('(')[0].split('.')[0]}, images):\n    {runs}\n"
        f'@pytest.mark.trt_model("models/linear.onnx")\n{marker}'
        f"def test_it(outputs, trt_metrics):\n    trt_metrics.record({accuracy(0.9)})\n"
    )
    project.run("--trt-missing-baseline=record").assert_outcomes(passed=1)
    assert stored.exists()


def test_metric_of_predictions_that_tests_share_is_judged_in_each(project, stored) -> None:
    project.test_file(
        f"""
        @pytest.fixture(scope="module")
        def probs(trt_engines):
            images = np.ones((4, 8), np.float32)
            return trt_engines("models/linear.onnx").run({{"image": images}})["probs"]

        @pytest.mark.trt_model("models/linear.onnx")
        @pytest.mark.parametrize("name", ["a", "b"])
        def test_it(probs, name, trt_metrics):
            trt_metrics.record({accuracy(0.9)})
        """
    )
    project.run("--trt-missing-baseline=record").assert_outcomes(passed=2)
    assert stored.exists()


def test_damaged_file_fails_the_test_by_name(run, stored) -> None:
    run(accuracy(0.981))
    stored.write_text(stored.read_text().replace("0.981", '"much"'))
    result = run(accuracy(0.981))
    assert_shows(result, "invalid baseline file *metrics-cpu/test_it.json*value*TRT602*", failed=1)


def test_selftest_records_nothing(run, stored) -> None:
    run(accuracy(0.981), "--trt-selftest").assert_outcomes(failed=1)
    assert not stored.exists()


@pytest.mark.parametrize(("value", "outcome"), [(0.955, "failed"), (0.98, "skipped")])
def test_a_skip_does_not_undo_a_worse_metric(project, run, stored, value, outcome) -> None:
    run(accuracy(0.981))
    project.test_file(source(accuracy(value)) + '    pytest.skip("the rest is not ready")\n')
    assert_shows(project.run(), *["*TRT430*"] * (outcome == "failed"), **{outcome: 1})


@pytest.mark.parametrize(("record", "missing"), [("", True), (accuracy(0.955), False)])
def test_expected_failure_is_a_verdict_once_a_metric_was_judged(
    project, run, stored, record: str, missing: bool
) -> None:
    run(accuracy(0.981))
    project.test_file("@pytest.mark.xfail" + source(record) + "    raise KeyError\n" * missing)
    result = project.run("--trt-require-arch=cpu")
    result.assert_outcomes(xfailed=1)
    assert ("not measured: xfail before a verdict" in text(result)) == missing == result.ret


def test_reports_have_the_metric(project, run) -> None:
    run(accuracy(0.981))
    report, junit = project.path / "r.json", project.path / "j.xml"
    run(accuracy(0.955), f"--trt-report={report}", f"--junitxml={junit}")
    document = json.loads(report.read_text())
    check_schema(document)
    (test,) = document["tests"]
    assert test["status"] == "failed"
    (found,) = test["results"][0]["task_metrics"]
    assert (found["value"], found["stored"], found["verdict"]) == (0.955, 0.981, "failed")
    properties = [one.get("value") for one in ET.parse(junit).iter("property")]
    assert "accuracy: 0.955 (failed)" in properties


@pytest.mark.parametrize(("samples", "noted"), [(32, True), (1000, False)])
def test_junit_has_the_text_of_a_note(project, run, samples: int, noted: bool) -> None:
    junit = project.path / "j.xml"
    run(f'"hits", samples=[1, 0] * {samples}, limit="0.5 points"', f"--junitxml={junit}")
    properties = [one.attrib for one in ET.parse(junit).iter("property")]
    texts = [one["value"] for one in properties if one["name"] == "trt_note"]
    assert "linear.onnx has dynamic inputs " in texts[0]
    assert texts[0].endswith(" [TRT171]")
    of_metric = [text for text in texts if text.endswith(" [TRT433]")]
    assert len(of_metric) == noted
    assert not noted or of_metric[0].startswith("hits of 64 samples fails only if it gets worse by")


def command(project, line: str) -> str:
    folders = [f"--baseline-dir={project.path / 'trt_baselines'}", f"--cache-dir={project.cache}"]
    done = CliRunner().invoke(commands, ["baseline", *folders, *shlex.split(line)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def test_commands_list_show_compare_and_accept_them(project, run, stored, monkeypatch) -> None:
    monkeypatch.chdir(project.path)
    run(accuracy(0.981))
    older = project.path / "older.json"
    older.write_bytes(stored.read_bytes())
    run(accuracy(0.95)).assert_outcomes(failed=1)
    assert "test_it accuracy  0.981" in command(project, "list")
    assert "accuracy 0.981 of 2,000 trials" in command(project, "show test_it")
    accepted = command(project, "accept --failed --reason pruned")
    assert "test_it: accuracy 0.981 -> 0.95" in accepted
    assert '"reason": "pruned"' in stored.read_text()
    shown = command(project, f"diff {older} {stored}")
    assert "test_it accuracy" in shown
    assert "-3.2%" in shown
    assert command(project, f"diff {stored} {stored}") == "The baselines are the same.\n"
    changes = json.loads(command(project, f"diff --json {older} {stored}"))
    assert [(one["before"], one["now"]) for one in changes] == [(0.981, 0.95)]
    (listed,) = json.loads(command(project, "list --json"))
    assert (listed["kind"], listed["values"]) == ("metrics", {"accuracy": 0.95})
    run(accuracy(0.95), "--trt-missing-baseline=fail").assert_outcomes(passed=1)


def test_metrics_move_with_a_renamed_test_and_module(project, run, stored, monkeypatch) -> None:
    monkeypatch.chdir(project.path)
    run(accuracy(0.981))
    assert "task metrics, metrics-cpu" in command(
        project, "rename test_it.py::test_it test_it.py::b"
    )
    assert list(json.loads(stored.read_text())["tests"]) == ["b"]
    command(project, "rename test_it.py test_moved.py")
    assert not stored.exists()
    assert list(json.loads(stored.with_name("test_moved.json").read_text())["tests"]) == ["b"]


@pytest.mark.exhaustive
def test_metrics_of_a_removed_test_are_pruned(project, run, stored, monkeypatch) -> None:
    monkeypatch.chdir(project.path)
    run(accuracy(0.981))
    assert "nothing to remove" in command(project, "prune --yes")
    project.test_file("def test_other():\n    pass\n")
    assert "1 removed" in command(project, "prune --yes")
    assert not stored.exists()
