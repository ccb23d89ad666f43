"""What those who carry this project on rely on: pages, jobs of CI and metadata agree."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pytest_trt.baseline.answers import answer_files, read_answers, read_data
from pytest_trt.onnx.file import load_model

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "RELEASING.md",
    "CODE_OF_CONDUCT.md",
    "changelog.d/README.md",
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def environments() -> set[str]:
    """Return the environments of tox."""
    return set(re.findall(r"^\[tool\.tox\.env\.(\w+)\]", text("pyproject.toml"), re.MULTILINE))


def missing_files(page: str) -> list[str]:
    """Return the files and folders that a page names and that do not exist.

    A file without a folder lies in that of the last file that was named with one.
    """
    missing, folder = [], ROOT
    for name in re.findall(r"`([\w./-]+)`", page):
        if re.search("NAME|TYPE", name) or not re.search(r"/|\.(py|md|toml|yml|json|js)$", name):
            continue
        path = ROOT / name
        if "/" in name:
            folder = path if name.endswith("/") else path.parent
        elif not path.exists():
            path = folder / name
        if not path.exists() and not any((ROOT / ".github").rglob(name)):
            missing.append(name)
    return missing


@pytest.mark.parametrize("name", PAGES)
def test_page_names_only_what_exists(name: str) -> None:
    page = text(name)
    assert missing_files(page) == []
    for target in re.findall(r"\]\((?!http)([^)#]+)", page):
        assert ((ROOT / name).parent / target).exists(), target


def test_file_that_does_not_exist_is_found() -> None:
    page = "`pytest_trt/codes.py`, `units.py`, `removed.py`, `pytest_trt/removed/` and `--trt-x`"
    assert missing_files(page) == ["removed.py", "pytest_trt/removed/"]


def test_every_benchmark_is_documented() -> None:
    scripts = {path.name for path in (ROOT / "tests/benchmarks").glob("*.py") if _runs(path)}
    _, _, section = text("CONTRIBUTING.md").partition("## Benchmarks")
    rows = re.findall(r"^\| `(\w+\.py)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == sorted(scripts)


def _runs(path: Path) -> bool:
    return "__main__" in path.read_text(encoding="utf-8")


def test_every_environment_is_documented_and_run_by_ci() -> None:
    listed = re.search(r"^env_list = \[(.*)\]", text("pyproject.toml"), re.MULTILINE)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == environments()
    assert set(re.findall(r"`tox run -e (\w+)`", text("CONTRIBUTING.md"))) == environments()
    hosted = text(".github/workflows/ci.yml")
    assert {*re.findall(r"environment: \[?(\w+)", hosted)} == environments()


def test_supported_versions_of_python_are_those_that_ci_tests() -> None:
    project, hosted = text("pyproject.toml"), text(".github/workflows/ci.yml")
    supported = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    tested = re.search(r"python: \[(.*)\]", hosted)
    assert tested is not None
    assert re.findall(r'"(3\.\d+)"', tested[1]) == supported
    assert f'requires-python = ">={supported[0]}"' in project


def test_changelog_keeps_kinds_of_changes_apart() -> None:
    kinds = re.findall(
        r"^\[tool\.towncrier\.fragment\]\n((?:\w+ = .*\n)+)", text("pyproject.toml"), re.M
    )
    names = [line.split(" = ")[0].capitalize() for line in kinds[0].splitlines()]
    for release in re.split(r"^## ", text("CHANGELOG.md"), flags=re.MULTILINE)[1:]:
        found = re.findall(r"^### (.*)", release, re.MULTILINE)
        assert found == [name for name in names if name in found]


def stale_answers(example: Path) -> list[str]:
    """Return the tests whose stored answers are of other bytes than the model that is there."""
    stale = []
    for path in answer_files(example / "trt_baselines"):
        found = read_answers(path)
        assert found is not None
        read_data(path, found.data)  # every array is there, and has its digest
        for test, entry in found.tests.items():
            if load_model(example / entry.model).digest != entry.model_digest:
                stale.append(test)
    return stale


def test_stored_answers_of_the_example_are_those_of_its_models(tmp_path: Path) -> None:
    example = ROOT / "example_project"
    assert answer_files(example / "trt_baselines")
    assert stale_answers(example) == []
    for part in ("models", "trt_baselines/answers"):
        shutil.copytree(example / part, tmp_path / part)
    model = tmp_path / "models" / "digits.onnx"
    model.write_bytes(model.read_bytes().replace(b"/head/Gemm", b"/head/gemm"))
    assert stale_answers(tmp_path) == ["test_same_answers"]
