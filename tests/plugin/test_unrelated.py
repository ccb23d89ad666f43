"""A project without models runs as if the plugin were not installed."""

from __future__ import annotations

import sys

import pytest

PROJECT = '''
import unittest
import warnings

import pytest


def test_passes():
    """
    >>> 1 + 1
    2
    """


def test_fails():
    assert 1 + 1 == 3


def test_fails_by_word():
    pytest.fail("as asked")


def test_skips():
    pytest.skip("not here")


@pytest.mark.xfail(strict=True)
def test_fails_as_expected():
    raise ValueError("as expected")


@pytest.fixture
def broken():
    raise RuntimeError("broken")


def test_cannot_be_set_up(broken):
    pass


@pytest.mark.parametrize("number", [1, 2])
def test_of_numbers(number):
    warnings.warn("seen")


class TestOfUnittest(unittest.TestCase):
    def test_passes(self):
        with self.subTest(number=1):
            pass
'''

#: Named as the plugin's own are.
LIKE_OURS = """
import pytest

@pytest.fixture
def trt_logger():
    return print

@pytest.mark.trt_slow
def test_logs(trt_logger):
    trt_logger("logged")

@pytest.mark.parametrize("trt_workspace", [1, 2])
def test_workspace(trt_workspace):
    assert trt_workspace
"""


@pytest.fixture(autouse=True)
def _in_ci(pytester, monkeypatch) -> None:
    """Where a run is summed up at its end, more of the plugin takes part in it."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("-q",), marks=pytest.mark.exhaustive),
        ("-vv", "-rA"),
        ("-x", "--tb=line"),
        ("--doctest-modules", "--junitxml=junit.xml"),
        ("--collect-only",),
        pytest.param(("-k", "passes"), marks=pytest.mark.exhaustive),
        pytest.param(("-n1",), marks=pytest.mark.exhaustive),
        ("--benchmark-skip",),
    ],
    ids=" ".join,
)
def test_the_run_ends_as_it_does_without_the_plugin(pytester, options) -> None:
    if "-n1" in options:
        pytest.importorskip("xdist")
    if "--benchmark-skip" in options:
        pytest.importorskip("pytest_benchmark")
    pytester.makepyfile(test_it=PROJECT, test_broken="import nothing_of_this_name")
    args = ("--continue-on-collection-errors", *options)
    bare = pytester.runpytest("-p", "no:trt", *args)
    beside = pytester.runpytest(*args)
    assert beside.ret == bare.ret
    assert beside.parseoutcomes() == bare.parseoutcomes()
    assert beside.stderr.str() == bare.stderr.str()
    assert not (pytester.path / "summary.md").exists()


@pytest.mark.parametrize("options", [(), ("-q",), ("--strict-markers",)], ids=" ".join)
def test_names_like_ours_belong_to_the_project(pytester, options) -> None:
    pytester.makeini("[pytest]\nmarkers = trt_slow(seconds): takes long")
    pytester.makepyfile(LIKE_OURS)
    result = pytester.runpytest(*options)
    result.assert_outcomes(passed=3)
    assert "trt: " not in result.stdout.str()


def test_plugin_errors_do_not_end_runs_that_do_not_use_it(pytester, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of the plugin")

    def get_verbosity(config: pytest.Config, *args: str) -> int:
        if sys._getframe(1).f_globals["__name__"].startswith("pytest_trt."):
            fail()
        return had(config, *args)

    had = pytest.Config.get_verbosity
    monkeypatch.setattr(pytest.Config, "get_verbosity", get_verbosity)
    for name in ("options.settings.read_settings", "run.TrtRun", "collection.parametrize"):
        monkeypatch.setattr(f"pytest_trt.plugin.{name}", fail)
    pytester.makeini("[pytest]\nmarkers = trt_slow(seconds): takes long")
    pytester.makepyfile(LIKE_OURS)
    result = pytester.runpytest()
    assert result.ret == 0
    result.assert_outcomes(passed=3)
    assert result.stderr.str() == ""
