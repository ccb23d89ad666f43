"""Diagnostics: what is wrong as data, and the exceptions that carry one.

A diagnostic has a stable code, facts as fields, and a remedy. Texts are made from it, never parsed:
whatever groups, filters or counts diagnostics reads the code and the facts.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, TypeAlias

from pytest_trt.escaping import terminal

#: What a fact may be: anything that JSON can hold.
Fact: TypeAlias = "str | int | float | bool | Sequence[Fact] | Mapping[str, Fact] | None"

#: "error" fails the test or the command, "warning" is shown as a Python warning, "note" is only
#: shown.
Severity: TypeAlias = Literal["error", "warning", "note"]

_NO_FACTS: Mapping[str, Fact] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about a diagnostic. Text and alternatives start with a capital, unless with code.

    Attributes:
        text: At most two short sentences.
        commands: What to type, one command each; shown on lines of their own.
        alternatives: Other ways out, one line each.
    """

    text: str = ""
    commands: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _capitalised(self.text))
        object.__setattr__(self, "alternatives", tuple(map(_capitalised, self.alternatives)))

    def __bool__(self) -> bool:
        return bool(self.text or self.commands or self.alternatives)

    def as_alternatives(self, condition: str = "") -> tuple[str, ...]:
        """Return this remedy as alternatives of another, each with its own commands in its line.

        Args:
            condition: When it helps, in front of its text: "if the models agree:".
        """
        commands = ", then ".join(f"`{command}`" for command in self.commands)
        line = " ".join(filter(None, (condition, self.text, commands)))
        return (line, *self.alternatives) if line else self.alternatives


#: Commands with which a remedy may start.
_COMMANDS = ("pytest", "pip", "git", "python", "numpy", "onnx", "onnxruntime")


def _capitalised(text: str) -> str:
    """Return a text with a capital at its start, unless its first word is code."""
    first = text.partition(" ")[0].rstrip(",:;.")
    if first in _COMMANDS or not (first.isalpha() and first.islower()):
        return text
    return text[0].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong, or that a reader of the results has to know.

    Attributes:
        code: A key of `pytest_trt.codes.CODES`, such as "TRT401".
        message: The headline: what failed, by how much, and against what, in one line.
        facts: The same as data, for grouping, reports and scripts.
        details: Further lines below the headline, one idea each.
        remedy: What to do; empty where there is nothing to do.
        severity: Whether it fails something, warns, or only informs.
    """

    code: str
    message: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    remedy: Remedy = field(default_factory=Remedy)
    severity: Severity = "error"

    @property
    def headline(self) -> str:
        """The message with its code: "logits: 9.05x over tolerance [TRT401]"."""
        return f"{self.message} [{self.code}]"

    def lines(self, width: int | None = None) -> Iterator[str]:
        """Yield the plain text: headline, indented details, then the remedy.

        Args:
            width: Columns to wrap at, between words; commands are never wrapped. None wraps
                nothing.
        """
        yield from wrapped(self.headline, width)
        for detail in self.details:
            yield from wrapped(detail, width, "  ")
        yield from remedy_lines(self.remedy, width)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def remedy_lines(remedy: Remedy, width: int | None = None, indent: str = "") -> Iterator[str]:
    """Yield a remedy: its text behind "Fix:", then each command and alternative on its own line.

    Args:
        remedy: What to do; nothing is yielded for an empty one.
        width: Columns to wrap at, between words; commands are never wrapped.
        indent: What every line begins with.
    """
    if not remedy:
        return
    yield from wrapped(f"Fix: {remedy.text}" if remedy.text else "Fix:", width, indent)
    for command in remedy.commands:
        yield f"{indent}    {terminal(command)}"
    for alternative in remedy.alternatives:
        yield from wrapped(f"- {alternative}", width, f"{indent}  ")


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """Return a line of prose wrapped between words, continuation lines indented by two more.

    Args:
        text: One line; what a terminal would not show, such as a line feed in a name, is escaped.
        width: Columns; None returns the line as it is.
        indent: What every line begins with.
    """
    text = terminal(text.expandtabs())
    line = f"{indent}{text}"
    if width is None or len(line) <= width:
        return [line]
    import textwrap

    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


#: Diagnostics of one test that are shown in full.
_SHOWN = 10


def failure_lines(
    diagnostics: Sequence[Diagnostic],
    notes: Sequence[Diagnostic] = (),
    width: int | None = None,
    most: int = _SHOWN,
) -> Iterator[str]:
    """Yield why a test failed: each diagnostic, a blank line between them, then its notes."""
    for number, one in enumerate(diagnostics[:most]):
        yield from [""] * bool(number)
        yield from one.lines(width)
    if len(diagnostics) > most:
        more = len(diagnostics) - most
        yield ""
        yield f"and {more} more failure{'s' * (more > 1)}: --trt-report=report.json lists all"
    for note in notes:
        yield from wrapped(f"note: {note.headline}", width)


class PytestTrtWarning(UserWarning):
    """A note that matters: `-W error::pytest_trt.PytestTrtWarning` makes it fail the test."""


class PytestTrtError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: What happened, to which object, with the values involved.
        fix: What to do about it.
        code: The diagnostic's code; by default the general one of the class.
        facts: The values involved, as data.
        details: Further lines, such as the end of a log.

    Attributes:
        diagnostic: All of it as data.
    """

    CODE: ClassVar[str] = "TRT100"

    def __init__(
        self,
        message: str,
        *,
        fix: str | Remedy,
        code: str = "",
        facts: Mapping[str, Fact] = _NO_FACTS,
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(
            code or self.CODE,
            message,
            dict(facts),
            tuple(details),
            fix if isinstance(fix, Remedy) else Remedy(fix),
        )

    @property
    def message(self) -> str:
        """What happened, without code and remedy."""
        return self.diagnostic.message

    @property
    def fix(self) -> str:
        """The remedy's text."""
        return self.diagnostic.remedy.text

    def __str__(self) -> str:
        return str(self.diagnostic)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions, and errors
        # cross process boundaries.
        return rebuild, (type(self), self.__dict__)


def rebuild(cls: type[PytestTrtError], state: Mapping[str, object]) -> PytestTrtError:
    """Return an error with these attributes, `diagnostic` among them."""
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (error.message,)
    return error


class ConfigurationError(PytestTrtError):
    """An option, ini value, marker or profile asks for something that cannot be done."""

    CODE = "TRT100"


class UnsupportedError(ConfigurationError):
    """The backend, or its version, lacks the requested precision or builder option.

    Where the marker names other precisions that this backend has, the test is skipped.
    """

    CODE = "TRT360"


class BackendUnavailableError(PytestTrtError):
    """This machine cannot use the requested backend: not installed, no driver, no device."""

    CODE = "TRT710"


class ModelError(PytestTrtError):
    """A model file cannot be read, or is not what it claims to be."""

    CODE = "TRT200"


class InputError(PytestTrtError):
    """Tensors given to a session do not fit the model or its profiles."""

    CODE = "TRT220"


class EngineBuildError(PytestTrtError):
    """An engine could not be built from a model. The end of the builder's log is in the details."""

    CODE = "TRT300"

    def __init__(
        self,
        message: str,
        *,
        fix: str | Remedy,
        log_tail: Sequence[str] = (),
        code: str = "",
        facts: Mapping[str, Fact] = _NO_FACTS,
    ) -> None:
        details = [f"| {line}" for line in log_tail]
        super().__init__(message, fix=fix, code=code, facts=facts, details=details)
        self.log_tail = tuple(log_tail)


class EngineLoadError(PytestTrtError):
    """A plan exists but cannot be loaded here."""

    CODE = "TRT320"


class UnknownFactError(PytestTrtError):
    """The engine does not report the requested fact."""

    CODE = "TRT330"


class EngineRunError(PytestTrtError):
    """A loaded engine failed while running."""

    CODE = "TRT340"


class DeviceBusyError(PytestTrtError):
    """A device cannot be reserved: another process holds it, or no lock is possible."""

    CODE = "TRT731"


class DeviceLostError(EngineRunError):
    """An error after which this process can no longer use CUDA, such as an illegal address.

    Attributes:
        status: CUDA's name of the error, such as "cudaErrorIllegalAddress".
    """

    CODE = "TRT720"

    def __init__(self, message: str, *, fix: str | Remedy, status: str = "") -> None:
        super().__init__(message, fix=fix, facts={"status": status})
        self.status = status


class CacheError(PytestTrtError):
    """The engine cache cannot be used: its folder is not private, or cannot be written."""

    CODE = "TRT800"


class BaselineError(PytestTrtError):
    """A baseline file cannot be read or written, or is damaged."""

    CODE = "TRT600"


class ReportError(PytestTrtError):
    """A report cannot be read or written, or reports do not belong together."""

    CODE = "TRT900"


def in_context(error: PytestTrtError, where: str) -> PytestTrtError:
    """Return the same error with its place in front of the message: "trt_limits: ..."."""
    copy = rebuild(type(error), dict(error.__dict__))
    copy.diagnostic = replace(error.diagnostic, message=f"{where}: {error.message}")
    copy.args = (copy.message,)
    return copy


def as_typed(path: Path) -> str:
    """Return a path as it is typed where the program was started: relative if it is below."""
    try:
        here = Path.cwd()
    except OSError:  # a test has removed it
        return str(path)
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def git_restore_hint(path: Path) -> str:
    """Return how a file that changed is brought back: the commands, with the commit left open."""
    return ", then ".join(f"`{command}`" for command in git_restore_commands(path))


def git_restore_commands(path: Path) -> tuple[str, str]:
    """Return the commands that restore a file that changed, the commit left open."""
    name = shlex.quote(as_typed(path))
    return f"git log -- {name}", f"git checkout COMMIT -- {name}"
