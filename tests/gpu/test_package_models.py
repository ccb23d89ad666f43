"""Pretrained models out of packages, in every precision.

The GPU machine has no packages: `collect_models.py` gathers their files elsewhere, and
PYTEST_TRT_MODELS names the folder with them. A case whose files are missing is skipped, and fails
where PYTEST_TRT_REQUIRE_MODELS=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import package_cases
import pytest
from package_cases import CASES, Case, Expected

pytestmark = pytest.mark.gpu


@pytest.fixture
def files() -> Callable[[Case], list[Path]]:
    """Find the files of a case."""

    def find(case: Case) -> list[Path]:
        named = os.environ.get("PYTEST_TRT_MODELS")
        if named is None:
            _without("PYTEST_TRT_MODELS names no folder of models")
        found = [Path(named) / case.package / Path(file).name for file in case.files]
        missing = [str(path) for path in found if not path.is_file()]
        if missing:
            _without(f"{', '.join(missing)} is not there")
        return found

    return find


def _without(reason: str) -> None:
    if os.environ.get("PYTEST_TRT_REQUIRE_MODELS") == "1":
        pytest.fail(f"PYTEST_TRT_REQUIRE_MODELS=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, precision) for name, case in CASES.items() for precision in case.precisions],
)
def test_model_agrees_with_its_reference(
    gpu, files, inner_pytest, tmp_path: Path, name: str, precision: str
) -> None:
    case = CASES[name]
    package_cases.lay_out(case, precision, files(case), tmp_path)
    result = inner_pytest(tmp_path)
    check(result, case.expected_in(precision), case.tests)


def check(result: pytest.RunResult, expected: Expected, tests: int) -> None:
    found = result.parseoutcomes()
    print(f"{found}, and {expected.value}")
    agrees, refused = found == {"passed": tests}, found == {"errors": tests}
    if refused:
        # One refusal is told in as many words as another: with what to do, without our innards.
        assert result.stdout.str().count("Fix: ") >= tests
        result.stdout.no_fnmatch_line("*Traceback*")
    if expected is Expected.AGREES:
        assert agrees
    elif expected is Expected.REFUSED:
        assert refused
    elif expected is Expected.TOLD:
        assert agrees or refused
    else:
        assert set(found) <= {"passed", "failed"}
        assert sum(found.values()) == tests
