"""A model that a fixture gives when the test runs: `trt_model(fixture="exported")`."""

from __future__ import annotations

import json

import pytest
from builders import save_linear
from plugin.conftest import assert_shows, collected

C = "pytest.mark.trt_consistency"
M = "pytest.mark.trt_model"
P = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'

#: A fixture that exports a model; `NUDGE` makes it another one than the reference.
EXPORTED = """
import shutil

@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "exported.onnx"
    shutil.copy(pytest.SOURCE, path)
    return path
"""
RUNS = "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"


def exported(project, model: str = "linear.onnx") -> str:
    """Return the source of a fixture that copies a model."""
    return EXPORTED.replace("pytest.SOURCE", repr(str(project.path / "models" / model)))


@pytest.fixture
def suite(project):
    """Run a test file in which the fixture `exported` copies a model."""
    save_linear(project.path / "models" / "wrong.onnx", nudge=0.5)

    def run(source: str, *args: str, model: str = "linear.onnx") -> pytest.RunResult:
        project.test_file(exported(project, model) + source)
        return project.run(*args)

    return run


@pytest.mark.parametrize("model", ["linear.onnx", "wrong.onnx"])
def test_model_is_built_and_compared_when_the_test_runs(suite, project, model: str) -> None:
    source = (
        '@pytest.fixture(scope="{scope}")\ndef made(exported):\n    yield str(exported)\n'
        f'@{M}(fixture="made", reference="models/linear.onnx", precision=("fp32", "fp16"))\n'
        f"@{C}\ndef test_it(trt_session, trt_model_path, made, images):\n"
        "    assert str(trt_model_path) == made\n"
        "    trt_session.run({{'image': images}})\n"
    )
    wrong = model == "wrong.onnx"
    scopes = ("session", "module", "class", "function")
    cases = {
        exported(project, model) + source.format(scope=scope): "*TRT4*" * wrong for scope in scopes
    }
    project.ends(cases).assert_outcomes(passed=8 * (not wrong), failed=8 * wrong)


def test_model_that_another_test_writes_again_is_read_again(suite) -> None:
    source = (
        "import builders\n@pytest.fixture(params=[4, 6])\ndef made(request, exported):\n"
        "    return builders.save_linear(exported, classes=request.param)\n"
        f'@{M}(fixture="made", {P})\n@{C}\n'
        "def test_it(made, trt_session, trt_inputs, request):\n"
        "    classes = trt_session.run(trt_inputs)['probs'].shape[1]\n"
        "    assert classes == request.node.callspec.params['made']\n"
    )
    suite(source).assert_outcomes(passed=6)


def test_shapes_are_those_of_the_markers_profiles(suite) -> None:
    test = "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    marks = f'@{M}(fixture="exported", {P})\n@{C}\n'
    assert collected(suite(marks + test, "--co", "-q")) == [
        f"test_it[{one}]" for one in ("min", "opt", "max")
    ]
    suite(marks + test).assert_outcomes(passed=3)
    two = P.replace("{", "[{").replace("}", "}, {'image': ((2, 8), (2, 8), (4, 8))}]")
    marks = f'@{M}(fixture="exported", {two})\n@{C}\n'
    assert collected(suite(marks + test, "--co", "-q"))[-2:] == ["test_it[1-opt]", "test_it[1-max]"]


@pytest.mark.parametrize(
    ("values", "points"),
    [
        ("((8,), (16,), (32,))", 3),
        ('{"min": 8, "opt": 8, "max": 16}', 2),
        ("8", 1),
        ("(8, 8)", 1),
        ("((8, 8, 8),) * 3", 1),
        ("(8, 16, 32)", 0),
    ],
)
def test_values_that_only_the_model_can_tell_apart_are_refused(suite, values, points) -> None:
    marks = f"@{M}(fixture='exported', profiles={{'size': {{'values': {values}}}}})\n"
    result = suite(marks + "def test_it(trt_session, trt_inputs):\n    pass\n", "--co", "-q")
    if points:
        assert len(collected(result)) == points
    else:
        result.stdout.fnmatch_lines(["*only the model shows whether*one point or three*TRT210*"])


WRONG_WITHOUT_MODEL = [
    ('fixture="exportd"', "*there is no such fixture*TRT176*"),
    ('fixture="trt_engine"', "*requests the model itself*TRT176*"),
    ('fixture="circular"', "*requests the model itself*TRT176*"),
    ('fixture="several"', "*the fixture several has parameters*TRT154*"),
    ('fixture="of_several"', "*the fixture several has parameters*TRT154*"),
    ('"models/linear.onnx", fixture="exported"', "*was given a model and fixture=*TRT150*"),
    ('model="models/linear.onnx", fixture="exported"', "*was given a model and fixture=*"),
    ("fixture=7", "*invalid fixture=7*TRT150*"),
    ('fixture="exported", precision="fp4"', "*unknown precision*TRT150*"),
    ('fixture="exported", profiles={"image": ((4, 8), (1, 8), (16, 8))}', "*TRT210*"),
    ('fixture="exported", profiles=7', "*TRT210*"),
    ('fixture="exported", reference="models/lost.onnx"', "*lost.onnx is missing*TRT156*"),
    ('fixture="exported", per_model={"x": {}}', "*per_model names 'x'*TRT150*"),
    ('fixture="exported", per_model={"exported": {"fixture": "x"}}', "*no keyword 'fixture'*"),
]


def test_what_is_wrong_without_the_model_is_refused_at_collection(suite, project) -> None:
    source = EXPORTED + (
        "@pytest.fixture\ndef circular(trt_session):\n    pass\n"
        "@pytest.fixture(params=[1, 2])\ndef several(exported):\n    return exported\n"
        "@pytest.fixture\ndef of_several(several):\n    return several\n"
    )
    project.refuses(
        {f"{source}@{M}({given})\n{RUNS}": message for given, message in WRONG_WITHOUT_MODEL}
    )


def test_chosen_path_is_refused_at_collection(suite) -> None:
    result = suite(
        f'@{M}(fixture="exported")\n'
        "@pytest.mark.parametrize('trt_model_path', ['exported'])\n" + RUNS
    )
    assert_shows(result, "*do not*parametrise trt_model_path*", errors=1)


SHOWN_BY_MODEL = [
    ('fixture="none"', "*the fixture none, which trt_model names, returned NoneType*TRT176*"),
    ('fixture="lost"', "*the model */lost.onnx is missing*TRT156*"),
    ('fixture="tmp_path"', "*is a folder*TRT156*"),
    ('fixture="text"', "*is a text file*TRT201*"),
    ('fixture="exported", profiles={"imag": ((1, 8), (4, 8), (8, 8))}', "*no input 'imag'*"),
    ('fixture="exported", profiles={"image": ((1, 9), (4, 9), (8, 9))}', "*TRT210*"),
    ('fixture="exported", input_ranges={"imag": (0, 1)}', "*'imag'*"),
    ('fixture="exported", reference="models/flat.onnx"', "*different inputs*TRT152*"),
]


def test_what_only_the_model_shows_fails_the_setup(suite, project) -> None:
    flat = save_linear(project.path / "models" / "flat.onnx", features=3)
    flat.write_bytes(flat.read_bytes().replace(b"image", b"pixel"))
    start = exported(project) + (
        "@pytest.fixture\ndef none():\n    pass\n"
        "@pytest.fixture\ndef lost(tmp_path):\n    return tmp_path / 'lost.onnx'\n"
        "@pytest.fixture\ndef text():\n    return __file__\n"
    )
    mark = f'{start}@{M}(fixture="exported")\n'
    cases = {f"{start}@{M}({given})\n{RUNS}": message for given, message in SHOWN_BY_MODEL} | {
        f"{mark}@{C}(outputs={{'prob': {{'cosine': 0.9}}}})\n{RUNS}": (
            "*for output 'prob', which the model does not have*TRT140*"
        ),
        f"{mark}def test_it(trt_inputs):\n    pass\n": (
            "*no profile has a range of shapes for it*TRT211*"
        ),
    }
    project.refuses(cases, where="ERROR at setup of ")


def test_relative_path_is_that_of_the_current_folder(suite) -> None:
    suite(
        "@pytest.fixture\ndef made(tmp_path, monkeypatch, exported):\n"
        "    monkeypatch.chdir(tmp_path)\n    shutil.copy(exported, 'made.onnx')\n"
        f"    return 'made.onnx'\n@{M}(fixture='made')\n@{C}\n{RUNS}"
    ).assert_outcomes(passed=1)


def test_shared_engine_of_the_exported_model_counts_as_the_markers(suite) -> None:
    shared = (
        "@pytest.fixture(scope='module')\ndef shared(trt_engines, exported):\n"
        "    return trt_engines(exported)\n"
    )
    body = "    shared.run({'image': images})\n"
    mark = f'@{M}(fixture="exported")\n@{C}\n'
    suite(f"{shared}{mark}def test_it(shared, trt_model_path, images):\n{body}").assert_outcomes(
        passed=1
    )
    result = suite(f"{shared}{mark}def test_it(shared, images):\n{body}")
    assert_shows(result, "*compared no engine of fixture exported*TRT160*", failed=1)


def test_shared_engines_request_no_fixture(suite) -> None:
    result = suite(
        "@pytest.fixture(scope='module')\ndef shared(trt_engines):\n"
        "    return trt_engines(fixture='exported')\n"
        "def test_it(shared):\n    pass\n"
    )
    assert_shows(result, "*cannot request the fixture of fixture=*TRT176*", errors=1)


def test_closest_source_of_the_model_decides(suite) -> None:
    suite(
        f"pytestmark = {M}(fixture='exported', precision='fp16')\n"
        "def test_module(trt_engine):\n"
        "    assert trt_engine.model.path.name == 'exported.onnx'\n"
        f"@{M}('models/wrong.onnx')\ndef test_own(trt_engine):\n"
        "    assert trt_engine.model.path.name == 'wrong.onnx'\n"
        "    assert trt_engine.spec.precision == 'fp32'\n"
    ).assert_outcomes(passed=2)


def test_baseline_and_report_name_the_model_in_every_run(suite, project) -> None:
    source = (
        f'@{M}(fixture="exported")\n@pytest.mark.trt_benchmark(p50="900%")\n'
        "def test_speed(trt_benchmark, images):\n    trt_benchmark({'image': images})\n"
        f'@{M}(fixture="exported")\n@{C}\ndef test_unrun(trt_session):\n    pass\n'
    )
    suite(source, "-k", "speed").assert_outcomes(passed=1, deselected=1)
    (stored,) = project.path.glob("trt_baselines/*/*.json")
    assert '"model": "exported.onnx"' in stored.read_text()
    result = suite(source, "-k", "speed", "--trt-report=report.json")
    assert_shows(result, "*1 of 2 tests: 1 deselected*", passed=1, deselected=1)
    tests = json.loads((project.path / "report.json").read_text())["tests"]
    assert [(one["model"], one["status"]) for one in tests] == [
        ("fixture exported", "passed"),
        ("fixture exported", "deselected"),
    ]
    assert tests[0]["results"][0]["model"] == "exported.onnx"


def test_each_attempt_of_a_rerun_asks_the_fixture_again(suite) -> None:
    source = (
        "NUDGES = [0.5, 0.0]\nimport builders\n"
        "@pytest.fixture\ndef made(tmp_path):\n"
        "    return builders.save_linear(tmp_path / 'made.onnx', nudge=NUDGES.pop(0))\n"
        f"@{M}(fixture='made', reference='models/linear.onnx')\n@{C}\n{RUNS}"
    )
    result = suite(source, "--reruns=1")
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}


@pytest.mark.exhaustive
def test_workers_export_their_own(suite) -> None:
    tests = "".join(
        f'@{M}(fixture="exported", reference="models/linear.onnx")\n@{C}\n'
        f"def test_{one}(trt_session, images):\n    trt_session.run({{'image': images}})\n"
        for one in range(4)
    )
    suite(tests, "-n2").assert_outcomes(passed=4)
    suite(tests, "-n1", model="wrong.onnx").assert_outcomes(failed=4)


def test_test_case_of_unittest_takes_the_model_of_a_fixture(suite) -> None:
    source = (
        f'import unittest\n@{M}(fixture="exported", reference="models/linear.onnx")\n@{C}\n'
        "class TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n    def fixtures(self, trt_session, images):\n"
        "        trt_session.run({'image': images})\n"
        "    def test_it(self):\n        pass\n"
    )
    suite(source).assert_outcomes(passed=1)
    suite(source, model="wrong.onnx").assert_outcomes(failed=1)
