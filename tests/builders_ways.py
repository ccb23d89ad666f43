"""Every way of writing a test, as test files: one for each, and random combinations of them.

The reference is a model of its own, `models/reference.onnx`: where it differs from the model under
test, every output is wrong, and no test may pass; where it is equal, all tests may.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

HEAD = """
import asyncio, functools, threading, unittest
import numpy as np
import pytest
M, C = pytest.mark.trt_model, pytest.mark.trt_consistency
PROFILES = {"image": ((1, 8), (4, 8), (16, 8))}
ONE = dict(model="models/linear.onnx", reference="models/reference.onnx")
TWO = dict(ONE, precision=("fp32", "fp16"))
SIX = dict(TWO, profiles=PROFILES)
ZOO = dict(ONE, model={"a": "models/linear.onnx", "b": "models/linear.onnx"})
PATTERN = dict(ONE, model="models/lin*.onnx")
GIVEN = dict(fixture="given", reference="models/reference.onnx")
WIDE, TIGHT = C(rtol=1, atol=1e9), C(rtol=1e-2, atol=1e-2)
X = {"image": np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)}
ZERO = {"image": np.zeros((4, 8), np.float32)}
@pytest.fixture(scope="session")
def given():
    return "models/linear.onnx"
"""


#: Writes the outcome of every phase and collector, one line each, in the process that has all.
CONFTEST = """
import json
from pathlib import Path

pytest_plugins = PLUGINS

def _write(report, outcome):
    with Path(__file__).with_name("outcomes.jsonl").open("a") as file:
        file.write(json.dumps([report.nodeid, outcome]) + "\\n")

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes())

class Outcomes:
    def pytest_collectreport(self, report):
        if report.failed:
            _write(report, "refused")

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            expected = hasattr(report, "wasxfail")
            _write(report, "xfailed" if expected and report.skipped else report.outcome)
"""


def read_outcomes(lines: Path) -> dict[str, str]:
    """Return the worst outcome of each test, and of each file that could not be collected."""
    order = ["passed", "rerun", "retried", "skipped", "xfailed", "failed", "refused"]
    worst: dict[str, str] = {}
    for nodeid, outcome in map(json.loads, lines.read_text().splitlines()):
        worst[nodeid] = max(worst.get(nodeid, "passed"), outcome, key=order.index)
    return worst


@dataclass(frozen=True)
class Way:
    """One way of writing a test.

    Attributes:
        row: The row of docs/reference/ways.md that it belongs to.
        source: The test file.
        tests: How many tests fail of it where outputs are wrong, and pass where they are not; 0
            for a file that is refused when it is collected.
        refused: How many tests fail also where no output is wrong.
        plugin: A plugin of the project that it needs.
        needs: A package that has to be installed.
    """

    row: str
    source: str
    tests: int = 1
    refused: int = 0
    plugin: str = ""
    needs: str = ""


def _adds(name: str, hook: str, model: str) -> str:
    """Return a plugin whose hook adds marks to the tests of one way."""
    several = hook == "pytest_collection_modifyitems"
    return HEAD + dedent(
        f"""
        def {hook}({"items" if several else "item"}):
            for each in {"items" if several else "[item]"}:
                if each.path.stem == "test_{name}":
                    each.add_marker(M(**{model}))
                    each.add_marker(C)
        """
    )


RUNS = "    trt_session.run(X)\n"
PLAIN = "def test_it(trt_session):\n" + RUNS
METHOD = indent("def test_it(self, trt_session):\n" + RUNS, "    ")
UNITTEST = """
    @pytest.fixture(autouse=True)
    def session(self, trt_session):
        self.run_it = lambda: trt_session.run(X)
"""
MARKS = "on the function, its class, its module, in any combination"
SETS = "on parameter sets (`pytest.param(..., marks=...)`)"
FIXTURE_SETS = "on the parameters of a fixture"
GENERATED = "on parameter sets of `pytest_generate_tests`, or of an iterator"
HOOKS = "added in `pytest_itemcollected` or `pytest_collection_modifyitems`"
LATE = "added while the test runs, also to its class or module"
BASES = "on base classes and mixins"
NESTED = "on nested classes"
STACKED = "stacked decorators, or a `pytestmark` list"
NO_TEST = "on a doctest, or an item of a custom collector"
FUNCTIONS = "function, method, static method, class method, decorated function"
MODELS = "that name several models: a list, a mapping or a pattern"
BROKEN = "that name several models, one of which is missing, unreadable or does not fit them"
FIXTURE = "that name a fixture which gives the model (`fixture=`)"
PARAMETERS = "parametrised by `trt_arch`, `trt_model_path`, `trt_precision` or `trt_shape`"
UNITTESTS = "method of a `unittest.TestCase`, also with `subTest` or `IsolatedAsyncioTestCase`"
SUBTESTS = "`subtests`, of pytest 9 or pytest-subtests"
ASYNC = "`async def`, with pytest-asyncio or anyio"
HYPOTHESIS = "hypothesis"
JOINED = "threads that the test joins"
OUTLIVING = "threads that outlive the test"
FORKED = "a process that the test or a fixture forks"
CAUGHT = "exceptions of the engine that the test catches"
SKIPPED = "`pytest.skip`, `unittest.SkipTest` or `pytest.exit` after a run"
XFAIL = "`pytest.xfail`, or a marker `xfail`"
OTHER = "an engine of another precision than the markers name (`trt_build`, `trt_engines`)"
NOTHING = "no run at all"
SETUP = "in the setup of a fixture, also of an autouse fixture"
TEARDOWN = "in the teardown of a fixture, or a finalizer"
REQUESTED = "by `request.getfixturevalue` while the test runs"
WIDER = "`trt_session` in a fixture of class, module or session scope"
SHARED = "`trt_engines` in a fixture of any scope"
OVERRIDDEN = (
    "an override of `trt_reference` beside `reference=`, without `@pytest.fixture`, or with a "
    "misspelt name"
)
IGNORED = (
    "`parametrize(..., indirect=True)` of a fixture of the plugin that the project does not "
    "override"
)

WAYS = {
    "marks": Way(
        MARKS,
        f"pytestmark = [M(**ONE), WIDE]\n@C\nclass TestIt:\n    @M(precision=('fp32', 'fp16'))\n"
        f"{METHOD}@TIGHT\n{PLAIN}",
        3,
    ),
    "shapes": Way(
        MARKS,
        "@M(**SIX)\n@C\ndef test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n",
        6,
    ),
    "sets": Way(
        SETS,
        "pytestmark = WIDE\n@WIDE\n"
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=M(**TWO)),"
        " pytest.param(2, marks=M(**ONE, precision='fp16'))])\n"
        "@pytest.mark.parametrize('b', [pytest.param(1, marks=C), pytest.param(2, marks=TIGHT)])\n"
        "def test_it(trt_session, a, b):\n" + RUNS,
        6,
    ),
    "fixture_sets": Way(
        FIXTURE_SETS,
        "SETS = [pytest.param(1, marks=M(**TWO)), pytest.param(2, marks=M(**ONE))]\n"
        "@pytest.fixture(params=SETS)\n"
        "def case(request):\n    return request.param\n"
        "@C\ndef test_it(case, trt_session):\n" + RUNS,
        3,
    ),
    "generated": Way(
        GENERATED,
        "def pytest_generate_tests(metafunc):\n"
        "    metafunc.parametrize('a', [pytest.param(1, marks=M(**ONE))])\n"
        "@C\ndef test_it(a, trt_session):\n" + RUNS,
    ),
    "generated_several": Way(
        GENERATED,
        "def pytest_generate_tests(metafunc):\n"
        "    metafunc.parametrize('a', [pytest.param(1, marks=M(**TWO))])\n"
        "@C\ndef test_it(a, trt_session):\n" + RUNS,
        0,
    ),
    **{
        name: Way(HOOKS, PLAIN, tests, plugin=_adds(name, hook, model))
        for name, hook, model, tests in [
            ("adds_to_items", "pytest_collection_modifyitems", "ONE", 1),
            ("adds_to_items_several", "pytest_collection_modifyitems", "TWO", 0),
            ("adds_to_item", "pytest_itemcollected", "ONE", 1),
            ("adds_to_item_several", "pytest_itemcollected", "TWO", 0),
        ]
    },
    "late": Way(
        LATE,
        "@pytest.fixture(autouse=True)\ndef late(request):\n    request.node.add_marker(TIGHT)\n"
        "@M(**ONE)\n@WIDE\n" + PLAIN,
        refused=1,
    ),
    "bases": Way(
        BASES,
        f"@M(**ONE)\n@WIDE\nclass Base:\n{METHOD}"
        "class Mixin:\n    pytestmark = TIGHT\n"
        "@M(precision=('fp32', 'fp16'))\nclass TestIt(Mixin, Base):\n    pass\n"
        "@C\nclass TestTight(Base):\n    pass\n",
        3,
    ),
    "nested": Way(
        NESTED,
        "@M(**ONE)\n@WIDE\nclass TestOuter:\n    @M(precision=('fp32', 'fp16'))\n"
        "    class TestMiddle:\n        @TIGHT\n        class TestInner:\n"
        + indent(METHOD, "        "),
        2,
    ),
    "stacked": Way(STACKED, "@C\n@M(precision=('fp32', 'fp16'))\n@M(**ONE)\n" + PLAIN, 2),
    "listed": Way(STACKED, "pytestmark = [M(**ONE), C, M(precision='fp16')]\n" + PLAIN),
    "stacked_contradicting": Way(STACKED, "@TIGHT\n@WIDE\n@M(**ONE)\n" + PLAIN, 0),
    "listed_contradicting": Way(STACKED, "pytestmark = [TIGHT, WIDE, M(**ONE)]\n" + PLAIN, 0),
    "doctest": Way(
        NO_TEST,
        'pytestmark = [M(**ONE), C]\ndef documented():\n    """\n'
        '    >>> getfixture("trt_session").run(X)\n    """\n',
        0,
    ),
    "models": Way(
        MODELS,
        "TWICE = {'a': 'models/linear.onnx', 'b': 'models/linear.onnx'}\n"
        "pytestmark = [M(**{**ONE, 'model': TWICE}, precision=('fp32', 'fp16')), C]\n"
        + PLAIN
        + "@M('models/lin*.onnx', reference='models/reference.onnx', profiles=PROFILES)\n"
        "def test_pattern(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n",
        7,
    ),
    "models_several": Way(
        MODELS,
        "@M(['models/linear.onnx', 'models/reference.onnx'])\n@C\n"
        "def test_it(trt_engines):\n    trt_engines(**ONE).run(X)\n",
        0,
    ),
    "models_broken": Way(
        BROKEN,
        "ANY = {'good': 'models/linear.onnx', 'lost': 'models/lost.onnx', 'text': __file__}\n"
        "@M(**{**ONE, 'model': ANY}, precision=('fp32', 'fp16'))\n@C\n"
        + PLAIN
        + "BAD = {'b': {'profiles': {'x': ((1,), (1,), (1,))}}}\n"
        "@M(**ZOO, per_model=BAD)\n@C\n"
        "@pytest.mark.parametrize('case', [0, 1])\n"
        "def test_profiles(trt_session, case):\n" + RUNS,
        10,
        refused=6,
    ),
    "model_fixture": Way(
        FIXTURE,
        "import shutil\n@pytest.fixture(scope='module')\ndef exported(tmp_path_factory):\n"
        "    path = tmp_path_factory.mktemp('m') / 'exported.onnx'\n"
        "    return shutil.copy('models/linear.onnx', path)\n"
        "GIVEN = dict(fixture='exported', reference='models/reference.onnx')\n"
        "@M(**GIVEN, precision=('fp32', 'fp16'))\n@C\n"
        + PLAIN
        + "@M(**GIVEN, profiles=PROFILES)\n@C\ndef test_shapes(trt_session, trt_inputs):\n"
        "    trt_session.run(trt_inputs)\n"
        "@M(**GIVEN)\n@C\ndef test_late(request):\n"
        "    request.getfixturevalue('trt_session').run(X)\n",
        6,
    ),
    "model_fixture_several": Way(
        FIXTURE,
        "@pytest.fixture(params=['models/linear.onnx', 'models/reference.onnx'])\n"
        "def exported(request):\n    return request.param\n"
        "@M(fixture='exported', reference='models/reference.onnx')\n@C\n" + PLAIN,
        0,
    ),
    "functions": Way(
        FUNCTIONS,
        "pytestmark = [M(**ONE), C]\nclass TestIt:\n"
        "    @staticmethod\n    def test_static(trt_session):\n        trt_session.run(X)\n"
        "    @classmethod\n    def test_class(cls, trt_session):\n        trt_session.run(X)\n"
        "def decorated(function):\n    @functools.wraps(function)\n"
        "    def call(**kwargs):\n        return function(**kwargs)\n    return call\n"
        "@decorated\n" + PLAIN,
        3,
    ),
    "parameters": Way(
        PARAMETERS,
        "pytestmark = [M(**SIX), C]\n"
        "@pytest.mark.parametrize('trt_precision', ['fp16'], indirect=True)\n"
        "def test_it(trt_session):\n"
        "    assert trt_session.engine.spec.precision == 'fp16'\n"
        + RUNS
        + "@pytest.mark.parametrize('trt_shape', ['max'])\n"
        "def test_shape(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n",
        3,
    ),
    "unittest": Way(
        UNITTESTS,
        f"@M(**ONE)\n@C\nclass TestIt(unittest.TestCase):{UNITTEST}"
        "    def test_it(self):\n        self.run_it()\n"
        "    def test_subtests(self):\n        for number in range(2):\n"
        "            with self.subTest(number=number):\n                self.run_it()\n"
        f"@M(**ONE)\n@C\nclass TestAsync(unittest.IsolatedAsyncioTestCase):{UNITTEST}"
        "    async def test_it(self):\n        self.run_it()\n",
        3,
    ),
    "unittest_several": Way(
        UNITTESTS,
        f"@M(**TWO)\n@C\nclass TestIt(unittest.TestCase):{UNITTEST}"
        "    def test_it(self):\n        self.run_it()\n",
        0,
    ),
    "subtests": Way(
        SUBTESTS,
        "@M(**TWO)\n@C\ndef test_it(trt_session, subtests):\n"
        "    with subtests.test():\n        trt_session.run(ZERO)\n"
        "    with subtests.test():\n        trt_session.run(X)\n",
        2,
        needs="_pytest.subtests",
    ),
    "asyncio": Way(
        ASYNC,
        "@pytest.mark.asyncio\n@M(**TWO)\n@C\nasync def test_it(trt_session):\n"
        "    await asyncio.to_thread(trt_session.run, X)\n",
        2,
        needs="pytest_asyncio",
    ),
    "anyio": Way(
        ASYNC,
        "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
        "@pytest.mark.anyio\n@M(**TWO)\n@C\nasync def test_it(trt_session):\n" + RUNS,
        2,
        needs="anyio",
    ),
    "hypothesis": Way(
        HYPOTHESIS,
        "from hypothesis import HealthCheck, given, settings, strategies\n"
        "@M(**TWO)\n@C\n@settings(max_examples=3, deadline=None, database=None,\n"
        "    suppress_health_check=[HealthCheck.function_scoped_fixture])\n"
        "@given(rows=strategies.integers(1, 4))\n"
        "def test_it(trt_session, rows):\n    trt_session.run({'image': X['image'][:rows] + 1})\n",
        2,
    ),
    "joined": Way(
        JOINED,
        "@M(**TWO)\n@C\ndef test_it(trt_session):\n"
        "    threads = [threading.Thread(target=trt_session.run, args=(X,)) for _ in range(2)]\n"
        "    for thread in threads:\n        thread.start()\n"
        "    for thread in threads:\n        thread.join()\n",
        2,
    ),
    "outliving": Way(
        OUTLIVING,
        "@pytest.fixture\ndef late():\n    threads, over = [], threading.Event()\n"
        "    yield threads, over\n    over.set()\n    threads[0].join()\n"
        "@M(**ONE)\n@C\ndef test_it(late, trt_session):\n    threads, over = late\n"
        "    trt_session.run(ZERO)\n"
        "    def run():\n        over.wait()\n        try:\n            trt_session.run(X)\n"
        "        except Exception:\n            pass\n"
        "    threads.append(threading.Thread(target=run))\n    threads[0].start()\n",
        refused=1,
    ),
    "forked": Way(
        FORKED,
        "import multiprocessing\n@pytest.mark.filterwarnings('ignore::DeprecationWarning')\n"
        "@M(**ONE)\n@C\ndef test_it(trt_session):\n    trt_session.run(ZERO)\n"
        "    fork = multiprocessing.get_context('fork')\n"
        "    child = fork.Process(target=trt_session.run, args=(X,))\n"
        "    child.start()\n    child.join()\n",
        refused=1,
    ),
    "caught": Way(
        CAUGHT,
        "@M(**TWO)\n@C\ndef test_it(trt_session):\n    try:\n        trt_session.run(X)\n"
        "    except BaseException:\n        pass\n",
        2,
    ),
    "skipped": Way(
        SKIPPED, "@M(**TWO)\n@C\ndef test_it(trt_session):\n" + RUNS + "    pytest.skip('')\n", 2
    ),
    "xfail": Way(
        XFAIL, "@M(**TWO)\n@C\ndef test_it(trt_session):\n" + RUNS + "    pytest.xfail('')\n", 2
    ),
    "other": Way(
        OTHER,
        "@M(**TWO)\n@C\ndef test_it(trt_build):\n    trt_build(precision='fp32').run(X)\n",
        2,
        refused=1,
    ),
    "nothing": Way(NOTHING, "@M(**TWO)\n@C\ndef test_it(trt_session):\n    pass\n", 2, refused=2),
    "setup": Way(
        SETUP,
        "@pytest.fixture\ndef outputs(trt_session):\n    return trt_session.run(X)\n"
        "@M(**TWO)\n@C\ndef test_it(outputs):\n    pass\n"
        "class TestIt:\n    @pytest.fixture(autouse=True)\n"
        "    def run_it(self, trt_session):\n        trt_session.run(X)\n"
        "    @M(**TWO)\n    @C\n    def test_it(self):\n        pass\n",
        4,
    ),
    "teardown": Way(
        TEARDOWN,
        "@pytest.fixture\ndef used(trt_session):\n    trt_session.run(ZERO)\n    yield\n"
        "    trt_session.run(X)\n"
        "@M(**ONE)\n@C\ndef test_it(used):\n    pass\n"
        "@M(**ONE)\n@C\ndef test_finalizer(request, trt_session):\n    trt_session.run(ZERO)\n"
        "    request.addfinalizer(lambda: trt_session.run(X))\n",
        2,
        refused=2,
    ),
    "requested": Way(
        REQUESTED,
        "pytestmark = C\n"
        "@M(**ONE)\ndef test_it(request):\n    request.getfixturevalue('trt_session').run(X)\n"
        "@M(**TWO)\ndef test_two(request):\n    request.getfixturevalue('trt_session').run(X)\n",
        2,
        refused=1,
    ),
    "wider": Way(
        WIDER,
        "@pytest.fixture(scope='module')\ndef session(trt_session):\n    return trt_session\n"
        "@M(**ONE)\n@C\ndef test_it(session):\n    session.run(X)\n",
        0,
    ),
    "shared": Way(
        SHARED,
        "@pytest.fixture(scope='session', params=['fp32', 'fp16'])\n"
        "def session(request, trt_engines):\n"
        "    return trt_engines(**ONE, precision=request.param)\n"
        "@C\ndef test_it(session):\n    session.run(X)\n"
        "class TestIt:\n    @TIGHT\n    def test_it(self, session):\n        session.run(X)\n",
        4,
    ),
    "overridden": Way(
        OVERRIDDEN,
        "def given(inputs):\n    raise AssertionError\n"
        "class TestBeside:\n    @pytest.fixture\n    def trt_reference(self):\n"
        f"        return given\n    @M(**ONE)\n    @C\n{METHOD}"
        "class TestUndecorated:\n    def trt_reference(self):\n        return given\n"
        f"    @M(**ONE)\n    @C\n{METHOD}"
        "class TestMisspelt:\n    @pytest.fixture\n    def trt_refrence(self):\n"
        f"        return given\n    @M(**ONE)\n    @C\n{METHOD}",
        0,
    ),
    "ignored": Way(
        IGNORED,
        "pytestmark = [M(**ONE), C]\n"
        "@pytest.mark.parametrize('trt_session', [1], indirect=True)\n" + PLAIN,
        0,
    ),
}


def mutation(rng: random.Random) -> str:
    """Return a test file whose tests all run an engine, written in a random way of those above."""
    return _Mutation(rng).source()


class _Mutation:
    """A test that is put together from random parts.

    Args:
        rng: Chooses them.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.holder = rng.choice(["function", "class", "nested", "subclass", "mixin", "unittest"])
        self.precision = rng.choice(["'fp32'", "'fp16'", "('fp32', 'fp16')"])
        if self.holder == "unittest" and rng.random() < 0.8:  # several are refused
            self.precision = self.precision.strip("()").partition(",")[0]

    def source(self) -> str:
        """Return the test file."""
        places = self._places()
        model, tight, wide = self._marks(places)
        marks = {place: [] for place in ["module", *places]}
        marks[model[0]].append(model[1])
        marks[tight[0]].append(tight[1])
        if wide is not None:
            marks[wide[0]].append(wide[1])
        fixtures, arguments, body = self._run()
        return HEAD + fixtures + self._hold(marks, arguments, body)

    def _places(self) -> list[str]:
        """Return where marks may be, the closest first."""
        outer = {
            "function": [],
            "class": ["class"],
            "nested": ["inner", "class"],
            "subclass": ["class", "base"],
            "mixin": ["class", "mixin", "base"],
            "unittest": ["class"],
        }[self.holder]
        sets = [] if self.holder == "unittest" else ["set"]
        return [*sets, "function", *outer, "module"]

    def _marks(self, places: list[str]) -> tuple[tuple[str, str], ...]:
        """Return marks and their places, a tight tolerance closer than one that allows all."""
        rng = self.rng
        profiles = rng.choice(["", ", profiles=PROFILES"])
        which = rng.choice(["ONE", "ONE", "ZOO", "PATTERN", "GIVEN"])
        model = (rng.choice(places), f"M(**{which}, precision={self.precision}{profiles})")
        near, far = sorted(rng.sample(range(len(places)), 2))
        far = near if rng.random() < 0.1 else far  # which is refused
        tight = (
            places[near],
            rng.choice(["C", "TIGHT", "C(by_precision={'fp16': dict(rtol=.02, atol=.02)})"]),
        )
        return model, tight, (places[far], "WIDE") if rng.random() < 0.7 else None

    def _run(self) -> tuple[str, str, str]:
        """Return fixtures, the test's arguments and its body."""
        rng = self.rng
        sites = {
            "body": ("", "trt_session", "trt_session.run(X)"),
            "build": ("", "trt_build", "trt_build().run(X)"),
            "argument": (
                "@pytest.fixture\ndef outputs(trt_session):\n    return trt_session.run(X)\n",
                "outputs",
                "assert outputs",
            ),
            "autouse": (
                "@pytest.fixture(autouse=True)\ndef runs(trt_session):\n    trt_session.run(X)\n",
                "",
                "pass",
            ),
            "yielding": (
                "@pytest.fixture\ndef runs(trt_session):\n    trt_session.run(X)\n    yield\n",
                "runs",
                "pass",
            ),
            "requested": ("", "request", "request.getfixturevalue('trt_session').run(X)"),
            "thread": (
                "",
                "trt_session",
                "thread = threading.Thread(target=trt_session.run, args=(X,))\n"
                "thread.start()\nthread.join()",
            ),
            "caught": (
                "",
                "trt_session",
                "try:\n    trt_session.run(X)\nexcept BaseException:\n    pass",
            ),
            "event loop": (
                "",
                "trt_session",
                "async def run():\n    await asyncio.to_thread(trt_session.run, X)\n"
                "asyncio.run(run())",
            ),
            "shared": (
                "@pytest.fixture(scope='SCOPE')\ndef shared(trt_engines):\n"
                "    return trt_engines(**ONE, precision='fp16')\n".replace(
                    "SCOPE", rng.choice(["function", "class", "module", "session"])
                ),
                "shared",
                "shared.run(X)",
            ),
            "subtests": (
                "",
                "trt_session, subtests",
                "with subtests.test():\n    trt_session.run(X)",
            ),
            "other": (
                "",
                "trt_build",
                "trt_build(precision='fp32').run(INPUTS)".replace(
                    "INPUTS", "ZERO" if self.precision == "'fp16'" else "X"
                ),
            ),
            "nothing": ("", "trt_engine", "pass"),
            "late": (
                "@pytest.fixture\ndef late(trt_session):\n    trt_session.run(ZERO)\n    yield\n"
                "    trt_session.run(X)\n",
                "late",
                "pass",
            ),
        }
        site = rng.choice(list(sites))
        fixtures, arguments, body = sites[site]
        before = (
            rng.choice(["", "", "trt_session.run(ZERO)\n"]) if "trt_session" in arguments else ""
        )
        after = rng.choice(["", "", "", "\npytest.skip('later')", "\nassert False", "\nreturn"])
        if "skip" in after and site in ("nothing", "other"):  # which hides no output that is wrong
            after = ""
        return fixtures, arguments, before + body + after

    def _hold(self, marks: dict[str, list[str]], arguments: str, body: str) -> str:
        """Return the test in its class, with its marks."""
        named = ", ".join(filter(None, (arguments, "case" if "set" in marks else "")))
        if self.holder == "unittest":
            # pytest gives fixtures to no method of a TestCase, but by an autouse fixture.
            keep = "".join(
                f"        self.{name} = {name}\n" for name in arguments.split(", ") if name
            )
            test = (
                "@pytest.fixture(autouse=True)\n"
                f"def fixtures(self{', ' if arguments else ''}{arguments}):\n"
                + indent(keep.replace("        ", "") or "pass\n", "    ")
                + self._decorated(marks["function"])
                + "def test_it(self):\n"
                + "".join(f"    {name} = self.{name}\n" for name in arguments.split(", ") if name)
                + indent(body, "    ")
                + "\n"
            )
            held = self._class("class TestIt(unittest.TestCase)", marks["class"], test)
            return self._module(marks) + held
        sets = ""
        if marks["set"] or self.rng.random() < 0.5:
            own = f", marks=[{', '.join(marks['set'])}]" if marks["set"] else ""
            sets = f"@pytest.mark.parametrize('case', [pytest.param(0{own})])\n"
        else:
            named = arguments
        me = "" if self.holder == "function" else "self" + (", " if named else "")
        test = (
            sets
            + self._decorated(marks["function"])
            + f"def test_it({me}{named}):\n{indent(body, '    ')}\n"
        )
        return self._module(marks) + self._in_class(marks, test)

    def _in_class(self, marks: dict[str, list[str]], test: str) -> str:
        if self.holder == "function":
            return test
        if self.holder == "class":
            return self._class("class TestIt", marks["class"], test)
        if self.holder == "nested":
            inner = self._class("class TestInner", marks["inner"], test)
            return self._class("class TestIt", marks["class"], inner)
        if self.holder == "subclass":
            return self._class("class Base", marks["base"], test) + self._class(
                "class TestIt(Base)", marks["class"], "pass\n"
            )
        return (
            self._class("class Base", marks["base"], test)
            + self._class("class Mixin", marks["mixin"], "pass\n")
            + self._class("class TestIt(Mixin, Base)", marks["class"], "pass\n")
        )

    def _class(self, line: str, marks: list[str], body: str) -> str:
        """Return a class whose marks are decorators or a list."""
        if marks and self.rng.random() < 0.5:
            return f"{line}:\n    pytestmark = [{', '.join(marks)}]\n{indent(body, '    ')}"
        return f"{self._decorated(marks)}{line}:\n{indent(body, '    ')}"

    def _module(self, marks: dict[str, list[str]]) -> str:
        return f"pytestmark = [{', '.join(marks['module'])}]\n" if marks["module"] else ""

    @staticmethod
    def _decorated(marks: list[str]) -> str:
        return "".join(f"@{mark}\n" for mark in marks)
