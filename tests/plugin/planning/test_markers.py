from __future__ import annotations

import pytest
from plugin.conftest import assert_shows, checked

BODY = "def test_it(trt_session):\n    pass\n"


WRONG = [
    (
        'pytest.mark.trt_model("models/linear.onnx", precison="fp16")',
        [
            "trt_model has no keyword 'precison'*",
            "  in test_*.py::test_*",
            "Fix: Did you mean 'precision'?*",
        ],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx", precision="fp4")',
        [
            "*trt_model: unknown precision 'fp4'*",
            "Fix: Use one or several of fp32, tf32, fp16, bf16, int8, *",
        ],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx", precision=("fp16", "fp16"))',
        ["*names a precision twice*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx", precision=())',
        ["*trt_model: unknown precision ()*"],
    ),
    (
        'pytest.mark.trt_model("models/lineer.onnx")',
        ["*the model models/lineer.onnx is missing*", "Fix: *", "  - models/linear.onnx"],
    ),
    ('pytest.mark.trt_model(precision="fp16")', ["*names no model*"]),
    ('pytest.mark.trt_model("models")', ["*models is a folder*", "  - models/linear.onnx"]),
    ("pytest.mark.trt_model(7)", ["*trt_model: 7 is not a path*"]),
    ('pytest.mark.trt_model("models/linear.onnx", "fp16")', ["*2 positional arguments*"]),
    ('pytest.mark.trt_model("models/linear.onnx", seed="x")', ["*seed='x'*"]),
    (
        'pytest.mark.trt_model("models/linear.onnx", input_ranges={"imag": (0, 1)})',
        ["*'imag'*", "Fix: *"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx", input_ranges={"image": (1, 0)})',
        ["*(1, 0)*image*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx", reference="models/none.onnx")',
        ["*the model models/none.onnx is missing*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"), pytest.mark.trt_consistency(rtol=1e-2)',
        ["*rtol*atol*", "  in test_*.py::test_*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"), pytest.mark.trt_consistency(rtol="1e-2")',
        ["*rtol='1e-2' is not*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"), pytest.mark.trt_consistency(rtoll=1)',
        ["*'rtoll'*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"),'
        ' pytest.mark.trt_consistency(outputs={"probs": {"top_1": 0.9}})',
        ["*probs*top_1*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"),'
        ' pytest.mark.trt_consistency(outputs=["probs"])',
        ["*outputs=*", "*a mapping of output names to tolerances*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"),'
        ' pytest.mark.trt_consistency(by_precision={"fp4": {"rtol": 1, "atol": 1}})',
        ["*trt_consistency, by_precision: unknown precision 'fp4' *", "Fix: *fp32, tf32*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"),'
        ' pytest.mark.trt_consistency(by_precision={"fp16": {"rtol": 1}})',
        ["*trt_consistency, by_precision 'fp16': rtol=1 is given without atol*"],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx"),'
        ' pytest.mark.trt_consistency(by_precision={"fp16": 0.1})',
        ["*by_precision={'fp16': 0.1} *", "Fix: *a mapping of precisions to tolerances."],
    ),
    (
        'pytest.mark.trt_model("models/linear.onnx", precision="fp16"),'
        ' pytest.mark.trt_consistency(by_precision={"fp16": {"outputs": {"prob": {}}}})',
        ["*'prob'*", "Fix: *probs*"],
    ),
    ("pytest.mark.trt_consistency()", ["*has no model to check*"]),
]


def test_wrong_marker_is_a_collection_error_that_names_the_test(project) -> None:
    cases = {f"pytestmark = [{marks}]\n{BODY}": message for marks, message in WRONG}
    cases |= {
        checked(model="None"): "*trt_model names no model*TRT151*",
        checked(model="'a' * 5000"): "*cannot be read*TRT156*",
        checked(consistency="outputs={3: {}}"): "*invalid outputs=*TRT150*",
        "@pytest.mark.trt_benchmark\ndef test_it():\n    pass\n": [
            "*trt_benchmark has no model to check: *",
            "Fix: *",
        ],
    }
    project.refuses(cases)


def test_a_path_from_a_folder_above_is_offered_as_from_the_test_file(project) -> None:
    test = project.path / "tests" / "unit" / "test_it.py"
    test.parent.mkdir(parents=True)
    test.write_text(f"import pytest\n{checked()}")
    assert_shows(
        project.run("-p", "no:cacheprovider"),
        "the model models/linear.onnx is missing*TRT156*",
        "Fix: Correct the path, *. Did you mean '../../models/linear.onnx'?",
        errors=1,
    )


def test_a_profile_that_is_refused_is_not_reported_as_missing(project) -> None:
    marks = 'pytest.mark.trt_model("models/linear.onnx", profiles={"image": ((1, 8), (4, 8))})'
    project.test_file(f"@{marks}\n{BODY.replace('session', 'session, trt_inputs')}")
    result = project.run()
    assert_shows(result, "*neither one shape nor three*TRT210*", errors=1)
    assert "TRT211" not in result.stdout.str()


WRONG_PROFILES = [
    ('{"imagee": ((1, 8), (4, 8), (8, 8))}', ["*imagee*"]),
    ('{"image": ((8, 8), (4, 8), (1, 8))}', ["*opt is 4*below min*"]),
    ('{"image": ((1, 9), (4, 9), (8, 9))}', ["*"]),
]


def test_wrong_profile_is_a_collection_error(project) -> None:
    model = 'pytest.mark.trt_model("models/linear.onnx", profiles={})'
    project.refuses(
        {
            f"@{model.format(profiles)}\n{BODY}": [*message, "Fix: *"]
            for profiles, message in WRONG_PROFILES
        }
    )


SPEED = "def test_it(trt_benchmark):\n    pass\n"


WRONG_SPEED = [
    ('trt_benchmark(p98="10%")', "*trt_benchmark has no keyword 'p98'*"),
    ('trt_benchmark(p99="1%")', "*too small to be measured*"),
    ('trt_benchmark(mode="wall")', "*mode='wall'*"),
    ("trt_benchmark(batch=0)", "*batch=0*"),
    ('trt_benchmark(p50="off", p95=None, p99="off", throughput="off")', "*cannot fail*"),
    ("skipif(False)", "*no trt_benchmark marker*"),
]


def test_wrong_benchmark_marker_is_a_collection_error(project) -> None:
    marks = 'pytestmark = [pytest.mark.trt_model("models/linear.onnx"), pytest.mark.{}]'
    project.refuses(
        {f"{marks.format(one)}\n{SPEED}": [message, "Fix: *"] for one, message in WRONG_SPEED}
    )


#: The closest marker decides; one that names a model discards what markers further out say.
LEVELS = """
class TestAddingUp:
    pytestmark = M("models/linear.onnx", precision="fp16")

    class TestInner:
        pytestmark = M(profiles={"image": ((1, 8), (2, 8), (3, 8))})

        @M(precision="fp32")
        def test_it(self, trt_engine):
            assert trt_engine.spec.precision == "fp32"
            assert trt_engine.spec.profiles[0]["image"].max == (3, 8)

    def test_outer(self, trt_engine):
        assert trt_engine.spec.precision == "fp16"
        assert trt_engine.spec.profiles == ()

@M("models/linear.onnx", precision="fp16", profiles={"image": ((1, 8), (2, 8), (3, 8))})
class TestDiscarding:
    @M("models/linear.onnx")
    def test_it(self, trt_engine):
        assert trt_engine.spec.profiles == ()
        assert trt_engine.spec.precision == "fp32"

@M(precision="fp16", seed=3)
@M(builder_options={"graph_optimization_level": "basic"})
class TestWithoutModel:
    @M("models/linear.onnx", seed=4)
    def test_it(self, trt_engine):
        assert trt_engine.spec.precision == "fp16"
        assert trt_engine.spec.builder_options == {"graph_optimization_level": "basic"}
"""


def test_markers_of_several_levels_add_up(project) -> None:
    project.test_file("M = pytest.mark.trt_model\n" + LEVELS)
    project.run().assert_outcomes(passed=4)


def test_misspelt_marker_is_a_collection_error_and_not_a_test_without_a_check(project) -> None:
    source = f'@pytest.mark.trt_model("models/linear.onnx")\n@pytest.mark.NAME()\n{BODY}'
    names = ("trt_consistancy", "trtconsistency", "TRT_Consistency", "Trt_consistency")
    meant = "*Did you mean 'trt_consistency'?*"
    cases = {
        source.replace("NAME", name): [f"*unknown marker '{name}' *TRT150*", meant]
        for name in names
    }
    project.refuses(cases, "-W", "ignore")


def test_fixture_without_a_model_marker_says_what_to_write(project) -> None:
    project.test_file(BODY)
    result = project.run()
    assert_shows(result, "*no trt_model marker names its model*", "Fix: Mark the test*", errors=1)


def test_markers_are_listed_for_pytest_markers(project) -> None:
    result = project.run("--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.trt_model(model,*", "@pytest.mark.trt_consistency(*"]
    )


SEVERAL = """
MODEL = "models/linear.onnx"

@pytest.mark.trt_model(MODEL, precison="fp16")
@pytest.mark.trt_consistency(rtol=1)
def test_two_mistakes(trt_session):
    pass

@pytest.mark.trt_model(MODEL, input_ranges={"imag": (0, 1)})
@pytest.mark.trt_consistency(outputs={"prob": {"top1": 1}})
def test_two_others(trt_session):
    pass

@pytest.mark.trt_model(MODEL)
def test_without(trt_engine):
    pass
"""


@pytest.mark.parametrize(
    "args", [(), pytest.param(("-n1",), marks=pytest.mark.exhaustive)], ids=["here", "in a worker"]
)
def test_all_errors_of_a_module_are_reported_at_once(project, args: tuple[str, ...]) -> None:
    if args:
        pytest.importorskip("xdist")
    project.test_file(SEVERAL)
    result = project.run("-W", "ignore", *args)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "trt_model has no keyword 'precison'*",
            "  in test_it.py::test_two_mistakes",
            "trt_consistency: rtol=1 is given without atol*",
            "  in test_it.py::test_two_mistakes",
            "*'imag'*",
            "  in test_it.py::test_two_others",
            "*'prob'*",
            "  in test_it.py::test_two_others",
        ]
    )
    assert "test_without" not in result.stdout.str()


SEEDED = """
@pytest.mark.trt_model("models/linear.onnx")
def test_it(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def test_seeded_inputs_without_a_shape_are_refused_before_anything_is_built(project) -> None:
    project.test_file(SEEDED)
    assert_shows(project.run(), "input image: *is dynamic*", "Fix: *", "    profiles={*", errors=1)
    assert project.plans() == []


@pytest.mark.parametrize(
    "own",
    [
        "@pytest.fixture\ndef trt_inputs(images):\n    return {'image': images}\n",
        "import numpy as np\n"
        "pytestmark = pytest.mark.parametrize('trt_inputs', [{'image': np.ones((2, 8), 'f4')}])\n",
    ],
    ids=["fixture", "parameter"],
)
def test_inputs_of_a_projects_own_need_no_profile(project, own: str) -> None:
    project.test_file(own + SEEDED)
    project.run().assert_outcomes(passed=1)


IN_CLASSES = """
pytestmark = pytest.mark.trt_model("models/none.onnx")

class TestOne:
    def test_it(self, trt_engine):
        pass

    @pytest.mark.trt_consistency(rtl=1, atl=2)
    class TestInner:
        def test_it(self, trt_engine):
            pass

class TestOther:
    def test_it(self, trt_engine):
        pass
"""


def test_errors_in_classes_are_reported_with_those_of_their_module(project) -> None:
    project.test_file(IN_CLASSES + "def test_it(trt_engine):\n    pass\n")
    assert_shows(
        project.run(),
        "the model * is missing*",
        "  in test_it.py::test_it and 3 more tests",
        "Fix: *",
        "trt_consistency has no keyword 'rtl', 'atl'*",
        "  in test_it.py::TestOne::TestInner::test_it",
        "Fix: *",
        errors=1,
    )


def test_an_error_that_classes_share_is_reported_with_the_first_of_them(project) -> None:
    project.test_file(IN_CLASSES)
    result = project.run()
    assert_shows(
        result,
        "the model * is missing*",
        "  in test_it.py::TestOne::test_it and 1 more test",
        "Fix: *",
        "the model * is missing*",
        "  in test_it.py::TestOther::test_it, as in test_it.py::TestOne::test_it",
        errors=2,
    )
    assert result.stdout.str().count("Fix: Correct the path") == 1


def test_every_class_with_something_wrong_is_reported(project) -> None:
    one = "    @pytest.mark.trt_consistancy\n    def test_it(self, trt_engine):\n        pass\n"
    project.test_file(f"class TestOne:\n{one}class TestOther:\n{one}")
    result = project.run("-W", "ignore")
    result.assert_outcomes(errors=2)
    for name in ("TestOne", "TestOther"):
        result.stdout.fnmatch_lines(
            ["unknown marker 'trt_consistancy' *TRT150]", f"  in test_it.py::{name}::test_it*"]
        )


def test_other_modules_run_with_continue_on_collection_errors(project) -> None:
    project.test_file(SEVERAL, test_other="def test_other():\n    pass\n")
    result = project.run("-W", "ignore", "--continue-on-collection-errors")
    result.assert_outcomes(errors=1, passed=1)


def test_pytests_own_errors_of_a_module_are_still_shown(project) -> None:
    project.test_file(SEVERAL + '@pytest.mark.parametrize("x", [1])\ndef test_it():\n    pass\n')
    project.run("-W", "ignore").stdout.fnmatch_lines(["*function uses no argument 'x'"])


def test_what_is_requested_while_a_test_runs_is_checked_too(project) -> None:
    model = "@pytest.mark.trt_model('models/linear.onnx')\n@pytest.mark.trt_consistency\n"
    unknown = "def test_it(trt_build):\n    trt_build(precision='fp16', shape=3)\n"
    late = "def test_it(request):\n    request.getfixturevalue('trt_benchmark')\n"
    project.refuses(
        {
            model + unknown: "trt_build has no argument shape [[]TRT100]",
            model + late: "*requests the trt_benchmark fixture, but has no trt_benchmark marker*",
        },
        where="",
    )


@pytest.mark.parametrize("options", ["[1]", "None", "{}"])
def test_builder_options_of_trt_build_are_a_mapping(project, options: str) -> None:
    project.test_file(
        "@pytest.mark.trt_model('models/linear.onnx')\ndef test_it(trt_build):\n"
        f"    trt_build(builder_options={options})\n"
    )
    result = project.run()
    result.assert_outcomes(**({"passed": 1} if options == "{}" else {"failed": 1}))
    if options != "{}":
        result.stdout.fnmatch_lines(["trt_build: builder_options=*not a mapping*"])


@pytest.mark.parametrize("arch", ["sm86", "cpu"])
def test_trt_arch_of_a_project_has_to_be_tested_by_the_run(project, arch: str) -> None:
    project.test_file(
        f"@pytest.fixture\ndef trt_arch():\n    return {arch!r}\n"
        "@pytest.mark.trt_model('models/linear.onnx')\ndef test_it(trt_session):\n    pass\n"
    )
    result = project.run()
    result.assert_outcomes(**({"passed": 1} if arch == "cpu" else {"errors": 1}))
    if arch != "cpu":
        result.stdout.fnmatch_lines(["*trt_arch fixture returned 'sm86'*tests cpu*TRT154*"])


@pytest.mark.parametrize("rtol", ["0", "1"])
def test_precisions_that_a_hook_parametrises_replace_those_of_the_marker(project, rtol) -> None:
    project.test_file(
        "@pytest.mark.trt_model('models/linear.onnx', precision=('fp32', 'fp16'))\n"
        f"@pytest.mark.trt_consistency(rtol={rtol}, atol={rtol})\n"
        "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"
    )
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\ndef pytest_generate_tests(metafunc):\n"
            "    if 'trt_precision' in metafunc.fixturenames:\n"
            "        metafunc.parametrize('trt_precision', ['fp16'])\n"
        )
    project.run().assert_outcomes(**({"passed": 1} if rtol == "1" else {"failed": 1}))
