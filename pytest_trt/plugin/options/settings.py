"""The options, resolved and validated in one place: flag, else ini value, else default.

Markers win over all three; `plan` applies them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import ConfigurationError, in_context
from pytest_trt.plugin.options.table import OPTIONS, Option, ini_value, is_disabled, unknown_lines
from pytest_trt.plugin.options.values import BACKENDS
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    from pytest_trt.backends.selection import AdditionalBackend, Registry
    from pytest_trt.engine.cache import EngineCache


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one run.

    Attributes:
        arch: Architectures that must be tested; empty for the local one.
        backend: One of `option_values.BACKENDS`, or of those that plugins register.
        device: The GPU to test on, by CUDA index or UUID; empty for the first that fits.
        cache_dir: The engine cache's folder; None for the user's cache folder.
        cache_size: Size limit of the cache in bytes.
        plugin_library: Libraries of TensorRT plugins, where a marker names none.
        threads: Threads per inference of ONNX Runtime on the CPU; 0 for its own choice.
        build_timeout: Time limit of one build in seconds; 0 for none.
        run_timeout: Time limit of one run of ONNX Runtime in seconds; 0 for none.
        build_only: Build engines and run nothing.
        tolerances: Tolerances by precision, from the ini file.
        limits: Speed limits by precision, from the ini file.
        baseline_dir: Folder of the baselines; None for the default one.
        against: "model", "stored" or "both": what outputs are compared with.
        answers_size: Size of one stored output in bytes.
        missing_baseline: "fail", "record" or "skip".
        inconclusive: "warn" or "fail".
        benchmark_time: Seconds for the rounds of one benchmark.
        update: Accept every measured speed.
        update_anyway: Also store figures of an overloaded host.
        update_new: Record missing baselines.
        calibrate: Measure how much runs of one engine vary.
        calibrate_runs: Fresh processes per test of a calibration.
        baseline_runs: Runs to record with each baseline.
        update_reason: Reason for an update.
        selftest: Prove that checks can fail.
        checks: How many limits the whole run has; 0 to count them.
        localize: "auto", "always" or "never": when to search for the first bad layer.
        localize_timeout: Time limit of one search in seconds.
        repro: Folder for bundles that repeat failing runs; None for none.
        report: Report files to write.
        require_arch: Architectures on which every test of a model must reach a verdict.
        require_models: Patterns of the models that a test must name.
        untested_models: Reasons of models that need none, by path or pattern.
        additional_backends: Backends that plugins register, where `backend` names one of them.
    """

    arch: tuple[str, ...]
    backend: str
    device: str
    cache_dir: Path | None
    cache_size: int
    plugin_library: tuple[Path, ...]
    threads: int
    build_timeout: float
    run_timeout: float
    build_only: bool
    tolerances: dict[str, dict[str, object]]
    limits: dict[str, dict[str, float | None]]
    baseline_dir: Path | None
    against: str
    answers_size: int
    missing_baseline: str
    inconclusive: str
    benchmark_time: float
    update: bool
    update_anyway: bool
    update_new: bool
    calibrate: bool
    calibrate_runs: int
    baseline_runs: int
    update_reason: str
    selftest: bool
    checks: int
    localize: str
    localize_timeout: float
    repro: Path | None
    report: tuple[Path, ...]
    require_arch: tuple[str, ...]
    require_models: tuple[Path, ...]
    untested_models: dict[Path, str]
    additional_backends: Registry = field(default_factory=dict)

    @property
    def accepts_slower(self) -> bool:
        """Whether a result beyond a limit may become the baseline: only with a reason."""
        return self.update and bool(self.update_reason)

    @property
    def looks_for_gpus(self) -> bool:
        """Whether the local GPUs decide what is tested."""
        return self.backend != "onnxruntime" and self.arch != ("cpu",)

    @property
    def wants_report(self) -> bool:
        """Whether an option needs the data of a report, which covers tests that never ran."""
        return bool(self.report or self.require_arch)

    def open_cache(self) -> EngineCache:
        """Open the engine cache that these settings name."""
        from pytest_trt.engine.cache import EngineCache, default_cache_dir

        return EngineCache(self.cache_dir or default_cache_dir(), max_bytes=self.cache_size)


def default_settings(**chosen: Any) -> Settings:
    """Return the settings of a run without options or ini file, but for what is chosen."""
    values = {option.field: option.parse(option.default) for option in OPTIONS}
    return Settings(**{**values, **chosen})


#: Options that state what must be tested, what fails, and where: without a value they would state
#: nothing.
_GATES = (
    "arch",
    "device",
    "require_arch",
    "require_models",
    "missing_baseline",
    "baseline_dir",
    "report",
)


#: Options of single runs, and what they would do to every run as a line of the ini file.
_OF_ONE_RUN = {
    "update": "every run would replace the baselines that it is to be compared with",
    "update_new": "a test without a committed baseline would pass in every run of CI",
    "calibrate": "no run would have a verdict on speed",
}


def read_settings(config: pytest.Config) -> Settings:
    """Resolve every option: flag, else ini value, else default.

    Raises:
        pytest.UsageError: A value is invalid, two options contradict each other, or pytest took
            a path of an option for a path of tests.
    """
    refuse_misread_paths(config)
    for name in unknown_lines(config):
        fix = known_names("option", name, [option.ini for option in OPTIONS])
        raise pytest.UsageError(f"{name} in the ini file: no such option; {fix}")
    values = {option.field: _value(config, option) for option in OPTIONS}
    _refuse_permanent(values, config)
    _check_combinations(values, config)
    values["additional_backends"] = _additional_backends(config, values["backend"])
    if values["selftest"]:
        values["missing_baseline"] = "fail"
    if values["update_new"]:
        values["missing_baseline"] = "record"
    return Settings(**values)


def _additional_backends(config: pytest.Config, name: str) -> Registry:
    """Return the backends that plugins register; markers name those that are not used, too."""
    registry: dict[str, AdditionalBackend] = {}
    if config.hook.pytest_trt_backends.get_hookimpls():  # else the module, and NumPy, can wait
        from pytest_trt.backends.selection import register_backend

        try:
            for each in config.hook.pytest_trt_backends(config=config):
                for key, (factory, probe) in each.items():
                    register_backend(registry, key, factory, probe)
        except ConfigurationError as error:
            raise pytest.UsageError(f"pytest_trt_backends: {error}") from error
    if name not in (*BACKENDS, *registry):
        known = ", ".join([*BACKENDS, *registry])
        raise pytest.UsageError(f"--trt-backend: expected one of {known}, got {name!r}.")
    return registry


def _value(config: pytest.Config, option: Option) -> Any:
    flag = None if option.ini_only else config.getoption(option.ini)
    if flag is not None:
        source, text = option.flag, option.text(flag)
        if option.field in _GATES and "" in (text, *(flag if isinstance(flag, list) else ())):
            raise pytest.UsageError(f"{source} is empty: is a variable not set?")
    else:
        source, text = f"{option.ini} in the ini file", _ini_text(config, option)
    try:
        return option.parse(text)
    except ConfigurationError as error:
        # A table names its place and line itself.
        named = error if option.ini_only else in_context(error, source)
        raise pytest.UsageError(str(named)) from named
    except ValueError as error:
        given = next((line for line in text.splitlines() if not _is_valid(option, line)), text)
        raise pytest.UsageError(f"{source}: expected {error}, got {given!r}.") from error


def _is_valid(option: Option, line: str) -> bool:
    try:
        option.parse(line)
    except ValueError:
        return False
    return True


def _ini_text(config: pytest.Config, option: Option) -> str:
    """Return an ini value as text, or the default; relative paths start at the ini file.

    The option's parser expands "~", as on the command line.
    """
    given = ini_value(config, option)
    if given is None or given == "":
        return option.default
    text = option.text(given)
    if not option.is_path:
        return text
    base = config.rootpath if config.inipath is None else config.inipath.parent
    lines = map(str.strip, text.strip().splitlines())
    return "\n".join(line if line.startswith("~") else str(base / line) for line in lines)


def _refuse_permanent(values: Mapping[str, Any], config: pytest.Config) -> None:
    """Refuse updates that the ini file asks of every run: whatever a run measures would pass."""
    given = {one.partition("=")[0] for one in config.getoption("override_ini") or ()}
    added = () if "addopts" in given else config.getini("addopts")
    for option in OPTIONS:
        if option.field not in _OF_ONE_RUN or not values[option.field]:
            continue
        of_line = config.getoption(option.ini) is None and option.ini not in given
        if of_line or option.flag in added:
            named = option.ini if of_line else f"{option.flag} of addopts"
            raise pytest.UsageError(
                f"{named} is set in the ini file: {_OF_ONE_RUN[option.field]}. Remove it, and give "
                f"{option.flag} to the runs that are to record."
            )


def _check_combinations(values: Mapping[str, Any], config: pytest.Config) -> None:
    untimed = "--trt-build-only" if values["build_only"] else ""
    untimed = "--benchmark-disable" if is_disabled(config) else untimed
    if untimed and (values["update"] or values["calibrate"]):
        option = "--trt-update" if values["update"] else "--trt-calibrate"
        raise pytest.UsageError(
            f"{option} records what is measured, but {untimed} disables measuring: use one of them."
        )
    if values["build_only"] and values["update_new"]:
        raise pytest.UsageError(
            "--trt-update-new records what engines return, but --trt-build-only runs none: use one "
            "of them."
        )
    if values["update_anyway"] and not values["update"]:
        raise pytest.UsageError(
            "--trt-update-anyway has no effect without --trt-update: add it, or remove "
            "--trt-update-anyway."
        )
    if values["update_reason"] and not (values["update"] or values["update_new"]):
        raise pytest.UsageError(
            "--trt-update-reason has no effect without --trt-update: add it (or "
            "--trt-update-new, to record missing baselines only)."
        )
    if values["update"] and values["update_new"]:
        raise pytest.UsageError(
            "--trt-update records every baseline, --trt-update-new only the missing ones: use one "
            "of them."
        )
    if values["selftest"] and (values["update"] or values["update_new"] or values["calibrate"]):
        raise pytest.UsageError(
            "--trt-selftest injects slowdowns and writes no baselines: update them in a run "
            "without it."
        )


def refuse_misread_paths(config: pytest.Config) -> None:
    """Refuse a path of an option that pytest took for a path of tests.

    pytest determines its root folder and ini file before plugins have added their options. To it,
    a word after an option that it does not know yet is a path of tests, if it exists:
    `--trt-cache-dir /cache` then makes `/cache` the root, the ini file is lost, and baselines are
    recorded in another place.

    Raises:
        pytest.UsageError: That changed the project under test; the message shows how to write it.
    """
    given = config.known_args_namespace
    # xdist workers receive the root that the controller found.
    if given.inifilename or given.rootdir or hasattr(config, "workerinput"):
        return
    here = config.invocation_params.dir
    words = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *config.invocation_params.args]
    flags = {option.flag for option in OPTIONS if option.is_path}
    for flag, value in pairwise(map(str, words)):
        path = here / value
        if flag not in flags or not path.exists() or path.resolve().is_relative_to(here.resolve()):
            continue
        ini = config.inipath
        lost = config.rootpath != here if ini is None else not here.is_relative_to(ini.parent)
        if lost:
            error = ConfigurationError(
                f"{flag} {value}: pytest treats a path after a space as a test path, which changed "
                f"rootdir to {config.rootpath} and the ini file to {ini or 'none'}",
                fix=f"write {flag}={value}",
            )
            raise pytest.UsageError(str(error)) from error
