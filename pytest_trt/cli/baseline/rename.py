"""`pytest-trt baseline rename`: move the baselines of a renamed test, module or model."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import click

from pytest_trt.baseline.file import ANSWERS, is_of_metrics, module_of
from pytest_trt.baseline.renaming import Move, is_of_models, planned_moves, rename_baselines
from pytest_trt.cli.baseline.stored import Folders
from pytest_trt.cli.command import command
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import as_typed
from pytest_trt.engine.finished import SUFFIXES
from pytest_trt.wording import count


@command(
    short_help="Move the baselines of a renamed test, module or model.",
    examples=[
        "pytest-trt baseline rename tests/test_a.py::test_x tests/test_a.py::test_y",
        "pytest-trt baseline rename tests/test_a.py tests/test_b.py --dry-run",
        "pytest-trt baseline rename models/ctr_1.onnx models/clicks.onnx",
    ],
)
@click.argument("old")
@click.argument("new")
@click.option("--dry-run", is_flag=True, help="Show what would be moved.")
@click.option("--replace", "replacing", is_flag=True, help="Replace other baselines that NEW has.")
@click.pass_obj
def rename(folders: Folders, old: str, new: str, dry_run: bool, replacing: bool) -> None:
    """Move the baselines of OLD to NEW: speeds of every target, stored answers and task metrics.

    Both are node ids, test modules, models, or folders of models. A node id without parameters
    stands for all of them, a class for its methods, a model for all of its tests. Of a folder, the
    models that lie in NEW now are moved.

    It is an error if OLD has no baseline. If NEW has a different one, --replace replaces it.
    """
    old, new = (_checked(one) for one in (old, new))
    if old == new or _kind(old) != _kind(new):
        raise click.UsageError("name two different node ids, test modules, models or folders.")
    root, base = folders.baselines.path, folders.baselines.base
    plan = planned_moves if dry_run else rename_baselines
    moves = plan(root, old, new, base, replacing=replacing)
    for move in moves:
        _print(folders, move)
    total = count(sum(len(move.tests) for move in moves), "baseline")
    files = dict.fromkeys(as_typed(one) for move in moves for one in (move.source, move.target))
    echo(f"{total} {'would be ' * dry_run}moved; files: {', '.join(files)}")


def _checked(name: str) -> str:
    module, separator, test = name.partition("::")
    path = PurePosixPath(os.path.normpath(module))
    if path.is_absolute() or (separator and (path.suffix != ".py" or not test)):
        raise click.UsageError(
            f"{name}: expected a node id, a test module, a model or a folder of models, relative "
            "to pytest's root folder, such as tests/test_a.py::test_x, tests/test_a.py, "
            "models/a.onnx or models."
        )
    return f"{path.as_posix()}{separator}{test}"


def _kind(name: str) -> tuple[bool, bool, bool]:
    """Return what a name is of: a test, a module, a model file, or a folder."""
    is_file = PurePosixPath(name).suffix in (".onnx", *SUFFIXES)  # names of folders may have dots
    return "::" in name, is_of_models(name), is_file


def _print(folders: Folders, move: Move) -> None:
    root = folders.baselines.path
    target = move.source.relative_to(root).parts[0]
    what = "answers" if target == ANSWERS else f"speed on {target}"
    if is_of_metrics(root, move.source):
        what = f"task metrics, {target}"
    for test, name in move.tests.items():
        new = f"{module_of(root, move.target)}::{name}"
        replaced = ", replacing the one there" * (name in move.replaced)
        echo(f"{module_of(root, move.source)}::{test} -> {new}: {what}{replaced}")
