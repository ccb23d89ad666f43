"""The guides of docs/ are followed here, block by block, as a reader would."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import quiet_host
from builders_networks import save_flat
from click.testing import CliRunner
from plugin.conftest import LIGHT
from test_docs import README, ROOT, Folder, blocks, folder, home, page, section, shape

from pytest_trt import cli

__all__ = ["folder", "home"]

BLOCK = re.compile(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', flags=re.DOTALL | re.MULTILINE)

#: Runs a line of a page in a folder, and returns its exit status and what it printed.
Runner = Callable[[str], tuple[int, str]]


def counts(text: str) -> list[str]:
    return re.findall(r"\d+ (?:failed|passed|skipped|deselected)\b", text)


def follow(text: str, folder: Path, run: Runner) -> None:
    """Write the files that a page shows, run its commands, and compare what it says they print.

    A block with a title is a file. A command has to succeed, unless the page shows a failed test.
    """
    status, printed = 0, ""
    for language, title, code in BLOCK.findall(text):
        if title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(code)
        elif language == "text":
            assert set(counts(code)) <= set(counts(printed)), printed
            lines = shape(printed)
            assert [one for one in shape(code) if not any(one in line for line in lines)] == [], (
                printed
            )
            status = 0 if re.search(r" failed| error", code) else status
        elif language == "sh":
            assert status == 0, printed
            printed = ""
            for line in code.splitlines():
                assert status == 0, printed
                status, printed = run(line)
    assert status == 0, printed


def extras_exist(line: str) -> bool:
    """Whether a line that installs pytest-trt names extras that it has."""
    declared = (ROOT / "pyproject.toml").read_text()
    names = [name for part in re.findall(r"\[(.+?)\]", line) for name in part.split(",")]
    return all(re.search(rf"^{re.escape(name)} = \[", declared, re.MULTILINE) for name in names)


def shell(line: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Run a line in a shell that finds the commands of this Python, and who commits to git."""
    people = {
        f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    here = {name: value for name, value in os.environ.items() if name != "CI"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, **people, **environment}
    done = subprocess.run(
        line, shell=True, cwd=folder, env={**here, **ours}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def in_processes(folder: Path, home: Path) -> Runner:
    """Run lines in a shell, where pytest finds a quiet CPU."""
    words = ("-p", "quiet_host", "-p", "no:cacheprovider", "--trt-arch=cpu", *LIGHT)
    paths = [Path(quiet_host.__file__).parent, ROOT, os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
        "PYTEST_ADDOPTS": shlex.join(words),
        "XDG_CACHE_HOME": str(home),
        "COLUMNS": "110",
    }

    def run(line: str) -> tuple[int, str]:
        if line.startswith("python -m pip install"):
            return not extras_exist(line), line
        return shell(line, folder, **environment)

    return run


def in_process(folder: Folder) -> Runner:
    """Run pytest and the command in this process, which is faster."""

    def run(line: str) -> tuple[int, str]:
        if line.startswith("python -m pip install"):
            return not extras_exist(line), line
        name, *words = shlex.split(line)
        if name == "pytest":
            done = folder.run(*words)
            return done.returncode, done.stdout + done.stderr
        if name == "pytest-trt":
            result = CliRunner().invoke(cli.commands, words)
            return result.exit_code, result.output
        return shell(line, folder.path)

    return run


def test_page_is_followed_until_something_is_not_as_shown(tmp_path) -> None:
    def run(line: str) -> tuple[int, str]:
        return shell(line, tmp_path)

    shown = '```python title="a/b.py"\nprint(1)\n```\n\n```sh\npython a/b.py\n```\n'
    follow(shown, tmp_path, run)
    follow(f"{shown}\n```text\n1\n```\n", tmp_path, run)
    for wrong in ("```text\nother\n```\n", "```text\n1 passed\n```\n", "```sh\nfalse\n```\n"):
        with pytest.raises(AssertionError):
            follow(f"{shown}\n{wrong}", tmp_path, run)
    assert extras_exist("python -m pip install '../pytest-trt[tensorrt-cu13,rtx]'")
    assert not extras_exist("python -m pip install '../pytest-trt[gpu]'")


def lines_of_picture(svg: str) -> list[str]:
    """Return the lines of text of a terminal's picture, each of which is drawn in parts."""
    lines: dict[str, str] = {}
    parts = re.findall(r'<text [^>]*clip-path="url\(#terminal-line-(\d+)\)">(.*?)</text>', svg)
    for number, part in parts:
        lines[number] = lines.get(number, "") + html.unescape(part).replace("\xa0", " ")
    return list(lines.values())


@pytest.mark.exhaustive
def test_pytorch_model_gets_a_green_ci(torch_project, tmp_path) -> None:
    shell("git init -q", tmp_path)
    run = in_processes(tmp_path, tmp_path / "home")
    before, _, after = page("get-started.md").partition("## Read the failure")
    follow(before.rpartition("```sh\npytest\n")[0], tmp_path, run)
    # The picture of the README is of this failure.
    _, printed = run("pytest -k fp16-min")
    command, *shown = lines_of_picture((ROOT / "docs/images/failure.svg").read_text())
    assert command.strip() == "$ pytest -k fp16-min"
    flowing = " ".join(shape(printed))
    details = "\n".join(shown).partition("= trt =")[0]
    assert "first bad layer" in details
    for line in shape(details)[:-1]:
        assert line.strip("_= ") in flowing, line
    follow("```sh\npytest\n```\n" + after, tmp_path, run)


def long(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.exhaustive)


@pytest.mark.parametrize(
    "name",
    [
        long("many-models.md"),
        "baseline-review.md",
        "from-polygraphy.md",
        long("troubleshooting.md"),
    ],
)
def test_guide_is_followed_as_shown(folder, tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is built yet
    shell("git init -q", folder.path)
    follow(page(name), folder.path, in_process(folder))


@pytest.mark.parametrize(
    "name",
    [
        long("upgrade.md"),
        long("busy-machines.md"),
        "from-trtexec.md",
        "from-pytest-benchmark.md",
    ],
)
def test_guide_to_speed_is_followed_as_shown(folder, name: str) -> None:
    # Calls of this model take microseconds, which no other work on the host makes milliseconds.
    save_flat(folder.path / "models" / "digits.onnx")
    text = page(name).replace("sm86", "cpu").replace("--require=speed", "--require=cpu")
    if name == "upgrade.md":
        for test, shown in (("speed", "speed-tests.md"), ("answers", "stored-answers.md")):
            (folder.path / f"test_{test}.py").write_text(blocks("python", page(shown))[0])
    follow(text, folder.path, in_process(folder))


@pytest.mark.exhaustive
def test_engines_are_cross_built_as_shown(folder) -> None:
    pytest.importorskip("tensorrt_rtx")
    follow(page("cross-build.md"), folder.path, in_process(folder))


def replaced_options(name: str) -> set[str]:
    """Return the options in the first column of a page's table."""
    rows = re.findall(r"^\| (.+?) \| ", page(name), flags=re.MULTILINE)
    return set(re.findall(r"(?<![\w-])--[\w-]+", " ".join(rows)))


def test_options_of_polygraphy_and_pytest_benchmark_exist(folder) -> None:
    for name, command in (
        ("from-polygraphy.md", "polygraphy run --help"),
        ("from-pytest-benchmark.md", "python -m pytest --help"),
    ):
        status, printed = shell(command, folder.path)
        assert status == 0, printed
        listed = set(re.findall(r"(?<![\w-])--[\w-]+", printed))
        assert replaced_options(name) - listed == set(), name
        assert replaced_options(name)


def test_calibration_data_is_given_as_shown(folder) -> None:
    given, _drift, marker = blocks("python", page("calibration.md"))
    head = """
import numpy as np
import pytest

def preprocess(image):
    return image

@pytest.fixture(scope="session")
def images():
    return np.load("data/digits.npz")["calibration"][:32]

"""
    test = "\n\ndef test_it(trt_engine):\n    assert trt_engine.facts.calibration.samples == 32\n"
    text = head + given + marker.replace("model.onnx", "models/digits.onnx") + test
    (folder.path / "test_calibrated.py").write_text(text)
    assert "1 passed" in folder.run("test_calibrated.py").stdout


def test_libraries_of_operators_are_named_as_shown(folder) -> None:
    if importlib.util.find_spec("onnxruntime_extensions") is None:
        pytest.skip("onnxruntime-extensions is not installed")
    (shown,) = blocks("python", page("operators.md"))
    (folder.path / "models" / "digits.onnx").rename(folder.path / "models" / "detector.onnx")
    (folder.path / "test_custom.py").write_text(f"{shown}\n\ndef test_it(trt_engine): pass\n")
    missing = folder.run("--co", "test_custom.py").stdout
    assert "build/libmyplugins.so" in missing
    assert "TRT177" in missing
    (folder.path / "build").mkdir()
    (folder.path / "build" / "libmyplugins.so").touch()
    assert "1 test collected" in folder.run("--co", "test_custom.py").stdout


@pytest.mark.parametrize(("wrong", "outcome"), [(0, "2 passed"), (1, "1 failed, 1 passed")])
def test_several_references_are_compared_as_shown(folder, wrong: int, outcome: str) -> None:
    fixture, test = blocks("python", section(page("references.md"), "Several references"))
    model = str(folder.path / "models" / "digits.onnx")
    inputs = np.zeros((1, 1, 16, 16), np.float32)
    outputs = onnxruntime.InferenceSession(model).run(["logits", "probs"], {"image": inputs})
    for name, off in (("small", 0), ("large", wrong)):
        arrays = dict(
            zip(("logits", "probs"), (one + np.float32(off) for one in outputs), strict=True)
        )
        np.savez(folder.path / f"golden-{name}.npz", **arrays)
    head = (
        "import numpy as np\nimport pytest\n\n"
        "@pytest.fixture\ndef trt_inputs():\n"
        "    return {'image': np.zeros((1, 1, 16, 16), np.float32)}\n\n"
    )
    mark = "@pytest.mark.trt_model('models/digits.onnx')\n@pytest.mark.trt_consistency\n"
    (folder.path / "test_several.py").write_text(f"{head}{fixture}\n\n{mark}{test}")
    assert outcome in folder.run("test_several.py").stdout


@pytest.mark.exhaustive
def test_layers_of_a_test_are_shown_as_the_page_says(folder) -> None:
    tests = folder.path / "tests"
    tests.mkdir()
    for name in ("models", "data"):
        (folder.path / name).rename(tests / name)
    (tests / "test_digits.py").write_text(blocks("python", README)[0])
    (line,) = blocks("sh", page("localize.md"))
    status, printed = in_process(folder)(f"{line.strip()} --trt-arch=cpu")
    assert status == 0, printed
    assert "own error" in printed


def test_index_of_guides_names_every_page() -> None:
    folder = ROOT / "docs" / "how-to"
    pages = {path.name for path in folder.glob("*.md")}
    index = (folder / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) | {"index.md"} == pages
