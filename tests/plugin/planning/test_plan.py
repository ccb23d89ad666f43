"""Which marker decides, wherever pytest lets one be written; and what is refused by name."""

from __future__ import annotations

import textwrap

import pytest
from builders import save_linear
from plugin.conftest import assert_shows, collected

P = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'
C, M = "pytest.mark.trt_consistency", "pytest.mark.trt_model"


@pytest.fixture
def zoo(project):
    """A project with a second model, whose weights differ."""
    save_linear(project.path / "models" / "other.onnx", nudge=0.5)
    return project


USES = "    trt_session.run({'image': images})\n"
MODEL = "    assert trt_session.engine.model.path.name == 'other.onnx'\n"


def test_tolerance_of_a_subclass_decides_over_that_of_its_base(zoo) -> None:
    zoo.test_file(
        f'@{M}("models/linear.onnx", precision="fp16")\n'
        f"@{C}(rtol=1, atol=1e9)\n"
        f"class TestBase:\n    def test_it(self, trt_session, images):\n    {USES}"
        f"@{C}(rtol=0, atol=0)\n"
        "class TestTight(TestBase):\n    pass\n"
        f"@{C}(rtol=1, atol=1e9)\n"
        "class TestWide(TestTight):\n    pass\n"
    )
    assert_shows(zoo.run("-v"), "*TestTight::test_it FAILED*", passed=2, failed=1)


def test_model_and_precisions_of_a_subclass_decide_over_those_of_its_base(zoo) -> None:
    zoo.test_file(
        f'@{M}("models/linear.onnx", precision="fp16")\n'
        f"class TestBase:\n    def test_it(self, trt_session, images):\n    {USES}"
        f'@{M}("models/other.onnx", precision=("fp32", "fp16"))\n'
        f"class TestOther(TestBase):\n    def test_it(self, trt_session, images):\n    {MODEL}"
    )
    assert collected(zoo.run("--collect-only", "-q")) == [
        "TestBase::test_it",
        "TestOther::test_it[fp32]",
        "TestOther::test_it[fp16]",
    ]
    zoo.run().assert_outcomes(passed=3)


def test_mark_of_a_parameter_set_decides_over_that_of_the_function(zoo) -> None:
    zoo.test_file(
        f'@{M}("models/linear.onnx", precision="fp16")\n'
        f"@{C}(rtol=1, atol=1e9)\n"
        "@pytest.mark.parametrize('case', [\n"
        f"    pytest.param('tight', marks={C}(rtol=0, atol=0)),\n"
        f"    pytest.param('fp32', marks={M}(precision='fp32')),\n"
        f"    pytest.param('other', marks={M}('models/other.onnx')),\n"
        "    'plain'])\n"
        "def test_it(trt_session, images, case):\n"
        "    trt_session.run({'image': images})\n"
        "    engine = trt_session.engine\n"
        "    assert engine.spec.precision == ('fp32' if case in ('fp32', 'other') else 'fp16')\n"
        "    assert engine.model.path.stem == ('other' if case == 'other' else 'linear')\n"
    )
    names = ["test_it[fp16-tight]", "test_it[fp16-plain]", "test_it[fp32-fp32]"]
    assert sorted(collected(zoo.run("--collect-only", "-q"))) == sorted(
        [*names, "test_it[fp32-other]"]
    )
    assert_shows(zoo.run("-v"), "*::test_it[[]fp16-tight[]] FAILED*", passed=3, failed=1)


def test_limit_of_a_parameter_set_decides_over_that_of_the_function(project) -> None:
    project.test_file(
        f'@{M}("models/linear.onnx")\n'
        "@pytest.mark.trt_benchmark(p50_ms=1e6)\n"
        "@pytest.mark.parametrize('case', [\n"
        "    pytest.param('tight', marks=pytest.mark.trt_benchmark(p50_ms=1e-9)), 'plain'])\n"
        "def test_it(trt_benchmark, images, case):\n    trt_benchmark({'image': images})\n"
    )
    assert_shows(project.run("-v"), "*::test_it[[]tight[]] FAILED*", passed=1, failed=1)


def test_each_model_of_a_zoo_runs_in_all_of_its_precisions_and_shapes(zoo) -> None:
    zoo.test_file(
        "ZOO = [\n"
        f"    pytest.param('linear', marks={M}('models/linear.onnx', "
        f"precision=('fp32', 'fp16'), {P})),\n"
        f"    pytest.param('other', marks={M}('models/other.onnx', precision='fp16', "
        "profiles={'image': ((1, 8), (4, 8), (4, 8))})),\n"
        "]\n"
        "@pytest.mark.parametrize('model', ZOO)\n"
        f"@{C}(rtol=1, atol=1)\n"
        "def test_it(trt_session, trt_inputs, trt_precision, model):\n"
        "    assert trt_session.engine.model.path.stem == model\n"
        "    assert trt_session.engine.spec.precision == trt_precision\n"
        "    trt_session.run(trt_inputs)\n"
    )
    assert sorted(collected(zoo.run("--collect-only", "-q"))) == sorted(
        [
            *(
                f"test_it[{precision}-{shape}-linear]"
                for precision in ("fp32", "fp16")
                for shape in ("min", "opt", "max")
            ),
            "test_it[fp16-min-other]",
            "test_it[fp16-opt-other]",
        ]
    )
    zoo.run().assert_outcomes(passed=8)


def test_mistake_in_a_parameter_set_is_a_collection_error(project) -> None:
    project.test_file(
        f'@{M}("models/linear.onnx")\n'
        f"@{C}()\n"
        "@pytest.mark.parametrize('case', [\n"
        f"    pytest.param(0, marks={C}(outputs={{'prob': {{'rtol': 0, 'atol': 0}}}}))])\n"
        f"def test_it(trt_session, images, case):\n{USES}"
    )
    result = project.run()
    assert_shows(result, "*ERROR collecting*", "*'prob'*", "  in test_it.py::test_it*", errors=1)


ADDS = """
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.trt_model("models/other.onnx", PRECISION))
"""


def hooked(zoo, precision: str) -> None:
    conftest = zoo.path / "conftest.py"
    conftest.write_text(conftest.read_text() + ADDS.replace("PRECISION", f"precision={precision}"))
    zoo.test_file(f"def test_it(trt_session, trt_precision, images):\n{MODEL}{USES}")


def test_mark_that_a_hook_adds_is_followed(zoo) -> None:
    hooked(zoo, '"fp16"')
    zoo.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "workers",
    [(), pytest.param(("-n1",), marks=pytest.mark.exhaustive)],
    ids=["here", "in a worker"],
)
def test_mark_that_a_hook_adds_for_several_precisions_is_refused(zoo, workers) -> None:
    hooked(zoo, '("fp32", "fp16")')
    result = zoo.run(*workers)
    assert_shows(result, "*name trt_precision fp32 and fp16*TRT154*", "*in test_it.py*", errors=1)
    assert result.ret != pytest.ExitCode.OK


def test_method_of_a_unittest_class_that_would_run_for_one_precision_is_refused(project) -> None:
    project.test_file(
        "import unittest\n"
        f'@{M}("models/linear.onnx", precision=("fp32", "fp16"))\n'
        f"@{C}()\n"
        "class TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def session(self, trt_session, trt_precision, images):\n"
        "        trt_session.run({'image': images})\n"
        "    def test_it(self):\n        pass\n"
    )
    assert_shows(project.run(), "*name trt_precision fp32 and fp16*", "  - *unittest*", errors=1)


def test_method_of_a_unittest_class_with_one_precision_is_checked(project) -> None:
    project.test_file(
        "import unittest\n"
        f'@{M}("models/linear.onnx", precision="fp16")\n'
        f"@{C}(rtol=0, atol=0)\n"
        "class TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def session(self, trt_session, images):\n"
        "        trt_session.run({'image': images})\n"
        "    def test_it(self):\n        pass\n"
    )
    project.run().assert_outcomes(failed=1)


def test_fixture_that_is_requested_while_the_test_runs_is_refused_for_several(project) -> None:
    project.test_file(
        f'@{M}("models/linear.onnx", precision=("fp32", "fp16"))\n'
        "def test_it(request):\n    request.getfixturevalue('trt_session')\n"
    )
    assert_shows(project.run(), "*trt_precision was requested while the test ran*TRT154*", failed=1)


def test_mark_that_is_added_while_the_test_runs_fails_it(project) -> None:
    project.test_file(
        "@pytest.fixture(autouse=True)\n"
        f"def late(request):\n    request.node.add_marker({C}(rtol=0, atol=0))\n"
        f'@{M}("models/linear.onnx", precision="fp16")\n'
        f"def test_marked(trt_session, images):\n{USES}"
        "def test_plain():\n    pass\n"
    )
    assert_shows(project.run(), "*added after the test was collected*TRT155*", failed=2)


@pytest.mark.parametrize(
    ("scope", "mark"),
    [("class", C), ("module", C), ("session", C), ("module", "pytest.mark.usefixtures")],
)
def test_mark_that_a_fixture_adds_to_a_class_or_module_fails_its_tests(
    project, scope: str, mark: str
) -> None:
    project.test_file(
        f"@pytest.fixture(autouse=True, scope='{scope}')\n"
        f"def late(request):\n    request.node.add_marker({mark})\n"
        "@pytest.fixture\n"
        "def shared(trt_engines):\n    return trt_engines('models/linear.onnx')\n"
        "class TestIt:\n"
        "    def test_it(self, request, images):\n"
        "        request.getfixturevalue('shared').run({'image': images})\n"
    )
    result = project.run()
    if mark == C:
        assert_shows(result, "*added after the test was collected*TRT155*", failed=1)
    else:
        result.assert_outcomes(passed=1)


def test_doctest_under_the_markers_of_its_module_is_not_a_test_of_the_model(project) -> None:
    project.pytester.makepyfile(
        test_it=f'''
        """
        >>> 1 + 1
        2
        """
        import pytest
        pytestmark = [{M}("models/linear.onnx"), {C}]
        def test_it(trt_session, images):
            trt_session.run({{"image": images}})
        '''
    )
    project.run("--doctest-modules", "test_it.py").assert_outcomes(passed=2)


def test_arch_that_the_run_does_not_test_is_refused(project) -> None:
    project.test_file(
        f'@{M}("models/linear.onnx")\n'
        "@pytest.mark.parametrize('trt_arch', ['sm90'])\n"
        f"def test_it(trt_session, images):\n{USES}"
    )
    assert_shows(project.run(), "*trt_arch='sm90', but this run tests cpu*", errors=1)


def _stacked(project, first: str, second: str) -> pytest.RunResult:
    project.test_file(
        f"@{C}\n@{M}('models/linear.onnx', {first})\n@{M}('models/linear.onnx', {second})\n"
        "def test_it(trt_session, images):\n" + USES
    )
    return project.run()


ARRAYS = [
    ('input_ranges={"image": np.array([0, %d])}', 1, 2),
    ('profiles={"image": np.array([[1, 8], [4, 8], [%d, 8]])}', 16, 32),
]


@pytest.mark.parametrize(("keyword", "value", "other"), ARRAYS, ids=["ranges", "profiles"])
def test_stacked_markers_with_arrays_are_compared_by_value(project, keyword, value, other) -> None:
    conflict = "trt_model is given twice on the function test_it, with different*TRT150*"
    for second in (other, value):
        result = _stacked(project, keyword % value, keyword % second)
        result.assert_outcomes(errors=1)  # an array is no valid value
        (result.stdout.fnmatch_lines if second == other else result.stdout.no_fnmatch_line)(
            [conflict] if second == other else conflict
        )


@pytest.mark.parametrize(
    ("added", "outcome"),
    [("(0, 2)", {"passed": 1}), ("np.array([0, 2])", {"errors": 1})],
    ids=["numbers", "array"],
)
def test_marker_of_a_hook_is_planned_or_refused(project, added: str, outcome) -> None:
    project.test_file(
        f"@{C}\n@{M}('models/linear.onnx', input_ranges={{'image': (0, 1)}})\n"
        "def test_it(trt_session, images):\n" + USES
    )
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\ndef pytest_collection_modifyitems(items):\n"
            f"    new = {M}(input_ranges={{'image': {added}}})\n"
            "    for item in items:\n        item.add_marker(new, append=False)\n"
        )
    project.run().assert_outcomes(**outcome)


def test_fault_while_a_module_is_planned_fails_that_module_alone(project) -> None:
    project.test_file(
        "class Faulty:\n    def __repr__(self):\n        raise RuntimeError('no text')\n"
        f"@{M}('models/linear.onnx', seed=Faulty())\ndef test_it(trt_session):\n    pass\n",
        test_other="def test_fine():\n    pass\n",
    )
    result = project.run("--continue-on-collection-errors")
    assert_shows(result, "*RuntimeError: no text", errors=1, passed=1)


IGNORED = f"import pytest\npytestmark = [{C}]\n"


@pytest.mark.parametrize("place", ["conftest.py", "pkg/__init__.py", "pkg/conftest.py", "pkg/a.py"])
def test_marks_where_pytest_ignores_them_are_refused_by_name(project, place: str) -> None:
    folder = project.path / "pkg"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "test_it.py").write_text(
        f"import pytest\n@{M}('../models/linear.onnx')\ndef test_it(trt_session):\n    pass\n"
    )
    (folder / "test_plain.py").write_text("def test_plain():\n    pass\n")
    (project.path / place).write_text(IGNORED)
    result = project.run("--continue-on-collection-errors")
    if place == "pkg/a.py":  # no test is in it
        result.assert_outcomes(passed=2)
    else:
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(
            [f"pytest ignores the trt_consistency marker in the pytestmark of *{place}*TRT169*"]
        )


def test_mark_of_the_conftest_of_another_folder_is_no_concern(project) -> None:
    other = project.path / "other"
    other.mkdir()
    (other / "conftest.py").write_text(IGNORED)
    (other / "test_plain.py").write_text("def test_plain():\n    pass\n")
    project.test_file(f"@{M}('models/linear.onnx')\ndef test_it(trt_session):\n    pass\n")
    project.run().assert_outcomes(passed=2)


DECORATOR = """
import functools
def keeps(function):
    @functools.wraps(function)
    def call(trt_session, images):
        return function(trt_session, images)
    return call
def loses(function):
    def call(trt_session, images):
        return function(trt_session, images)
    return call
def holds_two(function):
    return loses(functools.partial(keeps(function)))
"""


@pytest.mark.parametrize("decorator", ["keeps", "loses", "holds_two"])
def test_mark_that_a_decorator_loses_is_refused(project, decorator: str) -> None:
    project.test_file(
        DECORATOR + f"pytestmark = pytest.mark.trt_model('models/linear.onnx')\n"
        f"@{decorator}\n@{C}\ndef test_it(trt_session, images):\n" + USES
    )
    result = project.run()
    result.assert_outcomes(**({"passed": 1} if decorator == "keeps" else {"errors": 1}))
    if decorator != "keeps":
        lost = "a decorator of test_it lost the trt_consistency marker of test_it,*TRT169*"
        result.stdout.fnmatch_lines([lost])


def test_test_that_holds_another_test_keeps_its_own_marks(project) -> None:
    project.test_file(
        DECORATOR + f"pytestmark = pytest.mark.trt_model('models/linear.onnx')\n"
        f"@{C}\ndef test_it(trt_session, images):\n{USES}"
        "test_again = loses(test_it)\n"
    )
    project.run().assert_outcomes(passed=2)


#: Marked by one object, and collected under another name, by a subclass, or not on purpose.
COLLECTED = f"""
SHARED = {C}
@SHARED
class Base:
    def test_it(self, trt_session, images):
        trt_session.run({{"image": images}})
class TestIt(Base):
    pass
@SHARED
class TestOwn:
    def test_it(self, trt_session, images):
        trt_session.run({{"image": images}})
@SHARED
def body(trt_session, images):
    trt_session.run({{"image": images}})
test_body = body
@SHARED
def off():
    pass
off.__test__ = False
"""


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("", None),
        ("@SHARED\ndef check_it(trt_session):\n    pass\n", "check_it"),
        ("@SHARED\nclass Accuracy:\n    def test_it(self):\n        pass\n", "Accuracy"),
        (
            "import unittest\nclass TestX(unittest.TestCase):\n"
            "    @SHARED\n    def check_x(self):\n        pass\n",
            "check_x",
        ),
        ("class TestX:\n    @SHARED\n    def check_x(self):\n        pass\n", "check_x"),
    ],
)
def test_mark_of_what_pytest_does_not_collect_is_warned_of(project, source: str, name) -> None:
    head = "pytestmark = pytest.mark.trt_model('models/linear.onnx')\n"
    project.test_file(head + COLLECTED + source)
    result = project.run("-Wdefault")
    result.assert_outcomes(passed=3, warnings=0 if name is None else 1)
    strict = project.run("-Werror::pytest_trt.PytestTrtWarning")
    if name is None:
        strict.assert_outcomes(passed=3)
        return
    warned = f"*pytest does not collect {name}, so its trt_consistency marker has no effect*TRT169*"
    result.stdout.fnmatch_lines([warned])
    assert_shows(strict, warned, errors=1)


@pytest.mark.parametrize(
    ("between", "replaced"),
    [("", True), ("test_other = test_it\n", False), ("def helper(): pass\n", True)],
)
@pytest.mark.parametrize("head", ["", "class TestIt:\n"])
def test_test_that_a_later_one_replaces_is_warned_of(
    project, head: str, between: str, replaced: bool
) -> None:
    me = "self, " if head else ""
    one = (
        f"@{M}('models/linear.onnx')\n@{C}\ndef test_it({me}trt_session, images):\n"
        "    trt_session.run({'image': images})\n"
    )
    helpers = "def helper(): pass\ndef helper(): pass\n"
    source = one + between + one
    project.test_file(helpers + head + textwrap.indent(source, "    " if head else ""))
    result = project.run("-Wdefault")
    result.assert_outcomes(passed=1 + (not replaced), warnings=int(replaced))
    if replaced:
        result.stdout.fnmatch_lines(["*test_it of line * never runs: that of line * replaces it*"])


#: What a test compares with unless it is overridden finds nothing; `wrong` finds everything.
WRONG = (
    "def wrong(inputs):\n"
    "    return {name: np.full((4, 4), 99, np.float32) for name in ('logits', 'probs')}\n"
)
CHECKED = f"@{M}('models/linear.onnx')\n@{C}\ndef test_it(trt_session, images):\n{USES}"
NOT_DECORATED = "trt_reference in * is a function without @pytest.fixture*TRT180*"
WITH_REFERENCE = CHECKED.replace("linear.onnx'", "linear.onnx', reference='models/linear.onnx'")
OVERRIDE = f"{WRONG}@pytest.fixture\ndef trt_reference(GIVEN):\n    return wrong\n"
#: The test gets `wrong` as its reference, unless pytest gives it to the plugin's fixture.
GIVES = (
    "@pytest.mark.usefixtures('trt_reference')\n"
    "@pytest.mark.parametrize('trt_reference', [wrong], indirect=INDIRECT)\n"
)


WITHOUT_EFFECT = [
    (f"{WRONG}def trt_reference():\n    return wrong\n{CHECKED}", NOT_DECORATED),
    (
        f"class TestIt:\n    def trt_reference(self):\n        return 1\n"
        f"    @{M}('models/linear.onnx')\n    @{C}\n"
        f"    def test_it(self, trt_session, images):\n    {USES}",
        NOT_DECORATED,
    ),
    (
        "def trt_inputs():\n    return {}\n"
        + CHECKED.replace("images", "trt_inputs").replace("{'image': trt_inputs}", "trt_inputs"),
        "trt_inputs in * is a function without @pytest.fixture*TRT180*",
    ),
    (
        f"{WRONG}@pytest.fixture\ndef trt_refrence():\n    return wrong\n{CHECKED}",
        "*fixture trt_refrence, which looks like a misspelt trt_reference*TRT180*",
    ),
    (
        OVERRIDE.replace("GIVEN", "") + WITH_REFERENCE,
        "*name reference=linear.onnx, but the project overrides trt_reference*TRT180*",
    ),
    (
        WRONG + GIVES.replace("INDIRECT", "True") + CHECKED,
        "parametrize(*indirect=True) gives trt_reference a parameter*TRT180*",
    ),
]


def test_override_without_effect_is_refused_and_not_ignored(project) -> None:
    project.refuses(dict(WITHOUT_EFFECT))


def test_function_of_a_conftest_that_overrides_nothing_is_refused(project) -> None:
    project.test_file(CHECKED)
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write("\ndef trt_reference():\n    raise AssertionError\n")
    assert_shows(project.run(), NOT_DECORATED, errors=1)


WITH_EFFECT = [
    # Helpers of tests that do not compare, or whose fixture has another name in the file.
    (f"def trt_reference():\n    pass\n{CHECKED.replace(f'@{C}', '@pytest.mark.own')}", True),
    (f"def trt_inputs():\n    pass\n{CHECKED}", True),
    (
        f"{WRONG}def trt_reference():\n    return wrong\n"
        f"@pytest.fixture(name='trt_reference')\ndef _given():\n    return trt_reference()\n"
        f"{CHECKED}",
        False,
    ),
    (f"@pytest.fixture\ndef trt_refusals():\n    pass\n{CHECKED}", True),
    # It is what the marker names, or what the fixture makes of it.
    (OVERRIDE.replace("GIVEN", "trt_reference") + WITH_REFERENCE, False),
    (OVERRIDE.replace("GIVEN", "") + CHECKED, False),
    (WRONG + GIVES.replace("INDIRECT", "False") + CHECKED, False),
    (
        WRONG
        + "@pytest.fixture\ndef trt_reference(request):\n    return request.param\n"
        + GIVES.replace("INDIRECT", "True")
        + CHECKED,
        False,
    ),
    (
        OVERRIDE.replace("GIVEN", "")
        + WITH_REFERENCE.replace(f"@{C}", f"@{C}\n@pytest.mark.own", 1).replace(
            "reference='models/linear.onnx'", "reference=None"
        ),
        False,
    ),
]


def test_override_that_takes_effect_is_not_refused(project) -> None:
    cases = {source: "" if passes else "*TRT4*" for source, passes in WITH_EFFECT}
    project.ends(cases, "-Wignore").assert_outcomes(passed=3, failed=6)
