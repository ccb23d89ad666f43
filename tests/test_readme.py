"""What the README shows is run here, so that it cannot drift from what happens."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES
from pytest_trt.plugin.options import OPTIONS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shape(text: str) -> list[str]:
    """Return lines without what differs from machine to machine: figures, bars and spacing."""
    bare = re.sub(r"[0-9][0-9.,e+-]*|[█░]+|\b(ms|s)\b", "", text)
    return [" ".join(line.split()) for line in bare.splitlines() if line.strip()]


def run(*args: str, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--trt-arch=cpu", *args],
        cwd=cwd,
        env={**os.environ, "XDG_CACHE_HOME": str(home), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def first_test(tmp_path_factory) -> tuple[Path, Path, str]:
    """The folder and the cache of the README's first test, and what running it printed."""
    folder, home = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("home")
    for part in ("models", "data"):
        shutil.copytree(ROOT / "example_project" / part, folder / part)
    (folder / "test_digits.py").write_text(blocks("python")[0])
    return folder, home, run(cwd=folder, home=home).stdout


def test_first_test_passes_in_fp16_and_fails_in_int8(first_test) -> None:
    assert "1 failed, 1 passed" in first_test[2]


def test_failure_looks_as_shown(first_test) -> None:
    (shown,) = blocks("text")
    printed = shape(first_test[2])
    missing = [line for line in shape(shown) if line not in printed]
    assert missing == []


def test_first_test_is_short() -> None:
    code = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(code) <= 20


def test_facts_are_asserted_as_shown(first_test) -> None:
    folder, home, _ = first_test
    (folder / "test_facts.py").write_text(blocks("python")[1])
    assert "1 passed" in run("test_facts.py", cwd=folder, home=home).stdout
    (folder / "test_facts.py").write_text(blocks("python")[1].replace('"fp16"', '"fp32"'))
    assert "1 failed" in run("test_facts.py", cwd=folder, home=home).stdout
    (folder / "test_facts.py").unlink()


def test_ini_table_is_understood(first_test) -> None:
    folder, home, _ = first_test
    (folder / "pytest.ini").write_text(blocks("ini")[0])
    try:
        assert "1 failed, 1 passed" in run(cwd=folder, home=home).stdout
    finally:
        (folder / "pytest.ini").unlink()


def test_speed_is_recorded_then_compared_and_accepted_as_shown(first_test) -> None:
    folder, home, _ = first_test
    (folder / "test_speed.py").write_text(blocks("python")[2])
    recorded = run("test_speed.py", "--trt-missing-baseline=record", cwd=folder, home=home)
    assert "2 passed" in recorded.stdout
    assert "wrote trt_baselines/" in recorded.stdout
    assert "2 passed" in run("test_speed.py", cwd=folder, home=home).stdout
    section = README.partition("\n## Speed\n")[2].partition("\n## ")[0]
    (commands,) = blocks("sh", section)
    for command in commands.splitlines():
        _, *args = shlex.split(command)
        for _ in range(5):
            done = run(*args, cwd=folder, home=home)
            assert done.returncode == 0, done.stdout
            if "the host was busy" not in done.stdout:
                break
        else:  # nothing is recorded then, whatever the README shows
            pytest.skip("this host is busy all the time")
    assert '"reason": "twice the classes"' in next(folder.glob("trt_baselines/*/*")).read_text()


def test_commands_of_the_baselines_section_work(first_test) -> None:
    folder, home, _ = first_test
    if not (folder / "test_speed.py").exists():
        (folder / "test_speed.py").write_text(blocks("python")[2])
        run("test_speed.py", "--trt-update-new", cwd=folder, home=home)
    assert "2 passed" in run("test_speed.py", cwd=folder, home=home).stdout
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for args in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "baselines")):
        subprocess.run(["git", *who, *args], cwd=folder, check=True)
    section = README.partition("\n## Baselines\n")[2].partition("\n## ")[0]
    for command in blocks("sh", section)[0].splitlines():
        assert call(command, folder, home).strip()
    (folder / "test_speed.py").unlink()


def test_commands_of_the_cache_section_work(first_test) -> None:
    folder, home, _ = first_test
    section = README.partition("\n## The cache\n")[2].partition("\n## ")[0]
    commands = [line for block in blocks("sh", section) for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        assert call(command, folder, home).strip()


def call(command: str, folder: Path, home: Path) -> str:
    """What a `pytest-trt` command prints; it has to end well."""
    _, *args = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-c", "from pytest_trt.cli import main; main()", *args],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_selftest_proves_the_checks_of_the_first_test(first_test) -> None:
    folder, home, _ = first_test
    section = README.partition("\n## Checks that can fail\n")[2].partition("\n## ")[0]
    (command,) = blocks("sh", section)
    printed = run(*shlex.split(command)[1:], cwd=folder, home=home).stdout
    assert "the checks of 1 tests fail and pass as they must, those of 0 do not" in printed


def test_commands_of_the_reports_section_work(first_test) -> None:
    folder, home, _ = first_test
    section = README.partition("\n## Reports\n")[2].partition("\n## ")[0]
    command, *others = blocks("sh", section)[0].splitlines()
    _, *args = shlex.split(command.replace("sm86", "cpu"))
    assert (
        "required verdicts are missing"
        not in run("-k", "fp16", *args[:2], cwd=folder, home=home).stdout
    )
    done = run(*args, "-k", "fp16", cwd=folder, home=home)
    assert "cpu: no verdict for 1 of 2 tests" in done.stdout  # the one that -k left out
    (folder / "test_digits.py").write_text(
        blocks("python")[0].replace('("fp16", "int8")', '"fp16"')
    )
    assert run(*args, cwd=folder, home=home).returncode == 0
    report = (folder / "report.json").read_text()
    for number, arch in enumerate(("sm86", "sm120")):  # as if it had run there
        elsewhere = report.replace('"cpu"', f'"{arch}"').replace('"id":"', f'"id":"{number}')
        (folder / f"{arch}.json").write_text(elsewhere)
    for number, name in enumerate(("before", "after")):
        again = report.replace('"id":"', f'"id":"{number}')
        (folder / f"{name}.json").write_text(again)
    for other in others:
        assert call(other, folder, home).strip()
    assert "the same" in (folder / "upgrade.md").read_text()
    (folder / "test_digits.py").write_text(blocks("python")[0])


def test_commands_of_the_doctor_section_work(first_test) -> None:
    folder, home, _ = first_test
    section = README.partition("\n## Doctor\n")[2].partition("\n## ")[0]
    commands = blocks("sh", section)[0].splitlines()
    assert len(commands) == 4
    for command in commands:
        assert call(command.replace("tensorrt,sm86,speed", "onnxruntime,cpu"), folder, home).strip()


def test_two_commands_install_and_run_what_they_say() -> None:
    installs = [line for block in blocks("sh") for line in block.splitlines() if "pip" in line]
    assert [line.partition(" && ")[2] for line in installs] == [
        "python -m pytest example_project",
        "python -m pytest",
    ]


def test_example_project_passes_as_the_first_command_runs_it(tmp_path) -> None:
    baselines = f"--trt-baseline-dir={tmp_path / 'baselines'}"
    done = run("example_project", baselines, cwd=ROOT, home=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "30 passed" in done.stdout


def test_snippets_of_the_example_project_are_its_tests() -> None:
    folder = ROOT / "example_project"
    tests = " ".join(
        " ".join(path.read_text().split()) for path in sorted(folder.glob("tests/*.py"))
    )
    text = (folder / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(snippets) == 5
    for snippet in snippets:
        code = " ".join(re.sub(r"  #.*", "", snippet).split())
        assert code in tests


def rows(heading: str) -> list[list[str]]:
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_options_table_is_the_plugins() -> None:
    expected = [
        [
            f"`{option.ini}` (ini only)"
            if option.ini_only
            else f"`{option.flag} {option.metavar}`"
            if option.metavar
            else f"`{option.flag}`",
            option.help,
            option.default or "-",
        ]
        for option in OPTIONS
    ]
    assert rows("Options") == expected


def test_table_of_default_tolerances_is_the_plugins() -> None:
    expected = [
        [precision, f"{tolerance.rtol:g}", f"{tolerance.atol:g}"]
        for precision, tolerance in DEFAULT_TOLERANCES.items()
    ]
    assert rows("Tolerances") == expected
