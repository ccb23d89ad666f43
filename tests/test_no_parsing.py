"""Texts are rendered last: nothing parses sentences that the package wrote."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_trt

ROOT = Path(pytest_trt.__file__).parent

#: Methods that look into a text, or take it apart.
LOOKING = {
    "startswith",
    "endswith",
    "partition",
    "rpartition",
    "removeprefix",
    "removesuffix",
    "find",
    "index",
    "split",
    "rsplit",
    "count",
    "replace",
}

#: Texts that are looked for in what others write: pytest's prefixes, sections of docstrings.
FOREIGN = {"Skipped: ", "Failed: ", "E ", "\nAttributes:", "\nAttributes:\n"}

#: Files that look into texts which others write, or into data.
READERS = {
    "backends/conversion/converting.py": "messages of ONNX Runtime",
    "backends/conversion/int8.py": "messages of ONNX Runtime",
    "backends/conversion/ort_messages.py": "messages of ONNX Runtime",
    "backends/devices/driver.py": "names of GPUs",
    "backends/devices/probe.py": "names of GPUs",
    "backends/tensorrt/api.py": "messages of TensorRT",
    "backends/tensorrt/inspection.py": "names of layers",
    "backends/tensorrt/options.py": "messages of TensorRT",
    "benchmark/host.py": "/proc/cpuinfo",
    "cli/completion.py": "click's script for Bash",
    "engine/key.py": "labels of key fields",
    "git.py": "messages of git",
    "workers/question.py": "tracebacks of faulthandler",
}


def files(suffix: str, *rooms: str) -> list[Path]:
    folders = [ROOT / room for room in rooms] or [ROOT]
    return sorted(path for folder in folders for path in folder.rglob(f"*{suffix}"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_sentence(node: ast.AST) -> bool:
    """Whether a literal is part of a sentence: it has a word and a space or a colon."""
    text = node.value if isinstance(node, ast.Constant) else None
    return isinstance(text, str) and text not in FOREIGN and bool(re.search(r"\w[ :]|[ :]\w", text))


def literals(node: ast.AST) -> Iterator[ast.AST]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Constant))


def parsed(source: str) -> list[str]:
    """Return the places at which a source looks for a part of a sentence in a text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        looked: list[ast.AST] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in LOOKING:
                looked = [one for argument in node.args[:1] for one in literals(argument)]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            looked = [node.left]
        found += [f"line {node.lineno}: {one.value!r}" for one in looked if is_sentence(one)]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("path", files(".py"), ids=name_of)
def test_no_sentence_is_looked_for_in_a_text(path: Path) -> None:
    found = parsed(path.read_text(encoding="utf-8"))
    assert bool(found) == (name_of(path) in READERS), found


@pytest.mark.parametrize("path", files(".py", "report", "plugin"), ids=name_of)
def test_what_renders_uses_no_regular_expressions(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert "re" not in {alias.name for node in imports for alias in node.names}


@pytest.mark.parametrize("path", files(".js"), ids=name_of)
def test_page_matches_no_text(path: Path) -> None:
    if path.parent.name == "uplot":
        return
    source = path.read_text(encoding="utf-8")
    calls = re.findall(r"\.(?:match|matchAll|exec|search)\(|new RegExp", source)
    assert calls == []
    looked = re.findall(
        r"""\.(?:startsWith|endsWith|split|includes|indexOf|replace)\(["'`]([^"'`]*)""", source
    )
    assert [text for text in looked if re.search(r"\w[ :]|[ :]\w", text)] == []


@pytest.mark.parametrize(
    "source",
    [
        'text.partition("Fix: ")',
        'text.startswith("first engine")',
        'text.startswith(("note ", "built it"))',
        '"allow it: " in text',
        'text.split(" of all calls")',
    ],
)
def test_rule_finds_what_it_is_for(source: str) -> None:
    assert parsed(source)


@pytest.mark.parametrize(
    "source",
    [
        'status in ("not measured", "not run")',
        'nodeid.partition("::")',
        'text.split("\\n")',
        'name.startswith("trt_")',
        'f"{count} of {total}"',
        '"a b" == text',
    ],
)
def test_rule_lets_anything_else_be(source: str) -> None:
    assert parsed(source) == []
