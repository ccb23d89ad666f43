"""The plugin's options: one table, from which flags, ini values and settings are made.

A flag wins over its ini twin, and that over the default. A marker's own word wins over all three;
that is decided where markers are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import ConfigurationError

if TYPE_CHECKING:
    from pytest_trt.engine import EngineCache

#: The backends by name; `auto` picks one by what is at hand.
BACKENDS = ("auto", "tensorrt", "tensorrt_rtx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say, after precedence and validation.

    Attributes:
        arch: Architectures that must be tested; empty for the one at hand.
        backend: One of `BACKENDS`.
        cache_dir: The engine cache's folder; None for the user's cache folder.
        cache_size: Cap on the cache in bytes.
        threads: Threads of one inference on the embedded backend; 0 leaves them to it.
        build_only: Build engines and run nothing.
        tolerances: Tolerances by precision, from the ini file.
    """

    arch: tuple[str, ...]
    backend: str
    cache_dir: Path | None
    cache_size: int
    threads: int
    build_only: bool
    tolerances: dict[str, dict[str, object]]

    def open_cache(self) -> EngineCache:
        """Open the engine cache that these settings name."""
        from pytest_trt.engine import EngineCache, default_cache_dir

        return EngineCache(self.cache_dir or default_cache_dir(), max_bytes=self.cache_size)


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table.

    Attributes:
        field: The field of `Settings` that it fills; the flag is `--trt-<field>`, the ini value
            `trt_<field>`.
        help: What it does, for `--help`; the default is added.
        default: The value's text where neither flag nor ini file gives one.
        parse: Text to value; raises ValueError with what is expected.
        metavar: How the value is called in `--help`; None for a switch.
        ini_only: Whether there is no flag: the value is a table.
    """

    field: str
    help: str
    default: str
    parse: Callable[[str], object]
    metavar: str | None = None
    ini_only: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return f"--trt-{self.field.replace('_', '-')}"

    @property
    def ini(self) -> str:
        """The option in the ini file."""
        return f"trt_{self.field}"


def _archs(text: str) -> tuple[str, ...]:
    from pytest_trt.backends.arch import parse_archs

    return parse_archs(text) if text else ()


def _backend(text: str) -> str:
    if text not in BACKENDS:
        raise ValueError(f"one of {', '.join(BACKENDS)}")
    return text


def _cache_dir(text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def _size(text: str) -> int:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(number) :].strip().lower()
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        raise ValueError("a size such as 500MB or 20GB") from None


def _threads(text: str) -> int:
    if not text.isdigit():
        raise ValueError("a whole number, 0 for ONNX Runtime's own choice")
    return int(text)


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1", "yes", "on")


def _tolerances(text: str) -> dict[str, dict[str, object]]:
    from pytest_trt.accuracy import parse_tolerance_lines

    return parse_tolerance_lines(text.splitlines(), where="trt_tolerances") if text else {}


OPTIONS = (
    Option(
        "arch",
        "GPU architectures that must be tested, e.g. sm86 or sm86,sm89; cpu for the embedded "
        "backend. Without it: the architecture of the GPU at hand, else cpu",
        "",
        _archs,
        "ARCH[,ARCH]",
    ),
    Option(
        "backend", f"what builds and runs engines: {', '.join(BACKENDS)}", "auto", _backend, "NAME"
    ),
    Option(
        "cache_dir",
        "where engines are cached (default: the user's cache folder)",
        "",
        _cache_dir,
        "DIR",
    ),
    Option("cache_size", "cap on the cache; least recently used goes first", "20GB", _size, "SIZE"),
    Option(
        "threads",
        "threads of one inference on the embedded backend; 0 leaves them to ONNX Runtime",
        "0",
        _threads,
        "N",
    ),
    Option("build_only", "build and cache engines, skip what would run them", "false", _switch),
    Option(
        "tolerances",
        "tolerances by precision, a line each: `fp16: rtol=1e-2 atol=1e-2`",
        "",
        _tolerances,
        ini_only=True,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Register every option with pytest."""
    group = parser.getgroup("trt", "inference regression testing (pytest-trt)")
    for option in OPTIONS:
        note = f" (default: {option.default})" if option.default else ""
        if not option.ini_only:
            # None, not the default: only so can an ini value be told from an absent flag.
            shape: dict[str, Any] = (
                {"metavar": option.metavar}
                if option.metavar
                else {"action": "store_const", "const": "true"}
            )
            group.addoption(
                option.flag, dest=option.ini, default=None, help=option.help + note, **shape
            )
        parser.addini(option.ini, option.help + note, type=None, default=None)


def read_settings(config: pytest.Config) -> Settings:
    """Resolve every option: flag, else ini value, else default.

    Raises:
        pytest.UsageError: A value cannot be understood.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        flag = None if option.ini_only else config.getoption(option.ini)
        ini = config.getini(option.ini)
        text = flag if flag is not None else (ini or option.default)
        source = option.flag if flag is not None else f"{option.ini} in the ini file"
        try:
            values[option.field] = option.parse(str(text))
        except ConfigurationError as error:
            raise pytest.UsageError(f"{source}: {error}") from error
        except ValueError as error:
            raise pytest.UsageError(f"{source}: expected {error}, got {text!r}.") from error
    return Settings(**values)


def given_on_command_line(config: pytest.Config) -> bool:
    """Whether this run asks for something of the plugin, whatever its tests are."""
    return any(
        config.getoption(option.ini) is not None for option in OPTIONS if not option.ini_only
    )
