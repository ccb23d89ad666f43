"""Pytest's short summary shows one line of each failure, also on CI, where it cuts nothing."""

from __future__ import annotations

import pytest

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"
GIVEN = """
@pytest.fixture
def given():
    return Path(__file__).parent / "models/pointer.onnx"

@pytest.mark.trt_model(fixture="given")
@pytest.mark.trt_consistency
def test_it(trt_session, trt_inputs):
    pass
"""
NAMED = "@pytest.mark.trt_model('models/pointer.onnx')\ndef test_it(trt_engine):\n    pass\n"
WRONG = """
@pytest.mark.trt_model("models/linear.onnx", reference="models/other.onnx")
@pytest.mark.trt_consistency
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""

UNKNOWN_INPUT = WRONG.replace('"image"', '"imag"')
IN_MODULE = "import pytest_trt\npytest_trt.compare_outputs({}, {}, {'b': None})\n"
SPEED = """
@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_benchmark
def test_it(trt_benchmark, images):
    trt_benchmark({"image": images})
"""


@pytest.fixture
def shown(project, save, monkeypatch):
    """What a run on CI prints: before the short summary, and in it."""
    from builders import save_linear

    monkeypatch.setenv("CI", "true")
    save(save_linear, "other.onnx", seed=1)
    (project.path / "models" / "pointer.onnx").write_text(POINTER)

    def run(source: str) -> tuple[str, list[str]]:
        project.test_file(f"from pathlib import Path\n{source}")
        before, _, after = project.run("-W", "ignore").stdout.str().partition("short test summary")
        return before, after.splitlines()[1:]

    return run


@pytest.mark.parametrize(
    ("source", "start", "code"),
    [
        (GIVEN, "ERROR test_it.py::test_it - models/pointer.onnx is a Git LFS pointer", "TRT201"),
        (NAMED, "ERROR test_it.py - models/pointer.onnx is a Git LFS pointer", "TRT201"),
        (WRONG, "FAILED test_it.py::test_it - logits: ", "TRT415"),
        (UNKNOWN_INPUT, "FAILED test_it.py::test_it - the model has no input 'imag'", "TRT221"),
        (IN_MODULE, "ERROR test_it.py - a tolerance is given for output 'b'", "TRT420"),
    ],
    ids=["setup", "collection", "check", "call", "module"],
)
def test_each_failure_has_one_line_of_the_short_summary(
    shown, source, start: str, code: str
) -> None:
    before, summary = shown(source)
    assert "Fix: " in before
    assert summary[0].startswith(start)
    assert summary[0].endswith(f"[{code}]")
    assert not any("Fix: " in line or line.startswith("  ") for line in summary)


def test_a_baseline_that_is_a_git_lfs_pointer_is_shown_by_what_is_wrong(shown, project) -> None:
    project.test_file(SPEED)
    project.run("--trt-update-new").assert_outcomes(passed=1)
    (stored,) = project.path.glob("trt_baselines/*/test_it.json")
    stored.write_text(POINTER)
    before, summary = shown(SPEED)
    assert "git lfs pull" in before
    assert summary[0].startswith("FAILED test_it.py::test_it - invalid baseline file trt_baselines")
    assert summary[0].endswith("/test_it.json: it is a Git LFS pointer [TRT602]")
    assert not any("Fix: " in line for line in summary)


def test_what_two_checks_of_a_model_find_is_shown_once(shown) -> None:
    before, _ = shown(GIVEN)
    assert before.count("is a Git LFS pointer") == 1


def test_failures_of_others_keep_what_pytest_shows(shown) -> None:
    _, summary = shown("def test_it(): assert False, 'one\\ntwo'\n")
    assert summary[:2] == ["FAILED test_it.py::test_it - AssertionError: one", "  two"]
