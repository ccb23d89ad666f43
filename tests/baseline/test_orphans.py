from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.baseline.orphans import Collected, fate_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "tests" / "test_a.py").touch()
    return root


A = "tests/test_a.py"
TESTS = (f"{A}::test_x[fp16]", f"{A}::TestIt::test_y")


@pytest.mark.parametrize(
    ("nodeid", "fate", "said"),
    [
        (f"{A}::test_x[fp16]", "there", ""),
        (f"{A}::TestIt::test_y", "there", ""),
        (f"{A}::test_x[sm86-fp16]", "other parameters", "test_x is there, but not with these"),
        (f"{A}::test_gone[fp16]", "gone", f"{A} has no test_gone"),
        (f"{A}::test_y", "gone", f"{A} has no test_y"),
        ("tests/test_gone.py::test_x", "gone", "tests/test_gone.py is gone"),
    ],
)
def test_only_what_nobody_defines_is_gone(root, nodeid, fate, said) -> None:
    found, why = fate_of(nodeid, Collected(root, TESTS, ()))
    assert found == fate
    assert why.startswith(said)


@pytest.mark.parametrize("error", [A, "tests", ""])
def test_nothing_is_gone_from_what_was_not_collected(root, error) -> None:
    fate, why = fate_of(f"{A}::test_gone", Collected(root, TESTS, [error]))
    assert fate == "unsure"
    assert "was not collected whole" in why


def test_nothing_is_gone_from_a_file_that_was_left_out(root) -> None:
    fate, why = fate_of(f"{A}::test_x", Collected(root, ["tests/test_b.py::test_x"], ()))
    assert (fate, why) == ("unsure", f"no test of {A} was collected")


def test_nothing_is_gone_from_outside_of_the_root(root) -> None:
    (root.parent / "test_b.py").touch()
    fate, _ = fate_of("test_b.py::test_x", Collected(root, TESTS, ()))
    assert fate == "unsure"
