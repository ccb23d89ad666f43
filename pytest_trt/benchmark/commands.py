"""Commands that messages name, as a user types them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pytest_trt.benchmark.result import (
    BenchmarkResult,
)

#: Up to so many tests are named in a command; of more, their files.
_TESTS_TYPED = 12
_REASON = "--trt-update-reason"


def pytest_command(tests: Sequence[str], *options: str) -> str:
    """Return the command that runs tests, given as pytest takes them where it is started."""
    named = tests if len(tests) <= _TESTS_TYPED else [test.partition("::")[0] for test in tests]
    return " ".join(("pytest", *map(shlex.quote, dict.fromkeys(named)), *options))


def update_command(tests: Sequence[str], given: Sequence[str] = ()) -> str:
    """Return the command that accepts the figures of tests.

    Args:
        tests: The tests.
        given: Options that the user gave, to repeat; a reason is asked for unless they have one.
    """
    has_reason = any(one.startswith(f"{_REASON}=") for one in given)
    asked = () if has_reason else (f'{_REASON} "..."',)
    return pytest_command(tests, "--trt-update", *asked, *map(shlex.quote, given))


def command_again(result: BenchmarkResult, *options: str, update: bool) -> str:
    """Return the command that runs a test again with more options.

    Args:
        result: What is known of the test.
        options: The options; each replaces the one of this run.
        update: Whether the run is to update the baseline.
    """
    replaced = tuple(f"{one.partition('=')[0]}=" for one in options)
    others = [one for one in result.update_options if not one.startswith(replaced)]
    if update:
        return update_command([result.test_argument], [*others, *options])
    again = [one for one in others if not one.startswith(f"{_REASON}=")]
    return pytest_command([result.test_argument], *map(shlex.quote, again), *options)
