"""`pytest-trt verify`: checks exported plans against their manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from pytest_trt import units
from pytest_trt.backends.conversion.ort_module import onnxruntime_version
from pytest_trt.backends.tensorrt.plan_header import header_of, is_plan, same_version
from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import BackendUnavailableError, ModelError, PytestTrtError, as_typed
from pytest_trt.engine.finished import SUFFIXES, opened_plan
from pytest_trt.engine.manifest import ENDING, Manifest, invalid_manifest, read_manifest
from pytest_trt.engine.protocols import Plan
from pytest_trt.onnx.file import read_interface
from pytest_trt.wording import count


@command(
    examples=["pytest-trt verify dist", "pytest-trt verify dist/sm86 dist/sm89 --json"],
    negative="a check fails, or a folder has no plan",
)
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False)
)
@json_option
def verify(folders: tuple[Path, ...], as_json: bool) -> None:
    """Check that every plan in FOLDERS is the one that passed its tests.

    Each plan needs a manifest that `pytest-trt export` wrote, with its digest, size and header, and
    each manifest its plan. Other files are ignored.
    """
    rows: list[Row] = []
    problems: list[PytestTrtError] = []
    data: list[object] = []
    manifests: list[Manifest] = []
    plans = {folder: _plans(folder) for folder in folders}
    empty = [folder for folder, found in plans.items() if not found]
    for path in [path for found in plans.values() for path in found]:
        try:
            manifest = _verified(path)
        except PytestTrtError as error:
            problems.append(error)
            data.append({"plan": str(path), "problem": error.diagnostic})
            rows.append((as_typed(path), "", "", "", "", ("failed", "red")))
        else:
            manifests.append(manifest)
            rows.append((as_typed(path), *_columns(manifest), ("holds", "green")))
            data.append({"plan": str(path), "manifest": manifest})
    if as_json:
        echo_json(data)
    elif rows:
        titles = ("plan", "for", "built with", "size", "tests", "state")
        print_table(titles, rows, giving_way=(0, 2))
    for problem in problems:
        echo(problem.diagnostic.headline, err=True)
    for folder in empty:
        echo(f"{as_typed(folder)} has no plans", err=True)
    held = len(rows) - len(problems)
    total = f"{held} of {count(len(rows), 'plan')} {'hold' if held != 1 else 'holds'}."
    echo(total, err=as_json)
    for line in _other_versions(manifests):
        echo(line, err=as_json)
    if problems or empty:
        raise SystemExit(1)


def _plans(folder: Path) -> list[Path]:
    """Return the plans in a folder, and those that a manifest names."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise click.UsageError(f"{folder}: {error.strerror}") from error
    plans = {name for name in names if name.endswith(SUFFIXES)}
    of_manifests = {name.removesuffix(ENDING) for name in names if name.endswith(ENDING)}
    plans |= {name for name in of_manifests if name.endswith(SUFFIXES)}
    return [folder / name for name in sorted(plans)]


def _verified(path: Path) -> Manifest:
    """Return the manifest of a plan that holds.

    Raises:
        EngineLoadError: The plan or the manifest is missing, invalid, or not of the other.
    """
    manifest = read_manifest(path)
    with opened_plan(path) as (plan, digest):
        if manifest is None:
            raise invalid_manifest(path, "it is missing")
        manifest.check_plan(path, digest, plan.size_bytes)
        _check_header(plan, manifest)
    return manifest


def _check_header(plan: Plan, manifest: Manifest) -> None:
    """Refuse a plan whose header contradicts its manifest."""
    if manifest.backend not in ("tensorrt", "tensorrt_rtx"):
        if manifest.backend == "onnxruntime":
            try:
                read_interface(plan.stable_path)
            except ModelError as error:
                raise invalid_manifest(plan.path, "the plan is not an ONNX file") from error
        return
    if not is_plan(plan.read(1 << 20)):
        raise invalid_manifest(plan.path, f"it is not a plan of {manifest.toolchain.product}")
    header, toolchain = header_of(plan), manifest.toolchain
    same = header.product == toolchain.product and same_version(header.version, toolchain.version)
    if not same:
        raise invalid_manifest(
            plan.path, f"the plan was built by {header.product} {header.version}, not {toolchain}"
        )
    if header.archs is not None and manifest.target.arch not in header.archs:
        archs = ", ".join(header.archs)
        raise invalid_manifest(plan.path, f"the plan is for {archs}, not {manifest.target.arch}")


def _other_versions(manifests: list[Manifest]) -> Iterator[str]:
    """Yield which plans another ONNX Runtime built; TensorRT itself refuses those of others."""
    try:
        here = onnxruntime_version()
    except BackendUnavailableError:
        return
    built = Counter(
        str(one.toolchain)
        for one in manifests
        if one.backend == "onnxruntime" and one.toolchain.version != here
    )
    for toolchain, number in built.items():
        yield (
            f"Note: {count(number, 'plan')} built and tested with {toolchain}; here is ONNX "
            f"Runtime {here}, which may compute them differently. Test them with plan=."
        )


def _columns(manifest: Manifest) -> Iterator[str]:
    yield f"{manifest.target.arch} {manifest.precision}"
    yield str(manifest.toolchain)
    yield units.size(manifest.size_bytes)
    yield f"{len(manifest.tests)} passed"
