"""`pytest-trt completion`: the script with which a shell completes commands, options and names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

from pytest_trt.cli.command import COMPLETE_VARIABLE, NAME, command
from pytest_trt.cli.output import echo_data
from pytest_trt.diagnostics import PytestTrtError

#: Bash breaks words at these, and replaces what follows the last of them alone.
_BREAKS = ":="


class _Bash(BashComplete):
    """Completes node ids too, which Bash breaks into words at their colons."""

    source_template = BashComplete.source_template.replace(
        'env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD',
        'env COMP_WORDS="${COMP_LINE:0:COMP_POINT}"',
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words of the line up to the cursor, and the last one, which is completed."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() else words.pop()
        self._start = max(incomplete.rfind(one) for one in _BREAKS) + 1
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return what replaces the part of the word that Bash replaces."""
        return f"{item.type},{str(item.value)[self._start :]}"


add_completion_class(_Bash)


def answer(commands: click.Command, instruction: str) -> int:
    """Answer a shell that completes a line, and return the exit status."""
    return shell_complete(commands, {}, NAME, COMPLETE_VARIABLE, instruction)


@command(
    examples=[
        'eval "$(pytest-trt completion bash)"',
        "pytest-trt completion zsh > ~/.zfunc/_pytest-trt",
        "pytest-trt completion fish > ~/.config/fish/completions/pytest-trt.fish",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script with which SHELL completes commands, options, codes and tests.

    Bash reads it from ~/.bashrc as below; zsh needs a folder of its `fpath`.
    """
    from pytest_trt.cli import commands

    found = get_completion_class(shell)
    assert found is not None
    echo_data(found(commands, {}, NAME, COMPLETE_VARIABLE).source())


def complete_codes(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the diagnostic codes that begin with a text, with their titles."""
    from pytest_trt.codes import CODES

    titles = {code: CODES[code].title for code in sorted(CODES)}
    titles["exit-status"] = "what each exit status means"
    return [
        CompletionItem(name, help=title)
        for name, title in titles.items()
        if name.startswith(incomplete)
    ]


def complete_tests(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the node ids of the last run here that begin with a text, else files."""
    with suppress(PytestTrtError, OSError):
        if found := matching_tests(_last_tests(), incomplete):
            return found
    return [CompletionItem(incomplete, type="file")]


def complete_candidates(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the tests of the last run here that have something to accept."""
    from pytest_trt.baseline.last_run import read_last_run
    from pytest_trt.cli.ini import read_project
    from pytest_trt.engine.cache import EngineCache

    with suppress(PytestTrtError, OSError):
        root = read_project().cache()
        run = read_last_run(EngineCache(root).last_runs, Path.cwd()) if root.is_dir() else None
        return matching_tests((one.test for one in run.candidates) if run else (), incomplete)
    return []


def matching_tests(tests: Iterable[str], incomplete: str) -> list[CompletionItem[str]]:
    """Return the node ids that begin with a text; where none does, the names that do."""
    nodeids = set(tests)
    for known in (nodeids, {one.partition("::")[2] for one in nodeids}):
        if found := sorted(one for one in known if one.startswith(incomplete)):
            return [CompletionItem(one) for one in found]
    return []


def _last_tests() -> Iterator[str]:
    """Yield the tests that requested engines in the last run in this folder."""
    from pytest_trt.cli.ini import read_project
    from pytest_trt.engine.cache import EngineCache
    from pytest_trt.engine.tested import TESTED_RUNS

    root = read_project().cache()
    run = TESTED_RUNS.read(EngineCache(root).last_runs, Path.cwd()) if root.is_dir() else None
    yield from _named(run.root, (one.test for one in run.tests)) if run else ()


def _named(root: Path, tests: Iterable[str]) -> Iterator[str]:
    """Yield node ids as they are typed in the current folder."""
    for test in tests:
        yield os.path.relpath(root / test) if root != Path.cwd() else test
