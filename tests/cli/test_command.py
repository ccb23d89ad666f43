"""What all commands have in common: help, examples, exit statuses, JSON, colours and pipes."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import click
import pytest
from builders_cli import in_pipe, on_terminal, run_command

from pytest_trt.cli import commands
from pytest_trt.cli.command import EXIT_STATUSES, Command, walk

ALL = dict(walk(commands))
LEAVES = {path: one for path, one in ALL.items() if not isinstance(one, click.Group)}

MAIN = "from pytest_trt.cli import main; main()"

_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def named(found: dict[tuple[str, ...], click.Command]) -> list[object]:
    return [pytest.param(path, id="-".join(path)) for path in found]


def option_names(command: click.Command) -> set[str]:
    return {name for one in command.params for name in one.opts}


# --- help


@pytest.mark.parametrize("path", named(ALL))
def test_help_has_examples_that_are_not_broken(path: tuple[str, ...], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    done = run_command(*path, "--help")
    assert done.returncode == 0
    command = ALL[path]
    if isinstance(command, Command):
        assert command.examples
        assert all(f"\n  {example}\n" in done.stdout for example in command.examples)
        assert ("Exit status 1 if" in done.stdout) == bool(command.negative)
    else:
        assert "\nExamples:\n  pytest-trt " in done.stdout


def examples() -> Iterator[object]:
    for path, command in LEAVES.items():
        assert isinstance(command, Command)
        for number, example in enumerate(command.examples):
            yield pytest.param(path, example, id=f"{'-'.join(path)}-{number}")


@pytest.mark.parametrize(("path", "example"), [*examples()])
def test_example_is_valid(
    path: tuple[str, ...], example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "models"):
        (tmp_path / name).mkdir()
    line = re.search(r"pytest-trt ([^>)]*)", example)
    assert line is not None
    called: list[dict[str, object]] = []
    with patch.object(LEAVES[path], "callback", lambda *given, **options: called.append(options)):
        done = run_command(*shlex.split(line[1]))
    assert done.returncode == 0, done.stderr
    assert len(called) == 1


def test_help_and_completion_import_no_command_and_no_library() -> None:
    code = f"""
import sys
sys.argv = ["pytest-trt", "--help"]
try:
    {MAIN}
except SystemExit:
    pass
own = [name for name in sys.modules if name.startswith("pytest_trt.cli.")]
heavy = [name for name in ("numpy", "rich", "pytest", "onnx") if name in sys.modules]
print(own, heavy, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == "['pytest_trt.cli.command'] []\n"


# --- exit statuses


@pytest.mark.parametrize("path", named(LEAVES))
def test_what_cannot_be_done_is_status_2_and_on_standard_error(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    passes_on = LEAVES[path].ignore_unknown_options
    done = run_command(*path, *([] if passes_on else ["--no-such-option"]))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("report", "history", "NAME"),
        ("baseline", "diff", "NAME"),
        ("baseline", "--baseline-dir=NAME", "list"),
        ("cache", "--cache-dir=NAME", "verify"),
    ],
)
def test_an_error_of_the_system_is_status_2_without_a_traceback(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a name that is too long; status 1 would be an answer."""
    monkeypatch.chdir(tmp_path)
    done = run_command(*(one.replace("NAME", "n" * 300) for one in args))
    assert done.returncode == 2
    assert "Error: [Errno" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", named(LEAVES))
def test_only_commands_that_document_status_1_exit_with_it(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert isinstance(command, Command)
    assert command.callback is not None
    source = inspect.getsource(inspect.unwrap(command.callback))
    assert ("SystemExit" in source) == bool(command.negative)
    assert set(map(int, re.findall(r"SystemExit\((\d+)", source))) <= EXIT_STATUSES.keys()


def test_exit_statuses_are_explained() -> None:
    text = run_command("explain", "exit-status").stdout
    assert all(meaning in text for meaning in EXIT_STATUSES.values())
    assert "verify             a check fails, or a folder has no plan\n" in text
    data = json.loads(run_command("explain", "exit-status", "--json").stdout)
    assert data["statuses"].keys() == {str(one) for one in EXIT_STATUSES}
    assert data["status_1"]["export"] == "an engine was refused"


@pytest.mark.parametrize("error", [KeyboardInterrupt, click.Abort])
def test_interrupted_command_is_not_a_negative_answer(
    error: type[BaseException], tmp_path: Path
) -> None:
    def interrupted(**options: object) -> None:
        raise error

    with patch.object(LEAVES["verify",], "callback", interrupted):
        done = run_command("verify", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        130 if error is KeyboardInterrupt else 1,
        "Aborted!\n",
    )


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (("doctor", "--require", ""), "--require"),
        (("doctor", "--require="), "--require"),
        (("cache", "--cache-dir=", "verify"), "--cache-dir"),
        (("report", "merge", "a.json", "--require-arch", ""), "--require-arch"),
        (("verify", ""), "an argument"),
    ],
)
def test_an_empty_argument_is_an_error_and_not_the_default(args: tuple[str, ...], name) -> None:
    """A shell makes one of "$ARCH" where the variable is not set."""
    done = run_command(*args)
    assert done.returncode == 2
    assert f"{name} is empty: is a variable not set?" in done.stderr


@pytest.mark.parametrize(
    ("args", "advice"),
    [
        (("cache", "list", "--cache-dir=x"), "Write it before: `pytest-trt cache --cache-dir "),
        (("cache", "list", "--trt-cache-dir", "x"), "`pytest-trt cache --cache-dir ... list`"),
        (("cache", "list", "--unknown"), "No such option '--unknown'."),
        (("inspect", "--cache-dir=x"), "No such option '--cache-dir'."),
    ],
)
def test_an_option_of_the_group_after_the_command_is_named(args: tuple[str, ...], advice) -> None:
    done = run_command(*args)
    assert done.returncode == 2
    assert advice in done.stderr


# --- JSON


def test_every_command_that_prints_a_table_has_json() -> None:
    for path, command in LEAVES.items():
        assert command.callback is not None
        module = inspect.getmodule(inspect.unwrap(command.callback))
        prints = re.search(r"\bprint_\w*\(|\b_print\w*\(", inspect.getsource(module))
        if prints and path not in NO_TABLE:
            assert "--json" in option_names(command), path


#: Commands without a table in modules that print some.
NO_TABLE = {
    ("baseline", "rename"),
    ("cache", "clear"),
    ("cache", "verify"),
    ("report", "schema"),
}


# --- colours, terminals and pipes


TABLE = [sys.executable, "-c", MAIN, "options", "onnxruntime"]


@pytest.mark.exhaustive
def test_colours_are_for_terminals_and_variables_decide() -> None:
    assert _COLOUR.search(on_terminal(TABLE))
    assert not _COLOUR.search(on_terminal(TABLE, NO_COLOR="1"))
    assert _COLOUR.search(on_terminal(TABLE, NO_COLOR=""))
    plain = in_pipe(TABLE)
    assert not _COLOUR.search(plain)
    coloured = in_pipe(TABLE, FORCE_COLOR="1")
    assert _COLOUR.search(coloured)
    assert _COLOUR.sub("", coloured) == plain  # colours change no width
    assert in_pipe(TABLE, FORCE_COLOR="1", NO_COLOR="1") == plain
    assert json.loads(in_pipe([*TABLE, "--json"], FORCE_COLOR="1"))


def test_pipe_has_no_width_unless_columns_gives_one(capsys, monkeypatch) -> None:
    from pytest_trt.cli.table import print_table

    name = "a_name_of_a_test" * 20
    for columns, whole in (("", True), ("0x", True), ("60", False)):
        monkeypatch.setenv("COLUMNS", columns)
        for variable in ("FORCE_COLOR", "NO_COLOR"):
            monkeypatch.setenv(variable, "1")
            print_table(("test", "state"), [(name, "passed")], giving_way=(0,))
            printed = capsys.readouterr().out
            assert (name in printed) == whole
            assert max(map(len, printed.splitlines())) <= 60 or whole


@pytest.mark.parametrize("args", [("explain", "--json"), ("options",), ("--help",)])
def test_reader_that_ends_first_is_no_error(args: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-c", MAIN, *args]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
