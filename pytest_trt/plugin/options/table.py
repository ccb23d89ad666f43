"""The plugin's options: one table, from which flags, ini values and `Settings` are made.

Every run of pytest loads this module to register the options. `settings` resolves them and is
loaded only where it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_trt.plugin.options import values as read


class Option(NamedTuple):
    """One row of the table.

    A named tuple because every run of pytest defines it: a dataclass takes four times as long.

    Attributes:
        field: The field of `Settings` that it fills; the flag is `--trt-<field>`, the ini value
            `trt_<field>`.
        help: What it does, for `--help`; the default is added.
        default: The value as text where neither flag nor ini file gives one.
        parse: Text to value; raises ValueError naming what is expected.
        metavar: The value's name in `--help`; None for a switch.
        toml: Its type in `[tool.pytest]`, apart from text: "bool", "int", "float" or "linelist".
        separator: What joins the items of a list.
        ini_only: Whether there is no flag: the value is a table.
        is_path: Whether it is a path, which an ini file gives relative to itself.
        repeated: Whether the flag may be given several times.
    """

    field: str
    help: str
    default: str
    parse: Callable[[str], object]
    metavar: str | None = None
    toml: str = ""
    separator: str = "\n"
    ini_only: bool = False
    is_path: bool = False
    repeated: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return f"--trt-{self.field.replace('_', '-')}"

    @property
    def ini(self) -> str:
        """The option in the ini file."""
        return f"trt_{self.field}"

    def text(self, value: object) -> str:
        """Return a value of the ini file as the text that a flag would give."""
        return self.separator.join(value) if isinstance(value, list) else str(value)

    def flags(self, value: str | list[str]) -> list[str]:
        """Return what gives a value on the command line."""
        if self.metavar is None:
            return [self.flag]
        values = value if isinstance(value, list) else [value]
        return [f"{self.flag}={one}" for one in values]


OPTIONS = (
    Option(
        "arch",
        "GPU architectures to test, such as sm86 or sm86,sm89, or cpu for ONNX Runtime on the "
        "CPU; by default that of the local GPU, else cpu",
        "",
        read.archs,
        "ARCH[,ARCH]",
        toml="linelist",
        separator=",",
    ),
    Option(
        "backend",
        f"backend that builds and runs engines: {', '.join(read.BACKENDS)}, or the name of a "
        "plugin's backend",
        "auto",
        str,  # `settings` refuses names that no plugin registers
        "NAME",
    ),
    Option(
        "device",
        "GPU to test on: its CUDA index, its UUID, or the beginning of its UUID; by default the "
        "first GPU of the architecture",
        "",
        read.device,
        "GPU",
        toml="int",
    ),
    Option(
        "cache_dir",
        "folder of the engine cache (default: the user's cache folder, such as "
        "~/.cache/pytest-trt)",
        "",
        read.store,
        "DIR",
        is_path=True,
    ),
    Option(
        "cache_size",
        "size limit of the cache; the least recently used engines are removed first",
        "20GB",
        read.size,
        "SIZE",
        toml="int",
    ),
    Option(
        "plugin_library",
        "library of TensorRT plugins to load for builds and runs, where the marker names none with "
        "plugin_libraries=; repeatable",
        "",
        read.libraries,
        "PATH",
        toml="linelist",
        is_path=True,
        repeated=True,
    ),
    Option(
        "threads",
        "threads per inference of ONNX Runtime on the CPU; 0 lets it choose",
        "0",
        read.threads,
        "N",
        toml="int",
    ),
    Option(
        "build_timeout",
        "time limit of one build in seconds; 0 for none",
        "3600",
        read.seconds,
        "SECONDS",
        toml="float",
    ),
    Option(
        "run_timeout",
        "time limit of one run of ONNX Runtime in seconds; 0 for none",
        "600",
        read.seconds,
        "SECONDS",
        toml="float",
    ),
    Option(
        "build_only",
        "build and cache engines; skip tests that would run them",
        "false",
        read.switch,
        toml="bool",
    ),
    Option(
        "tolerances",
        "tolerances by precision, one line each: `fp16: rtol=1e-2 atol=1e-2`",
        "",
        read.tolerances,
        toml="linelist",
        ini_only=True,
    ),
    Option(
        "limits",
        "speed limits by precision, one line each: `fp16: p99=8% throughput=4%`",
        "",
        read.limits,
        toml="linelist",
        ini_only=True,
    ),
    Option(
        "baseline_dir",
        "folder of the baselines, which belong in version control (default: trt_baselines "
        "next to the ini file, or else the nearest such folder above the tests)",
        "",
        read.store,
        "DIR",
        is_path=True,
    ),
    Option(
        "against",
        "what trt_consistency compares with where the marker does not say: the FP32 outputs of the "
        "model under test, stored answers, or both: model, stored, both",
        "model",
        read.one_of("model", "stored", "both"),
        "WHAT",
    ),
    Option(
        "answers_size",
        "size of one stored output; of larger ones a sketch of this size is stored",
        "64KB",
        read.size,
        "SIZE",
        toml="int",
    ),
    Option(
        "missing_baseline",
        "action for a test without a baseline: fail, record, skip (default: record, or fail in CI: "
        "where CI, GITHUB_ACTIONS, GITLAB_CI or a variable of another CI system is set)",
        "",
        read.missing_baseline,
        "ACTION",
    ),
    Option(
        "inconclusive",
        "action when the data neither show a regression nor rule one out: warn, fail",
        "warn",
        read.one_of("warn", "fail"),
        "ACTION",
    ),
    Option(
        "benchmark_time",
        "measuring time per test in seconds; explicit limits get up to six times as long",
        "10",
        read.budget,
        "SECONDS",
        toml="float",
    ),
    Option(
        "update",
        "accept the measured speed, answers and task metrics of every test that runs: runs of the "
        "same engine are added to its baseline (the last five are stored), a different speed, "
        "engine or answer replaces the baseline; beyond a limit or tolerance it needs "
        "--trt-update-reason",
        "false",
        read.switch,
        toml="bool",
    ),
    Option(
        "update_anyway",
        "with --trt-update, also store figures of an overloaded host; they are marked as such",
        "false",
        read.switch,
        toml="bool",
    ),
    Option(
        "update_new",
        "record missing baselines, in CI too",
        "false",
        read.switch,
        toml="bool",
    ),
    Option(
        "calibrate",
        "measure in fresh processes the run-to-run variation of each trt_benchmark test, store it "
        "with the baseline for later verdicts, and print the smallest detectable change; records "
        "missing baselines; gives no speed verdict",
        "false",
        read.switch,
        toml="bool",
    ),
    Option(
        "calibrate_runs",
        "fresh processes per test for --trt-calibrate",
        "5",
        read.calibrate_runs,
        "N",
        toml="int",
    ),
    Option(
        "baseline_runs",
        "runs to record with each baseline: one in this process, further ones in fresh processes; "
        "five are enough to estimate run-to-run variation",
        "1",
        read.runs,
        "N",
        toml="int",
    ),
    Option(
        "update_reason", "reason for an update, stored with the baseline", "", read.reason, "TEXT"
    ),
    Option(
        "selftest",
        "inject errors just beyond every tolerance and slowdowns just beyond every limit, and fail "
        "every check that does not detect them; writes no baselines",
        "false",
        read.switch,
        toml="bool",
    ),
    Option(
        "checks",
        "number of limits in the full run; set it when repeating a single test, so that the "
        "required confidence is the same (default 0: count the collected tests)",
        "",
        read.checks,
        "N",
        toml="int",
    ),
    Option(
        "localize",
        "when to search for the first bad layer: auto (for the first three engines of a run that "
        "fail trt_consistency), always (for tests that pass, too), never",
        "auto",
        read.one_of("auto", "always", "never"),
        "WHEN",
    ),
    Option(
        "localize_timeout",
        "time limit of one search for the first bad layer in seconds; no further step begins "
        "after it",
        "60",
        read.budget,
        "SECONDS",
        toml="float",
    ),
    Option(
        "repro",
        "write, for each engine that fails trt_consistency, a folder that repeats its worst run "
        "without pytest, below this one",
        "",
        read.folder,
        "DIR",
        is_path=True,
    ),
    Option(
        "report",
        "write a report of the run: .html to read, .json for scripts, .prom for Prometheus; "
        "repeatable",
        "",
        read.reports,
        "PATH",
        toml="linelist",
        is_path=True,
        repeated=True,
    ),
    Option(
        "require_arch",
        "fail unless every collected test of a model reached a verdict on each of these "
        "architectures",
        "",
        read.archs,
        "ARCH[,ARCH]",
        toml="linelist",
        separator=",",
    ),
    Option(
        "require_models",
        "fail unless a collected test names each file that matches this pattern, such as "
        "'models/**/*.onnx'; in the ini file, for runs of all tests; repeatable",
        "",
        read.patterns,
        "PATTERN",
        toml="linelist",
        is_path=True,
        repeated=True,
    ),
    Option(
        "untested_models",
        "models that need no test, a path or pattern and the reason in each line: "
        "`models/old.onnx: retired in June`",
        "",
        read.exceptions,
        toml="linelist",
        ini_only=True,
        is_path=True,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Register every option with pytest."""
    group = parser.getgroup("trt", "inference regression testing (pytest-trt)")
    for option in OPTIONS:
        text = option.help + (f" (default: {option.default})" if option.default else "")
        if not option.ini_only:
            # None, not the default, so that an absent flag leaves the ini value in force.
            shape: dict[str, Any] = (
                {"metavar": option.metavar}
                if option.metavar
                else {"action": "store_const", "const": "true"}
            )
            if option.repeated:
                shape["action"] = "append"
            group.addoption(option.flag, dest=option.ini, default=None, help=text, **shape)
        _add_ini(parser, option, text)


#: Types of `[tool.pytest]` by `Option.toml`, for a pytest that takes several types.
_TOML_TYPES: dict[str, Any] = {
    "": str,
    "bool": bool | str,
    "int": int | str,
    "float": float | int | str,
    "linelist": "linelist",
}


def _add_ini(parser: pytest.Parser, option: Option, text: str) -> None:
    if pytest.version_tuple >= (9, 2):
        kind = _TOML_TYPES[option.toml]
    else:
        kind = "linelist" if option.toml == "linelist" else None
    parser.addini(option.ini, text, type=kind, default=None)


def ini_value(config: pytest.Config, option: Option) -> Any:
    """Return what the ini file gives for an option; None where it gives nothing.

    Raises:
        pytest.UsageError: It has another type.
    """
    try:
        return config.getini(option.ini)
    except TypeError as error:  # pytest 9.0 and 9.1: an option of [tool.pytest] has one type
        raise pytest.UsageError(
            f"{error}. Write such a value, or use pytest 9.2 or newer."
        ) from error


def report_paths(config: pytest.Config, flag: Sequence[str] | None) -> list[Path]:
    """Return the report files that a flag or the ini file names, before they are checked."""
    here, lines = config.invocation_params.dir, flag
    if lines is None:
        given: Any = ()
        with suppress(TypeError):  # for `ini_value` to report
            given = config.getini("trt_report") or ()
        lines = given.splitlines() if isinstance(given, str) else given
        here = config.inipath.parent if config.inipath else config.rootpath
    named = (Path(str(line).strip()) for line in lines)
    return [one if str(one).startswith("~") else here / one for one in named]


def runs_nothing(options: object) -> bool:
    """Whether pytest only shows something, and runs no test."""
    return any(getattr(options, one, False) for one in _NO_RUN)


def unknown_lines(config: pytest.Config) -> Iterator[str]:
    """Yield misspelt options of the ini file, which would set nothing: pytest only warns."""
    given = getattr(config, "_inicfg", None)  # pytest 9 has deprecated `inicfg`
    overridden = [one.partition("=")[0] for one in config.getoption("override_ini") or ()]
    for name in [*(config.inicfg if given is None else given), *overridden]:
        if name.replace("-", "_").lower().startswith("trt_"):
            try:
                config.getini(name)
            except TypeError:  # for `ini_value` to report
                pass
            except ValueError:
                yield name


def anything_given(config: pytest.Config) -> bool:
    """Whether the command line or the ini file sets any of the options, or a misspelt one."""
    return any(unknown_lines(config)) or any(
        ini_value(config, option)
        or (not option.ini_only and config.getoption(option.ini) is not None)
        for option in OPTIONS
    )


def is_disabled(config: pytest.Config) -> bool:
    """Whether pytest-benchmark's options say that benchmarks run once, untimed.

    xdist disables the fixture of pytest-benchmark, too. Ours is not: it measures one at a time.
    """
    option = config.option
    disabled: bool = getattr(option, "benchmark_disable", False)
    return disabled and not option.benchmark_enable


#: Options with which pytest runs no test, by their attribute.
_NO_RUN = (
    *("help", "version", "collectonly", "markers", "setupplan"),
    *("showfixtures", "show_fixtures_per_test", "cacheshow"),
)

#: Options without which another run would build, run, or compare with something else.
ENGINE_FIELDS = (
    *("arch", "backend", "device", "cache_dir", "plugin_library", "threads"),
    *("build_timeout", "run_timeout", "baseline_dir"),
)


def given_flags(
    config: pytest.Config, fields: Collection[str], start: Path | None = None
) -> list[str]:
    """Return options that were given on the command line: "--trt-arch=sm86".

    The ini file and root folder are among them where the folder that pytest is started in does not
    decide them: without them, a command would read other options, and other baselines.

    Args:
        config: The run's configuration.
        fields: The fields of the plugin's options to return.
        start: Where pytest is to be started; None for where it was.
    """
    start = start or config.invocation_params.dir
    named = {"--config-file": config.option.inifilename and config.inipath}
    if config.option.rootdir and (named["--config-file"] or config.inipath is None):
        named["--rootdir"] = config.rootpath
    flags = [f"{flag}={os.path.relpath(path, start)}" for flag, path in named.items() if path]
    given = [(option, config.getoption(option.ini)) for option in OPTIONS if option.field in fields]
    return flags + [
        flag for option, value in given if value is not None for flag in option.flags(value)
    ]
