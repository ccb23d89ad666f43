"""Baselines of tests: where one is stored, what it is compared with, and new runs for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.baseline.location import BaselineLocation, find_folder
from pytest_trt.benchmark.differences import Circumstances
from pytest_trt.benchmark.differences import differences as what_differs
from pytest_trt.engine.build import Engine
from pytest_trt.statistics.rounds import Rounds


def location_of(
    item: pytest.Item, configured: Path | None, target: Mapping[str, str]
) -> BaselineLocation:
    """Return where a test's baseline is stored.

    Args:
        item: The test.
        configured: The folder that `--trt-baseline-dir` or the ini file names.
        target: What is measured on: "arch" first, then the device.
    """
    rootdir, ini = item.config.rootpath, item.config.inipath
    folder = find_folder(
        item.path.parent, rootdir=rootdir, has_ini=ini is not None, configured=configured
    )
    test = item.nodeid.partition("::")[2]
    return BaselineLocation.of(folder, item.path, test, target, rootdir=rootdir)


def stored_rounds(run: StoredRun) -> Rounds:
    """Return a stored run's rounds."""
    return Rounds.of_figures(run.rounds, run.calls)


def new_run(
    rounds: Rounds, *, toolchain: str, environment: Mapping[str, str], reason: str
) -> StoredRun:
    """Return rounds of this process as a run to be stored."""
    return StoredRun(
        recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        toolchain=toolchain,
        calls=rounds.calls,
        rounds=rounds.figures(),
        reason=reason,
        environment=environment,
    )


#: Digits that tell plans of one key, and models of one name, apart.
_DIGITS = 16


def engine_facts(engine: Engine) -> dict[str, int | str]:
    """Return an engine's exact facts, as they are stored."""
    facts = engine.facts
    known: dict[str, int | str | None] = {
        "key": engine.key.digest,
        "plan": engine.plan_digest[:_DIGITS],
        "model": engine.model.digest[:_DIGITS],
        "size_bytes": facts.size_bytes,
        "device_memory_bytes": facts.memory_bytes,
        "layers": None if facts.layers is None else len(facts.layers),
    }
    return {label: value for label, value in known.items() if value is not None}


def differences(
    entry: Entry, engine: Mapping[str, int | str], toolchain: str, environment: Mapping[str, str]
) -> list[str]:
    """Return what differs between the newest stored run and now, a line each."""
    then = entry.runs[-1]
    return what_differs(
        Circumstances(then.toolchain, then.environment, entry.engine),
        Circumstances(toolchain, environment, engine),
    )
