"""Findings on the plugin in the project of the current folder, and on what its options ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.selection import select
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.version import __version__


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What pytest makes of a folder.

    Attributes:
        folder: Where it was started.
        pytest: Its version.
        has_entry_point: Whether the plugin is installed so that pytest finds it.
        starts: Whether pytest gets as far as running tests.
        said: What it says where it does not.
        root: Its root folder.
        ini: Its ini file; empty for none.
        is_loaded: Whether it has loaded the plugin.
        is_blocked: Whether it was told not to.
        is_autoload_off: Whether it was told to load no plugin by itself.
        settings_problem: What is wrong with the plugin's options; empty for nothing.
        archs: What `trt_arch` says.
        backend: What `trt_backend` says.
        device: What `trt_device` says.
        cache_dir: What `trt_cache_dir` says; empty for the user's cache folder.
        cache_max_bytes: What `trt_cache_size` says; 0 where the options are not known.
        baseline_dir: Where baselines are kept; empty where the options are not known.
    """

    folder: str
    pytest: str
    has_entry_point: bool
    starts: bool
    said: str = ""
    root: str = ""
    ini: str = ""
    is_loaded: bool = False
    is_blocked: bool = False
    is_autoload_off: bool = False
    settings_problem: str = ""
    archs: tuple[str, ...] = ()
    backend: str = "auto"
    device: str = ""
    cache_dir: str = ""
    cache_max_bytes: int = 0
    baseline_dir: str = ""


def project_findings(
    facts: ProjectFacts,
    probe: DeviceProbe,
    works: Callable[[str], bool],
    broken: Sequence[str] = (),
) -> Iterator[Finding]:
    """Yield whether the plugin is loaded, and whether what its options ask for can be had.

    Args:
        facts: What pytest makes of the folder.
        probe: The GPUs of this machine.
        works: Whether a vendor's module can be used, by its name.
        broken: Modules that are there and cannot, as people call them.
    """
    yield _loaded(facts)
    if facts.settings_problem:
        what, _, fix = facts.settings_problem.partition("\nFix: ")
        fix = fix or f"correct it in {facts.ini or 'the options (PYTEST_ADDOPTS)'}."
        yield _finding("options", Level.ERROR, "not understood", what, fix)
    elif facts.archs or facts.device or facts.backend != "auto":
        yield _asked(facts, probe, works, broken)


def unknown_project(problem: str) -> Finding:
    """Return the finding where pytest itself could not be asked."""
    return _finding(
        "plugin", Level.ERROR, "pytest cannot be asked", problem, "run `pytest --version` here."
    )


def _finding(name: str, level: Level, what: str, why: str = "", fix: str = "") -> Finding:
    return Finding("plugin", name, level, what, why, fix)


def _loaded(facts: ProjectFacts) -> Finding:
    if not facts.starts:
        return _finding(
            "plugin",
            Level.ERROR,
            f"pytest {facts.pytest} does not start in {facts.folder}",
            facts.said,
            "run `pytest --collect-only` here and act on what it says.",
        )
    if facts.is_loaded:
        where = facts.ini or facts.root
        what = f"pytest-trt {__version__}, loaded by pytest {facts.pytest} for {where}"
        return _finding("plugin", Level.OK, what)
    what = f"pytest {facts.pytest} does not load it in {facts.folder}"
    if facts.is_blocked:
        where = f"{facts.ini} or PYTEST_ADDOPTS" if facts.ini else "PYTEST_ADDOPTS"
        why, fix = "it is told not to, by `-p no:trt`", f"take `-p no:trt` out of {where}."
    elif facts.is_autoload_off:
        why = "it is told to load no plugin by itself"
        fix = (
            "unset PYTEST_DISABLE_PLUGIN_AUTOLOAD and drop --disable-plugin-autoload, or add "
            "`-p pytest_trt.plugin` to addopts."
        )
    else:
        why = "" if facts.has_entry_point else "it is not installed as a plugin for this Python"
        fix = "pip install pytest-trt (in a checkout: pip install -e .)"
    return _finding("plugin", Level.ERROR, what, why, fix)


def _asked(
    facts: ProjectFacts,
    probe: DeviceProbe,
    works: Callable[[str], bool],
    broken: Sequence[str],
) -> Finding:
    said = [f"trt_arch = {','.join(facts.archs)}"] if facts.archs else []
    said += [f"trt_backend = {facts.backend}"] if facts.backend != "auto" else []
    said += [f"trt_device = {facts.device}"] if facts.device else []
    try:
        chosen = select(
            archs=facts.archs,
            backend=facts.backend,
            probe=probe.only(facts.device) if facts.device else probe,
            installed=works,
        )
    except PytestTrtError as error:
        why, fix = error.message, error.fix
        if broken:  # to the choice, that is the same as not installed
            why = f"{' and '.join(broken)} cannot be used, see above; without: {why}"
            fix = f"mend it as told above; or {fix}"
        return _finding("options", Level.ERROR, ", ".join(said), why, fix)
    told = "; ".join(f"{one.arch} by {one.backend}, {one.why}" for one in chosen)
    return _finding("options", Level.OK, f"{', '.join(said)}: {told}")
