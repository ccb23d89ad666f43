from __future__ import annotations

import pickle
import shlex
from pathlib import Path

import pytest

from pytest_trt.diagnostics import (
    DeviceLostError,
    Diagnostic,
    EngineBuildError,
    ModelError,
    PytestTrtError,
    Remedy,
    as_typed,
    failure_lines,
    git_restore_commands,
    in_context,
)

REMEDY = Remedy("Restore it.", commands=("git lfs pull",), alternatives=("name another model",))


def test_text_is_headline_details_and_remedy() -> None:
    found = Diagnostic("TRT200", "m.onnx is no model", details=("line 1",), remedy=REMEDY)
    assert str(found).splitlines() == [
        "m.onnx is no model [TRT200]",
        "  line 1",
        "Fix: Restore it.",
        "    git lfs pull",
        "  - Name another model",
    ]


@pytest.mark.parametrize(
    ("more", "line"),
    [(0, "m.onnx [TRT200]"), (1, "and 1 more failure: "), (2, "and 2 more failures: ")],
)
def test_of_many_failures_the_first_are_shown_and_the_others_counted(more: int, line: str) -> None:
    *_, last = failure_lines([Diagnostic("TRT200", "m.onnx")] * (3 + more), most=3)
    assert last.startswith(line)


def test_without_a_remedy_there_is_no_fix_line() -> None:
    assert str(Diagnostic("TRT200", "m.onnx")) == "m.onnx [TRT200]"


def test_error_shows_its_diagnostic() -> None:
    error = ModelError("no model", fix=REMEDY, facts={"model": "m.onnx"})
    assert str(error) == str(error.diagnostic)
    assert error.diagnostic.code == ModelError.CODE
    assert error.diagnostic.facts == {"model": "m.onnx"}
    assert ModelError("no model", fix="x", code="TRT201").diagnostic.code == "TRT201"


def test_build_error_shows_the_end_of_the_log() -> None:
    error = EngineBuildError("it failed", fix="Fix it.", log_tail=["one", "two"])
    assert str(error).splitlines()[1:3] == ["  | one", "  | two"]


@pytest.mark.parametrize(
    "error",
    [
        EngineBuildError("it failed", fix=REMEDY, log_tail=["one"]),
        DeviceLostError("lost", fix="restart", status="cudaErrorIllegalAddress"),
    ],
)
def test_error_survives_pickling(error: PytestTrtError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.diagnostic) == (type(error), error.diagnostic)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_context_precedes_the_message() -> None:
    error = in_context(ModelError("no model", fix="x"), "trt_model")
    assert isinstance(error, ModelError)
    assert error.message == "trt_model: no model"


def test_commands_with_a_path_are_taken_by_a_shell_as_one_word(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path.cwd() / "my models" / "$m.onnx"
    for command in git_restore_commands(path):
        assert shlex.split(command)[-1] == "my models/$m.onnx"


def test_a_path_is_absolute_where_the_working_directory_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_typed(tmp_path / "m.onnx") == "m.onnx"
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert as_typed(tmp_path / "m.onnx") == str(tmp_path / "m.onnx")
