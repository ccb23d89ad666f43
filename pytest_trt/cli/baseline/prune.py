"""`pytest-trt baseline prune`: baselines of tests that are gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from pytest_trt.baseline.file import BaselineFile, write_baselines
from pytest_trt.baseline.orphans import ANSWER_VARIABLE, Collected, fate_of
from pytest_trt.cli.baseline.places import Places, Stored, target_text
from pytest_trt.diagnostics import BaselineError

#: Seconds that collecting may take: it imports what the tests import.
_COLLECT_TIMEOUT_S = 600

#: Lines of pytest's own words that are told where it fails.
_TAIL_LINES = 15


@click.command(short_help="Remove baselines of tests that are gone.")
@click.option("--dry-run", is_flag=True, help="Only say what would go; exit status 1 if any would.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--parameters",
    is_flag=True,
    help="Also those whose test is there, but not with their parameters; pytest here has to "
    "collect what every machine does.",
)
@click.pass_obj
def prune(places: Places, dry_run: bool, yes: bool, parameters: bool) -> None:
    """Remove baselines of tests that are gone, as pytest collects them here.

    A test that is merely deselected, skipped or in a file that cannot be imported stays.

    Exit status 2 if it cannot be told which are gone, or what is gone cannot be removed.
    """
    stored = places.stored()
    if not stored:
        click.echo(f"There are no baselines in {places.baselines}.")
        return
    collected = _collect({one.nodeid.partition("::")[0] for one in stored})
    gone: list[Stored] = []
    for one in stored:
        fate, why = fate_of(one.nodeid, collected)
        goes = fate == "gone" or (fate == "other parameters" and parameters)
        gone += [one] if goes else []
        if fate != "there":
            title = "gone" if goes else "kept"
            click.echo(f"{title}: {one.nodeid} on {target_text(one.file)}: {why}")
    if not gone:
        click.echo(f"None of {len(stored)} baselines is of a test that is gone.")
        return
    if dry_run:
        click.echo(f"{len(gone)} of {len(stored)} baselines would be removed.")
        raise SystemExit(1)
    _confirm(len(gone), yes=yes)
    _remove(gone)
    click.echo(f"Removed {len(gone)} of {len(stored)} baselines.")


def _confirm(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BaselineError(
            f"{count} baselines are to be removed, and nobody is there to be asked.",
            fix="look at them with --dry-run, then say --yes.",
        )
    click.confirm(f"Remove {count} baselines?", abort=True)


def _collect(modules: set[str]) -> Collected:
    """Ask pytest, in a process of its own, which tests there are.

    Raises:
        BaselineError: It could not say.
    """
    with tempfile.TemporaryDirectory(prefix="pytest-trt-") as folder:
        answer = Path(folder) / "collected.json"
        there = sorted(module for module in modules if Path(module).exists())
        options = ("--collect-only", "-qq", "--continue-on-collection-errors")
        plugin = ("-p", "pytest_trt.plugin.collected")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *plugin, *there],
                env={**os.environ, ANSWER_VARIABLE: str(answer)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_COLLECT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BaselineError(
                f"collecting the tests took more than {_COLLECT_TIMEOUT_S} s.",
                fix="see what `pytest --collect-only` waits for.",
            ) from error
        if not answer.exists():
            tail = done.stdout.decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
            raise BaselineError(
                "pytest could not collect the tests, so nothing was removed:\n"
                + "\n".join(f"  | {line}" for line in tail),
                fix="mend what `pytest --collect-only` complains of, here.",
            )
        content = json.loads(answer.read_text(encoding="utf-8"))
    collected = Collected(Path(content["root"]), set(content["tests"]), content["errors"])
    if not any((collected.root / module).exists() for module in modules):
        raise BaselineError(
            f"none of the test modules that have baselines is below pytest's root "
            f"{collected.root}, so nothing was removed.",
            fix="run it where you run pytest; if all of them are gone, delete the files.",
        )
    return collected


def _remove(gone: Sequence[Stored]) -> None:
    by_file: dict[Path, list[Stored]] = {}
    for one in gone:
        by_file.setdefault(one.path, []).append(one)
    for path, entries in by_file.items():
        file, names = entries[0].file, {one.test for one in entries}
        kept = {test: entry for test, entry in file.tests.items() if test not in names}
        if kept:
            write_baselines(path, BaselineFile(file.target, kept))
            continue
        try:
            path.unlink()
        except OSError as error:
            raise BaselineError(
                f"the baseline file {path} cannot be removed: {error.strerror}.",
                fix="make its folder writable for this user, and prune again.",
            ) from error
