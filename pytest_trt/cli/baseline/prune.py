"""`pytest-trt baseline prune`: remove baselines of tests that no longer exist."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from pytest_trt.baseline.answers import AnswerFile, remove_answers
from pytest_trt.baseline.file import remove_tests
from pytest_trt.baseline.models import NamedBaseline, is_of_bytes, model_of
from pytest_trt.baseline.orphans import (
    ANSWER_VARIABLE,
    Collected,
    OrphanStatus,
    orphan_status,
)
from pytest_trt.baseline.staged import only_writer
from pytest_trt.cli.baseline.stored import (
    Answers,
    AnyStored,
    Folders,
    place_text,
)
from pytest_trt.cli.command import command
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import BaselineError, PytestTrtError, Remedy
from pytest_trt.onnx.file import load_model
from pytest_trt.wording import count

#: Seconds that collection may take: it imports what the tests import.
_COLLECT_TIMEOUT_S = 600

#: Lines of pytest's output that are shown if it fails.
_TAIL_LINES = 15


@command(
    short_help="Remove baselines of tests that no longer exist.",
    examples=["pytest-trt baseline prune --dry-run", "pytest-trt baseline prune --yes"],
    negative="--dry-run shows something to remove",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--parameters",
    is_flag=True,
    help="Also remove baselines of existing tests with parameters no longer collected. Use it "
    "only where pytest collects the parameters of all machines.",
)
@click.pass_obj
def prune(folders: Folders, dry_run: bool, yes: bool, parameters: bool) -> None:
    """Remove baselines of tests that pytest does not collect here any more.

    Tests that are only deselected or skipped, or whose file cannot be imported, keep theirs. A test
    of a model that no longer exists counts as one that pytest does not collect.
    """
    stored = folders.stored()
    if not stored:
        echo(f"There are no baselines in {folders.shown}.")
        return
    collected = _collect(folders.baselines.base, {one.nodeid.partition("::")[0] for one in stored})
    lost = _LostModels(folders.baselines.base, stored, collected)
    orphans: list[AnyStored] = []
    for one in stored:
        status, why = orphan_status(one.nodeid, collected, answers=isinstance(one, Answers))
        if status in ("other parameters", "unusable model"):
            status, why = lost.status(one) or (status, why)
        is_orphan = status == "missing" or (status == "other parameters" and parameters)
        orphans += [one] if is_orphan else []
        if status != "exists":
            title = "no test" if is_orphan else "retained"
            echo(f"{title}: {one.nodeid} {place_text(one)}: {why}")
    total = count(len(stored), "baseline")
    if not orphans:
        echo(f"{total}: nothing to remove.")
        return
    if dry_run:
        echo(f"{total}: {len(orphans)} would be removed.")
        raise SystemExit(1)
    _confirm(len(orphans), yes=yes)
    _remove(orphans)
    echo(f"{total}: {len(orphans)} removed.")


@dataclass(frozen=True, slots=True)
class _LostModels:
    """Baselines whose model no longer exists, while other models of their test do.

    Attributes:
        base: The folder that test modules and models are named relative to.
        stored: All baselines.
        collected: What pytest collected.
    """

    base: Path
    stored: Sequence[AnyStored]
    collected: Collected

    def status(self, one: AnyStored) -> tuple[OrphanStatus, str] | None:
        """Return what is known of a baseline; None if its model exists, or a test names it."""
        model = self._named(one.nodeid, model_of(one.entry)).missing_model()
        function = one.nodeid.partition("[")[0]
        tests = [name for name in self.collected.tests if name.partition("[")[0] == function]
        if not model or any(self._named(test).names(model) for test in tests):
            return None
        known = {file for each in self.stored for file in self._files(each.nodeid, function)}
        for file in sorted(
            {file for test in tests for file in self._files(test, function)} - known
        ):
            with suppress(PytestTrtError):
                if is_of_bytes(one.entry, load_model(file).digest):
                    shown = Path(os.path.relpath(file, self.base)).as_posix()
                    command = shlex.join(["pytest-trt", "baseline", "rename", model, shown])
                    return "unknown", f"{model} was renamed to {shown}: {command}"
        return "missing", f"its model {model} does not exist"

    def _files(self, nodeid: str, function: str) -> list[Path]:
        return self._named(nodeid).files() if nodeid.startswith(f"{function}[") else []

    def _named(self, nodeid: str, model: str = "") -> NamedBaseline:
        module, _, test = nodeid.partition("::")
        return NamedBaseline(self.base, module, test, model)


def _confirm(orphans: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BaselineError(
            f"removing {count(orphans, 'baseline')} needs a confirmation",
            fix=Remedy(
                "Review them, then confirm:",
                ("pytest-trt baseline prune --dry-run", "pytest-trt baseline prune --yes"),
            ),
            code="TRT651",
            facts={"orphans": orphans},
        )
    click.confirm(f"Remove {count(orphans, 'baseline')}?", abort=True)


def _collect(base: Path, modules: set[str]) -> Collected:
    """Return which tests exist, as collected by pytest in its own process.

    Raises:
        BaselineError: They could not be collected.
    """
    with tempfile.TemporaryDirectory(prefix="pytest-trt-") as folder:
        answer = Path(folder) / "collected.json"
        there = sorted(
            module for module in modules if (base / module).exists() and ".." not in module
        )
        options = ("--collect-only", "-qq", "--continue-on-collection-errors")
        plugin = ("-p", "pytest_trt.plugin.inspection")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *plugin, *there],
                cwd=base,
                env={**os.environ, ANSWER_VARIABLE: str(answer)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_COLLECT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BaselineError(
                f"the tests could not be collected within {_COLLECT_TIMEOUT_S} s",
                fix=Remedy("Find out what collection waits for:", ("pytest --collect-only",)),
                code="TRT650",
                facts={"folder": str(base)},
            ) from error
        if not answer.exists():
            tail = done.stdout.decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
            raise BaselineError(
                "pytest could not collect the tests; nothing was removed",
                fix=Remedy("Fix what this reports:", ("pytest --collect-only",)),
                code="TRT650",
                facts={"folder": str(base)},
                details=[f"| {line}" for line in tail],
            )
        content = json.loads(answer.read_text(encoding="utf-8"))
    collected = Collected(
        Path(content["root"]),
        set(content["tests"]),
        content["errors"],
        set(content["answers"]),
        content["unusable"],
    )
    if not any((collected.root / module).exists() for module in modules):
        raise BaselineError(
            f"no test module that has baselines is below {collected.root}; nothing was removed",
            fix="Run it where you run pytest. If the modules were all deleted, delete the files.",
            code="TRT650",
            facts={"folder": str(collected.root)},
        )
    return collected


def _remove(orphans: Sequence[AnyStored]) -> None:
    by_file: dict[tuple[type, Path], set[str]] = {}
    for one in orphans:
        by_file.setdefault((type(one.file), one.path), set()).add(one.test)
    for (kind, path), tests in by_file.items():
        with only_writer(path.parent):
            if kind is AnswerFile:
                remove_answers(path, tests)
            else:
                remove_tests(kind, path, tests)
