"""`pytest-trt baseline` with stored answers."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from builders import save_linear
from builders_baseline import Answered, save_answers, save_baselines, stored
from builders_cli import run_command
from builders_processes import commit_all

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


def table(output: str) -> dict[str, list[str]]:
    """The cells of each output's row, by its name."""
    rows = [line for line in output.splitlines() if re.match(" {4}\\w", line) and "  " in line[4:]]
    return {cells[0]: cells[1:] for row in rows if (cells := re.split(" {2,}", row.strip()))[1:]}


class TestDiff:
    def diff(self, old: Answered, new: Answered, *args: str, **of) -> str:
        before = save_answers(Path("old"), {"test_it": old, "test_same": answered()})
        after = save_answers(Path("new"), {"test_it": new, "test_same": answered()}, **of)
        return shown("diff", str(before), str(after), *args)

    def test_accepted_errors_have_their_reason_and_numbers(self, root) -> None:
        before = save_answers(
            Path("old"), {"test_it": answered()}, errors={"cpu int8": {"logits": 0.102, "p": 0.1}}
        )
        after = save_answers(
            Path("new"),
            {"test_it": answered()},
            errors={"cpu int8": {"logits": 0.156, "p": 0.1}, "cpu fp16": {"logits": 0.01}},
            reason="ONNX Runtime 1.32",
        )
        assert shown("diff", str(before), str(after)).splitlines()[2:] == [
            "test_it: answers unchanged: ONNX Runtime 1.32",
            "  errors of cpu fp16 added",
            "  errors of cpu int8 changed: logits 0.102 -> 0.156",
        ]

    def test_an_output_that_was_renamed_has_no_error_of_0(self, root) -> None:
        errors = [{"cpu fp16": {"p": 0.1, name: 0.0}} for name in ("old", "new")]
        before = save_answers(Path("old"), {"test_it": answered()}, errors=errors[0])
        after = save_answers(Path("new"), {"test_it": answered()}, errors=errors[1])
        line = shown("diff", str(before), str(after)).splitlines()[3]
        assert line == "  errors of cpu fp16 changed: new added, old removed"

    def test_two_files_give_a_table_of_outputs(self, root) -> None:
        moved, flipped = logits() + np.float32(1e-6), logits()
        moved[2, 3] += np.float32(5e-5)
        flipped[:3] = -flipped[:3]
        old = answered(logits=logits(), probs=logits(), same=logits())
        new = answered(logits=moved, probs=flipped, same=logits())
        output = self.diff(old, new, model_digest="cd" * 32, reason="trained again")
        assert "test_it: answers replaced: trained again" in output
        assert "the model's bytes changed: models/digits.onnx" in output
        assert "inputs image float32 [8, 64]" in output
        rows = table(output)
        assert rows.keys() == {"logits", "probs"}
        assert rows["logits"] == ["5.1e-05 at [2, 3]", "1.62e-06", "0 of 8 rows", "within"]
        assert rows["probs"][2:] == ["3 of 8 rows", "exceeded"]
        assert "test_same: answers unchanged" in output
        other = {"model": "models/other.onnx", "producer": "PyTorch 2.13"}
        output = self.diff(old, new, model_digest="cd" * 32, **other)
        assert "another model: models/digits.onnx -> models/other.onnx" in output
        assert "computed by PyTorch 2.13, before by " in output

    def test_what_cannot_be_compared_is_named(self, root) -> None:
        new = {
            ONE: {"logits": logits(0, 4), "more": logits()},
            TWO: {"logits": logits()},
        }
        output = self.diff(answered(), new)
        assert "not comparable: 1 set of inputs added: image float32 [8, 64]" in output
        assert "logits: not comparable: shape [8, 10] -> [4, 10]" in output
        assert "more: not comparable: it was added" in output
        output = self.diff(answered(), {TWO: {"logits": logits()}})
        assert "test_it: answers replaced, not comparable: other inputs" in output

    def test_a_sketch_shows_what_it_sees(self, root) -> None:
        large = logits(0, 50_000)
        moved = large.copy()
        moved[:1000] += np.float32(0.1)
        old, new = answered(logits=large), answered(logits=moved)
        output = self.diff(old, new)
        assert table(output)["logits"][3] == "exceeded"
        assert "a sketch: changes are those of 4,138" in output
        assert "of 500,000 elements; sums and extremes are exact" in output
        assert "a change of under 0.111% of the elements may not show" in output

    def test_json_has_the_figures(self, root) -> None:
        before = answered(logits=logits(0, 50_000), probs=logits())
        after = answered(logits=logits(0, 50_000) * 2, probs=logits(0, 2))
        found = json.loads(self.diff(before, after, "--json"))
        (one,) = (one for one in found if one["test"] == "test_it")
        assert (one["baseline"], one["kind"]) == ("answers", "replaced")
        logits_of, probs = one["outputs"]
        assert logits_of["sketch"]
        assert logits_of["compared"] < logits_of["elements"] == 500_000
        assert not logits_of["within_fp32_tolerance"]
        assert probs["not_comparable"] == "shape [8, 10] -> [2, 10]"

    def test_exit_status_shows_a_difference_on_request(self, root) -> None:
        one = save_answers(Path("old"), {"test_it": answered()})
        other = save_answers(Path("new"), {"test_it": answered(0.1)})
        shown("diff", str(one), str(other), "--exit-code", status=1)
        assert shown("diff", str(one), str(one), "--exit-code") == "The baselines are the same.\n"

    def test_git_has_the_numbers_of_before(self, root) -> None:
        save_baselines(root, {"test_it[fp16]": stored()})
        save_answers(root, {"test_it": answered(), "test_gone": answered()})
        commit_all(Path())
        assert shown("diff") == "The baselines are the same.\n"
        path = save_answers(root, {"test_it": answered(1), "test_new": answered(2)})
        output = shown("diff")
        assert f"{path} since HEAD" in output
        assert table(output)["logits"][0].startswith("1 at [")
        assert "test_gone: answers removed" in output
        assert "test_new: answers added" in output
        commit_all(Path())
        assert "test_gone" in shown("diff", str(path), "--git=HEAD~1")

    def test_a_file_that_was_added_needs_no_older_numbers(self, root) -> None:
        save_baselines(root, {"test_it[fp16]": stored()})
        commit_all(Path())
        path = save_answers(root, {"test_it": answered()})
        assert "test_it: answers added" in shown("diff")
        commit_all(Path())
        path.unlink()
        data_path(path).unlink()
        assert "test_it: answers removed" in shown("diff")

    def test_numbers_that_are_missing_are_named(self, root) -> None:
        path = save_answers(root, {"test_it": answered()})
        Path(".gitignore").write_text("*.npz\n")
        commit_all(Path())
        path = save_answers(root, {"test_it": answered(1)})
        assert "only the JSON file was committed" in refused("diff")
        data_path(path).unlink()
        assert "TRT673" in refused("diff")

    def test_of_git_lfs_the_filter_is_used_and_a_pointer_is_named(self, root, tmp_path) -> None:
        Path(".gitattributes").write_text("*.npz filter=lfs -text\n")
        path = save_answers(root, {"test_it": answered()})
        commit_all(Path())
        numbers = tmp_path.parent / "numbers"
        numbers.write_bytes(data_path(path).read_bytes())
        # A stand-in for Git LFS: `clean` gives a pointer, `smudge` the content.
        pointer = "echo version https://git-lfs.github.com/spec/v1"
        clean = f"cat >/dev/null; {pointer}"
        subprocess.run(["git", "config", "filter.lfs.clean", clean], check=True)
        data_path(path).touch()
        commit_all(Path(), "--allow-empty", "--amend")
        save_answers(root, {"test_it": answered(1)})
        message = refused("diff")
        assert "test_speed.npz at HEAD are a Git LFS pointer" in message
        assert "git lfs pull" in message
        smudge = f"cat >/dev/null; cat {numbers}"
        subprocess.run(["git", "config", "filter.lfs.smudge", smudge], check=True)
        assert table(shown("diff"))["logits"][0].startswith("1 at [")


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

    @pytest.mark.exhaustive
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
