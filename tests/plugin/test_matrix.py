"""A wrong output in every way of writing a test: none may pass, and none may fail without it.

`tests/benchmarks/mutations.py` runs many more random combinations, with more options and plugins.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from builders import save_linear
from builders_ways import CONFTEST, HEAD, WAYS, Way, mutation, read_outcomes

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "ways.md"


class Suite:
    """A project of many test files, run with outputs that are wrong or right."""

    def __init__(self, project) -> None:
        self._project = project
        self._project.light = ()
        self.path = project.path

    def write(self, files: Mapping[str, str], plugins: Mapping[str, str] = {}) -> None:
        """Write test files by the name of what they try, and plugins."""
        self._project.pytester.syspathinsert()
        names = [f"adds_{name}" for name in plugins]
        (self.path / "conftest.py").write_text(CONFTEST.replace("PLUGINS", repr(names)))
        for name, source in zip(names, plugins.values(), strict=True):
            (self.path / f"{name}.py").write_text(source)
        for name, source in files.items():
            (self.path / f"test_{name}.py").write_text(source)

    def outcomes(self, *args: str, wrong: bool, **given: object) -> dict[str, Counter[str]]:
        """Return how often each file's tests came to each outcome: the worst phase of each test."""
        save_linear(self.path / "models" / "reference.onnx", nudge=0.5 if wrong else 0.0)
        lines = self.path / "outcomes.jsonl"
        lines.write_text("")
        args = ("--continue-on-collection-errors", *args)
        self._project.run(*args, **given)
        found: dict[str, Counter[str]] = {}
        for nodeid, outcome in read_outcomes(lines).items():
            name = Path(nodeid.partition("::")[0]).stem.removeprefix("test_")
            found.setdefault(name, Counter())[outcome] += 1
        return found


@pytest.fixture
def suite(project) -> Suite:
    return Suite(project)


def installed(ways: Iterable[str]) -> dict[str, Way]:
    return {
        name: WAYS[name]
        for name in ways
        if not WAYS[name].needs or importlib.util.find_spec(WAYS[name].needs)
    }


def write_ways(suite: Suite, names: Iterable[str] = tuple(WAYS)) -> dict[str, Way]:
    ways = installed(names)
    plugins = {name: way.plugin for name, way in ways.items() if way.plugin}
    suite.write({name: HEAD + way.source for name, way in ways.items()}, plugins)
    return ways


def test_every_row_of_the_documentation_is_tried() -> None:
    tables = DOCS.read_text(encoding="utf-8").partition("\n## Runs\n")[0].split("|---|---|\n")[1:]
    rows = re.findall(r"^\| (.*?) \| ", "\n".join(tables), flags=re.MULTILINE)
    headers = {"how the test is written", "where the engine is used"}
    assert set(rows) - headers == {way.row for way in WAYS.values()}


def test_wrong_output_fails_every_test_in_every_way(suite) -> None:
    ways = write_ways(suite)
    # Doctests are collected as well; the threads that outlive tests end with them.
    outcomes = suite.outcomes("--doctest-modules", wrong=True)
    for name, way in ways.items():
        found = outcomes[name]
        assert found["passed"] == 0, (name, found)
        if way.tests:
            assert found.total() == way.tests, (name, found)
        else:
            assert found["refused"] + found["failed"] == found.total(), (name, found)


def test_right_output_fails_no_test_that_is_honoured(suite) -> None:
    ways = write_ways(suite)
    outcomes = suite.outcomes("--doctest-modules", wrong=False)
    for name, way in ways.items():
        found = outcomes[name]
        if way.tests:
            assert (found["failed"], found["refused"]) == (way.refused, 0), (name, found)
        else:
            assert found["passed"] == 0, (name, found)


FEW = ("marks", "sets", "unittest", "setup", "shared", "joined")


@pytest.mark.parametrize(
    "args",
    [
        ("--reruns=1",),
        ("-Werror",),
        pytest.param(("-n2", "--dist=worksteal"), marks=pytest.mark.exhaustive),
        pytest.param(("--dist=each", "--tx=2*popen"), marks=pytest.mark.exhaustive),
    ],
    ids=" ".join,
)
def test_wrong_output_fails_however_tests_are_run(suite, args: tuple[str, ...]) -> None:
    ways = write_ways(suite, FEW)
    outcomes = suite.outcomes(*args, wrong=True)
    assert {name: dict(found) for name, found in outcomes.items()} == {
        name: {"failed": way.tests} for name, way in ways.items()
    }


#: Plugins of others that change how or how often a test runs, with what makes them do so.
#: `.ci/plugins` installs all of them. They are loaded one at a time: some clash.
RUNNERS = {
    "flaky.flaky_pytest_plugin": ("--force-flaky", "--max-runs=2"),
    "pytest_forked": ("--forked",),
    "pytest_randomly": (),
    "pytest_repeat": ("--count=2",),
    "pytest_retry.retry_plugin": ("--retries=1",),
    "pytest_run_parallel.plugin": ("--parallel-threads=2",),
    "pytest_timeout": ("--timeout=600",),
}


@pytest.mark.parametrize("plugin", RUNNERS)
def test_wrong_output_fails_under_plugins_that_run_tests_otherwise(
    suite, plugin: str, monkeypatch
) -> None:
    package = plugin.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        assert "PYTEST_TRT_REQUIRE_PLUGINS" not in os.environ, f"{package} is not installed"
        pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    args = ("-p", "pytest_trt.plugin", "-p", plugin, *RUNNERS[plugin])
    ways = write_ways(suite, ["marks", "sets", "setup", "shared", "joined"])
    wrong = suite.outcomes(*args, wrong=True, subprocess=True)
    assert {name: found["passed"] for name, found in wrong.items()} == dict.fromkeys(ways, 0)
    if plugin != "pytest_forked":  # with pytest 9.2 it fails every test
        right = suite.outcomes(*args, wrong=False, subprocess=True)
        assert {name: found.keys() for name, found in right.items()} == {
            name: {"passed"} for name in ways
        }


@pytest.mark.exhaustive
def test_wrong_output_fails_where_python_removes_assertions(suite, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    ways = write_ways(suite, ["marks", "unittest"])
    outcomes = suite.outcomes(wrong=True, subprocess=True)
    assert all(outcomes[name]["failed"] == way.tests for name, way in ways.items())


@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_wrong_output_fails_in_runs_of_what_failed_last(suite, option: str) -> None:
    ways = write_ways(suite, ["marks"])
    for _ in range(2):
        outcomes = suite.outcomes("-p", "cacheprovider", "-p", "stepwise", option, wrong=True)
        assert outcomes["marks"]["passed"] == 0
        assert outcomes["marks"]["failed"] in (1, ways["marks"].tests)


@pytest.mark.parametrize("seed", range(4))
def test_no_random_way_of_writing_a_test_passes_with_a_wrong_output(suite, seed: int) -> None:
    rng = random.Random(seed)
    suite.write({f"{number:02}": mutation(rng) for number in range(12)})
    outcomes = suite.outcomes(*rng.choice([(), ("--reruns=1",), ("-Werror",)]), wrong=True)
    assert len(outcomes) == 12
    passed = [name for name, found in outcomes.items() if found["passed"] or found["skipped"]]
    assert not passed, [(suite.path / f"test_{name}.py").read_text() for name in passed]
