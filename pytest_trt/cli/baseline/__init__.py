"""`pytest-trt baseline`: the commands for baselines of speed, answers and task metrics."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_trt.cli.baseline.accept import accept
from pytest_trt.cli.baseline.collect import collect
from pytest_trt.cli.baseline.diff import diff
from pytest_trt.cli.baseline.listing import list_, show
from pytest_trt.cli.baseline.prune import prune
from pytest_trt.cli.baseline.rename import rename
from pytest_trt.cli.baseline.stored import Folders
from pytest_trt.cli.command import CommandGroup
from pytest_trt.cli.ini import read_project

__all__ = ["baseline"]

#: Commands that would find nothing wrong with a folder whose name is misspelt.
_OF_A_FOLDER = ("list", "prune")

_folder = click.Path(path_type=Path, file_okay=False)


@click.group(cls=CommandGroup)
@click.option(
    "--baseline-dir",
    type=_folder,
    help="Folder of the baselines, as for --trt-baseline-dir.  [default: that of the ini file, "
    "else trt_baselines]",
)
@click.option(
    "--cache-dir",
    type=_folder,
    help="Engine cache, as for --trt-cache-dir.  [default: that of the ini file, else the user's "
    "cache folder]",
)
@click.pass_context
def baseline(context: click.Context, baseline_dir: Path | None, cache_dir: Path | None) -> None:
    """List, compare, accept, collect, rename and prune baselines of speed and of answers."""
    if context.invoked_subcommand in _OF_A_FOLDER and baseline_dir and not baseline_dir.exists():
        raise click.UsageError(f"--baseline-dir {baseline_dir}: there is no such folder.")
    project = read_project()
    context.obj = Folders(
        project.baselines(baseline_dir),
        project.cache(cache_dir),
        lambda tests: project.baselines(baseline_dir, tests),
    )


for command in (list_, show, diff, accept, collect, rename, prune):
    baseline.add_command(command)
