from __future__ import annotations

from dataclasses import replace

import pytest
from builders_doctor import NO_GPU, machine

from pytest_trt.diagnostics import Remedy
from pytest_trt.doctor.finding import Level, Problem, remedy_text
from pytest_trt.doctor.project import ProjectFacts, project_findings

WELL = ProjectFacts(
    "/project", "9.2.0", True, True, root="/project", ini="/project/pytest.ini", is_loaded=True
)
NOT_LOADED = replace(WELL, is_loaded=False)


def judge(facts: ProjectFacts, host=NO_GPU, *installed: str):
    return list(project_findings(facts, host.probe, installed.__contains__))


def test_a_plugin_that_is_loaded_is_well() -> None:
    (found,) = judge(WELL)
    assert found.level is Level.OK
    assert "loaded by pytest 9.2.0 for /project/pytest.ini" in found.what


@pytest.mark.parametrize(
    ("facts", "fix"),
    [
        (replace(NOT_LOADED, is_blocked=True), "`-p no:trt` from /project/pytest.ini or PYTEST_"),
        (replace(NOT_LOADED, is_blocked=True, ini=""), "`-p no:trt` from PYTEST_ADDOPTS"),
        (replace(NOT_LOADED, is_autoload_off=True), "Unset PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
        (replace(NOT_LOADED, has_entry_point=False), "pip install pytest-trt"),
        (replace(NOT_LOADED, starts=False, output="ImportError"), "pytest --co"),
    ],
)
def test_a_plugin_that_is_not_loaded_is_an_error_with_its_cure(facts, fix) -> None:
    (found,) = judge(facts)
    assert found.level is Level.ERROR
    assert fix in remedy_text(found.remedy)


def test_options_that_are_not_understood_are_an_error() -> None:
    _, found = judge(replace(WELL, settings_problem=Problem("trt_cache_size: expected a size")))
    assert found.level is Level.ERROR
    assert remedy_text(found.remedy) == "Correct it in /project/pytest.ini."
    _, found = judge(
        replace(WELL, settings_problem=Problem("trt_arch: no such", Remedy("Name it as sm86.")))
    )
    assert (found.why, remedy_text(found.remedy)) == ("trt_arch: no such", "Name it as sm86.")


def test_options_for_a_backend_that_is_broken_send_to_its_own_finding() -> None:
    facts = replace(WELL, backend="tensorrt")
    *_, found = project_findings(facts, NO_GPU.probe, {"onnxruntime"}.__contains__, ["TensorRT"])
    assert found.why.startswith("TensorRT cannot be used, see above; without: ")
    assert remedy_text(found.remedy).startswith("Fix the backend as described above.")


@pytest.mark.parametrize(
    ("fields", "host", "installed"),
    [
        ({"archs": ("cpu",)}, NO_GPU, ()),
        ({"archs": ("sm86",)}, NO_GPU, ("tensorrt_rtx",)),
        ({"archs": ("sm90",)}, machine("sm90"), ("tensorrt",)),
        ({"backend": "onnxruntime"}, NO_GPU, ()),
        ({"device": "1"}, machine("sm90", "sm86"), ("tensorrt",)),
    ],
)
def test_options_that_can_be_had_are_well(fields, host, installed) -> None:
    *_, found = judge(replace(WELL, **fields), host, *installed)
    assert (found.name, found.level) == ("options", Level.OK)


@pytest.mark.parametrize(
    ("fields", "host", "installed", "fix"),
    [
        ({"archs": ("sm86",)}, NO_GPU, (), "pip install 'tensorrt-rtx>="),
        ({"archs": ("sm86",)}, machine("sm90"), ("tensorrt",), "--trt-arch sm90"),
        ({"backend": "tensorrt"}, NO_GPU, (), "tensorrt-cu12"),
        ({"device": "7"}, machine("sm90"), ("tensorrt",), "Name one GPU by its number"),
        ({"device": "0"}, NO_GPU, ("tensorrt",), "Run on a machine with an NVIDIA GPU"),
    ],
)
def test_options_that_cannot_be_had_are_an_error(fields, host, installed, fix) -> None:
    *_, found = judge(replace(WELL, **fields), host, *installed)
    assert (found.name, found.level) == ("options", Level.ERROR)
    assert fix in remedy_text(found.remedy)


def test_a_backend_of_another_plugin_is_not_examined() -> None:
    *_, found = judge(replace(WELL, backend="remote"))
    assert (found.name, found.level) == ("options", Level.NOTE)
    assert "trt_backend = remote: a backend of another plugin" in found.what
