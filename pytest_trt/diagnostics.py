"""The exception hierarchy. An error is something the user must act on; a failing check is not one.

Every error carries a ``fix``: the sentence that says what to type or change. The text of the
exception is the message followed by a ``Fix:`` line, so that whoever prints it prints both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class PytestTrtError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What happened, to which object, with the values involved.
        fix: What to do about it, as an instruction.
    """

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\nFix: {self.fix}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions, and errors
        # cross process boundaries.
        return _rebuild, (type(self), self.message, self.fix, self.__dict__)


def _rebuild(
    cls: type[PytestTrtError], message: str, fix: str, state: dict[str, object]
) -> PytestTrtError:
    error = cls(message, fix=fix)
    error.__dict__.update(state)
    return error


class ConfigurationError(PytestTrtError):
    """An option, ini value, marker or profile says something that cannot be done."""


class BackendUnavailableError(PytestTrtError):
    """A backend was asked for that this machine cannot use: not installed, no driver, no device."""


class ModelError(PytestTrtError):
    """A model file cannot be read, or is not what it claims to be."""


class InputError(PytestTrtError):
    """Tensors given to a session do not fit the model or its profiles."""


class EngineBuildError(PytestTrtError):
    """An engine could not be built from a model.

    Attributes:
        log_tail: The last lines that the builder logged.
    """

    def __init__(self, message: str, *, fix: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message, fix=fix)
        self.log_tail = tuple(log_tail)

    def __str__(self) -> str:
        tail = "".join(f"\n  | {line}" for line in self.log_tail)
        return f"{self.message}{tail}\nFix: {self.fix}"


class EngineLoadError(PytestTrtError):
    """A plan exists but cannot be loaded here."""


class UnknownFactError(PytestTrtError):
    """A fact is asked for that the engine does not tell."""


class EngineRunError(PytestTrtError):
    """A loaded engine failed while running."""


class DeviceLostError(EngineRunError):
    """An error after which this process can use CUDA no more, such as a kernel's wrong address.

    Attributes:
        status: CUDA's name of the error, "cudaErrorIllegalAddress".
    """

    def __init__(self, message: str, *, fix: str, status: str = "") -> None:
        super().__init__(message, fix=fix)
        self.status = status


class CacheError(PytestTrtError):
    """The engine cache cannot be used: its folder is not private, or cannot be written."""


class BaselineError(PytestTrtError):
    """A baseline file cannot be read or written, or is not whole."""


class ReportError(PytestTrtError):
    """A report cannot be read or written, or reports do not belong together."""


def as_typed(path: Path) -> str:
    """Return a path as it is typed where the program was started: relative if it is below."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def git_restore_hint(path: Path) -> str:
    """Return how a file that changed is brought back: the commands, with the commit left open."""
    name = as_typed(path)
    return f"`git log -- {name}`, then `git checkout COMMIT -- {name}`"
