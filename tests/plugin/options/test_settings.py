"""pytest takes a path that follows an option of a plugin for a path of tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin.conftest import assert_shows, assert_usage_error

from pytest_trt.plugin.options.values import CI_VARIABLES, missing_baseline


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """A folder that is there, outside of the project."""
    folder = tmp_path / "apart"
    folder.mkdir()
    return folder


@pytest.fixture(params=["[pytest]\n", ""], ids=["ini", "no ini"])
def tests(request: pytest.FixtureRequest, project) -> None:
    if request.param:
        project.pytester.makeini(request.param)
    project.test_file("def test_it():\n    pass\n")


@pytest.mark.usefixtures("tests")
def test_path_that_would_change_the_project_is_refused_with_how_to_write_it(project, apart) -> None:
    result = project.pytester.runpytest("--trt-cache-dir", apart)
    assert_usage_error(
        result, f"ERROR: --trt-cache-dir {apart}: *", f"Fix: Write --trt-cache-dir={apart}"
    )


@pytest.mark.usefixtures("tests")
def test_path_after_an_equals_sign_changes_nothing(project, apart) -> None:
    result = project.pytester.runpytest(f"--trt-cache-dir={apart}")
    assert_shows(result, f"rootdir: {project.pytester.path}", passed=1)


@pytest.mark.usefixtures("tests")
def test_report_is_refused_only_where_it_is_there_already(project, apart) -> None:
    report = apart / "report.html"
    project.pytester.runpytest("--trt-report", report).assert_outcomes(passed=1)
    report.write_text("")
    result = project.pytester.runpytest("--trt-report", report)
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.usefixtures("tests")
def test_path_within_the_project_is_fine(project) -> None:
    project.pytester.mkdir("cache")
    result = project.pytester.runpytest("--trt-cache-dir", "cache")
    assert_shows(result, f"rootdir: {project.pytester.path}", passed=1)


def test_path_is_fine_where_paths_of_tests_lead_to_the_ini_file(project, apart) -> None:
    project.pytester.makeini("[pytest]\n")
    project.test_file("def test_it():\n    pass\n")
    result = project.pytester.runpytest(".", "--trt-cache-dir", apart)
    assert_shows(result, f"rootdir: {project.pytester.path}", passed=1)


def test_path_is_fine_where_the_ini_file_is_named(project, apart) -> None:
    project.pytester.makeini("[pytest]\n")
    project.test_file("def test_it():\n    pass\n")
    project.pytester.runpytest("-c", "tox.ini", "--trt-cache-dir", apart).assert_outcomes(passed=1)


def test_path_in_the_environment_is_refused_too(project, apart, monkeypatch) -> None:
    project.test_file("def test_it():\n    pass\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--trt-cache-dir {apart}")
    assert_usage_error(project.pytester.runpytest(), f"*Fix: Write --trt-cache-dir={apart}")


def refused(result: pytest.RunResult) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = "\n".join([*result.outlines, *result.errlines])
    assert "INTERNALERROR" not in text
    return text


#: A test for which the options are read.
USER = '@pytest.mark.trt_model("models/linear.onnx")\ndef test_it(trt_model_path):\n    pass\n'


@pytest.mark.parametrize("where", ["ini", "-o"])
@pytest.mark.parametrize("name", ["trt_aganist", "trt-against", "trt_Against"])
def test_a_misspelt_line_of_the_ini_file_is_a_usage_error(project, name: str, where: str) -> None:
    """The tests would pass without the comparison that it asks for."""
    project.test_file(USER)
    if where == "ini":
        (project.path / "pytest.ini").write_text(f"[pytest]\n{name} = stored\n")
        result = project.run("-Wignore")
    else:
        result = project.run("-Wignore", f"-o{name}=stored")
    text = refused(result)
    assert f"{name} in the ini file: no such option; did you mean 'trt_against'?" in text


def test_a_misspelt_line_is_refused_before_anything_is_collected(project) -> None:
    """Else each module would have an error of its own, with a traceback through the plugin."""
    project.test_file(USER)
    project.pytester.makeini("[pytest]\ntrt_archs = cpu\n")
    result = project.pytester.runpytest()  # nothing else is given: no other reason to read them
    assert_usage_error(result, "ERROR: trt_archs in the ini file: no such option; *'trt_arch'?*")
    assert "collected" not in result.stdout.str()


def test_lines_of_other_plugins_are_theirs(project) -> None:
    project.test_file(USER)
    (project.path / "pytest.ini").write_text("[pytest]\ntrt_own = 1\nother = 2\n")
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write("\ndef pytest_addoption(parser):\n    parser.addini('trt_own', 'own')\n")
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["update", "update-new", "calibrate"])
def test_an_update_in_the_ini_file_is_a_usage_error(project, option: str) -> None:
    """Otherwise every run would record, and none compare."""
    project.test_file(USER)
    ini, name = project.path / "pytest.ini", f"trt_{option.replace('-', '_')}"
    for line, shown in (
        (f"{name} = true", name),
        (f"addopts = --trt-{option}", f"--trt-{option} of addopts"),
    ):
        ini.write_text(f"[pytest]\n{line}\n")
        found = refused(project.run())
        assert f"{shown} is set in the ini file" in found
    for line, args in (
        (f"{name} = false", []),
        ("", [f"-o{name}=true"]),
        ("", [f"--trt-{option}"]),
    ):
        ini.write_text(f"[pytest]\n{line}\n")
        project.run(*args).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "option",
    [
        *("arch", "device", "require-arch", "require-models", "missing-baseline"),
        *("baseline-dir", "report"),
    ],
)
def test_an_empty_gate_is_a_usage_error_and_not_the_default(project, option: str) -> None:
    """A shell makes one of --trt-arch=$ARCH where the variable is not set."""
    project.test_file("def test_it():\n    pass\n")
    assert f"--trt-{option} is empty: is a variable not set?" in refused(
        project.run(f"--trt-{option}=")
    )
    (project.path / "pytest.ini").write_text(f"[pytest]\ntrt_{option.replace('-', '_')} =\n")
    project.run().assert_outcomes(passed=1)  # states the default


@pytest.mark.parametrize("option", ["cache-dir", "baseline-dir", "report"])
def test_path_below_the_home_of_nobody_is_a_usage_error(project, option: str) -> None:
    project.test_file("def test_it():\n    pass\n")
    text = refused(project.run(f"--trt-{option}=~nobody-of-this-name/a.json"))
    assert f"--trt-{option}: expected a path below the home folder of a user who exists" in text


@pytest.mark.parametrize("option", ["baseline_dir", "report"])
def test_path_with_a_nul_character_is_a_usage_error(project, option: str) -> None:
    project.test_file("def test_it():\n    pass\n")
    (project.path / "pytest.ini").write_text(f"[pytest]\ntrt_{option} = a\0b.json\n")
    text = refused(project.run())
    assert f"trt_{option} in the ini file: expected a path, in which no system has a NUL" in text


def test_home_folder_in_the_ini_file_is_the_users_as_for_the_command(project, monkeypatch) -> None:
    home = project.path / "home"
    monkeypatch.setenv("HOME", str(home))
    project.test_file("def test_it():\n    pass\n")
    (project.path / "pytest.ini").write_text("[pytest]\ntrt_report = ~/r.json\n")
    assert project.run().ret == 0
    assert (home / "r.json").exists()


def test_libraries_of_the_ini_file_are_relative_to_it(project) -> None:
    folder = project.path / "build"
    folder.mkdir()
    (folder / "libmyplugins.so").touch()
    (project.path / "pytest.ini").write_text(
        "[pytest]\ntrt_plugin_library =\n    build/libmyplugins.so\n"
    )
    project.test_file(
        "from pytest_trt.plugin.state import run_of\n"
        "def test_it(request):\n"
        "    (library,) = run_of(request.config).settings.plugin_library\n"
        "    assert library == request.config.rootpath / 'build' / 'libmyplugins.so'\n"
    )
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["baseline_dir", "report"])
def test_home_of_nobody_in_the_ini_file_is_a_usage_error(project, option: str) -> None:
    project.test_file("def test_it():\n    pass\n")
    (project.path / "pytest.ini").write_text(f"[pytest]\ntrt_{option} = ~nobody-of-this/a.json\n")
    assert "expected a path below the home folder" in refused(project.run())


@pytest.mark.parametrize("variable", CI_VARIABLES)
def test_missing_baselines_fail_on_every_ci_system(monkeypatch, variable) -> None:
    assert missing_baseline("") == "record"
    monkeypatch.setenv(variable, "1")
    assert missing_baseline("") == "fail"
    monkeypatch.setenv("CI", "false")
    assert missing_baseline("") == "record"
