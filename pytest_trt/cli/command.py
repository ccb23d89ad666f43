"""Commands whose help shows examples and exit statuses, in groups that import what they run.

Everything about a command that its documentation needs is data here: `walk` yields all commands,
each has `examples` and `negative`, and `EXIT_STATUSES` holds what each status means.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: The command, and the variable by which a shell asks it for completions.
NAME = "pytest-trt"
COMPLETE_VARIABLE = "_PYTEST_TRT_COMPLETE"

#: What each exit status of every command means.
EXIT_STATUSES: Mapping[int, str] = MappingProxyType(
    {
        0: "The command did its work, and the answer is positive.",
        1: "The answer is negative: a difference, a missing verdict, something that does not work. "
        "The help of each command shows what its status 1 means.",
        2: "The command could not do its work: an invalid argument, option or file, or nothing to "
        "work on. Standard error shows why.",
        130: "Ctrl-C interrupted the command.",
        141: "What reads the output ended first, as `head` does.",
    }
)


class FiniteRange(click.FloatRange):
    """A range of numbers; NaN is in none, and infinity means nothing where numbers are measured."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or refuse it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Command(click.Command):
    """A command with examples.

    Attributes:
        examples: Command lines, each of which is valid.
        negative: When it exits with status 1; empty if it never does.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), negative: str = "", **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.examples, self.negative = tuple(examples), negative

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; an option of the group is not one of its commands, and is named."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            group = ctx.parent
            name = error.option_name.replace("--trt-", "--")
            if group is None or name not in {o for p in group.command.params for o in p.opts}:
                raise
            raise click.UsageError(
                f"No such option {error.option_name!r} of {ctx.info_name}. Write it before: "
                f"`{group.command_path} {name} ... {ctx.info_name}`",
                ctx,
            ) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, which are never wrapped, and what status 1 means."""
        _write_examples(self.examples, formatter)
        if self.negative:
            formatter.write_paragraph()
            formatter.write_text(f"Exit status 1 if {self.negative}.")


class CommandGroup(click.Group):
    """A group that imports a command when it is used.

    Args:
        lazy: For each command the module that has it and its short help: it is imported when it
            runs, so that help and completion take no longer than they need.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, tuple[str, str]] = MappingProxyType({}),
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.lazy = lazy

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse empty arguments of this command and those below it.

        A shell makes them of "$NAME" where the variable is not set. Taken as they are, an option
        that requires something would require nothing, and a path would be the current folder.
        Options of pytest (`--trt-report=`) are its own.
        """
        for before, text in zip(["", *args], args, strict=False):
            option, equals, value = text.partition("=")
            own = option.startswith("--") and not option.startswith("--trt-")
            if not text or (own and equals and not value):
                name = option or (before if before.startswith("-") else "an argument")
                raise click.UsageError(f"{name} is empty: is a variable not set?", ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*self.lazy, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported if it has to be."""
        if cmd_name in self.lazy and cmd_name not in self.commands:
            module, _ = self.lazy[cmd_name]
            self.add_command(getattr(importlib.import_module(module), cmd_name), cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their short help, which is wrapped and never shortened."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._short_help(name)) for name in self.list_commands(ctx)])

    def _short_help(self, name: str) -> str:
        if name in self.lazy:
            return self.lazy[name][1]
        return self.commands[name].get_short_help_str(limit=1000)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that may follow, without importing a command."""
        from click.shell_completion import CompletionItem

        return [
            *(
                CompletionItem(name, help=self._short_help(name))
                for name in self.list_commands(ctx)
                if name.startswith(incomplete)
            ),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write an example of each command, and at the top all exit statuses."""
        if ctx.parent is not None:
            found = (self.get_command(ctx, name) for name in self.list_commands(ctx))
            _write_examples(
                [one.examples[0] for one in found if isinstance(one, Command) and one.examples],
                formatter,
            )
            return
        with formatter.section("Exit status"):
            formatter.write_dl([(str(status), text) for status, text in EXIT_STATUSES.items()])


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def command(
    name: str | None = None, *, examples: Sequence[str], negative: str = "", **settings: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command.

    Args:
        name: Its name; by default that of the function.
        examples: Command lines for its help.
        negative: When it exits with status 1; empty if it never does.
        settings: Settings of click.
    """
    return click.command(name, cls=Command, examples=examples, negative=negative, **settings)


def json_option(function: _Function) -> _Function:
    """Add the option --json to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def walk(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group with the names that call it, groups before their own."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from walk(found, (*path, name))
