"""What pytest itself tells the doctor of a project; each time in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.doctor.project import ProjectFacts
from pytest_trt.workers.question import ask


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write an ini file, and return what pytest makes of the folder."""
    monkeypatch.chdir(tmp_path)

    def write(*lines: str) -> ProjectFacts:
        (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *lines]))
        answer = ask("pytest_trt.plugin.inspection:project_facts", timeout_s=120)
        assert answer.problem == ""
        return ProjectFacts(**answer.value)

    return write


def test_a_project_is_reported_with_its_options(look, tmp_path: Path) -> None:
    facts = look("trt_cache_dir = engines", "trt_cache_size = 3GB", "trt_arch = 8.6")
    assert (facts.starts, facts.is_loaded, facts.settings_problem) == (True, True, None)
    assert facts.pytest == pytest.__version__
    assert (facts.root, facts.ini) == (str(tmp_path), str(tmp_path / "pytest.ini"))
    assert (facts.cache_dir, facts.cache_max_bytes) == (str(tmp_path / "engines"), 3 * 10**9)
    assert facts.baseline_dir == str(tmp_path / "trt_baselines")
    assert list(facts.archs) == ["sm86"]


def test_nothing_is_collected_and_nothing_is_left(look, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("raise RuntimeError")
    (tmp_path / "report.json").touch()
    assert look("trt_report = report.json").starts
    files = {"pytest.ini", "report.json", "test_it.py"}
    assert {path.name for path in tmp_path.iterdir()} == files


def test_a_plugin_that_is_blocked_is_reported(look) -> None:
    facts = look("addopts = -p no:trt")
    assert (facts.starts, facts.is_loaded, facts.is_blocked) == (True, False, True)


@pytest.mark.exhaustive
def test_autoload_that_is_off_is_reported(look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    facts = look()
    assert (facts.is_loaded, facts.is_autoload_off) == (False, True)
    facts = look("addopts = -p pytest_trt.plugin")
    assert facts.is_loaded


def test_options_that_are_not_understood_are_reported(look) -> None:
    problem = look("trt_cache_size = lots").settings_problem
    assert "expected a size above 0 such as" in problem["what"]


@pytest.mark.exhaustive
def test_a_pytest_that_does_not_start_is_reported_with_its_output(look, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import no_such_module_anywhere")
    facts = look()
    assert not facts.starts
    assert "No module named 'no_such_module_anywhere'" in facts.output
    (tmp_path / "conftest.py").unlink()
    assert "--no-such-option" in look("addopts = --no-such-option").output


def test_warnings_as_errors_do_not_disturb(look) -> None:
    assert look("filterwarnings = error").starts
