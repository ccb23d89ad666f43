from __future__ import annotations

from pathlib import Path

import pytest
from builders_baseline import SLUG, TARGET, save_baselines, stored

from pytest_trt.baseline.file import module_of
from pytest_trt.baseline.location import BaselineFolder, BaselineLocation, find_folder
from pytest_trt.diagnostics import BaselineError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a folder of tests."""
    project = tmp_path / "project"
    (project / "tests").mkdir(parents=True)
    (project / ".git").mkdir()
    return project


def found(start: Path, rootdir: Path, *, has_ini: bool = False, configured: Path | None = None):
    folder = find_folder(start, rootdir=rootdir, has_ini=has_ini, configured=configured)
    return folder.path, folder.base, folder.above


def located(folder: Path, base: Path, module: Path, test: str = "test_a") -> BaselineLocation:
    return BaselineLocation.of(BaselineFolder(folder, base), module, test, TARGET, rootdir=base)


def test_without_any_folder_it_is_in_the_root_folder(project) -> None:
    tests = project / "tests"
    assert found(tests, project) == (project / "trt_baselines", project, None)
    assert found(tests, tests) == (tests / "trt_baselines", tests, None)


def test_without_an_ini_file_it_is_the_nearest_above_the_tests(project) -> None:
    tests, outer = project / "tests", project / "trt_baselines"
    outer.mkdir()
    for rootdir in (project, tests):
        assert found(tests, rootdir) == (outer, project, None)
    (tests / "trt_baselines").mkdir()
    for rootdir in (project, tests):
        assert found(tests, rootdir) == (tests / "trt_baselines", tests, None)


def test_folders_outside_of_the_repository_do_not_count(project) -> None:
    (project.parent / "trt_baselines").mkdir()
    assert found(project / "tests", project)[0] == project / "trt_baselines"
    assert found(project, project, has_ini=True)[2] is None


def test_the_folder_is_next_to_the_ini_file_and_a_second_one_is_noticed(project) -> None:
    tests, outer = project / "tests", project / "trt_baselines"
    assert found(tests, tests, has_ini=True) == (tests / "trt_baselines", tests, None)
    outer.mkdir()
    assert found(tests, tests, has_ini=True) == (tests / "trt_baselines", tests, outer)
    assert found(tests, project, has_ini=True) == (outer, project, None)
    (tests / "trt_baselines").mkdir()
    assert found(tests, tests, has_ini=True) == (tests / "trt_baselines", tests, None)


def test_the_configured_folder_wins(project) -> None:
    (project / "trt_baselines").mkdir()
    chosen = project / "perf"
    for has_ini in (False, True):
        assert found(project / "tests", project, has_ini=has_ini, configured=chosen) == (
            chosen,
            project,
            None,
        )


def test_modules_outside_of_the_root_folder_have_their_own_files(project) -> None:
    folder, inner = project / "trt_baselines", project / "inner"
    modules = ["tests/test_a.py", "../tests/test_a.py", "../../test_a.py"]
    paths = [located(folder, inner, (inner / module).resolve()).path for module in modules]
    assert len(set(paths)) == 3
    assert all(path.is_relative_to(folder / SLUG) for path in paths)
    assert [module_of(folder, path) for path in paths] == modules


def test_a_file_is_shown_relative_to_the_root_folder_if_it_is_close(project) -> None:
    tests = project / "tests"
    near = located(project / "trt_baselines", project, tests / "test_a.py")
    assert near.shown == f"trt_baselines/{SLUG}/tests/test_a.json"
    folder = BaselineFolder(project / "trt_baselines", project)
    above = BaselineLocation.of(folder, tests / "test_a.py", "test_a", TARGET, rootdir=tests)
    assert above.shown == f"../trt_baselines/{SLUG}/tests/test_a.json"
    far = located(project.parent / "mount" / "far", project, tests / "test_a.py")
    assert far.shown == str(far.path)


def test_models_of_the_project_are_named_by_their_path_and_others_by_their_file(project) -> None:
    place = located(project / "trt_baselines", project, project / "test_a.py")
    assert place.model_name(project / "team_a" / "model.onnx") == "team_a/model.onnx"
    assert place.model_name(project.parent / "tmp" / "model.onnx") == "model.onnx"


def test_devices_are_those_on_which_the_module_has_baselines(project) -> None:
    root = project / "trt_baselines"
    place = located(root, project, project / "tests" / "test_speed.py")
    assert (place.device, place.devices()) == (SLUG, [])
    save_baselines(root, {"test_a": stored()})
    save_baselines(root, {"test_a": stored()}, slug="sm86-a10", target={"arch": "sm86"})
    save_baselines(root, {"test_a": stored()}, slug="sm75-t4", module="test_other")
    assert place.devices() == ["sm86-a10", SLUG]


def test_a_file_of_another_target_is_refused(project) -> None:
    root = project / "trt_baselines"
    place = located(root, project, project / "tests" / "test_speed.py")
    assert place.read() is None
    save_baselines(root, {"test_a": stored()})
    assert place.read() == stored()
    save_baselines(root, {"test_a": stored()}, target={"arch": "sm86"})
    with pytest.raises(BaselineError, match="recorded on sm86, but this is sm90") as caught:
        place.read()
    assert caught.value.diagnostic.code == "TRT605"


def test_what_a_killed_run_left_goes_when_the_next_one_reads(project) -> None:
    folder = project / "trt_baselines"
    path = save_baselines(folder, {"test_a": stored()}, module="tests/test_x")
    left = path.parent / ".pytest-trt-0123456789ab"
    left.mkdir()
    (left / ".gitignore").write_text("*\n")
    (left / ".test_x.json.0123456789ab").write_text("half")
    assert located(folder, project, project / "tests" / "test_x.py").read() == stored()
    assert [one.name for one in path.parent.iterdir()] == [path.name]
