"""`pytest-trt baseline` with stored answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import save_linear
from builders_baseline import Answered, save_answers, save_baselines, stored
from builders_cli import run_command

from pytest_trt.baseline.answers import data_path, read_answers, read_data

ONE, TWO = "1" * 20, "2" * 20


def logits(seed: int = 0, rows: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 10)).astype(np.float32)


def answered(change: float = 0.0, **outputs: np.ndarray) -> Answered:
    """Outputs for one set of inputs."""
    return {ONE: outputs or {"logits": logits() + np.float32(change)}}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in; returns the folder of all baselines in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return Path("trt_baselines")


def shown(*args: str, status: int = 0) -> str:
    done = run_command("baseline", *args)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def refused(*args: str, status: int = 2) -> str:
    done = run_command("baseline", *args)
    assert done.returncode == status, done.stdout
    assert "Fix: " in done.stderr
    return done.stderr


class TestListing:
    def test_list_has_a_section_of_answers(self, root) -> None:
        save_baselines(root, {"test_it[fp16]": stored()})
        outputs = {"logits": logits(), "large": logits(1, 5000)}
        save_answers(root, {"test_it": {ONE: outputs, TWO: outputs}}, reason="trained again")
        lines = shown("list").splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("answers of"))
        assert "test_it[fp16]" in "".join(lines[:at])
        assert lines[at + 1] == f"{root}/answers/tests/test_speed.json"
        test, model, inputs, *outputs_of, _, _, _ = lines[at + 2].split()
        assert (test, model, inputs) == ("test_it", "models/digits.onnx", "2")
        assert outputs_of[:3] == ["4", "2", "sketches"]
        assert lines[at + 3] == "  trained again"
        assert lines[at + 4] == "answers of 1 test"
        speed, answers = json.loads(shown("list", "--json"))
        assert (speed["kind"], answers["kind"]) == ("speed", "answers")
        assert answers["test"] == "tests/test_speed.py::test_it"
        assert (answers["inputs"], answers["outputs"], answers["sketches"]) == (2, 4, 2)

    def test_a_broken_file_is_an_error_and_the_others_are_listed(self, root) -> None:
        save_answers(root, {"test_it": answered()})
        path = save_answers(root, {"test_b": answered()}, module="tests/test_b")
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 7'))
        assert "format 7" in refused("list", status=1)
        assert "test_it" in shown("list", status=1)

    @pytest.mark.parametrize("name", ["test_it", "tests/test_speed.py::test_it[fp16]"])
    def test_show_has_every_output(self, root, name: str) -> None:
        save_baselines(root, {"test_it[fp16]": stored(), "test_other[fp16]": stored()})
        save_answers(root, {"test_it": answered(logits=logits(), large=logits(1, 5000))})
        output = shown("show", name)
        assert "model     models/digits.onnx, abababababab" in output
        assert "inputs 1 of 1: image float32 [8, 64]" in output
        assert "logits  float32 [8, 10], whole, min -" in output
        assert "large  float32 [5000, 10], sketch" in output
        assert ("P99" in output) == ("fp16" in name)
        assert "test_other" not in output
        kinds = [one["kind"] for one in json.loads(shown("show", "--json", name))]
        assert kinds == ["speed", "answers"][-len(kinds) :]


#: One test for all precisions, and one with a parameter of its own.
TESTS = """
import pytest

@pytest.mark.trt_model("linear.onnx", precision=("fp16", "fp32"))
@pytest.mark.trt_consistency(against="stored")
def test_it(trt_session):
    pass

@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.trt_model("linear.onnx", precision="fp16")
@pytest.mark.trt_consistency(against="stored")
def test_sizes(trt_session, size):
    pass
"""


class TestPrune:
    @pytest.fixture
    def answers(self, root, monkeypatch) -> Path:
        """Answers of tests that exist, and of some that do not."""
        monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:anyio -p no:hypothesispytest")
        save_linear(Path("linear.onnx"))
        Path("test_it.py").write_text(TESTS)
        Path("pytest.ini").write_text("[pytest]\n")
        tests = {
            name: answered(change)
            for change, name in enumerate(
                ["test_it", "test_gone", "test_sizes[1]", "test_sizes[3]"]
            )
        }
        save_answers(root, {"test_x": answered()}, module="test_removed")
        return save_answers(root, tests, module="test_it")

    def test_answers_of_deleted_tests_are_removed_with_their_numbers(self, root, answers) -> None:
        size = data_path(answers).stat().st_size
        output = shown("prune", "--yes")
        assert "no test: test_it.py::test_gone answers: test_it.py has no test_gone" in output
        assert "5 baselines: 2 removed." in output
        left = read_answers(answers)
        assert left.tests.keys() == {"test_it", "test_sizes[1]", "test_sizes[3]"}
        assert len(read_data(answers, left.data)) == 3
        assert data_path(answers).stat().st_size < size
        assert not (root / "answers" / "test_removed.npz").exists()
        assert "4 baselines" not in shown("prune", "--yes")

    def test_answers_of_other_parameters_are_removed_on_request(self, root, answers) -> None:
        shown("prune", "--yes", "--parameters")
        assert read_answers(answers).tests.keys() == {"test_it", "test_sizes[1]"}

    def test_a_dry_run_removes_nothing(self, root, answers) -> None:
        before = answers.read_bytes(), data_path(answers).read_bytes()
        assert "2 would be removed" in shown("prune", "--dry-run", status=1)
        assert (answers.read_bytes(), data_path(answers).read_bytes()) == before
