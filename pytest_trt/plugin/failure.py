"""The one way in which checks fail a test."""

from __future__ import annotations

import pytest


class CheckFailure(pytest.fail.Exception, AssertionError):  # type: ignore[misc, name-defined]
    """A check that does not pass.

    It is shown by its text alone, as pytest.fail shows one, and is an AssertionError to whoever
    asks, such as `xfail(raises=AssertionError)`.
    """

    # As pytest calls its own: a longer name would cost the short summary the fact behind it.
    __module__, __qualname__ = "builtins", "Failed"

    def __init__(self, text: str, *, pytrace: bool) -> None:
        # pytest declares its exceptions in a way that hides their parameters from type checkers.
        pytest.fail.Exception.__init__(self, text, pytrace)
