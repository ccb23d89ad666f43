"""Where the baselines of tests are, and the pins of the engines that they were measured with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_trt.baseline.file import read_baselines
from pytest_trt.baseline.location import BaselineFolder, BaselineLocation, find_folder
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin.planning.marks import ids_of, params_of
from pytest_trt.plugin.planning.plan import ARCH, PRECISION, TestPlan
from pytest_trt.plugin.state import PINNED_KEY, plan_of, run_of, settings_of
from pytest_trt.report.record import without_parameters
from pytest_trt.terms import CPU

#: Fixtures whose values depend on the engine under test.
_OF_ENGINE = {"trt_build", "trt_engine", "trt_engines"}


def pin_baselines(session: pytest.Session) -> None:
    """Pin the engines that benchmarks of the run compare with, so that no build evicts them.

    Once a run.
    """
    if PINNED_KEY in session.config.stash:
        return
    session.config.stash[PINNED_KEY] = True
    plans = [(item, plan_of(item)) for item in session.items]
    items = [item for item, plan in plans if plan is not None and plan.benchmark is not None]
    keys = _baseline_engines(session.config, items) if items else set()
    if keys:
        run_of(session.config).cache.pin(keys)


def baseline_folder(config: pytest.Config, start: Path) -> BaselineFolder:
    """Return the folder of the baselines of tests in a folder."""
    ini = config.inipath
    # Editors and CI may name another root folder with --rootdir; an ini file that -c names may be
    # in a folder without tests.
    is_named = bool(config.option.inifilename)
    return find_folder(
        start,
        rootdir=ini.parent if ini and not is_named else config.rootpath,
        has_ini=ini is not None,
        configured=settings_of(config).baseline_dir,
    )


def baseline_location(
    item: pytest.Item, target: Mapping[str, str], nodeid: str = ""
) -> BaselineLocation:
    """Return where a test's baseline is stored."""
    folder = baseline_folder(item.config, item.path.parent)
    test = (nodeid or item.nodeid).partition("::")[2]
    return BaselineLocation.of(folder, item.path, test, target, rootdir=item.config.rootpath)


def answers_nodeid(item: pytest.Item, plan: TestPlan) -> str:
    """Return the node id that stored answers have.

    The FP32 outputs of a model depend on neither precision nor architecture, so it has none. A
    reference of the project may depend on them: then it has those that the reference may use. All
    other parameters stay.
    """
    used = fixtures_of_override(item, "trt_reference")
    if used & _OF_ENGINE:
        used |= {ARCH, PRECISION}
    nodeid, ids, params = item.nodeid, ids_of(item), params_of(item)
    if ARCH in used and ARCH not in params:  # node ids of a run for several architectures have it
        base, ids = without_parameters(nodeid, ids, *ids), (plan.arch, *ids)
        nodeid = f"{base}[{'-'.join(ids)}]"
    if "request" in used:  # which may give it any other fixture
        return nodeid
    shared = [str(params[name]) for name in (ARCH, PRECISION) if name in params.keys() - used]
    return without_parameters(nodeid, ids, *shared)


def metrics_nodeid(item: pytest.Item, plan: TestPlan) -> str:
    """Return the node id that stored task metrics have: without their folder's architecture."""
    # An id of the test's own that looks the same stays.
    own = [plan.arch] if ARCH in params_of(item) else []
    return without_parameters(item.nodeid, ids_of(item), *own)


def fixtures_of_override(item: pytest.Item, fixture: str) -> set[str]:
    """Return the fixtures that a project's override of a fixture requests, directly or not."""
    manager = item.session._fixturemanager
    found: set[str] = set()
    pending = [fixture]
    while pending:
        for one in manager.getfixturedefs(pending.pop(), item) or ():
            if one.func.__module__ != "pytest_trt.plugin.fixtures":
                pending += {*one.argnames} - found
                found.update(one.argnames)
    return found


def _baseline_engines(config: pytest.Config, items: Iterable[pytest.Item]) -> set[str]:
    """Return the keys of the engines that the baselines of tests were measured with."""
    run = run_of(config)
    tests: dict[Path, set[str]] = {}
    for item in items:
        plan = plan_of(item)
        with suppress(PytestTrtError, StopIteration):  # reported by the test itself
            arch = plan.arch if plan else CPU
            location = baseline_location(item, run.place(run.backend(arch).target(arch)).target)
            tests.setdefault(location.path, set()).add(location.test)
    keys = set()
    for path, names in tests.items():
        with suppress(PytestTrtError):
            found = read_baselines(path)
            stored = found.tests if found else {}
            keys |= {str(stored[name].engine.get("key", "")) for name in names & stored.keys()}
    return keys - {""}
