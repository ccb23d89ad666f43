"""What runs projects: a folder with the test files and the models, and pytest in it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

import networks

# Projects are run from a folder of their own, with models beside them.
collect_ignore = ["projects"]

# pytester takes back what an inner run imports, so that the next one would import it again. What
# is imported out here stays.
for _name in (
    "hypothesis",
    "pytest_trt.backends.conversion",
    "pytest_trt.backends.conversion.fp16_rounding",
    "pytest_trt.plugin.run",
    "tensorrt_rtx",
):
    if importlib.util.find_spec(_name.partition(".")[0]) is not None:
        importlib.import_module(_name)


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
        return pytester.runpytest_inprocess(f"--trt-cache-dir={folder / 'cache'}", *args)

    return run
