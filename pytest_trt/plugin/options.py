"""The plugin's options: one table, from which flags, ini values and `Settings` are made.

Every run of pytest loads this module, so that it can register the options. What resolves them is
in `settings`, which is loaded where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pytest_trt.plugin import option_values as read


class Option(NamedTuple):
    """One row of the table.

    A named tuple, because every run of pytest defines it: a dataclass takes four times as long.

    Attributes:
        field: The field of `Settings` that it fills; the flag is `--trt-<field>`, the ini value
            `trt_<field>`.
        help: What it does, for `--help`; the default is added.
        default: The value's text where neither flag nor ini file gives one.
        parse: Text to value; raises ValueError with what is expected.
        metavar: How the value is called in `--help`; None for a switch.
        ini_only: Whether there is no flag: the value is a table.
        is_path: Whether it is a path, which an ini file gives relative to itself.
        repeated: Whether the flag may be given several times, and the ini value be several lines.
    """

    field: str
    help: str
    default: str
    parse: Callable[[str], object]
    metavar: str | None = None
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


OPTIONS = (
    Option(
        "arch",
        "GPU architectures that must be tested, e.g. sm86 or sm86,sm89; cpu for the embedded "
        "backend. Without it: the architecture of the GPU at hand, else cpu",
        "",
        read.archs,
        "ARCH[,ARCH]",
    ),
    Option(
        "backend",
        f"what builds and runs engines: {', '.join(read.BACKENDS)}",
        "auto",
        read.backend,
        "NAME",
    ),
    Option(
        "device",
        "the GPU that tests run on: CUDA's number, or its UUID or the beginning of it. Without "
        "it: the first one of the architecture",
        "",
        read.device,
        "GPU",
    ),
    Option(
        "cache_dir",
        "where engines are cached (default: the user's cache folder)",
        "",
        read.cache_dir,
        "DIR",
        is_path=True,
    ),
    Option(
        "cache_size", "cap on the cache; least recently used goes first", "20GB", read.size, "SIZE"
    ),
    Option(
        "threads",
        "threads of one inference on the embedded backend; 0 leaves them to ONNX Runtime",
        "0",
        read.threads,
        "N",
    ),
    Option(
        "build_timeout",
        "seconds that one build of TensorRT may take; 0 for no limit",
        "3600",
        read.seconds,
        "SECONDS",
    ),
    Option("build_only", "build and cache engines, skip what would run them", "false", read.switch),
    Option(
        "tolerances",
        "tolerances by precision, a line each: `fp16: rtol=1e-2 atol=1e-2`",
        "",
        read.tolerances,
        ini_only=True,
    ),
    Option(
        "limits",
        "limits of speed by precision, a line each: `fp16: p99=8% throughput=4%`",
        "",
        read.limits,
        ini_only=True,
    ),
    Option(
        "baseline_dir",
        "where baselines of speed are kept, to be committed",
        "trt_baselines",
        read.folder,
        "DIR",
        is_path=True,
    ),
    Option(
        "missing_baseline",
        "what a test without a baseline does: fail, record, skip (default: record; fail where CI "
        "is set)",
        "",
        read.missing_baseline,
        "WHAT",
    ),
    Option(
        "inconclusive",
        "what a speed that cannot be told from its baseline does: warn, fail",
        "warn",
        read.one_of("warn", "fail"),
        "WHAT",
    ),
    Option(
        "benchmark_time",
        "seconds for 20 rounds of one test; slow engines get shorter rounds, and limits that are "
        "named up to six times as long",
        "10",
        read.budget,
        "SECONDS",
    ),
    Option(
        "update",
        "accept the speed of every test that runs: runs of the same engine are added to its "
        "baseline, five are kept; another speed or engine replaces it. One that is beyond a limit "
        "of its test needs --trt-update-reason",
        "false",
        read.switch,
    ),
    Option("update_new", "record baselines that are missing, in CI too", "false", read.switch),
    Option(
        "calibrate",
        "measure how much runs of each trt_benchmark test differ by themselves, in fresh "
        "processes; keep that with its baseline, for later verdicts to rest on, and print the "
        "smallest change that is called. Records a baseline where there is none; judges no speed",
        "false",
        read.switch,
    ),
    Option(
        "calibrate_runs",
        "fresh processes of each test for --trt-calibrate",
        "5",
        read.calibrate_runs,
        "N",
    ),
    Option(
        "baseline_runs",
        "runs to record wherever a baseline is recorded or accepted: this process's and, for more "
        "than one, those of fresh processes. Five tell how much runs differ",
        "1",
        read.runs,
        "N",
    ),
    Option("update_reason", "why, kept with the baseline", "", read.reason, "TEXT"),
    Option(
        "selftest",
        "plant errors just beyond every tolerance and slowdowns just beyond every limit, and fail "
        "where a check does not; writes no baselines",
        "false",
        read.switch,
    ),
    Option(
        "report",
        "write a report of the run: .html to look at, .json with everything, .prom for dashboards; "
        "may be given several times",
        "",
        read.reports,
        "PATH",
        is_path=True,
        repeated=True,
    ),
    Option(
        "require_arch",
        "fail unless every collected test of a model reached a verdict on each of these",
        "",
        read.archs,
        "ARCH[,ARCH]",
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
            if option.repeated:
                shape["action"] = "append"
            group.addoption(
                option.flag, dest=option.ini, default=None, help=option.help + note, **shape
            )
        parser.addini(option.ini, option.help + note, type=None, default=None)


def anything_given(config: pytest.Config) -> bool:
    """Whether the command line or the ini file says anything of the plugin."""
    return any(
        config.getini(option.ini)
        or (not option.ini_only and config.getoption(option.ini) is not None)
        for option in OPTIONS
    )
