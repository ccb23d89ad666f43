from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_trt.cli import commands
from pytest_trt.cli.ini import read_project
from pytest_trt.diagnostics import ConfigurationError

TABLE = 'trt_baseline_dir = "perf"\n'
LINES = "trt_baseline_dir = perf\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    monkeypatch.chdir(root / "tests")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return root


FILES = [
    ("pytest.ini", f"[pytest]\n{LINES}"),
    (".pytest.ini", f"[pytest]\n{LINES}"),
    ("pytest.toml", f"[pytest]\n{TABLE}"),
    ("pyproject.toml", f"[tool.pytest.ini_options]\n{TABLE}"),
    ("pyproject.toml", f"[tool.pytest]\n{TABLE}"),
    ("tox.ini", f"[pytest]\n{LINES}"),
    ("setup.cfg", f"[tool:pytest]\n{LINES}"),
]


@pytest.mark.parametrize(("name", "text"), FILES)
def test_folder_of_every_ini_file_is_relative_to_it(root, name, text) -> None:
    (root / name).write_text(text)
    project = read_project()
    assert (project.rootdir, project.ini) == (root, root / name)
    assert project.baselines().path == root / "perf"
    assert project.folder("cache_dir") is None


FINDS = """
import ast, pathlib, sys
from _pytest.config import get_config

for name, text in ast.literal_eval(sys.stdin.read()):
    pathlib.Path(name).write_text(text)
    config = get_config()
    config.parse([])
    print(config.rootpath, config.inipath)
"""


def test_it_is_what_pytest_finds(root) -> None:
    """Each file after the ones before it, so that the order counts too."""
    plain = {"setup.cfg": "[metadata]\nname = a\n", "tox.ini": "[tox]\n"}
    texts = [("pyproject.toml", "[project]\n"), *plain.items(), *reversed(FILES)]
    texts = [(str(root / name), text) for name, text in texts if name != "pytest.toml"]  # pytest 9
    if pytest.version_tuple < (9, 0):
        texts = [(name, text) for name, text in texts if not text.startswith("[tool.pytest]")]
    done = subprocess.run(
        [sys.executable, "-c", FINDS], input=repr(texts), capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(texts)
    for name in dict(texts):
        Path(name).unlink()
    for (name, text), line in zip(texts, lines, strict=True):
        Path(name).write_text(text)
        project = read_project()
        assert line == f"{project.rootdir} {project.ini}", name


def test_without_an_ini_file_it_is_the_current_folder_or_the_nearest_above(root) -> None:
    (root / ".git").mkdir()
    tests = root / "tests"
    assert read_project().baselines().path == tests / "trt_baselines"
    (root / "trt_baselines").mkdir()
    assert read_project().baselines().path == root / "trt_baselines"


def test_options_of_the_command_line_win(root, monkeypatch) -> None:
    (root / "pytest.ini").write_text(
        f"[pytest]\n{LINES}trt_cache_dir = cache\naddopts = -q --trt-baseline-dir=added\n"
    )
    tests = root / "tests"
    project = read_project()
    assert project.baselines().path == tests / "added"
    assert project.cache() == root / "cache"
    monkeypatch.setenv("PYTEST_ADDOPTS", "--trt-baseline-dir ../environment")
    assert project.baselines().path.resolve() == root / "environment"
    assert project.baselines(Path("given")).path == tests / "given"
    assert project.cache(Path("given")) == tests / "given"


@pytest.mark.parametrize(
    ("name", "text"), [("pyproject.toml", "[tool.pytest\n"), ("pytest.ini", "trt = 1\n")]
)
def test_a_broken_file_is_named(root, name, text) -> None:
    (root / name).write_text(text)
    with pytest.raises(ConfigurationError, match=name):
        read_project()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("pytest.ini", "[pytest]\naddopts = 'a\n", "addopts: No closing quotation"),
        ("pytest.ini", "[pytest]\ntrt_cache_dir = ~nobody-of-this-name/x\n", "trt_cache_dir: "),
        ("pytest.ini", "[pytest]\ntrt_cache_dir = a\0b\n", "trt_cache_dir: expected a folder"),
        (
            "pytest.ini",
            "[pytest]\naddopts = --trt-cache-dir=~nobody-of-this-name\n",
            "--trt-cache-dir: ",
        ),
        ("pyproject.toml", "tool = 5\n", "expected a table tool, found 5"),
        ("pyproject.toml", "[tool]\npytest = [1]\n", "expected a table pytest, found [1]"),
        ("pyproject.toml", "a = " + "[" * 5000, "pyproject.toml: "),
        ("pytest.toml", "pytest = 1\n", "expected a table pytest, found 1"),
        ("pytest.toml", "[pytest]\naddopts = [1]\n", "addopts: expected a text or a list of texts"),
    ],
)
def test_whatever_the_file_holds_is_read_or_an_error(tmp_path, name, text, problem) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError) as found:
        read_project(tmp_path).cache()
    assert problem in found.value.message


@pytest.mark.parametrize("words", ["baseline list", "cache list", "doctor"])
def test_folder_below_the_home_of_nobody_is_an_error(words) -> None:
    command, *leaf = words.split()
    words = [command, "--cache-dir=~nobody-of-this-name", *leaf]
    error = CliRunner().invoke(commands, words).exception
    assert isinstance(error, ConfigurationError)
    assert "--cache-dir: ~nobody-of-this-name" in error.message
