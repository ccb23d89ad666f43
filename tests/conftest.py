from __future__ import annotations

import os
from pathlib import Path

import pytest

import pytest_trt

# Runs that tests start would add themselves to the summary of the step that runs the tests.
os.environ.pop("GITHUB_STEP_SUMMARY", None)


def pytest_configure() -> None:
    """Refuse to test the checkout where the installed wheel is to be tested."""
    checkout = Path(__file__).resolve().parent.parent
    if os.environ.get("PYTEST_TRT_REQUIRE_WHEEL") == "1":
        package = Path(pytest_trt.__file__).resolve()
        if package.is_relative_to(checkout):
            raise pytest.UsageError(f"PYTEST_TRT_REQUIRE_WHEEL=1, but {package} would be tested")


@pytest.fixture(autouse=True)
def _no_worker_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs that tests start be runs of their own, whichever worker starts them."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
