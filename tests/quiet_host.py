"""A plugin for pytest runs of tests: a host that is as busy as the test says, by default idle.

In other processes it is loaded as `-p quiet_host`.

PYTEST_DONT_REWRITE: pytest would warn that it is imported before it is loaded so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.benchmark import sampling
from pytest_trt.benchmark.host import HostLoad, HostMonitor, LoadMeter
from pytest_trt.benchmark.warmup import WarmUp
from pytest_trt.plugin.state import HOST_KEY

#: Where Linux would report load, if there was anything.
NOWHERE = Path("/nonexistent")

#: When a small engine is warm that is compared with itself, or with one many times as slow. The
#: time of a call is estimated from one window: it has to be longer than a pause on a busy host.
SOON = WarmUp(least_s=0.0, window_s=0.05, within=0.1, most_s=0.3)

#: A host on which threads waited, and what is reported of it.
OVERLOADED = HostLoad(elapsed_s=1.0, waited_s=0.45)
BUSY = "threads waited 0.45x their run time for a CPU core"


class FixedMeter(LoadMeter):
    """Reports one load, whatever happens."""

    def __init__(self, load: HostLoad) -> None:
        super().__init__(NOWHERE)
        self.load = load

    def add(self, load: HostLoad) -> None:
        """Leave it at that."""


class FixedHost(HostMonitor):
    """A host of one load; to be given to a run as a plugin.

    Attributes:
        load: What it does for others.
    """

    proc = NOWHERE

    def __init__(self) -> None:
        self.load = HostLoad()

    def meter(self) -> LoadMeter:
        return FixedMeter(self.load)

    def believed(self, load: HostLoad) -> HostLoad:
        return self.load

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[HOST_KEY] = self


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Be idle, and spread the rounds of no baseline over a second."""
    sampling.STORED_S = 0.0
    config.stash[HOST_KEY] = FixedHost()
