from __future__ import annotations

import pickle

from pytest_trt.diagnostics import EngineBuildError, ModelError


def test_text_is_the_message_and_the_fix() -> None:
    assert str(ModelError("m.onnx is empty.", fix="export it again.")) == (
        "m.onnx is empty.\nFix: export it again."
    )


def test_build_error_shows_the_tail_of_the_log_between_them() -> None:
    error = EngineBuildError("It failed.", fix="mend it.", log_tail=["one", "two"])
    assert str(error) == "It failed.\n  | one\n  | two\nFix: mend it."


def test_errors_cross_process_boundaries_whole() -> None:
    error = EngineBuildError("It failed.", fix="mend it.", log_tail=["one"])
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is EngineBuildError
    assert str(copy) == str(error)
    assert copy.log_tail == ("one",)
