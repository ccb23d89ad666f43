"""Findings about the plugin in the project of the current folder, and about its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.selection import BUILT_IN, select
from pytest_trt.diagnostics import PytestTrtError, Remedy
from pytest_trt.doctor.finding import NO_REMEDY, Finding, Level, Problem
from pytest_trt.version import __version__


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """pytest in a folder.

    Attributes:
        folder: The folder.
        pytest: Its version.
        has_entry_point: Whether the plugin is installed with an entry point for pytest.
        starts: Whether pytest starts.
        output: The end of its output if it does not.
        root: Its root folder.
        ini: Its ini file; empty for none.
        is_loaded: Whether it has loaded the plugin.
        is_blocked: Whether `-p no:trt` blocks it.
        is_autoload_off: Whether loading of plugins by entry point is disabled.
        settings_problem: What is wrong with the plugin's options, or None.
        archs: The value of `trt_arch`.
        backend: The value of `trt_backend`.
        device: The value of `trt_device`.
        cache_dir: The value of `trt_cache_dir`; empty for the user's cache folder.
        cache_max_bytes: The value of `trt_cache_size`; 0 if the options are unknown.
        baseline_dir: The folder of baselines; empty if the options are unknown.
    """

    folder: str
    pytest: str
    has_entry_point: bool
    starts: bool
    output: str = ""
    root: str = ""
    ini: str = ""
    is_loaded: bool = False
    is_blocked: bool = False
    is_autoload_off: bool = False
    settings_problem: Problem | None = None
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
    """Yield whether the plugin is loaded, and whether its options can be satisfied."""
    yield _loaded(facts)
    if facts.settings_problem is not None:
        where = facts.ini or "the options (PYTEST_ADDOPTS)"
        remedy = facts.settings_problem.remedy or Remedy(f"correct it in {where}.")
        yield _options(Level.ERROR, "not valid", facts.settings_problem.what, remedy)
    elif facts.archs or facts.device or facts.backend != "auto":
        yield _requested(facts, probe, works, broken)


def unknown_project(problem: str) -> Finding:
    """Return the finding if pytest itself could not be examined."""
    remedy = Remedy("run this here, and act on its output:", commands=("pytest --version",))
    return _plugin(Level.ERROR, "pytest cannot be examined", problem, remedy)


def _plugin(level: Level, what: str, why: str = "", remedy: Remedy = NO_REMEDY) -> Finding:
    code = "TRT770" if level is Level.ERROR else ""
    return Finding("plugin", "plugin", level, what, why, remedy, code)


def _options(level: Level, what: str, why: str = "", remedy: Remedy = NO_REMEDY) -> Finding:
    code = "TRT771" if level is Level.ERROR else ""
    return Finding("plugin", "options", level, what, why, remedy, code)


def _loaded(facts: ProjectFacts) -> Finding:
    if not facts.starts:
        remedy = Remedy("run this here, and act on its output:", commands=("pytest --co -q",))
        what = f"pytest {facts.pytest} does not start in {facts.folder}"
        return _plugin(Level.ERROR, what, facts.output, remedy)
    if facts.is_loaded:
        where = facts.ini or facts.root
        what = f"pytest-trt {__version__}, loaded by pytest {facts.pytest} for {where}"
        return _plugin(Level.OK, what)
    what = f"pytest {facts.pytest} does not load it in {facts.folder}"
    if facts.is_blocked:
        where = f"{facts.ini} or PYTEST_ADDOPTS" if facts.ini else "PYTEST_ADDOPTS"
        remedy = Remedy(f"remove `-p no:trt` from {where}.")
        return _plugin(Level.ERROR, what, "`-p no:trt` blocks it", remedy)
    if facts.is_autoload_off:
        remedy = Remedy(
            "unset PYTEST_DISABLE_PLUGIN_AUTOLOAD and drop --disable-plugin-autoload.",
            alternatives=("add `-p pytest_trt.plugin` to addopts",),
        )
        return _plugin(Level.ERROR, what, "loading plugins by entry point is disabled", remedy)
    why = "" if facts.has_entry_point else "it is not installed as a plugin for this Python"
    remedy = Remedy(commands=("pip install pytest-trt  # in a checkout: pip install -e .",))
    return _plugin(Level.ERROR, what, why, remedy)


def _requested(
    facts: ProjectFacts,
    probe: DeviceProbe,
    works: Callable[[str], bool],
    broken: Sequence[str],
) -> Finding:
    options = [f"trt_arch = {','.join(facts.archs)}"] if facts.archs else []
    options += [f"trt_backend = {facts.backend}"] if facts.backend != "auto" else []
    options += [f"trt_device = {facts.device}"] if facts.device else []
    if facts.backend not in BUILT_IN:
        what = f"{', '.join(options)}: a backend of another plugin, which doctor does not examine"
        return _options(Level.NOTE, what)
    try:
        chosen = select(
            archs=facts.archs,
            backend=facts.backend,
            probe=probe.only(facts.device) if facts.device else probe,
            installed=works,
        )
    except PytestTrtError as error:
        why, remedy = error.message, error.diagnostic.remedy
        if broken:  # the choice treats them as not installed
            why = f"{' and '.join(broken)} cannot be used, see above; without: {why}"
            remedy = Remedy(
                "fix the backend as described above.",
                alternatives=remedy.as_alternatives(),
            )
        return _options(Level.ERROR, ", ".join(options), why, remedy)
    found = "; ".join(f"{one.arch} by {one.backend}, {one.why}" for one in chosen)
    return _options(Level.OK, f"{', '.join(options)}: {found}")
