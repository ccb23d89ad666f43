"""Every snippet of the documentation compiles, or parses as the command that it shows.

Most of them are run as well, see `test_docs.py`; this also covers what cannot run here.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import pytest_trt
from pytest_trt import cli
from pytest_trt.codes import CODES
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin.options.settings import read_settings
from pytest_trt.plugin.options.table import OPTIONS
from pytest_trt.plugin.planning.keywords import keywords
from pytest_trt.plugin.planning.markers import (
    MODEL_KEYWORDS,
    check_names,
    parse_benchmark,
    parse_consistency,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "example_project/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCED = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
#: A placeholder, and options of Polygraphy.
_OTHER_FLAGS = {
    "--trt-x",
    *(f"--trt-{name}" for name in ("min-shapes", "opt-shapes", "max-shapes", "outputs")),
}
#: Files that pytest reads, by the language of their blocks.
_SETTINGS = {"ini": "shown.ini", "toml": "pyproject.toml"}
_SHELLS = ("sh", "bash", "shell", "console")
#: What may stand in front of a command: variables, a prompt, and what starts it.
_BEFORE = re.compile(r"^((\w+=\S*|\$|python3?|-m|uv|run|timeout|-\S+|\d+[smh]?) )*")


def commands(text: str) -> Iterator[tuple[list[str], bool]]:
    """Yield the words of each command of ours, and whether it is whole: it stands in a block."""
    lines = [
        (line, True)
        for _, language, block in _FENCED.findall(text)
        if language in _SHELLS
        for line in block.replace("\\\n", " ").splitlines()
    ]
    prose = _FENCED.sub("", text)
    spans = re.findall(r"(?<!`)`(pytest(?:-trt)?\s[^`]+)`(?!`)", prose)
    lines += [(" ".join(span.split()), False) for span in spans if "..." not in span]
    for line, is_whole in lines:
        words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>()")
        words.whitespace_split = True
        parts = itertools.groupby(words, key=lambda word: not set(word) <= set("&|;<>()"))
        for is_command, part in parts:
            found = shlex.split(_BEFORE.sub("", shlex.join(part))) if is_command else [""]
            if found and found[0] in ("pytest", "pytest-trt"):
                yield found, is_whole


#: What is wrong with a command that is only named: something is missing.
_UNFINISHED = re.compile(r"Error: Missing|Commands:|: expected (one|at least one) argument")


def problem_of_command(words: list[str], pytester: pytest.Pytester) -> str:
    """Return why a command could not be run; empty if its words are valid."""
    name, *args = words
    if name == "pytest-trt":
        done = CliRunner().invoke(cli.commands, args)
        return "" if done.exit_code == 0 else done.output.partition("\n\n")[2].strip()
    try:
        read_settings(pytester.parseconfig("-c", str(pytester.path / "pytest.ini"), *args))
    except pytest.UsageError as error:
        return str(error.args[0]).strip()
    return ""


def problem_of_settings(file: str, block: str, pytester: pytest.Pytester) -> str:
    """Return why pytest would refuse a configuration file; empty if it would not."""
    path = pytester.path / file
    path.write_text(block, encoding="utf-8")
    try:
        config = pytester.parseconfig("-c", str(path))
        read_settings(config)
    except pytest.UsageError as error:
        return str(error)
    finally:
        path.unlink()
    unknown = set(re.findall(r"^trt_\w+", block, re.MULTILINE)) - {one.ini for one in OPTIONS}
    return ", ".join(sorted(unknown))


def problem_of_python(block: str) -> str:
    """Return why code would fail before it runs anything: syntax, markers, public names."""
    try:
        tree = parsed(textwrap.dedent(block))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and "pytest.mark.trt_" in ast.unparse(node.func):
                check_marker(node)
    except (SyntaxError, PytestTrtError) as error:
        return str(error)
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "pytest_trt"
        for alias in node.names
    }
    imported |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pytest_trt"
    }
    return ", ".join(f"no pytest_trt.{one}" for one in sorted(imported - set(pytest_trt.__all__)))


def parsed(code: str) -> ast.Module:
    """Return code that may end with the decorators of a test."""
    try:
        return ast.parse(code)
    except SyntaxError as error:
        with contextlib.suppress(SyntaxError):
            return ast.parse(f"{code}\ndef test(): ...")
        raise error


def check_marker(call: ast.Call) -> None:
    """Refuse a marker as collection does, as far as its values are literals.

    Raises:
        PytestTrtError: A keyword is unknown, or cannot have this value.
    """
    given = {}
    for keyword in call.keywords:
        with contextlib.suppress(ValueError):
            given[str(keyword.arg)] = ast.literal_eval(keyword.value)
    mark = pytest.Mark(ast.unparse(call.func).rpartition(".")[2], (), given, _ispytest=True)
    check_names([mark])
    names = given.get("per_model", ())
    if mark.name == "trt_model":
        keywords(mark, MODEL_KEYWORDS, "model", names=names)
    parse_consistency([mark], names)
    parse_benchmark([mark], names)


def mistakes(text: str, pytester: pytest.Pytester) -> list[str]:
    """Return what is wrong in the snippets of a page."""
    found = [
        problem
        for _, language, block in _FENCED.findall(text)
        if language == "python" and (problem := problem_of_python(block))
    ]
    for _, language, block in _FENCED.findall(text):
        if file := _SETTINGS.get(language):
            problem = problem_of_settings(file, textwrap.dedent(block), pytester)
            found += [problem] if problem else []
    for words, is_whole in commands(text):
        problem = problem_of_command(words, pytester)
        if problem and (is_whole or not _UNFINISHED.search(problem)):
            found.append(f"{shlex.join(words)}: {problem}")
    flags = {option.flag for option in OPTIONS} | _OTHER_FLAGS
    found += sorted(set(re.findall(r"--trt-[a-z-]+[a-z]", text)) - flags)
    found += sorted(set(re.findall(r"\bTRT\d{3}\b", text)) - set(CODES))
    return found


@pytest.fixture
def parsing(pytester, monkeypatch) -> pytest.Pytester:
    """Commands of click are parsed and not run, whether the files that they name exist or not."""
    monkeypatch.setattr(click.Command, "invoke", lambda self, ctx: None)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    pytester.makefile(".ini", pytest="[pytest]")
    # The tests of this repository have an option of their own.
    pytester.makeconftest(
        "def pytest_addoption(parser): parser.addoption('--exhaustive', action='store_true')"
    )
    return pytester


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_snippets_are_valid(path: Path, parsing) -> None:
    assert mistakes(path.read_text(encoding="utf-8"), parsing) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("```python\ndef test(:\n```", "invalid syntax"),
        ("- a list:\n\n  ```python\n  x = [\n  ```", "never closed"),
        ("```python\n@pytest.mark.trt_model('m.onnx', precisions='fp16')\n"
         "def test(): ...\n```", "precisions"),
        ("```python\n@pytest.mark.trt_consistency(rtol=1)\ndef test(): ...\n```", "atol"),
        ("```python\n@pytest.mark.trt_benchmark(p99='1%')\ndef test(): ...\n```", "too small"),
        ("```python\n@pytest.mark.trt_bench()\ndef test(): ...\n```", "unknown marker"),
        ("```python\nimport pytest_trt\npytest_trt.compare()\n```", "no pytest_trt.compare"),
        ("```python\nfrom pytest_trt import Tolerances\n```", "no pytest_trt.Tolerances"),
        ("```sh\npytest-trt caches list\n```", "No such command"),
        ("```sh\npip install x && pytest-trt cache list --as-json\n```", "No such option"),
        ("```sh\npytest-trt baseline rename \\\n    a.py\n```", "Missing argument 'NEW'"),
        ("```sh\npytest-trt report show a.json b.json c.json\n```", "unexpected extra argument"),
        ("```bash\nCI=1 timeout 60 python -m pytest --trt-archs=cpu | tee log\n```", "--trt-archs"),
        ("```sh\npytest --trt-inconclusive=never\n```", "--trt-inconclusive"),
        ("```sh\npytest --trt-update --trt-update-new\n```", "use one of them"),
        ("```sh\npytest-trt export\n```", "Missing argument"),
        ("```sh\npytest-trt report\n```", "Commands:"),
        ("```ini\n[pytest]\ntrt_tolerances = fp61: rtol=1 atol=1\n```", "fp61"),
        ('```toml\n[tool.pytest.ini_options]\ntrt_inconclusive = "never"\n```', "never"),
        ("```toml\n[tool.pytest\n```", "pyproject.toml"),
        ("```ini\n[pytest]\ntrt_tolerance =\n```", "trt_tolerance"),
        ("Run `pytest-trt explains`.", "No such command"),
        ("Run `pytest\n--trt-cache=x`.", "--trt-cache"),
        ("The option `--trt-cachedir` names it.", "--trt-cachedir"),
        ("It is refused (TRT999).", "TRT999"),
    ],
)  # fmt: skip
def test_planted_mistakes_are_found(planted: str, found: str, parsing) -> None:
    assert any(found in one for one in mistakes(planted, parsing))
