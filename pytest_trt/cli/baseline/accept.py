"""`pytest-trt baseline accept`: what the last run measured becomes the baseline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from pytest_trt.baseline.entry import StoredRun
from pytest_trt.baseline.file import read_baselines
from pytest_trt.baseline.last_run import Candidate, LastRun, read_last_run
from pytest_trt.baseline.staged import Staged, entry_digest, write_staged
from pytest_trt.cli.baseline.places import Places, age
from pytest_trt.diagnostics import BaselineError
from pytest_trt.engine.cache import EngineCache
from pytest_trt.report.baseline_text import update_text


@click.command(short_help="Make figures of the last run baselines.")
@click.argument("tests", nargs=-1)
@click.option("--all", "accept_all", is_flag=True, help="Accept every test of the last run.")
@click.option("--failed", is_flag=True, help="Accept every test that failed for its speed.")
@click.option("--reason", help="Why, kept with the baseline; asked for where it is not given.")
@click.pass_obj
def accept(
    places: Places, tests: tuple[str, ...], accept_all: bool, failed: bool, reason: str | None
) -> None:
    """Make what the last run measured the baselines of TESTS, without measuring again.

    TESTS are names or node ids. What was measured while the device was disturbed, and tests whose
    accuracy check failed, are refused; exit status 1 if one was.
    """
    run = _last_run(places)
    if bool(tests) + accept_all + failed != 1:
        for candidate in run.candidates:
            state = candidate.refused or f"{'failed, ' * candidate.failed}may be accepted"
            click.echo(f"{candidate.test}: {state}")
        raise click.UsageError("name the tests to accept, or give --failed or --all.")
    chosen = [one for one in run.candidates if accept_all or (failed and one.failed)]
    chosen += [_named(run, name) for name in tests]
    if not chosen:
        raise BaselineError(
            f"no test failed for its speed in the last run, {age(run.finished)}.",
            fix="name the tests to accept, or give --all.",
        )
    able, refused = _sorted_out(chosen)
    if able:
        _write(able, reason or _asked(age(run.finished)))
    for candidate in refused:
        click.echo(f"Error: {candidate.test} is not accepted: {candidate.refused}.", err=True)
    if refused:
        click.echo("Fix: mend that, and run the tests again.", err=True)
        raise SystemExit(1)


def _last_run(places: Places) -> LastRun:
    found = None
    if places.cache.is_dir():
        found = read_last_run(EngineCache(places.cache).last_runs, Path.cwd())
    if found is None or not found.candidates:
        raise BaselineError(
            f"no run of tests below {Path.cwd()} has left figures in the cache {places.cache}.",
            fix="run them here; with --trt-cache-dir=DIR, type "
            "`pytest-trt baseline --cache-dir=DIR accept`.",
        )
    return found


def _named(run: LastRun, name: str) -> Candidate:
    for candidate in run.candidates:
        if name in (candidate.test, candidate.test.partition("::")[2]):
            return candidate
    listed = "\n  ".join(candidate.test for candidate in run.candidates)
    raise BaselineError(
        f"the last run, {age(run.finished)}, has left no figures of {name}. It has of:\n  {listed}",
        fix="name one of these; what was recorded by the run itself needs no accepting.",
    )


def _sorted_out(chosen: Sequence[Candidate]) -> tuple[list[Staged], list[Candidate]]:
    """Return what can be accepted, and what cannot with the reason."""
    able, refused = [], []
    for candidate in {one.test: one for one in chosen}.values():
        if candidate.refused or candidate.staged is None:
            refused.append(candidate)
            continue
        staged = candidate.staged
        content = read_baselines(staged.path)
        old = content.tests.get(staged.test) if content else None
        if entry_digest(old) != staged.against:
            why = f"its baseline in {staged.shown} has changed since that run"
            refused.append(replace(candidate, refused=why))
        else:
            able.append(staged)
    return able, refused


def _asked(when: str) -> str:
    if not sys.stdin.isatty():
        raise BaselineError(
            "a speed is accepted for a reason, and none was given.",
            fix='say it: --reason "twice the classes".',
        )
    answer: str = click.prompt(f"Why are the figures of {when} accepted")
    return answer


def _write(able: Sequence[Staged], reason: str) -> None:
    if not any(map(str.isalnum, reason)):
        raise BaselineError(
            f"the reason is empty of words: {reason!r}.",
            fix='say it: --reason "twice the classes".',
        )
    given = [
        replace(one, entry=replace(one.entry, runs=_with_reason(one, reason.strip()), accepted={}))
        for one in able
    ]
    written, errors, overtaken = write_staged(given)
    for one in written:
        click.echo(f"{one.staged.test}: {update_text(**one.facts())}")
    for shown in dict.fromkeys(one.staged.shown for one in written):
        click.echo(f"wrote {shown}")
    if errors:
        raise errors[0]
    if overtaken:
        raise BaselineError(
            f"another run has written the baseline of {overtaken[0].test} in {overtaken[0].shown} "
            "meanwhile, and it was kept.",
            fix="run the test again.",
        )


def _with_reason(staged: Staged, reason: str) -> tuple[StoredRun, ...]:
    return tuple(replace(run, reason=reason) for run in staged.entry.runs)
