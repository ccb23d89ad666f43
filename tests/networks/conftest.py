"""What runs projects: a folder with the test files and the models, and pytest in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import networks

# Projects are run from a folder of their own, with models beside them.
collect_ignore = ["projects"]


@pytest.fixture
def run_project(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a project with reduced models: `run_project("bert", "--trt-arch=cpu")`.

    `change` is called with the project's folder before.
    """

    def run(
        name: str, *args: str, change: Callable[[Path], None] = lambda folder: None
    ) -> pytest.RunResult:
        folder = networks.lay_out(name, pytester.path, reduced=True)
        change(folder)
        return pytester.runpytest_inprocess(
            f"--trt-cache-dir={folder / 'cache'}", "--trt-localize=never", *args
        )

    return run
