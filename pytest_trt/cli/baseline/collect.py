"""`pytest-trt baseline collect`: bring baselines that CI recorded into the working tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pytest_trt.baseline.answers import AnswerFile
from pytest_trt.baseline.collecting import (
    Collected,
    Found,
    collect_baselines,
    download_again,
    nothing_to_collect,
    read_artifact,
)
from pytest_trt.baseline.file import module_of
from pytest_trt.baseline.models import AnyFile, parse_stored
from pytest_trt.cli.baseline.answers_diff import Side
from pytest_trt.cli.baseline.stored import Folders
from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo, echo_error, echo_json
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import BaselineError, as_typed
from pytest_trt.git import content_at

_STYLES = {"new": "green", "changed": "yellow", "refused": "red"}


@command(
    short_help="Collect baselines that CI recorded.",
    examples=[
        "pytest-trt baseline collect artifacts/*.zip",
        "pytest-trt baseline collect sm86.zip sm89.zip --prefer sm89.zip --dry-run",
    ],
    negative="something was refused, or the sources hold nothing to collect",
)
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--prefer",
    metavar="SOURCE",
    help="The source that is right where sources differ, or where a newer baseline is stored.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be collected.")
@click.option("--all", "show_all", is_flag=True, help="Show what is unchanged as well.")
@json_option
@click.pass_obj
def collect(
    folders: Folders,
    sources: tuple[str, ...],
    prefer: str | None,
    dry_run: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    """Collect the baselines of SOURCES: artifacts of CI, as folders, .zip or .tar files.

    They are merged test by test, and nothing is removed. What differs between sources, or is older
    than what is stored, is refused unless --prefer names the source that is right.
    """
    # Completion in a shell adds a slash to folders.
    by_path = {os.path.realpath(one): str(Path(one)) for one in sources}
    sources = tuple(by_path.values())
    if prefer is not None and os.path.realpath(prefer) not in by_path:
        raise click.UsageError(
            f"--prefer={prefer}: expected one of the SOURCES: {', '.join(sources)}."
        )
    prefer = by_path[os.path.realpath(prefer)] if prefer is not None else None
    found: list[Found] = []
    refused: list[Collected] = []
    for source in sources:
        try:
            files, others = read_artifact(source, folders.baselines, _check_answers)
        except BaselineError as error:
            files, others = [], [Collected("refused", Path(source), "", (source,), error)]
        found += files
        refused += others
    collected = collect_baselines(
        folders.baselines.path, found, prefer=prefer, committed=_committed(folders), dry_run=dry_run
    )
    collected += refused
    if as_json:
        listed = [_as_dict(folders, one) for one in collected]
        echo_json({"dry_run": dry_run, "baselines": listed})
    else:
        _print(folders, collected, dry_run=dry_run, show_all=show_all)
    errors = list(_errors(sources, collected))
    for one in errors:
        echo_error(one)
    if errors:
        raise SystemExit(1)


def _check_answers(found: Found) -> None:
    """Check that the arrays of answers are those of such outputs."""
    if isinstance(found.content, AnswerFile):
        name = as_typed(Path(found.source, found.name))
        side = Side(name, found.content, lambda digests: {}, download_again)
        for entry in found.content.tests.values():
            for answer in entry.answers:
                for output in answer.outputs.values():
                    side.output(output, found.data)


def _committed(folders: Folders) -> Callable[[Path], AnyFile | None]:
    """Return what reads a file at the last commit; without git, nothing is known of it."""
    root = folders.baselines.path

    def read(path: Path) -> AnyFile | None:
        with suppress(BaselineError):
            text = content_at("HEAD", path)
            return None if text is None else parse_stored(root, path, text)
        return None

    return read


def _errors(sources: Sequence[str], collected: Sequence[Collected]) -> Iterator[BaselineError]:
    yield from (one.error for one in collected if one.error is not None)
    if all(one.status == "unchanged" for one in collected) and not _is_stored(collected):
        yield nothing_to_collect(sources, "CI recorded none, all are of the last commit")


def _is_stored(collected: Sequence[Collected]) -> bool:
    """Whether the working tree has all that the sources have."""
    return all(one.is_stored for one in collected)


def _print(
    folders: Folders, collected: Sequence[Collected], *, dry_run: bool, show_all: bool
) -> None:
    shown = [one for one in collected if show_all or one.status != "unchanged"]
    if shown:
        print_table(
            ("test", "target", "from", "status"), list(_rows(folders, shown)), giving_way=(0, 2)
        )
    counts: Counter[str] = Counter(one.status for one in collected)
    kinds = ("new", "changed", "unchanged", "refused")
    total = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])
    echo(f"{total}{' (dry run: nothing was written)' * dry_run}")
    if counts["new"] + counts["changed"] and not dry_run:
        echo(f"Review them with `pytest-trt baseline diff`, and commit {folders.shown}.")
    elif _is_stored(collected):
        echo(
            f"Collected already: {folders.shown} has these baselines. If CI recorded others, check "
            "that its tests ran with --trt-update or --trt-update-new, and passed."
        )


def _rows(folders: Folders, collected: Sequence[Collected]) -> Iterator[Row]:
    for one in collected:
        name, target = _names(folders, one)
        status = (one.status, _STYLES.get(one.status, ""))
        yield name, target, ", ".join(one.sources), status


def _names(folders: Folders, one: Collected) -> tuple[str, str]:
    """Return the test's node id, or the file that was refused; and the target's folder."""
    root = folders.baselines.path
    if not one.test:
        return as_typed(one.path), ""
    return f"{module_of(root, one.path)}::{one.test}", one.path.relative_to(root).parts[0]


def _as_dict(folders: Folders, one: Collected) -> dict[str, Any]:
    name, target = _names(folders, one)
    found: dict[str, Any] = {
        "test": name if one.test else None,
        "target": target or None,
        "file": as_typed(one.path),
        "sources": list(one.sources),
        "status": one.status,
    }
    if one.error is not None:
        found |= {"code": one.error.diagnostic.code, "message": one.error.message}
    return found
