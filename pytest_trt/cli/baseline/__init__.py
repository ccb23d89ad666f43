"""`pytest-trt baseline`: stored speeds looked at, compared, accepted and tidied up."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_trt.cli.baseline.accept import accept
from pytest_trt.cli.baseline.diff import diff
from pytest_trt.cli.baseline.looking import list_, show
from pytest_trt.cli.baseline.places import Places
from pytest_trt.cli.baseline.prune import prune
from pytest_trt.engine.cache import default_cache_dir

__all__ = ["baseline"]

_folder = click.Path(path_type=Path, file_okay=False)


@click.group()
@click.option(
    "--baseline-dir",
    type=_folder,
    default=Path("trt_baselines"),
    show_default=True,
    help="The folder of all baselines, as --trt-baseline-dir names it.",
)
@click.option(
    "--cache-dir",
    type=_folder,
    help="The engine cache, as --trt-cache-dir names it.  [default: the user's cache folder]",
)
@click.pass_context
def baseline(context: click.Context, baseline_dir: Path, cache_dir: Path | None) -> None:
    """The baselines of speed."""
    context.obj = Places(
        baseline_dir.expanduser(), (cache_dir or default_cache_dir()).expanduser().absolute()
    )


for command in (list_, show, diff, accept, prune):
    baseline.add_command(command)
