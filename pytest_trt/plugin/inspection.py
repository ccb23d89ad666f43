"""What pytest reports of a project to the `pytest-trt` command: its settings, and its tests.

Both are asked for in processes of their own: ini file, conftest files and tests are anybody's code.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

import pytest_trt.plugin
from pytest_trt.baseline.orphans import ANSWER_VARIABLE
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.doctor.finding import Problem
from pytest_trt.plugin.options.settings import read_settings
from pytest_trt.plugin.results.pinning import answers_nodeid, baseline_folder
from pytest_trt.plugin.state import plan_of
from pytest_trt.records import to_data

_NAME = "trt"

#: pytest complains of a plugin that was imported before it could rewrite its assertions: this
#: process has imported it to get here.
_ARGUMENTS = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def project_facts() -> dict[str, Any]:
    """Return whether pytest starts here, whether it loads the plugin, and what the options say.

    pytest reads ini file, environment and conftest files, and is stopped before it collects. The
    fields are those of `pytest_trt.doctor.project.ProjectFacts`.
    """
    look = _Look()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        # It removes no report of an earlier run then.
        pytest.main(["--collect-only", *_ARGUMENTS], plugins=[look])
    stripped = (line.removeprefix("E ").strip() for line in output.getvalue().splitlines())
    lines = [line for line in stripped if line]
    return {
        "folder": os.getcwd(),  # noqa: PTH109
        "pytest": pytest.__version__,
        "has_entry_point": any(
            entry.value.partition(":")[0] == pytest_trt.plugin.__name__
            for entry in importlib.metadata.entry_points(group="pytest11")
        ),
        "starts": bool(look.facts),
        "output": "" if look.facts else "; ".join(lines[-5:]),
        **look.facts,
    }


class _Look:
    """A plugin that looks at the configuration in place of running anything."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Take in the configuration, and end."""
        plugins = config.pluginmanager
        loaded = plugins.is_registered(pytest_trt.plugin)
        self.facts = {
            "root": str(config.rootpath),
            "ini": str(config.inipath or ""),
            "is_loaded": loaded,
            "is_blocked": plugins.is_blocked(_NAME)
            or plugins.is_blocked(pytest_trt.plugin.__name__),
            "is_autoload_off": bool(
                os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
                or getattr(config.known_args_namespace, "disable_plugin_autoload", False)
            ),
            **(_settings(config) if loaded else {}),
        }
        return 0


def _settings(config: pytest.Config) -> dict[str, Any]:
    try:
        settings = read_settings(config)
    except pytest.UsageError as error:
        return {"settings_problem": _problem(error)}
    folder = baseline_folder(config, config.invocation_params.dir)
    return {
        "archs": settings.arch,
        "backend": settings.backend,
        "device": settings.device,
        "cache_dir": str(settings.cache_dir or ""),
        "cache_max_bytes": settings.cache_size,
        "baseline_dir": str(folder.path),
    }


def _problem(error: pytest.UsageError) -> dict[str, Any]:
    """Return what is wrong with the options, as data of `pytest_trt.doctor.finding.Problem`."""
    cause = error.__cause__
    if isinstance(cause, PytestTrtError):
        data: dict[str, Any] = to_data(Problem(cause.message, cause.diagnostic.remedy))
        return data
    return {"what": str(error)}


class _Collected:
    """The tests that were collected, and what could not be.

    It sees every test before any is deselected, so `-k`, `-m` and hooks of a conftest do not make a
    test look missing.
    """

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.answers: list[str] = []
        self.errors: list[str] = []
        self.unusable: list[str] = []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Add a test."""
        self.tests.append(item.nodeid)
        plan = plan_of(item)
        if plan is None or plan.wrong or plan.against != "model":
            self.answers.append(answers_nodeid(item, plan) if plan else item.nodeid)
        if plan is not None and plan.wrong:  # with its profiles, it may have others
            self.unusable.append(item.nodeid.partition("[")[0])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Add a file that could not be collected, or was skipped as a whole."""
        if not report.passed:
            self.errors.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the answer."""
        content: dict[str, Any] = {
            "root": str(session.config.rootpath),
            "tests": self.tests,
            "errors": self.errors,
            "unusable": self.unusable,
            "answers": self.answers,
        }
        Path(os.environ[ANSWER_VARIABLE]).write_text(json.dumps(content), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Write the tests that exist to a file, where this module is loaded as a plugin.

    `pytest-trt baseline prune` does so.
    """
    config.pluginmanager.register(_Collected(), "trt-collected")
