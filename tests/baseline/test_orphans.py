from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.baseline.orphans import Collected, orphan_status


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "tests" / "test_a.py").touch()
    return root


A = "tests/test_a.py"
TESTS = (f"{A}::test_x[fp16]", f"{A}::TestIt::test_y")


@pytest.mark.parametrize(
    ("nodeid", "fate", "message"),
    [
        (f"{A}::test_x[fp16]", "exists", ""),
        (f"{A}::TestIt::test_y", "exists", ""),
        (f"{A}::test_x[sm86-fp16]", "other parameters", "test_x exists, but not with these"),
        (f"{A}::test_gone[fp16]", "missing", f"{A} has no test_gone"),
        (f"{A}::test_y", "missing", f"{A} has no test_y"),
        ("tests/test_gone.py::test_x", "missing", "tests/test_gone.py does not exist"),
    ],
)
def test_only_undefined_tests_are_orphaned(root, nodeid, fate, message) -> None:
    found, why = orphan_status(nodeid, Collected(root, TESTS, ()))
    assert found == fate
    assert why.startswith(message)


@pytest.mark.parametrize("error", [A, "tests", ""])
def test_nothing_is_orphaned_in_what_was_not_collected(root, error) -> None:
    fate, why = orphan_status(f"{A}::test_gone", Collected(root, TESTS, [error]))
    assert fate == "unknown"
    assert "could not be collected" in why


def test_a_model_that_cannot_be_tested_is_of_its_function_alone(root) -> None:
    collected = Collected(root, TESTS, (), unusable=[f"{A}::test_x"])
    fate, why = orphan_status(f"{A}::test_x[fp32]", collected)
    assert (fate, why) == ("unusable model", "a model of test_x cannot be tested")
    assert orphan_status(f"{A}::test_xy[fp32]", collected)[0] == "missing"


def test_nothing_is_orphaned_in_a_file_that_was_left_out(root) -> None:
    fate, why = orphan_status(f"{A}::test_x", Collected(root, ["tests/test_b.py::test_x"], ()))
    assert (fate, why) == ("unknown", f"no test of {A} was collected")


def test_nothing_is_orphaned_outside_of_the_root(root) -> None:
    (root.parent / "test_b.py").touch()
    fate, _ = orphan_status("test_b.py::test_x", Collected(root, TESTS, ()))
    assert fate == "unknown"
