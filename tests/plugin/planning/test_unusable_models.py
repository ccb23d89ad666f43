"""Of several models, the tests of one that cannot be tested fail, and the others run."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from builders import save_linear
from plugin.conftest import assert_shows

from pytest_trt.cli import commands

M = "pytest.mark.trt_model"
TEST = """
pytestmark = {marker}

@pytest.mark.trt_consistency
def test_answers(trt_session, images):
    trt_session.run({{"image": images}})

def test_builds(trt_engine):
    pass
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"
BROKEN = "test_it.py::test_it[models/pointer.onnx-fp16-"
LOST = ("models/linear.onnx", "models/lost.onnx")


@pytest.fixture
def zoo(project):
    """A project with two models, and a file in their folder that Git LFS has not downloaded."""
    save_linear(project.path / "models" / "other.onnx", nudge=0.5)
    (project.path / "models" / "pointer.onnx").write_text(POINTER)
    return project


def run(zoo, given: str, *args: str) -> pytest.RunResult:
    """Run two test functions under a marker."""
    zoo.test_file(TEST.format(marker=f"{M}({given})"))
    return zoo.run("-W", "ignore", *args)


def test_every_other_model_of_a_pattern_is_tested(zoo) -> None:
    assert_shows(
        run(zoo, '"models/*.onnx", precision=("fp32", "fp16")'),
        "*ERROR at setup of test_answers[[]models/pointer.onnx-fp32[]]*",
        "models/pointer.onnx is a Git LFS pointer, not an ONNX model*TRT201*",
        "*ERROR at setup of test_builds[[]models/pointer.onnx-fp32[]]*",
        "pointer.onnx  cpu fp32  not built *2 error",
        "pointer.onnx  cpu fp16  not built *2 error",
        passed=8,
        errors=4,
    )
    (zoo.path / "models" / "pointer.onnx").unlink()
    zoo.run("-W", "ignore").assert_outcomes(passed=8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (f"{list(LOST)}", "*lost.onnx is missing*TRT156*"),
        (f"{dict(zip('ab', LOST, strict=True))}", "*lost.onnx is missing*TRT156*"),
        (
            '["models/linear.onnx", "models/other.onnx"], '
            'per_model={"models/other.onnx": {"input_ranges": {"x": 1}}}',
            "input_ranges names 'x', which is not an input of the model*TRT227*",
        ),
        (
            '["models/linear.onnx", "models/other.onnx"], '
            'per_model={"models/other.onnx": {"profiles": {"x": ((1,), (1,), (1,))}}}',
            "trt_model: the model has no input 'x'*TRT210*",
        ),
    ],
    ids=["list", "mapping", "ranges", "profile"],
)
def test_the_model_to_blame_fails_with_the_message_of_a_single_one(zoo, given, message) -> None:
    assert_shows(run(zoo, given), message, passed=2, errors=2)


def test_a_dynamic_model_without_a_profile_fails_only_where_inputs_are_made_for_it(zoo) -> None:
    save_linear(zoo.path / "models" / "fixed.onnx", batch=4)
    zoo.test_file(
        f"pytestmark = {M}(['models/linear.onnx', 'models/fixed.onnx'])\n"
        "def test_seeded(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
        "def test_own(trt_session, images):\n    trt_session.run({'image': images})\n"
    )
    result = zoo.run("-W", "ignore")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*at setup of test_seeded[[]models/linear.onnx*", "*TRT211*"])


def test_a_dynamic_model_without_its_external_data_fails_for_the_data_first(zoo) -> None:
    model = onnx.load(zoo.path / "models" / "linear.onnx")
    onnx.save(
        model,
        zoo.path / "models" / "external.onnx",
        save_as_external_data=True,
        location="external.data",
        size_threshold=0,
    )
    (zoo.path / "models" / "external.data").unlink()
    zoo.test_file(
        f"@{M}(['models/external.onnx', 'models/other.onnx'],\n"
        "    per_model={'models/other.onnx': {'profiles': {'image': ((1, 8), (4, 8), (8, 8))}}})\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    result = zoo.run("-W", "ignore")
    assert_shows(result, "*external.data, which does not exist*TRT202*", passed=3, errors=1)
    result.stdout.no_fnmatch_line("*TRT211*")


STOPPING = [
    ('"models/pointer.onnx"', "*is a Git LFS pointer*"),
    ('"models/*.onxx"', "no model matches the pattern*"),
    ('["models/linear.onnx", "models/other.onnx"], input_ranges={"x": 1}', "*'x'*"),
    ('"models/*.onnx", seed="x"', "*seed*"),
    (
        '"models/*.onnx", per_model={"models/other.onnx": {"sed": 1}}',
        "*no keyword 'sed'*",
    ),
]


def test_a_single_model_and_mistakes_in_markers_stop_the_collection(zoo) -> None:
    zoo.refuses({TEST.format(marker=f"{M}({given})"): message for given, message in STOPPING})


def test_where_every_model_is_unreadable_each_is_named(zoo) -> None:
    (zoo.path / "models" / "second.onnx").write_text(POINTER)
    run(zoo, '["models/pointer.onnx", "models/second.onnx"]').assert_outcomes(errors=4)


def test_report_and_junit_count_it_as_failed(zoo) -> None:
    report, junit = zoo.path / "r.json", zoo.path / "j.xml"
    given = (f"--trt-report={report}", f"--junit-xml={junit}", "--trt-require-arch=cpu")
    result = run(zoo, '"models/*.onnx"', *given)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["2 of 6 required verdicts are missing*"])
    tests = {one["id"]: one for one in json.loads(report.read_text())["tests"]}
    broken = tests["test_it.py::test_answers[models/pointer.onnx]"]
    assert (broken["status"], broken["model"]) == ("error", "models/pointer.onnx")
    assert [one["code"] for one in broken["diagnostics"]] == ["TRT201"]
    assert 'errors="3"' in junit.read_text()  # the two tests, and that verdicts are missing


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("args", "outcomes"),
    [
        (("--trt-build-only",), {"errors": 2, "skipped": 2, "passed": 2}),
        (("--trt-selftest",), {"errors": 2, "passed": 4}),
        (("-n", "2"), {"errors": 2, "passed": 4}),
        (("-k", "linear"), {"passed": 2, "deselected": 4}),
        (("--reruns=1",), {"errors": 2, "passed": 4}),
    ],
    ids=["build-only", "selftest", "xdist", "k", "rerun"],
)
def test_the_other_models_run_however_pytest_runs(zoo, args, outcomes) -> None:
    if "-n" in args:
        pytest.importorskip("xdist")
    if "--reruns=1" in args:
        pytest.importorskip("pytest_rerunfailures")
    found = run(zoo, '"models/*.onnx"', *args).parseoutcomes()
    assert {name: found.get(name, 0) for name in outcomes} == outcomes


@pytest.mark.parametrize(("mark", "outcome"), [("skip", "skipped"), ("xfail", "xfailed")])
def test_markers_skip_it_or_expect_it(zoo, mark: str, outcome: str) -> None:
    zoo.test_file(
        f"@pytest.mark.{mark}(reason='known')\n@{M}(['models/pointer.onnx', 'models/other.onnx'])\n"
        "def test_it(trt_engine):\n    assert False\n"
    )
    zoo.run().assert_outcomes(**{outcome: 2})


@pytest.mark.parametrize(
    "args",
    [("-k", "fp16 and 1"), ("-m", "slow"), ("--deselect", f"{BROKEN}0]"), (f"{BROKEN}1]",)],
    ids=["k", "m", "deselect", "id"],
)
def test_whichever_of_its_tests_is_selected_fails(zoo, args) -> None:
    zoo.test_file(
        "@pytest.mark.parametrize('case', [0, pytest.param(1, marks=pytest.mark.slow)])\n"
        f"@{M}('models/*.onnx', precision=('fp32', 'fp16'))\n"
        "def test_it(trt_engine, case):\n    pass\n"
    )
    result = zoo.run("-W", "ignore", *args)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*ERROR at setup of test_it[[]models/pointer.onnx-fp16-1[]]*"])


@pytest.mark.parametrize("mark", ["skip", "xfail"])
@pytest.mark.parametrize("by", ["set", "hook"])
def test_a_mark_on_one_of_its_tests_hides_no_other(zoo, by: str, mark: str) -> None:
    marks = f"pytest.mark.{mark}" if by == "set" else "()"
    zoo.test_file(
        f"@pytest.mark.parametrize('case', [pytest.param(0, marks={marks}), 1])\n"
        f"@{M}('models/*.onnx')\n"
        "def test_it(trt_engine, case):\n    pass\n"
    )
    if by == "hook":
        (zoo.path / "conftest.py").write_text(
            "import pytest\n"
            "def pytest_collection_modifyitems(items):\n"
            "    for item in items:\n"
            "        if item.callspec.params['case'] == 0:\n"
            f"            item.add_marker(pytest.mark.{mark})\n"
        )
    result = zoo.run("-W", "ignore")
    assert result.parseoutcomes()["errors"] == 1
    result.stdout.fnmatch_lines(["*ERROR at setup of test_it[[]models/pointer.onnx-1[]]*"])


def test_a_marker_that_a_hook_adds_does_not_revive_its_tests(zoo) -> None:
    (zoo.path / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        item.add_marker(pytest.mark.trt_consistency(atol=0.5, rtol=0.5))\n"
    )
    zoo.test_file(
        f"@{M}('models/*.onnx', precision=('fp32', 'fp16'))\n"
        "def test_it(trt_session):\n"
        "    trt_session.run({'image': np.ones((4, 8), np.float32)})\n"
    )
    zoo.run("-W", "ignore").assert_outcomes(passed=4, errors=2)


def test_a_model_that_a_later_marker_does_not_fit_fails_alone(zoo) -> None:
    (zoo.path / "models" / "pointer.onnx").unlink()
    (zoo.path / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    given = {'models/other.onnx': {'outputs': {'x': {'atol': 1}}}}\n"
        "    for item in items:\n"
        "        item.add_marker(pytest.mark.trt_consistency(per_model=given))\n"
    )
    zoo.test_file(
        f"@{M}('models/*.onnx')\ndef test_it(trt_session):\n"
        "    trt_session.run({'image': np.ones((4, 8), np.float32)})\n"
    )
    result = zoo.run("-W", "ignore")
    assert_shows(result, "*ERROR at setup of test_it[[]models/other.onnx[]]*", passed=1, errors=1)


@pytest.mark.exhaustive
def test_prune_retains_baselines_of_points_that_only_the_model_shows(zoo, monkeypatch) -> None:
    from click.testing import CliRunner

    marker = f"{M}('models/*.onnx', profiles={{'image': ((1, 8), (4, 8), (16, 8))}})"
    (zoo.path / "models" / "pointer.onnx").unlink()
    zoo.test_file(
        f"@{marker}\n@pytest.mark.trt_consistency(against='stored')\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    zoo.run("-W", "ignore", "--trt-update-new")
    stored = sorted(Path(zoo.path, "trt_baselines").rglob("*.json"))
    assert stored
    (zoo.path / "models" / "other.onnx").write_text(POINTER)
    monkeypatch.chdir(zoo.path)
    arguments = ["baseline", "prune", "--dry-run", "--parameters"]
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert "retained: test_it.py::test_it[models/other.onnx-max]" in result.output
    assert result.exit_code == 0
