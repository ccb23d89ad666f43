"""One test over several models: a list, a mapping or a pattern on `trt_model`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import save_linear
from plugin.conftest import assert_shows

M, C = "pytest.mark.trt_model", "pytest.mark.trt_consistency"
P = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'
RUNS = "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"
BUILDS = "def test_it(trt_engine):\n    pass\n"


@pytest.fixture
def zoo(project):
    """A project with three models, one of them in a folder below."""
    models = project.path / "models"
    save_linear(models / "big" / "deep.onnx", seed=1)
    save_linear(models / "other.onnx", nudge=0.5)
    return project


def collected(zoo, mark: str, test: str = BUILDS, *args: str) -> list[str]:
    """Return the ids of a test under a marker."""
    zoo.test_file(f"@{mark}\n{test}")
    result = zoo.run("--collect-only", "-q", *args)
    return [line.partition("::test_it")[2] for line in result.outlines if "::" in line]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ('"models/*.onnx"', ["models/linear.onnx", "models/other.onnx"]),
        ('"**/*.onnx"', ["models/big/deep.onnx", "models/linear.onnx", "models/other.onnx"]),
        ('"models/b*/deep.onnx"', ["models/big/deep.onnx"]),
        (
            '["models/other.onnx", "models/linear.onnx"]',
            ["models/other.onnx", "models/linear.onnx"],
        ),
        (
            '["models/other.onnx", "models/*.onnx", "models/o*.onnx"]',
            ["models/other.onnx", "models/linear.onnx"],
        ),
        ('["models/linear.onnx"]', ["models/linear.onnx"]),
        ('{"a": "models/other.onnx", "b": "models/other.onnx"}', ["a", "b"]),
    ],
)
def test_ids_name_each_model_once_in_the_order_given_or_sorted(zoo, given: str, ids) -> None:
    assert collected(zoo, f"{M}({given})") == [f"[{one}]" for one in ids]


def test_hidden_models_and_folders_are_not_matched(zoo) -> None:
    save_linear(zoo.path / "models" / ".cache" / "hidden.onnx")
    (zoo.path / "models" / "folder.onnx").mkdir()
    assert collected(zoo, f'{M}("models/**/*.onnx")') == [
        f"[models/{one}.onnx]" for one in ("big/deep", "linear", "other")
    ]


def test_absolute_pattern_and_a_file_whose_name_looks_like_a_pattern_are_found(zoo) -> None:
    save_linear(zoo.path / "models" / "v[1].onnx")
    pattern = (zoo.path / "models" / "o*.onnx").as_posix()
    assert collected(zoo, f'{M}("{pattern}")') == ["[models/other.onnx]"]
    assert collected(zoo, f'{M}("models/v[1].onnx")') == [""]


def test_models_multiply_with_precisions_and_shapes(zoo) -> None:
    test = "def test_it(trt_session, trt_inputs):\n    pass\n"
    mark = f'{M}("models/*.onnx", precision=("fp32", "fp16"), {P})'
    assert sorted(collected(zoo, mark, test)) == sorted(
        f"[models/{model}.onnx-{precision}-{shape}]"
        for model in ("linear", "other")
        for precision in ("fp32", "fp16")
        for shape in ("min", "opt", "max")
    )


@pytest.mark.exhaustive
def test_each_model_is_built_compared_and_reported_under_its_path(zoo) -> None:
    zoo.test_file(
        f'@{M}("models/*.onnx")\n@{C}\n'
        "def test_it(trt_session, trt_model_path, images, request):\n"
        "    assert trt_model_path.is_absolute()\n"
        "    assert trt_session.engine.model.path == trt_model_path\n"
        "    assert request.node.name == f'test_it[models/{trt_model_path.name}]'\n"
        "    trt_session.run({'image': images})\n"
    )
    zoo.run("--trt-report=report.json", "-n1").assert_outcomes(passed=2)
    tests = json.loads((zoo.path / "report.json").read_text())["tests"]
    assert {one["model"] for one in tests} == {"models/linear.onnx", "models/other.onnx"}


def test_only_the_model_that_is_wrong_fails_and_alone_is_run_again(zoo) -> None:
    zoo.test_file(f'@{M}("models/*.onnx", reference="models/linear.onnx")\n@{C}\n{RUNS}')
    result = zoo.run("-v", "-p", "cacheprovider")
    assert_shows(result, "*::test_it[[]models/other.onnx[]] FAILED*", passed=1, failed=1)
    again = zoo.run("--lf", "-p", "cacheprovider")
    assert again.parseoutcomes()["failed"] == 1
    assert "passed" not in again.parseoutcomes()
    zoo.run("test_it.py::test_it[models/linear.onnx]").assert_outcomes(passed=1)


def test_each_model_has_its_own_baseline(zoo) -> None:
    zoo.test_file(
        f'@{M}("models/*.onnx")\n@pytest.mark.trt_benchmark\n'
        "def test_it(trt_benchmark, images):\n    trt_benchmark({'image': images})\n"
    )
    zoo.run().assert_outcomes(passed=2)
    (path,) = zoo.path.glob("trt_baselines/*/*.json")
    stored = path.read_text()
    assert all(f"test_it[models/{one}.onnx]" in stored for one in ("linear", "other"))


def test_answers_of_a_model_are_stored_once_whatever_its_name(zoo) -> None:
    """The precisions of a test share its answers; a path may contain the same word."""
    save_linear(zoo.path / "models" / "net-fp16-b.onnx")
    zoo.test_file(
        f'@{M}("models/*.onnx", precision=("fp32", "fp16"))\n@{C}(against="stored")\n{RUNS}'
    )
    zoo.run("--trt-missing-baseline=record")
    (path,) = zoo.path.glob("trt_baselines/*/*.json")
    names = [f"test_it[models/{one}.onnx]" for one in ("linear", "net-fp16-b", "other")]
    assert sorted(json.loads(path.read_text())["tests"]) == names
    zoo.run().assert_outcomes(passed=6)


def test_parameter_sets_keep_their_own_models(zoo) -> None:
    zoo.test_file(
        "@pytest.mark.parametrize('case', [\n"
        f"    pytest.param('zoo', marks={M}('models/*.onnx')),\n"
        f"    pytest.param('one', marks={M}('models/big/deep.onnx', precision='fp16'))])\n"
        f"@{C}(rtol=1, atol=1)\n"
        "def test_it(trt_session, trt_model_path, case, images):\n"
        "    assert (trt_model_path.stem == 'deep') == (case == 'one')\n"
        "    trt_session.run({'image': images})\n"
    )
    zoo.run().assert_outcomes(passed=3)


def test_test_may_choose_among_the_models(zoo) -> None:
    zoo.test_file(
        f'@{M}("models/*.onnx")\n'
        "@pytest.mark.parametrize('trt_model_path', ['models/other.onnx'], indirect=True)\n"
        "def test_it(trt_engine, trt_model_path):\n"
        "    assert trt_engine.model.path.stem == trt_model_path.stem == 'other'\n"
    )
    zoo.run().assert_outcomes(passed=1)


def test_tests_that_use_no_engine_are_not_multiplied(zoo) -> None:
    assert collected(zoo, f'{M}("models/*.onnx")', "def test_it():\n    pass\n") == [""]


NO_MODEL = [
    ('"modles/*.onnx"', "no model matches the pattern modles/*TRT156", "*Correct the pattern*"),
    ('"models/*.onxx"', "no model matches the pattern *TRT156", "  - models/linear.onnx"),
    ('["models/linear.onnx"] * 2', "*names a model twice: 'models/linear.onnx'*", "*once*"),
    ("[]", "*[[][]] names no model*TRT150", "*at least one path*"),
    ("{}", "*{} names no model*TRT150", "*at least one path*"),
    ('{7: "models/linear.onnx"}', "*7 is not an id of a model*", "*text*"),
    ('{"a": ["models/linear.onnx"]}', "*not a path*", "*"),
]


def test_what_names_no_model_is_refused(zoo) -> None:
    zoo.refuses(
        {f"@{M}({mark})\n{BUILDS}": [f"*{message}*", fix] for mark, message, fix in NO_MODEL}
    )


ALL = f'@{M}("models/*.onnx")\n'


ONE_OF_SEVERAL = [
    (
        f"{ALL}@{C}\ndef test_it(trt_engines, images):\n"
        "    trt_engines('models/linear.onnx').run({'image': images})\n",
        "*name 2 models, but the test uses none of the fixtures*TRT154*",
    ),
    (
        f"import unittest\n{ALL}class TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def fixtures(self, trt_session):\n        pass\n"
        "    def test_it(self):\n        pass\n",
        "*name trt_model_path models/linear.onnx and models/other.onnx, but*TRT154*",
    ),
    (
        f"@pytest.fixture\ndef trt_model_path():\n    return 'x'\n{ALL}{BUILDS}",
        "*overrides trt_model_path*TRT154*",
    ),
    (
        f"{ALL}@pytest.mark.parametrize('trt_model_path', ['models/othr.onnx'])\n{BUILDS}",
        "*trt_model_path='models/othr.onnx', which its markers do not name*TRT154*",
    ),
]


def test_test_that_would_check_one_of_several_models_is_refused(zoo) -> None:
    zoo.refuses(dict(ONE_OF_SEVERAL))


def test_fixture_that_is_requested_while_the_test_runs_is_refused(zoo) -> None:
    zoo.test_file(ALL + "def test_it(request):\n    request.getfixturevalue('trt_session')\n")
    assert_shows(zoo.run(), "*trt_model_path was requested while the test ran*TRT154*", failed=1)


def test_shared_engines_are_of_one_model(zoo) -> None:
    zoo.test_file("def test_it(trt_engines):\n    trt_engines('models/*.onnx')\n")
    assert_shows(zoo.run(), "*trt_engines takes the path of one model*TRT154*", failed=1)


def test_pattern_is_relative_to_the_test_file(zoo) -> None:
    folder = zoo.path / "tests"
    folder.mkdir()
    (folder / "test_it.py").write_text(
        f"import pytest\n@{M}('../models/*.onnx')\n{BUILDS}", encoding="utf-8"
    )
    result = zoo.run("--collect-only", "-q", str(Path("tests", "test_it.py")))
    result.stdout.fnmatch_lines(["tests/test_it.py::test_it[[]../models/linear.onnx[]]"])


PER_MODEL = (
    "OTHER = {'models/other.onnx': dict(precision='fp16', seed=3,\n"
    "    profiles={'image': ((2, 8), (2, 8), (5, 8))}, input_ranges={'image': (5, 6)})}\n"
)


def test_each_model_runs_in_its_own_precisions_and_shapes(zoo) -> None:
    zoo.test_file(
        f"{PER_MODEL}"
        f'@{M}("models/*.onnx", precision=("fp32", "fp16"), {P}, per_model=OTHER)\n'
        f"@{C}(rtol=1, atol=1)\n"
        "def test_it(trt_session, trt_model_path, trt_inputs):\n"
        "    inside = 5 <= trt_inputs['image'].min() <= trt_inputs['image'].max() <= 6\n"
        "    assert inside == (trt_model_path.stem == 'other')\n"
        "    trt_session.run(trt_inputs)\n"
    )
    result = zoo.run("-v")
    result.assert_outcomes(passed=8)
    found = [line.split()[0] for line in result.outlines if "::test_it[models/other" in line]
    assert found == [f"test_it.py::test_it[models/other.onnx-fp16-{one}]" for one in ("opt", "max")]


def test_reference_and_builder_options_of_one_model_are_its_own(zoo) -> None:
    zoo.test_file(
        "OTHER = dict(reference='models/linear.onnx',\n"
        "    builder_options={'graph_optimization_level': 'basic'})\n"
        f'@{M}({{"a": "models/linear.onnx", "b": "models/other.onnx"}}, per_model={{"b": OTHER}})\n'
        f"@{C}\n"
        "def test_it(trt_session, images):\n"
        "    assert bool(trt_session.engine.spec.builder_options) == ('other' in\n"
        "        trt_session.engine.model.path.name)\n"
        "    trt_session.run({'image': images})\n"
    )
    assert_shows(zoo.run("-v"), "*::test_it[[]b[]] FAILED*", passed=1, failed=1)


@pytest.mark.parametrize("key", ["b", "models/other.onnx"], ids=["id", "path"])
def test_tolerance_of_one_model_is_its_own(zoo, key: str) -> None:
    zoo.test_file(
        f'@{M}({{"a": "models/linear.onnx", "b": "models/other.onnx"}}, precision="fp16")\n'
        f"@{C}(rtol=1, atol=1e9, per_model={{'{key}': dict(rtol=0, atol=0)}})\n{RUNS}"
    )
    assert_shows(zoo.run("-v"), "*::test_it[[]b[]] FAILED*", passed=1, failed=1)


def test_limit_of_one_model_is_its_own(zoo) -> None:
    zoo.test_file(
        f'@{M}(["models/linear.onnx", "models/other.onnx"])\n'
        "@pytest.mark.trt_benchmark(\n"
        "    p50_ms=1e6, per_model={'models/other.onnx': {'p50_ms': 1e-9}})\n"
        "def test_it(trt_benchmark, images):\n    trt_benchmark({'image': images})\n"
    )
    assert_shows(zoo.run("-v"), "*::test_it[[]models/other.onnx[]] FAILED*", passed=1, failed=1)


def test_closest_marker_that_gives_a_keyword_decides_it_for_each_model(zoo) -> None:
    zoo.test_file(
        f"{PER_MODEL}"
        f"pytestmark = {M}('models/*.onnx', precision='fp32', per_model=OTHER)\n"
        f"@{M}(precision='int8')\ndef test_int8(trt_precision):\n"
        "    assert trt_precision == 'int8'\n"
        f"@{M}(per_model={{'models/linear.onnx': {{'precision': 'int8'}}}})\n"
        "def test_mixed(trt_precision, trt_model_path):\n"
        "    assert trt_precision == ('int8' if trt_model_path.stem == 'linear' else 'fp16')\n"
        f"@{M}('models/big/deep.onnx')\ndef test_one(trt_precision):\n"
        "    assert trt_precision == 'fp32'\n"
    )
    zoo.run().assert_outcomes(passed=5)


MISTAKES = [
    (
        f"{M}('models/*.onnx', per_model={{'models/othr.onnx': {{}}}})",
        "trt_model: per_model names 'models/othr.onnx', which is not a model of*TRT150",
    ),
    (
        f"{M}({{'models/other.onnx': 'models/linear.onnx', 'b': 'models/other.onnx'}}, "
        "per_model={'models/other.onnx': {}})",
        "*names 'models/other.onnx', which is several: 'models/other.onnx', 'b' *TRT150",
    ),
    (
        f"{M}('models/*.onnx'), {C}(per_model={{'linear': {{'rtol': 0, 'atol': 0}}}})",
        "trt_consistency: per_model names 'linear', which is not a model of the test*",
    ),
    (
        f"{M}('models/*.onnx', per_model={{'models/other.onnx': {{'precison': 'fp16'}}}})",
        "trt_model, per_model 'models/other.onnx', has no keyword 'precison'*TRT150",
    ),
    (
        f"{M}('models/*.onnx', per_model={{'models/other.onnx': {{'model': 'x'}}}})",
        "*per_model 'models/other.onnx', has no keyword 'model'*",
    ),
    (
        f"{M}('models/*.onnx', per_model={{'models/other.onnx': {{'precision': 'fp4'}}}})",
        "*unknown precision 'fp4'*",
    ),
    (
        f"{M}({{'a': 'models/other.onnx'}}, per_model={{'a': {{}}, 'models/other.onnx': {{}}}})",
        "*per_model names 'a' and the same model by another name*",
    ),
    (f"{M}('models/*.onnx', per_model=['fp16'])", "*invalid per_model=[[]'fp16'[]]*"),
    (
        f"{M}('models/*.onnx', precision='fp16'), "
        f"{M}(per_model={{'models/other.onnx': {{'precision': 'fp32'}}}})",
        "trt_model is given twice on the module *, with different precision*",
    ),
]


def test_mistakes_in_per_model_are_refused(zoo) -> None:
    test = "def test_it(trt_session):\n    pass\n"
    zoo.refuses({f"pytestmark = [{marks}]\n{test}": f"{message}*" for marks, message in MISTAKES})


def test_an_override_of_trt_inputs_returns_the_generated_ones_for_other_models(zoo) -> None:
    zoo.test_file(
        "@pytest.fixture\n"
        "def trt_inputs(request, trt_model_path):\n"
        "    if trt_model_path.name != 'other.onnx':\n"
        "        return request.getfixturevalue('trt_inputs')\n"
        "    return {'image': np.full((2, 8), 3, np.float32)}\n"
        f"@{M}('models/*.onnx', {P})\n"
        "def test_it(trt_session, trt_inputs, trt_model_path, trt_shape):\n"
        "    trt_session.run(trt_inputs)\n"
        "    own = trt_model_path.name == 'other.onnx'\n"
        "    assert (trt_inputs['image'] == 3).all() == own\n"
    )
    zoo.run().assert_outcomes(passed=6)


def test_a_dynamic_model_renames_neither_the_tests_nor_the_baselines_of_the_others(zoo) -> None:
    for name in ("a", "b"):
        save_linear(zoo.path / "models" / f"{name}.onnx", batch=4, seed=2)
    test = "def test_it(trt_session, trt_shape, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    static = f'{M}("models/[ab].onnx")\n@{C}(against="stored")'
    both = f'{M}("models/[bal]*.onnx", per_model={{"models/linear.onnx": dict({P})}})'
    both += f'\n@{C}(against="stored")'
    names = ["[models/a.onnx]", "[models/b.onnx]"]
    points = [f"[models/linear.onnx-{point}]" for point in ("opt", "min", "max")]
    assert collected(zoo, static, test) == names
    zoo.run("--trt-update-new").assert_outcomes(passed=2)
    assert collected(zoo, both, test) == names + points
    zoo.run("--trt-missing-baseline=fail").assert_outcomes(passed=2, failed=3)
    zoo.run("test_it.py::test_it[models/a.onnx]").assert_outcomes(passed=1)
    zoo.run("-k", "opt").assert_outcomes(passed=1, deselected=4)


def test_each_test_of_a_class_without_a_shape_in_its_name_has_its_own_instance(zoo) -> None:
    save_linear(zoo.path / "models" / "a.onnx", batch=4, seed=2)
    zoo.test_file(
        f'@{M}("models/[al]*.onnx", per_model={{"models/linear.onnx": dict({P})}})\n@{C}\n'
        "class TestIt:\n"
        "    @pytest.mark.parametrize('opt', ['opt', 'other'])\n"
        "    def test_it(self, trt_session, trt_shape, trt_inputs, opt, request):\n"
        "        assert request.instance is self\n"
        "        assert not hasattr(self, 'used')\n"
        "        self.used = trt_session.run(trt_inputs)\n"
    )
    assert_shows(zoo.run("-v"), "*::TestIt::test_it[[]models/a.onnx-other[]] PASSED*", passed=8)
