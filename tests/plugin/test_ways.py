"""Ways of writing a test that could check less than its markers say: honoured, or refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import builders_networks as networks
import onnx
import pytest
from builders import save_linear
from click.testing import CliRunner
from onnx import helper
from plugin.conftest import PROFILES, assert_shows

from pytest_trt.cli import commands

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

HEAD = """
import threading, unittest
M, C = pytest.mark.trt_model, pytest.mark.trt_consistency
GOOD = dict(model="models/linear.onnx")
WRONG = dict(model="models/linear.onnx", reference="models/wrong.onnx")
X = {"image": np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)}
"""

#: What an output that is wrong leads to.
FAILS = "*over tolerance against wrong.onnx*TRT4*"


@pytest.fixture
def suite(project):
    """A project in which `M(**WRONG)` makes every run of the engine wrong."""
    save_linear(project.path / "models" / "wrong.onnx", nudge=0.5)

    def run(source: str, *args: str) -> pytest.RunResult:
        project.test_file(HEAD + source)
        return project.run(*args)

    return run


def line_with(result: pytest.RunResult, text: str) -> str:
    """Return the one line of a run's output that has a text; empty if none has."""
    (line,) = [line for line in result.outlines if text in line] or [""]
    return line


UNITTEST = """
@M(**WRONG)
@C
class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def fixtures(self, trt_session):
        self.run_it = lambda: trt_session.run(X)
"""


def test_unittest_method_that_fails_itself_shows_what_its_check_found(suite) -> None:
    result = suite(
        UNITTEST + "    def test_it(self):\n        self.run_it()\n        self.fail('own')\n"
    )
    assert_shows(result, "*AssertionError: own", "*trt consistency*", FAILS, failed=1)


def test_unittest_method_whose_subtests_run_a_wrong_engine_fails(suite) -> None:
    result = suite(
        UNITTEST + "    def test_it(self):\n"
        "        for number in range(2):\n"
        "            with self.subTest(number=number):\n                self.run_it()\n"
    )
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([FAILS, "*1 failed"])


@pytest.mark.parametrize(("value", "status"), [(1, "failed"), (0, "not measured")])
def test_a_failed_subtest_of_a_unittest_method_fails_it_in_reports_and_stores_nothing(
    suite, project, value: int, status: str
) -> None:
    suite(
        UNITTEST.replace("**WRONG", "**GOOD").replace("@C", '@C(against="both")')
        + "    def test_it(self):\n        self.run_it()\n"
        f"        with self.subTest():\n            self.assertEqual({value}, 0)\n"
        "        with self.subTest():\n            pass\n",
        "--trt-report=r.json",
        "--trt-missing-baseline=record",
    )
    (test,) = json.loads((project.path / "r.json").read_text())["tests"]
    assert (test["status"], test["outcome"]) == (status, "failed" if value else "passed")
    stored = [*project.path.glob("trt_baselines/answers/*.json")]
    assert len(stored) == (not value)


def test_subtests_leave_one_record_and_one_failure(suite, project) -> None:
    pytest.importorskip("_pytest.subtests", reason="pytest 9 has subtests")
    result = suite(
        "@M(**WRONG)\n@C\ndef test_it(trt_session, subtests):\n"
        "    for number in range(2):\n"
        "        with subtests.test(number=number):\n            trt_session.run(X)\n",
        "--junitxml=junit.xml",
    )
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([FAILS, "*of 2 runs*", "linear.onnx *1 failed"])
    cases = list(ET.parse(project.path / "junit.xml").iter("testcase"))
    names = [one.get("name") for case in cases for one in case.iter("property")]
    assert names.count("trt_consistency") == 1


def test_ordinary_failure_that_a_rerun_clears_leaves_a_note(suite) -> None:
    result = suite(
        "ATTEMPTS = []\n@M(**GOOD)\n@C\ndef test_it(trt_session):\n"
        "    ATTEMPTS.append(1)\n    trt_session.run(X)\n    assert len(ATTEMPTS) > 1\n",
        "--reruns=1",
    )
    assert result.parseoutcomes()["passed"] == 1
    result.stdout.fnmatch_lines(
        ["note  attempt 1 of * failed before attempt 2: AssertionError*TRT172*"]
    )


@pytest.mark.parametrize(
    "workers",
    [(), pytest.param(("-n1",), marks=pytest.mark.exhaustive)],
    ids=["here", "in a worker"],
)
def test_run_in_a_thread_that_outlives_its_test_fails_the_run(suite, workers) -> None:
    result = suite(
        "GO, THREADS = threading.Event(), []\n"
        "@M(**GOOD)\n@C\ndef test_it(trt_session):\n"
        "    trt_session.run(X)\n"
        "    def late():\n"
        "        GO.wait()\n"
        "        try:\n            trt_session.run(X)\n"
        "        except Exception:\n            pass\n"
        "    THREADS.append(threading.Thread(target=late))\n"
        "    THREADS[0].start()\n"
        "def test_later():\n    GO.set()\n    THREADS[0].join()\n",
        *workers,
    )
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*called after the test*TRT161*", "  in test_it.py::test_it"])


def test_failure_in_a_thread_is_placed_in_the_test_or_named_after_the_thread(suite) -> None:
    result = suite(
        "@M(**WRONG)\n@C\ndef test_it(trt_session):\n"
        "    for target in (lambda: trt_session.run(X), lambda: None):\n"
        "        thread = threading.Thread(target=target)\n"
        "        thread.start(); thread.join()\n"
        "@M(**WRONG)\n@C\ndef test_bare(trt_session):\n"
        "    thread = threading.Thread(target=trt_session.run, args=(X,), name='feeder')\n"
        "    thread.start(); thread.join()\n"
    )
    assert_shows(result, "  at test_it.py:*", "  at thread feeder, *", failed=2)


def test_threads_that_share_a_session_lose_no_failure(suite) -> None:
    result = suite(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "@M(**WRONG)\n@C\ndef test_it(trt_session):\n"
        "    with ThreadPoolExecutor(4) as pool:\n"
        "        list(pool.map(trt_session.run, [X] * 20))\n"
    )
    assert_shows(result, "*20 of 20 runs of this engine failed*", failed=1)


FORKS = """
import multiprocessing
def fork(target):
    child = multiprocessing.get_context("fork").Process(target=target, args=(X,))
    child.start(); child.join()
@pytest.fixture
def used(trt_session):
    SETUP
    yield trt_session
    TEARDOWN
@M(**WRONG)
@C
def test_it(used):
    used.run({"image": X["image"] * 0})
    TEST
"""


@pytest.mark.exhaustive
@pytest.mark.skipif("os.name == 'nt'", reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("where", ["SETUP", "TEST", "TEARDOWN"])
@pytest.mark.parametrize("target", ["print", "SESSION.run"])
def test_run_in_a_process_that_the_test_forks_fails_it(suite, where: str, target: str) -> None:
    session = "used" if where == "TEST" else "trt_session"
    source = FORKS.replace(where, f"fork({target.replace('SESSION', session)})")
    for other in ("SETUP", "TEST\n", "TEARDOWN"):
        source = source.replace(other, "pass\n")
    result = suite(source)
    if target == "print":
        result.assert_outcomes(passed=1)
        return
    of_teardown = where == "TEARDOWN"
    result.assert_outcomes(passed=of_teardown, failed=not of_teardown, errors=of_teardown)
    result.stdout.fnmatch_lines(["*called in a process that the test forked*TRT161*"])


BROKEN_REFERENCE = """
@pytest.fixture
def trt_reference(trt_reference):
    class Reference:
        def run(self, inputs):
            if inputs["image"].any():
                raise RuntimeError("broken reference")
            return trt_reference.run(inputs)
    return Reference()
"""


def test_run_that_an_error_of_the_reference_ends_fails_the_test_that_catches_it(suite) -> None:
    result = suite(
        BROKEN_REFERENCE + "@M(**GOOD)\n@C\ndef test_it(trt_session):\n"
        "    trt_session.run({'image': X['image'] * 0})\n"
        "    with pytest.raises(RuntimeError):\n        trt_session.run(X)\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*a run was not compared: linear.onnx fp32 at test_it.py:*broken reference*TRT168*"]
    )


def test_run_of_a_shared_engine_that_cannot_be_compared_fails_the_test_that_catches_it(
    suite,
) -> None:
    """A test compares one model with stored answers: the second one is not compared."""
    result = suite(
        "@C(against='stored')\ndef test_it(trt_engines):\n"
        "    trt_engines(**GOOD).run(X)\n"
        "    with pytest.raises(Exception):\n        trt_engines('models/wrong.onnx').run(X)\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["the test caught an error, so a run was not compared: wrong.onnx fp32 at *TRT168]"]
    )


def test_run_that_an_error_of_the_engine_ends_fails_the_test_that_catches_it(
    suite, project
) -> None:
    """Only a run shows that an index is out of range."""
    gather = networks.model(
        [helper.make_node("Gather", ["table", "index"], ["row"])],
        [networks.value("index", [1], networks.INT64)],
        [networks.value("row", [1, 2])],
        [networks.weights("table", 5, 2)],
    )
    onnx.save(gather, project.path / "models" / "rows.onnx")
    result = suite(
        "@M('models/rows.onnx')\n@C\n@pytest.mark.parametrize('index', [4, 77])\n"
        "def test_it(trt_session, index):\n"
        "    trt_session.run({'index': np.array([0])})\n"
        "    try:\n        trt_session.run({'index': np.array([index])})\n"
        "    except Exception:\n        pass\n"
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*a run was not compared: rows.onnx fp32 at *: EngineRunError*TRT168*"]
    )


def test_inputs_that_are_refused_are_no_run(suite) -> None:
    result = suite(
        "from pytest_trt import InputError\n@M(**GOOD)\n@C\ndef test_it(trt_session):\n"
        "    trt_session.run(X)\n"
        "    with pytest.raises(InputError):\n        trt_session.run({'image': X['image'][0]})\n"
    )
    result.assert_outcomes(passed=1)
    refused = "*1 run not compared, as the inputs were refused: linear.onnx fp32 at test_it.py:*"
    result.stdout.fnmatch_lines([refused])


@pytest.mark.parametrize(("model", "failed"), [("GOOD", 0), ("WRONG", 1)])
def test_test_that_ends_the_run_does_not_hide_its_failure(suite, model: str, failed: int) -> None:
    result = suite(
        f"@M(**{model})\n@C\ndef test_it(trt_session):\n    trt_session.run(X)\n"
        "    pytest.exit('enough', returncode=0)\n"
        "def test_later():\n    pass\n"
    )
    result.assert_outcomes(failed=failed)
    assert (result.ret != 0) is bool(failed)
    result.stdout.fnmatch_lines([FAILS, "*enough*"] if failed else ["*enough*"])


@pytest.mark.parametrize("session", ["trt_session", "shared"])
def test_inputs_that_a_pool_of_threads_refuses_are_noted(suite, session: str) -> None:
    source = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "@pytest.fixture(scope='session')\ndef shared(trt_engines):\n"
        "    return trt_engines(**GOOD)\n"
        f"@M(**GOOD)\n@C\ndef test_it({session}):\n"
        "    with ThreadPoolExecutor() as pool:\n"
        f"        pool.map({session}.run, [X, GIVEN, GIVEN])\n"
    )
    wide = suite("GIVEN = {'image': X['image'].astype(float)}\n" + source)
    assert_shows(wide, "note *2 runs not compared, as the inputs were refused: *TRT168]", passed=1)
    fitting = suite("GIVEN = X\n" + source)
    fitting.assert_outcomes(passed=1)
    fitting.stdout.no_fnmatch_line("*TRT168*")


@pytest.mark.parametrize(
    ("body", "noted"),
    [
        ("outs = (trt_build('fp16').run(X) for _ in range(2))", False),  # never requested
        ("half = trt_build('fp16')\n    outs = (half.run(X) for _ in range(2))", True),
        ("outs = map(trt_engines(**GOOD, precision='fp16').run, [X])", True),
        ("outs = list(map(trt_engines(**GOOD, precision='fp16').run, [X]))", False),
        ("outs = list(map(trt_build('fp16').run, [X]))", False),
        ("assert trt_build('fp16').engine.plan", False),
        ("assert trt_build('fp16').graph_refusal is None", False),
    ],
)
def test_engine_that_a_generator_would_run_and_nothing_consumes_is_noted(
    suite, body: str, noted: bool
) -> None:
    result = suite(
        "@M(**GOOD)\n@C(rtol=0.01, atol=0.01)\n"
        "def test_it(trt_session, trt_build, trt_engines):\n"
        f"    trt_session.run(X)\n    {body}\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "TRT184")
    assert (
        "requested a session of the fp16 engine of linear.onnx, and did not use it" in line
    ) is noted


@pytest.mark.parametrize(
    ("parameters", "body", "noted"),
    [
        (
            "'precision', ['fp16', 'fp32']",
            "trt_session.run(X)",
            ["fp16, and its engine is of fp32"],
        ),
        ("'precision', ['fp16', 'fp32']", "trt_build(precision).run(X)", []),
        (
            "'model', ['models/linear.onnx', 'models/other.onnx']",
            "trt_session.run(X)",
            ["other.onnx, and its engine is of linear.onnx"],
        ),
        ("'reference', ['models/other.onnx']", "trt_session.run(X)", []),
        ("'dtype', ['fp16']", "trt_session.run(X)", []),
        ("'input_precision', ['fp16']", "trt_session.run(X)", []),
        ("'tokenizer', ['models/other.onnx']", "trt_session.run(X)", []),
        ("'precision', [np.float16, 'double']", "trt_session.run(X)", []),
    ],
)
def test_parameter_that_names_what_was_not_tested_is_noted(
    suite, parameters: str, body: str, noted: list[str]
) -> None:
    argument = parameters.split("'")[1]
    result = suite(
        f"@M(**{{**GOOD, 'precision': 'fp32'}})\n@C(rtol=0.01, atol=0.01)\n"
        f"@pytest.mark.parametrize({parameters})\n"
        f"def test_it(request, trt_build, {argument}):\n"
        "    trt_session = trt_build()\n    trt_session.load()\n"
        f"    {body}\n    trt_session.run(X)\n"
    )
    assert result.ret == 0
    found = [line for line in result.outlines if "TRT187" in line]
    assert len(found) == len(noted)
    assert all(f"{argument} of the test names {one}" in found[0] for one in noted)


@pytest.mark.parametrize(
    ("body", "noted"),
    [
        ("assert outputs(trt_session)", ["fp16"]),  # those of fp32
        ("pass", ["fp32", "fp16"]),
        ("assert trt_session.run(X)", []),
        ("trt_session.load()", []),
        ("assert trt_session.run(X); trt_build('fp32')", []),  # a test of the build
        ("assert trt_session.engine.plan", []),
    ],
)
def test_engine_that_no_check_needs_and_that_never_ran_is_noted(
    suite, body: str, noted: list[str]
) -> None:
    """Outputs of one precision that a test caches are no outputs of the next."""
    result = suite(
        "import functools\n"
        "@functools.cache\ndef cached():\n    return []\n"
        "def outputs(session):\n"
        "    if not cached(): cached().append(session.run(X))\n    return cached()\n"
        "@M(**{**GOOD, 'precision': ('fp32', 'fp16')})\n"
        f"def test_it(trt_session, trt_build):\n    {body}\n"
    )
    result.assert_outcomes(passed=2)
    found = [line for line in result.outlines if "TRT184" in line]
    assert [
        next(one for one in ("fp32", "fp16") if f"the {one}" in line) for line in found
    ] == noted


def test_session_that_a_fixture_requests_for_some_tests_of_a_class_is_not_noted(suite) -> None:
    result = suite(
        "@M(**GOOD)\nclass TestAll:\n    @pytest.fixture(autouse=True)\n"
        "    def held(self, trt_session):\n        self.session = trt_session\n"
        "    def test_one(self):\n        self.session.run(X)\n"
        "    def test_other(self):\n        pass\n"
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*TRT184*")


@pytest.mark.parametrize(
    ("inputs", "noted"),
    [
        ("[{'image': np.zeros((4, 8), np.float32)}]", "0"),
        ("[{'image': np.full((4, 8), 0.5, np.float32)}] * 2", "0.5"),
        ("[{'image': np.full((4, 8), value, np.float32)} for value in (0, 1)]", ""),
        ("[{'image': np.zeros((4, 8), np.float32)}, X]", ""),
        ("[X, {'image': np.zeros((4, 8), np.float32)}]", ""),
    ],
)
def test_input_that_never_varies_is_noted(suite, inputs: str, noted: str) -> None:
    """Such as a state of zeros, or an image of one colour, which hides the order of its axes."""
    result = suite(
        "@M(**GOOD)\n@C\ndef test_it(trt_session):\n"
        f"    for inputs in {inputs}:\n        trt_session.run(inputs)\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "of every run: an engine")
    assert (f"linear.onnx fp32 cpu: input 'image' was {noted} in" in line) is bool(noted)


def test_input_that_varies_in_another_test_of_the_engine_is_not_noted(suite) -> None:
    result = suite(
        "@pytest.mark.parametrize('inputs', [{'image': np.zeros((4, 8), np.float32)}, X])\n"
        "@M(**GOOD)\n@C\ndef test_it(trt_session, inputs):\n    trt_session.run(inputs)\n"
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*of every run: an engine*")


@pytest.mark.parametrize(
    ("given", "mask", "noted"),
    [
        ("", "np.ones((2, 8), np.int64)", True),
        ("", "np.ones((2, 8), bool)", True),
        ("", "np.zeros((2, 8), np.int64)", False),
        (", input_ranges={'mask': (1, 1)}", "trt_inputs['mask']", False),
        ("", "trt_inputs['mask']", False),
    ],
)
def test_mask_of_ones_is_noted_unless_the_marker_gives_it(
    suite, project, given: str, mask: str, noted: bool
) -> None:
    dtype = networks.INT64 if "bool" not in mask else onnx.TensorProto.BOOL
    nodes = [
        helper.make_node("Cast", ["mask"], ["share"], to=networks.FLOAT),
        helper.make_node("Mul", ["x", "share"], ["y"]),
    ]
    inputs = [networks.value("x", [2, 8]), networks.value("mask", [2, 8], dtype)]
    proto = networks.model(nodes, inputs, [networks.value("y", [2, 8])], [])
    networks.saved(proto, project.path / "models" / "mask.onnx")
    result = suite(
        f"@M('models/mask.onnx'{given})\n@C\ndef test_it(trt_session, trt_inputs):\n"
        f"    trt_session.run({{**trt_inputs, 'mask': {mask}}})\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "of every run: an engine")
    assert ("mask.onnx fp32 cpu: input 'mask' was" in line) is noted


@pytest.mark.parametrize(
    ("rows", "noted"), [("len(trt_inputs['image'])", []), ("1", ["opt", "max"])]
)
def test_shape_that_the_name_of_a_test_states_and_no_run_has_is_noted(
    suite, rows: str, noted: list[str]
) -> None:
    result = suite(
        "P = {'image': ((1, 8), (4, 8), (16, 8))}\n@M(**GOOD, profiles=P)\n@C\n"
        "def test_it(trt_session, trt_inputs):\n"
        f"    trt_session.run({{'image': trt_inputs['image'][:{rows}]}})\n"
    )
    result.assert_outcomes(passed=3)
    lines = [line for line in result.outlines if "TRT181" in line]
    assert len(lines) == len(noted)
    for line, point in zip(lines, noted, strict=True):
        assert f"no run had the shapes of linear.onnx at {point}: image [" in line


@pytest.mark.parametrize(
    ("given", "rates", "noted"),
    [
        ("", "[trt_inputs['rate']]", True),
        (", input_ranges={'rate': (16000, 16000)}", "[trt_inputs['rate']]", False),
        ("", "[np.array(8000), np.array(16000)]", False),
    ],
)
def test_branch_that_a_generated_value_chooses_is_noted(
    suite, project, given: str, rates: str, noted: bool
) -> None:
    """Such as a sampling rate: the branch of 16 kHz could be wrong, and no run had it."""
    branches = [
        networks.subgraph(
            [helper.make_node(one, ["x", "x"], ["z"])], [], [networks.value("z", None)]
        )
        for one in ("Add", "Mul")
    ]
    names = ("then_branch", "else_branch")
    nodes = [
        helper.make_node("Equal", ["rate", "wide"], ["is_wide"]),
        helper.make_node("If", ["is_wide"], ["y"], **dict(zip(names, branches, strict=True))),
    ]
    inputs = [networks.value("x", [2, 8]), networks.value("rate", [], networks.INT64)]
    wide = helper.make_tensor("wide", networks.INT64, [], [16000])
    proto = networks.model(nodes, inputs, [networks.value("y", [2, 8])], [wide])
    networks.saved(proto, project.path / "models" / "rate.onnx")
    result = suite(
        f"@M('models/rate.onnx'{given})\n@C\ndef test_it(trt_session, trt_inputs):\n"
        f"    for rate in {rates}:\n        trt_session.run({{**trt_inputs, 'rate': rate}})\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "TRT182")
    assert ("'rate' of rate.onnx decides which branch runs" in line) is noted


@pytest.mark.parametrize(
    ("given", "ids", "noted"),
    [
        ("", "[trt_inputs['ids']]", True),
        ("", "[trt_inputs['ids'], np.array([9, 10])]", False),
        (", input_ranges={'ids': (0, 15)}", "[trt_inputs['ids']]", False),
        ("", "[np.array([0, 1])] if trt_inputs else []", True),
    ],
)
def test_rows_of_a_table_that_generated_values_do_not_select_are_noted(
    suite, project, given: str, ids: str, noted: bool
) -> None:
    """Such as those behind an offset: how large the input may be is unknown."""
    nodes = [
        helper.make_node("Add", ["ids", "two"], ["places"]),
        helper.make_node("Gather", ["table", "places"], ["y"]),
    ]
    table = helper.make_tensor("table", networks.FLOAT, [18, 2], list(map(float, range(36))))
    two = helper.make_tensor("two", networks.INT64, [], [2])
    inputs = [networks.value("ids", [2], networks.INT64)]
    proto = networks.model(nodes, inputs, [networks.value("y", [2, 2])], [table, two])
    networks.saved(proto, project.path / "models" / "rows.onnx")
    result = suite(
        f"@M('models/rows.onnx'{given})\n@C\ndef test_it(trt_session, trt_inputs):\n"
        f"    for ids in {ids}:\n        trt_session.run({{'ids': ids}})\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "TRT183")
    assert ("rows.onnx looks up rows of a table of 18 by 'ids'" in line) is noted


@pytest.mark.parametrize(("row", "noted"), [(4, True), (17, False)])
def test_rows_of_a_table_larger_than_that_of_another_column_are_noted(
    suite, project, row: int, noted: bool
) -> None:
    """Such as a recommender with all of its categories in one input."""
    nodes = [
        helper.make_node("Split", ["ids"], ["a", "b"], axis=1),
        helper.make_node("Gather", ["small", "a"], ["c"]),
        helper.make_node("Gather", ["table", "b"], ["d"]),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    tables = [
        helper.make_tensor(name, networks.FLOAT, [rows, 2], list(map(float, range(2 * rows))))
        for name, rows in (("small", 5), ("table", 18))
    ]
    inputs = [networks.value("ids", [3, 2], networks.INT64)]
    proto = networks.model(nodes, inputs, [networks.value("y", [3, 1, 2])], tables, opset=11)
    networks.saved(proto, project.path / "models" / "rows.onnx")
    result = suite(
        "@M('models/rows.onnx')\n@C\ndef test_it(trt_session, trt_inputs):\n"
        "    trt_session.run(trt_inputs)\n"
        f"    trt_session.run({{'ids': np.array([[4, {row}]] * 3)}})\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "TRT183")
    assert ("rows of a table of 18 by 'ids', and trt_inputs generated 0 to 4" in line) is noted


@pytest.mark.parametrize(
    ("given", "lengths", "noted"),
    [
        ("", "[trt_inputs['lengths']]", True),
        ("", "[trt_inputs['lengths'], np.array([3, 5])]", False),
        (", input_ranges={'lengths': (2, 5)}", "[trt_inputs['lengths']]", False),
        ("", "[np.array([1, 1])]", True),
    ],
)
def test_lengths_of_which_only_small_ones_ran_are_noted(
    suite, project, given: str, lengths: str, noted: bool
) -> None:
    """Generated lengths are 0 or 1, and mask nearly all of a sequence."""
    nodes = [
        helper.make_node("Unsqueeze", ["lengths", "one"], ["column"]),
        helper.make_node("Less", ["places", "column"], ["valid"]),
        helper.make_node("Where", ["valid", "x", "nothing"], ["y"]),
    ]
    stored = [
        networks.constant("one", [1], "int64"),
        networks.constant("places", [list(range(6))], "int64"),
        networks.constant("nothing", 0.0),
    ]
    inputs = [networks.value("x", [2, 6]), networks.value("lengths", [2], networks.INT64)]
    proto = networks.model(nodes, inputs, [networks.value("y", [2, 6])], stored)
    networks.saved(proto, project.path / "models" / "asr.onnx")
    result = suite(
        f"@M('models/asr.onnx'{given})\n@C\ndef test_it(trt_session, trt_inputs):\n"
        f"    for lengths in {lengths}:\n"
        "        trt_session.run({**trt_inputs, 'lengths': lengths})\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "TRT189")
    assert ("asr.onnx computes with the numbers in 'lengths'" in line) is noted


@pytest.mark.parametrize(
    ("factor", "steps", "noted"),
    [
        (1.0, "[trt_inputs['t']]", True),
        (1.0, "[np.array([999, 20], np.float32)]", False),
        (1000.0, "[trt_inputs['t']]", False),
    ],
)
def test_time_steps_of_floats_of_which_only_small_ones_ran_are_noted(
    suite, project, factor: float, steps: str, noted: bool
) -> None:
    """Generated floats are below 1, at which the embedding of a time step hardly varies."""
    nodes = [
        helper.make_node("Mul", ["t", "factor"], ["step"]),
        helper.make_node("Unsqueeze", ["step", "one"], ["column"]),
        helper.make_node("Mul", ["column", "frequencies"], ["angles"]),
        helper.make_node("Cos", ["angles"], ["y"]),
    ]
    stored = [
        networks.constant("factor", factor),
        networks.constant("one", [1], "int64"),
        networks.constant("frequencies", [[1.0, 0.1, 0.01]]),
    ]
    inputs = [networks.value("t", [2])]
    proto = networks.model(nodes, inputs, [networks.value("y", [2, 3])], stored)
    networks.saved(proto, project.path / "models" / "unet.onnx")
    result = suite(
        "@M('models/unet.onnx')\n@C\ndef test_it(trt_session, trt_inputs):\n"
        f"    for t in {steps}:\n        trt_session.run({{'t': t}})\n"
    )
    result.assert_outcomes(passed=1)
    line = line_with(result, "TRT189")
    assert ("unet.onnx computes with the numbers in 't'" in line) is noted


@pytest.mark.parametrize(("changed", "outcome"), [(None, "passed"), (4, "failed")])
def test_trt_inputs_have_all_categories_of_one_hot_rows(
    suite, project, changed: int | None, outcome: str
) -> None:
    """An engine that is wrong for a rare category must fail, not only for the first two."""
    nodes = [
        helper.make_node("OneHot", ["category", "depth", "off_on"], ["rows"]),
        helper.make_node("Concat", ["x", "rows"], ["features"], axis=1),
        helper.make_node("MatMul", ["features", "weights"], ["y"]),
    ]
    inputs = [networks.value("x", [16, 2]), networks.value("category", [16], networks.INT64)]
    for name, wrong in (("good", None), ("tested", changed)):
        weights = [[float(row)] for row in range(7)]
        if wrong is not None:
            weights[2 + wrong] = [0.5]
        stored = [
            networks.constant("depth", 5, "int64"),
            networks.constant("off_on", [0.0, 1.0]),
            networks.constant("weights", weights),
        ]
        proto = networks.model(nodes, inputs, [networks.value("y", [16, 1])], stored)
        networks.saved(proto, project.path / "models" / f"{name}.onnx")
    suite(
        "@M('models/tested.onnx', reference='models/good.onnx')\n@C\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    ).assert_outcomes(**{outcome: 1})


def test_precision_that_is_passed_to_the_fixture_decides(suite) -> None:
    suite(
        "@M(**GOOD)\n@C\n@pytest.mark.parametrize('trt_precision', ['fp16'], indirect=True)\n"
        "def test_it(trt_session):\n"
        "    assert trt_session.engine.spec.precision == 'fp16'\n    trt_session.run(X)\n"
    ).assert_outcomes(passed=1)


NAMED_PRECISIONS = [
    ('precision=("fp32", "fp16")', {"passed": 1, "failed": 1}),
    ('precision="fp16"', {"passed": 1}),
    ('precision="fp32"', {"failed": 1}),
    ("seed=1", {"passed": 1}),
]


def test_precision_that_is_named_and_never_compared_fails(suite, project) -> None:
    body = "def test_it(trt_build):\n    trt_build(precision='fp16').run(X)\n"
    message = "*compared no fp32 engine of linear.onnx*fp16*TRT160*"
    cases = {
        f"{HEAD}@M(**GOOD, {named})\n@C\n{body}": message if "failed" in outcomes else ""
        for named, outcomes in NAMED_PRECISIONS
    }
    project.ends(cases).assert_outcomes(passed=3, failed=2)


CONTRADICTING = [
    "@C(rtol=1, atol=1)\n@C(rtol=0, atol=0)\n@M(**GOOD)\ndef test_it(trt_session):",
    "pytestmark = [M(**GOOD), C(rtol=1, atol=1), C(rtol=0, atol=0)]\ndef test_it(trt_session):",
    "@C\n@M(**GOOD, precision='fp16')\n@M(precision='fp32')\ndef test_it(trt_session):",
    "@C\n@pytest.mark.parametrize('a', [pytest.param(1, marks=M(**GOOD))])\n"
    "@pytest.mark.parametrize('b', [pytest.param(1, marks=M(**WRONG))])\n"
    "def test_it(trt_session, a, b):",
]


def test_marks_that_contradict_each_other_in_one_place_are_refused(suite, project) -> None:
    message = "*is given twice on the *, with different *TRT150*"
    project.refuses(
        {
            f"{HEAD}{marks}\n    trt_session.run(X)\n": "*" if "param" in marks else message
            for marks in CONTRADICTING
        }
    )


def test_marks_of_one_place_that_agree_add_up(suite) -> None:
    suite(
        "pytestmark = [M(**WRONG), M(seed=1), C]\n@C\n@M(precision='fp16')\n@M(seed=1)\n"
        "def test_it(trt_session):\n    trt_session.run(X)\n"
    ).assert_outcomes(failed=1)


ITEMS = """
import pytest

class Item(pytest.Item):
    def runtest(self):
        pass

class File(pytest.File):
    def collect(self):
        item = Item.from_parent(self, name="case")
        item.add_marker(pytest.mark.trt_model("models/linear.onnx"))
        item.add_marker(pytest.mark.trt_consistency)
        yield item

def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".case":
        return File.from_parent(parent, path=file_path)
"""


def test_check_on_what_is_no_test_function_is_refused(project) -> None:
    project.pytester.makeconftest(ITEMS)
    (project.path / "one.case").write_text("")
    assert_shows(
        project.run(), "*trt_consistency is on case, which is not a Python test function*", errors=1
    )


def test_doctest_that_uses_a_fixture_of_the_plugin_is_refused(suite) -> None:
    result = suite(
        'def documented():\n    """\n    >>> getfixture("trt_session")\n    """\n'
        "pytestmark = [M(**GOOD), C]\n",
        "--doctest-modules",
        "test_it.py",
    )
    assert_shows(result, "*is not a Python test function (DoctestItem)*TRT158*", failed=1)


OTHER_CALLS = [
    ("run(None, X)", "*takes one argument, the inputs, but was given 2*"),
    ("run(['probs'], X)", "*takes one argument, the inputs, but was given 2*"),
    ("infer(X)", "*no attribute 'infer': write trt_session.run(inputs)"),
]


def test_call_of_another_library_says_what_to_write(suite, project) -> None:
    test = f"{HEAD}@M(**GOOD)\n@C\ndef test_it(trt_session):\n    trt_session."
    project.refuses({f"{test}{call}\n": f"E {message}" for call, message in OTHER_CALLS}, where="")


CALLS = """
def pytest_runtest_protocol(item, nextitem):
    hook = item.ihook
    phases = {
        "setup": lambda: hook.pytest_runtest_setup(item=item),
        "call": item.runtest,
        "teardown": lambda: hook.pytest_runtest_teardown(item=item, nextitem=nextitem),
    }
    for when, phase in phases.items():
        call = pytest.CallInfo.from_call(phase, when=when)
        report = hook.pytest_runtest_makereport(item=item, call=call)
        hook.pytest_runtest_logreport(report=report)
    return True
"""


def test_plugin_that_calls_a_test_without_the_hook_that_judges_it_fails_it(suite, project) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + CALLS)
    result = suite(
        "@M(**WRONG)\n@C\ndef test_it(trt_session):\n    trt_session.run(X)\n"
        "def test_plain():\n    pass\n"
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["another plugin ran the test without pytest_runtest_call*TRT164*"])


CATCHES = """
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except BaseException:
        return None
"""

CHANGES = """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.outcome, report.longrepr = "passed", None
    return report
"""


@pytest.mark.parametrize("more", [(), ("-n1",)])
def test_report_that_a_hook_changes_to_passed_fails_the_run(
    suite, project, monkeypatch, more
) -> None:
    monkeypatch.chdir(project.path)
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + CHANGES)
    wrong = "@M(**WRONG)\n@C\ndef test_checked(trt_session):\n    trt_session.run(X)\n"
    others = (
        "@M(**WRONG)\n@C\n@pytest.mark.xfail\ndef test_xfail(trt_session):\n"
        "    trt_session.run(X)\n"
        "@M(**GOOD)\n@C\ndef test_passes(trt_session):\n    trt_session.run(X)\n"
        "def test_plain():\n    assert False\n"
    )
    result = suite(wrong + others, *more)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines(
        ["the checks of 1 test failed*TRT191*", "  test_it.py::test_checked"]
    )
    exported = CliRunner().invoke(
        commands, ["export", "--cache-dir", str(project.cache), "-o", "dist", "test_checked"]
    )
    assert exported.exit_code == 1, exported.output
    assert suite(others, *more).ret == 0


def test_failure_that_a_hook_catches_fails_the_test_all_the_same(suite, project) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + CATCHES)
    result = suite(
        "@M(**WRONG)\n@C\ndef test_checked(trt_session):\n    trt_session.run(X)\n"
        "@M(**WRONG)\n@C\ndef test_fails_by_itself(trt_session):\n"
        "    trt_session.run(X)\n    assert False\n"
        "@M(**WRONG)\n@C\n@pytest.mark.xfail\ndef test_xfail(trt_session):\n"
        "    trt_session.run(X)\n"
        "@M(**GOOD)\n@C\ndef test_passes(trt_session):\n    trt_session.run(X)\n"
        "@M(**GOOD)\n@C\ndef test_caught_its_own(trt_session):\n"
        "    trt_session.run(X)\n    assert False\n"
        "def test_plain():\n    assert False\n"
    )
    result.assert_outcomes(failed=2, passed=3, xpassed=1)
    result.stdout.fnmatch_lines(["*a hook of the project*caught that*TRT191*", "logits: *TRT415*"])


SHARED = """
@pytest.fixture(scope="SCOPE")
def shared(trt_engines):
    return trt_engines(**WRONG, precision="fp16")
class TestBoth:
    @C
    def test_wrong(self, shared):
        shared.run(X)
    @C
    def test_right(self, shared):
        shared.run({"image": X["image"] * 0})
    @C
    def test_nothing(self, shared):
        pass
    def test_unmarked(self, shared):
        shared.run(X)
"""


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_run_of_a_shared_engine_is_judged_in_the_test_that_makes_it(suite, scope: str) -> None:
    result = suite(SHARED.replace("SCOPE", scope), "-v")
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(
        ["*::test_wrong FAILED*", "*::test_right PASSED*", "*::test_nothing FAILED*"]
    )
    result.stdout.fnmatch_lines([FAILS, "*compared nothing*TRT160*"])


def test_run_in_the_setup_of_a_shared_fixture_is_judged_in_the_test_that_sets_it_up(suite) -> None:
    result = suite(
        '@pytest.fixture(scope="module")\ndef outputs(trt_engines):\n'
        "    return trt_engines(**WRONG).run(X)\n"
        "@C\ndef test_first(outputs):\n    pass\n"
        "@C\ndef test_second(outputs):\n    pass\n"
    )
    assert_shows(result, FAILS, "*compared nothing*TRT160*", failed=2)


def test_self_test_injects_errors_into_one_run_of_a_shared_engine(suite) -> None:
    source = SHARED.replace("SCOPE", "module").replace("WRONG", "GOOD")
    one = suite(source, "--trt-selftest", "-ktest_wrong")
    several = suite(
        source.replace("shared.run(X)", "shared.run(X); shared.run(X)"),
        "--trt-selftest",
        "-ktest_wrong",
    )
    lines = [[line for line in run.outlines if "injections" in line] for run in (one, several)]
    assert lines[0] == lines[1] != []


def test_fixture_of_a_wider_scope_that_requests_a_narrow_one_is_refused(suite) -> None:
    result = suite(
        '@pytest.fixture(scope="module")\ndef session(trt_session):\n    return trt_session\n'
        "@M(**GOOD)\n@C\ndef test_it(session):\n    session.run(X)\n"
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*session has module scope and requests trt_session*TRT159*", "*trt_engines instead*"]
    )


def test_run_of_a_shared_engine_in_a_teardown_is_refused(suite) -> None:
    result = suite(
        '@pytest.fixture(scope="session")\ndef shared(trt_engines):\n'
        "    session = trt_engines(**GOOD)\n    yield session\n    session.run(X)\n"
        "@C\ndef test_it(shared):\n    shared.run(X)\n"
    )
    assert_shows(result, "*called after the test*TRT161*", passed=1, errors=1)


def test_shared_engine_does_not_stand_for_what_the_markers_name(suite) -> None:
    result = suite(
        '@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        "    return trt_engines(**GOOD)\n"
        '@M(**GOOD, precision=("fp32", "fp16"))\n@C\ndef test_it(shared):\n    shared.run(X)\n'
        '@M("models/wrong.onnx")\n@C\ndef test_other(shared):\n    shared.run(X)\n'
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*compared no fp16 engine of linear.onnx*", "*compared no engine of wrong.onnx*"]
    )


BASIC = 'builder_options={"graph_optimization_level": "basic"}'
OTHER = 'builder_options={"graph_optimization_level": "disabled"}'


@pytest.mark.parametrize(
    ("named", "differing"),
    [
        ('reference="models/wrong.onnx"', "reference="),
        (PROFILES, "profiles="),
        (BASIC, "builder_options="),
        ("seed=1", None),
    ],
    ids=["reference", "profiles", "builder_options", "seed"],
)
def test_shared_engine_stands_for_the_markers_if_it_is_built_and_compared_like_it(
    suite, named: str, differing: str | None
) -> None:
    source = (
        f'@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        "    return trt_engines(**GOOD, GIVEN)\n"
        f"@M(**GOOD, {named})\n@C(rtol=1, atol=9)\ndef test_it(shared):\n    shared.run(X)\n"
    )
    suite(source.replace("GIVEN", named)).assert_outcomes(passed=1)
    result = suite(source.replace(", GIVEN", ""))
    result.assert_outcomes(**({"failed": 1} if differing else {"passed": 1}))
    if differing:
        result.stdout.fnmatch_lines([f"*the test ran linear.onnx fp32 with other {differing}*"])


def test_engine_of_other_options_does_not_stand_for_the_one_of_the_markers(suite) -> None:
    build = f"    trt_build({OTHER}, profiles=None).run(X)\n"
    head = f"@M(**GOOD, {PROFILES}, {BASIC})\n@C\n"
    result = suite(
        f"{head}def test_other(trt_build):\n{build}"
        f"{head}def test_both(trt_build):\n    trt_build().run(X)\n{build}"
    )
    assert_shows(result, "*with other profiles= and builder_options=*TRT160*", failed=1, passed=1)


@pytest.mark.parametrize("marker", ["", "@M(**GOOD)\n    "], ids=["no marker", "marker"])
def test_shared_engine_is_compared_with_the_reference_fixture_of_its_test(suite, marker) -> None:
    result = suite(
        '@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        "    return trt_engines(**GOOD)\n"
        "class Off:\n"
        "    def run(self, inputs):\n        return {'logits': np.full((4, 4), 99, np.float32)}\n"
        "class TestOff:\n"
        "    @pytest.fixture\n    def trt_reference(self):\n        return Off()\n"
        f"    {marker}@C\n    def test_it(self, shared):\n        shared.run(X)\n"
        f"class TestOwn:\n    {marker}@C\n    def test_it(self, shared):\n        shared.run(X)\n",
        "-v",
    )
    assert_shows(result, "*TestOff::test_it FAILED*", "*over tolerance*", failed=1, passed=1)


@pytest.mark.parametrize(
    "call", ["shared.run(X)", "pytest.raises(Exception, shared.run, X); right.run(X)"]
)
def test_reference_of_a_shared_engine_is_not_ignored_for_that_of_the_fixture(suite, call) -> None:
    """The fixture's outputs agree with the engine, those of `reference=` do not."""
    result = suite(
        '@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        "    return trt_engines(**WRONG)\n"
        "@pytest.fixture(scope='module')\ndef right(trt_engines):\n"
        "    return trt_engines(**GOOD)\n"
        "@pytest.fixture\ndef trt_reference(right):\n    return right\n"
        f"@C\ndef test_it(shared, right):\n    {call}\n"
        "@C\ndef test_other(right):\n    right.run(X)\n"
    )
    assert_shows(result, "*trt_engines was given reference=wrong.onnx, but *", failed=1, passed=1)


def test_reference_that_runs_shared_engines_of_the_model_is_used(suite) -> None:
    result = suite(
        '@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        "    return trt_engines(**GOOD, precision='fp16')\n"
        "class TestOther:\n"
        "    @pytest.fixture\n    def trt_reference(self, trt_engines):\n"
        "        return trt_engines(**GOOD)\n"
        "    @C\n    def test_it(self, shared):\n        shared.run(X)\n"
        "class TestItself:\n"
        "    @pytest.fixture\n    def trt_reference(self, trt_engines):\n"
        "        return trt_engines(**WRONG, precision='fp16')\n"
        "    @C\n    def test_it(self, shared):\n        shared.run(X)\n",
        "-v",
    )
    assert_shows(result, "*TestItself::test_it FAILED*", FAILS, passed=1, failed=1)


@pytest.mark.skipif("os.name == 'nt'", reason="needs symbolic links")
@pytest.mark.parametrize("model", ["linear", "wrong"])
def test_shared_engine_of_a_linked_folder_stands_for_the_markers(suite, project, model) -> None:
    real = project.path / "models" / f"{model}.onnx"
    (project.path / "link").symlink_to(project.path / "models")
    result = suite(
        '@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        f"    return trt_engines({str(real)!r})\n"
        '@M("link/linear.onnx")\n@C\ndef test_it(shared):\n    shared.run(X)\n'
    )
    result.assert_outcomes(**({"passed": 1} if model == "linear" else {"failed": 1}))


def test_engine_that_is_shared_with_two_references_is_compared_with_both(suite) -> None:
    result = suite(
        '@pytest.fixture(scope="module")\ndef both(trt_engines):\n'
        "    return trt_engines(**GOOD), trt_engines(**WRONG)\n"
        "@C\ndef test_good(both):\n    both[0].run(X)\n"
        "@C\ndef test_it(both):\n    both[0].run(X)\n    both[1].run(X)\n"
    )
    assert_shows(result, FAILS, failed=1, passed=1)


NOT_ONE = [
    ('precision=("fp32", "fp16")', "*trt_engines takes one precision, not 2: fp32, fp16*"),
    ('arch="sm86"', "*arch='sm86', but this run tests cpu*"),
    ("tolerance=1", "*no keyword 'tolerance'*"),
]


def test_shared_engine_that_cannot_be_one_is_refused(suite, project) -> None:
    source = (
        f'{HEAD}@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        "    return trt_engines('models/linear.onnx', GIVEN)\n"
        "@C\ndef test_it(shared):\n    shared.run(X)\n"
    )
    cases = {source.replace("GIVEN", given): message for given, message in NOT_ONE}
    project.refuses(cases, where="ERROR at setup of ")


def test_shared_int8_engine_is_calibrated_on_what_the_fixture_gives(suite) -> None:
    profiles = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'
    source = (
        '@pytest.fixture(scope="module")\ndef shared(trt_engines):\n'
        f"    return trt_engines(**GOOD, {profiles}, precision='int8'GIVEN)\n"
        "@C(rtol=1, atol=1)\ndef test_it(shared):\n    shared.run(X)\n"
    )
    suite(source.replace("GIVEN", ", calibration=[X]")).assert_outcomes(passed=1)
    seeded = suite(source.replace("GIVEN", ""))
    assert_shows(seeded, "*an engine was calibrated on random inputs*TRT170*", passed=1, warnings=1)


NAMED = """
@M(**GOOD, precision=("fp32", "fp16"), profiles={"image": ((1, 8), (4, 8), (16, 8))})
@C
def test_it(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
@M(**GOOD)
@C
def test_skipped(trt_session):
    pytest.skip("not today")
@M(**GOOD)
def test_without_an_engine():
    pass
"""

DROPS = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "min" not in item.name]
"""


@pytest.mark.parametrize(
    "workers",
    [(), pytest.param(("-n1",), marks=pytest.mark.exhaustive)],
    ids=["here", "in a worker"],
)
def test_summary_counts_what_was_named_and_did_not_run(suite, project, workers) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + DROPS)
    result = suite(NAMED, "-k", "not opt", *workers)
    assert result.parseoutcomes()["passed"] == 3
    result.stdout.fnmatch_lines(["not run  5 of 7 tests: 4 deselected, 1 skipped"])


def test_summary_counts_tests_that_a_failure_stopped(suite) -> None:
    result = suite(NAMED.replace("GOOD", "WRONG"), "-x")
    assert_shows(result, "not run  6 of 7 tests: 6 not run", failed=1)


def test_summary_counts_tests_that_failed_in_setup_as_expected(suite) -> None:
    marks = "@M(**GOOD)\n@C\n@pytest.mark.xfail(run=False, reason='later')\n"
    result = suite(f"{marks}def test_it(trt_session):\n    trt_session.run(X)\n")
    assert_shows(result, "not run  1 of 1 tests: 1 xfailed", xfailed=1)


def test_summary_says_nothing_where_all_ran(suite) -> None:
    result = suite("@M(**GOOD)\n@C\ndef test_it(trt_session):\n    trt_session.run(X)\n")
    result.stdout.no_fnmatch_line("not run*")


@pytest.mark.exhaustive
def test_failure_in_one_of_several_workers_is_not_lost(suite, project) -> None:
    result = suite(
        "import os\n@M(**WRONG)\n@C\ndef test_it(trt_session):\n"
        "    wrong = os.environ['PYTEST_XDIST_WORKER'] == 'gw0'\n"
        "    trt_session.run({'image': X['image'] * wrong})\n",
        *("--dist=each", "--tx=2*popen", "--trt-report=report.json"),
    )
    assert_shows(result, "linear.onnx *1 failed, 1 passed", failed=1, passed=1)
    report = json.loads((project.path / "report.json").read_text())
    assert [one["status"] for one in report["tests"]] == ["failed"]
