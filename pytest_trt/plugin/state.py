"""What the plugin remembers, and where: on pytest's stashes, under typed keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_trt.engine import Engine
    from pytest_trt.plugin.consistency import ConsistencyCheck
    from pytest_trt.plugin.options import Settings
    from pytest_trt.plugin.progress import TerminalProgress
    from pytest_trt.plugin.run import TrtRun

SETTINGS_KEY: pytest.StashKey[Settings] = pytest.StashKey()
RUN_KEY: pytest.StashKey[TrtRun] = pytest.StashKey()
PROGRESS_KEY: pytest.StashKey[TerminalProgress] = pytest.StashKey()
TEST_KEY: pytest.StashKey[TestState] = pytest.StashKey()


@dataclass
class TestState:
    """What one test has done so far.

    Attributes:
        engines: Engines that it asked for.
        check: Its consistency check, once there is one.
        remarks: What the reader of a failure should know of how it ran.
        skipped: Why the plugin skipped it.
    """

    __test__ = False

    engines: list[Engine] = field(default_factory=list)
    check: ConsistencyCheck | None = None
    remarks: list[str] = field(default_factory=list)
    skipped: str | None = None


def run_of(config: pytest.Config) -> TrtRun:
    """Return what the tests of this run share, made when it is first asked for."""
    run = config.stash.get(RUN_KEY, None)
    if run is None:
        from pytest_trt.plugin.run import TrtRun

        run = config.stash[RUN_KEY] = TrtRun(config.stash[SETTINGS_KEY])
    return run


def state_of(item: pytest.Item) -> TestState:
    """Return the state of a test, which begins with the first question for it."""
    return item.stash.setdefault(TEST_KEY, TestState())
