"""What the options say, resolved in one place.

A flag wins over its ini twin, and that over the default. A marker's own word wins over all three;
that is decided where markers are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.plugin.misread_paths import refuse_misread_paths
from pytest_trt.plugin.options import OPTIONS

if TYPE_CHECKING:
    from pytest_trt.engine.cache import EngineCache


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say, after precedence and validation.

    Attributes:
        arch: Architectures that must be tested; empty for the one at hand.
        backend: One of `options.BACKENDS`.
        device: The GPU that tests run on, by number or UUID; empty for the first that fits.
        cache_dir: The engine cache's folder; None for the user's cache folder.
        cache_size: Cap on the cache in bytes.
        threads: Threads of one inference on the embedded backend; 0 leaves them to it.
        build_timeout: Seconds that one build of TensorRT may take; 0 for no limit.
        build_only: Build engines and run nothing.
        tolerances: Tolerances by precision, from the ini file.
        limits: Limits of speed by precision, from the ini file.
        baseline_dir: Where baselines are kept.
        missing_baseline: "fail", "record" or "skip".
        inconclusive: "warn" or "fail".
        benchmark_time: Seconds for the first rounds of one benchmark.
        update: Accept every speed that is measured.
        update_new: Record baselines that are missing.
        calibrate: Measure how much runs differ by themselves.
        calibrate_runs: In how many fresh processes of each test.
        baseline_runs: How many runs are recorded with a baseline.
        update_reason: Why.
        selftest: Prove that checks can fail.
        report: Where reports of the run are written.
        require_arch: Architectures on which every test of a model must reach a verdict.
    """

    arch: tuple[str, ...]
    backend: str
    device: str
    cache_dir: Path | None
    cache_size: int
    threads: int
    build_timeout: float
    build_only: bool
    tolerances: dict[str, dict[str, object]]
    limits: dict[str, dict[str, float | None]]
    baseline_dir: Path
    missing_baseline: str
    inconclusive: str
    benchmark_time: float
    update: bool
    update_new: bool
    calibrate: bool
    calibrate_runs: int
    baseline_runs: int
    update_reason: str
    selftest: bool
    report: tuple[Path, ...]
    require_arch: tuple[str, ...]

    @property
    def accepts_slower(self) -> bool:
        """Whether what is beyond a limit becomes a baseline: only where somebody says why."""
        return self.update and bool(self.update_reason)

    @property
    def looks_for_gpus(self) -> bool:
        """Whether it depends on the machine's GPUs what is tested."""
        return self.backend != "onnxruntime" and self.arch != ("cpu",)

    @property
    def wants_report(self) -> bool:
        """Whether anything asks for what only a report keeps: tests that never ran, too."""
        return bool(self.report or self.require_arch)

    def open_cache(self) -> EngineCache:
        """Open the engine cache that these settings name."""
        from pytest_trt.engine.cache import EngineCache, default_cache_dir

        return EngineCache(self.cache_dir or default_cache_dir(), max_bytes=self.cache_size)


def read_settings(config: pytest.Config) -> Settings:
    """Resolve every option: flag, else ini value, else default.

    Raises:
        pytest.UsageError: A value cannot be understood, or was taken for something else.
    """
    refuse_misread_paths(config)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        flag = None if option.ini_only else config.getoption(option.ini)
        ini = config.getini(option.ini)
        if option.repeated and flag is not None:
            flag = "\n".join(flag)
        text = flag if flag is not None else (ini or option.default)
        source = option.flag if flag is not None else f"{option.ini} in the ini file"
        if option.is_path and text and flag is None:
            # As pytest's own paths in ini files: relative to the file, wherever pytest is started.
            base = config.rootpath if config.inipath is None else config.inipath.parent
            text = "\n".join(str(base / line.strip()) for line in text.strip().splitlines())
        try:
            values[option.field] = option.parse(str(text))
        except ConfigurationError as error:
            raise pytest.UsageError(f"{source}: {error}") from error
        except ValueError as error:
            raise pytest.UsageError(f"{source}: expected {error}, got {text!r}.") from error
    if values["update"] and values["update_new"]:
        raise pytest.UsageError(
            "--trt-update records every baseline and --trt-update-new those that are missing: "
            "give one of them."
        )
    if values["selftest"]:
        if values["update"] or values["update_new"] or values["calibrate"]:
            raise pytest.UsageError(
                "--trt-selftest plants slowdowns and records no baselines: update them in a run "
                "without it."
            )
        values["missing_baseline"] = "fail"
    if values["update_new"]:
        values["missing_baseline"] = "record"
    return Settings(**values)
