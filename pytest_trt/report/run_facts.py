"""Facts of a run that a report begins with: when, with what, on what, of which commit."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.plugin.options import OPTIONS
from pytest_trt.version import __version__

if TYPE_CHECKING:
    from pytest_trt.plugin.run import TrtRun

#: Packages whose versions decide what engines compute or how they are measured.
_PACKAGES = ("pytest", "numpy", "onnx", "onnxruntime", "tensorrt", "tensorrt-rtx", "cuda-bindings")

#: Options without which a test would not be repeated as it ran.
_REPEATED = ("arch", "backend", "device", "threads", "baseline_dir", "inconclusive")

#: Seconds that git may take.
_GIT_TIMEOUT_S = 5


def facts_at_start(config: pytest.Config, started_s: float) -> dict[str, Any]:
    """Return what is known of a run before its first test.

    Args:
        config: The run's configuration.
        started_s: When it began, in seconds since 1970.
    """
    moment = datetime.fromtimestamp(started_s, timezone.utc)
    return {
        "id": uuid.uuid4().hex,
        "started": moment.isoformat(timespec="seconds"),
        "started_s": round(started_s, 3),
        "commit": commit_of(config.rootpath, os.environ),
        "platform": platform.platform(),
        "versions": _versions(),
        "options": given_options(config),
    }


def _versions() -> dict[str, str]:
    versions = {"pytest-trt": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def commit_of(folder: Path, environ: Mapping[str, str]) -> str | None:
    """Return the commit that is checked out, or None where nothing tells.

    Args:
        folder: A folder of the working tree.
        environ: Where CI systems say it: GITHUB_SHA, CI_COMMIT_SHA.
    """
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
        return answer.stdout.strip()
    return environ.get("GITHUB_SHA") or environ.get("CI_COMMIT_SHA") or None


def given_options(config: pytest.Config) -> dict[str, str]:
    """Return the options that were given, as text, by the names that they have in ini files."""
    given: dict[str, str] = {}
    for option in OPTIONS:
        flag = None if option.ini_only else config.getoption(option.ini)
        value = config.getini(option.ini) if flag is None else flag
        if value:
            given[option.ini] = ", ".join(value) if isinstance(value, list) else str(value)
    return given


def repeat_command(config: pytest.Config, nodeid: str) -> str:
    """Return the command that runs one test again as it ran, from pytest's root."""
    flags = [
        f"{option.flag}={config.getoption(option.ini)}"
        for option in OPTIONS
        if option.field in _REPEATED and config.getoption(option.ini) is not None
    ]
    return shlex.join(["pytest", nodeid, *flags])


def targets_of(run: TrtRun) -> list[dict[str, Any]]:
    """Return what a process of the run tests, an entry for each architecture."""
    try:
        return [_target(run, selection.arch) for selection in run.selections]
    except PytestTrtError:  # the run has said so
        return []


def _target(run: TrtRun, arch: str) -> dict[str, Any]:
    selection = next(one for one in run.selections if one.arch == arch)
    backend = run.backend(arch)
    target, toolchain, gpu = backend.target(arch), backend.toolchain(), run.probe.first(arch)
    return {
        "arch": arch,
        "target": str(target),
        "device": dict(target.device),
        "backend": selection.backend,
        "toolchain": str(toolchain),
        "toolchain_versions": dict(toolchain.versions),
        "why": selection.why,
        "gpu": None
        if gpu is None
        else {
            "name": gpu.name,
            "driver": gpu.driver_version,
            "sm_count": gpu.sm_count,
            "memory_bytes": gpu.memory_bytes,
            "mig": gpu.mig,
        },
    }
