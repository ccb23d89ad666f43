"""`pytest-trt init`: a first test module for the models of a project."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_trt.cli.command import command
from pytest_trt.cli.ini import read_project
from pytest_trt.cli.init.finding import Found, find_files, names_of, samples_of
from pytest_trt.cli.output import echo, echo_data, steps
from pytest_trt.cli.place import opened_run
from pytest_trt.diagnostics import (
    ConfigurationError,
    Diagnostic,
    Fact,
    PytestTrtError,
    Remedy,
    as_typed,
    remedy_lines,
)
from pytest_trt.files import write_output
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.cli.init.module import Tested
    from pytest_trt.engine.protocols import Progress
    from pytest_trt.plugin.run import TrtRun

_NAME = "test_engines.py"

#: Data files that are named because no model has their arrays as inputs.
_NAMED = 3

_SPEED = """
@MODELS
@pytest.mark.trt_benchmark(p99="10%")
def test_speed(trt_benchmark: Benchmark, trt_inputs: dict[str, NDArray[Any]]) -> None:
    trt_benchmark(trt_inputs)
"""


@dataclass
class _Measured:
    """What became of the models of a project."""

    tested: list[Tested] = field(default_factory=list)
    left_out: dict[Path, Diagnostic] = field(default_factory=dict)
    measured_with: str = ""


@command(
    examples=[
        "pytest-trt init",
        "pytest-trt init models --output tests/test_models.py",
        "pytest-trt init --dry-run",
    ],
)
@click.argument(
    "folder", default=".", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The module to write.  [default: {_NAME} in FOLDER/tests if that exists, else in FOLDER]",
)
@click.option("--dry-run", is_flag=True, help="Print the module instead of writing it.")
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Engine cache, as for --trt-cache-dir.  [default: that of the ini file, else the user's "
    "cache folder]",
)
def init(folder: Path, output: Path | None, dry_run: bool, cache_dir: Path | None) -> None:
    """Write a first test module for the ONNX models in FOLDER, by default the current one.

    Each model is built in FP32 and FP16 and compared with its FP32 reference on the .npz files in
    FOLDER that have arrays for its inputs, or else on seeded inputs. Tolerances are about twice
    what these needed. Models and precisions that cannot be tested here are left out by name.

    Hidden folders, caches, virtual environments, build and dist are not searched. No file is ever
    overwritten.
    """
    if output is None:
        tests = folder / "tests"
        output = (tests if tests.is_dir() else folder) / _NAME
    elif output.suffix != ".py":
        raise click.UsageError(f"--output {output}: expected the name of a .py file.")
    if not dry_run:
        _refuse_overwriting(output)
    found = find_files(folder, read_project().baselines().path)
    for one in found.too_deep:
        echo(f"not searched, as it is nested too deeply: {as_typed(one)}", err=True)
    measured = _measure(found, cache_dir)
    _report_left_out(measured)
    _report_unused(found, measured)
    if not measured.tested:
        raise _no_model(folder, found)
    from pytest_trt.cli.init.module import module_source

    source = module_source(
        measured.tested,
        measured.left_out,
        folder=output.parent.absolute(),
        measured_with=measured.measured_with,
    )
    if dry_run:
        echo_data(source)
        return
    _refuse_overwriting(output)  # made while models were measured
    write_output(output, source)
    for line in _next_steps(output, measured):
        echo(line)


def _report_unused(found: Found, measured: _Measured) -> None:
    """Name data files whose arrays are not named like the inputs of a model."""
    used = {file for one in measured.tested for file in one.data}
    models = {
        one.path.name: [spec.name for spec in one.test.model.inputs]
        for one in measured.tested
        if one.test.model.inputs
    }
    inputs = "; ".join(f"{model}: {', '.join(names)}" for model, names in models.items())
    unused = {
        file: names
        for file in found.data
        if file not in used
        and (names := names_of(file))
        and not any(names >= {*wanted} for wanted in models.values())
    }
    for file, names in list(unused.items())[:_NAMED] if models else ():
        echo(
            f"not used: {as_typed(file)}: it has the arrays {', '.join(sorted(names))}. To test on "
            f"it, save preprocessed inputs under the names of the model ({inputs})",
            err=True,
        )
    if len(unused) > _NAMED and models:
        echo(f"not used: {count(len(unused) - _NAMED, 'more file')} like these", err=True)


def _measure(found: Found, cache_dir: Path | None) -> _Measured:
    measured = _Measured()
    if not found.models:
        return measured
    with opened_run(cache_dir=cache_dir) as run, steps("reading models") as say:
        arch = run.selections[0].arch
        backend = run.backend(arch)
        for number, path in enumerate(found.models, 1):
            say(f"model {number} of {len(found.models)}: {path.name}")
            try:
                measured.tested.append(_tested(run, path.absolute(), arch, found.data, say))
            except PytestTrtError as error:
                measured.left_out[path.absolute()] = error.diagnostic
        measured.measured_with = f"{backend.toolchain()} on {backend.target(arch)}"
    return measured


def _tested(run: TrtRun, path: Path, arch: str, data: Sequence[Path], say: Progress) -> Tested:
    from pytest_trt.cli.init.module import Tested
    from pytest_trt.precision.first_test import first_test

    model = run.model(path, say)
    samples = dict(samples_of(model, data))
    test = first_test(run, model, arch, list(samples.values()), say=say)
    return Tested(path, test, tuple(one.absolute() for one in samples))


def _report_left_out(measured: _Measured) -> None:
    """Show what is left out and why, and after all with one remedy what to do."""
    reasons = [(as_typed(path), why) for path, why in measured.left_out.items()]
    for one in measured.tested:
        path = as_typed(one.path)
        reasons += [(f"{precision} of {path}", why) for precision, why in one.test.left_out.items()]
    by_remedy: dict[Remedy, list[tuple[str, Diagnostic]]] = {}
    for what, why in reasons:
        by_remedy.setdefault(why.remedy, []).append((what, why))
    for remedy, each in by_remedy.items():
        for what, why in each:
            echo(f"left out: {what}: {why.headline}", err=True)
        for line in remedy_lines(remedy, None, "  "):
            echo(line, err=True)


def _next_steps(output: Path, measured: _Measured) -> Iterator[str]:
    tested = measured.tested
    name = as_typed(output)
    baselines = as_typed(read_project().baselines(None, output.parent).path)
    yield f"wrote {name}: tests of {count(len(tested), 'model')}"
    for one in tested:
        on = "its data" if one.data else "seeded inputs"
        yield f"  {as_typed(one.path)}: {', '.join(one.test.tolerances)}, on {on}"
    yield ""
    yield f"Run the tests. The first run stores the answers of the models in {baselines}:"
    yield f"    pytest {name}"
    yield "Commit both, so that CI compares with these answers:"
    yield f"    git add {name} {baselines}"
    yield "To let runs of all tests fail for a model that has no test, add to the ini file:"
    yield from (f"    {line}" for line in _required_models(measured))
    if any(not one.data for one in tested):
        yield f"To test speed too, import Benchmark from pytest_trt and append this to {name}:"
        yield from (f"    {line}".rstrip() for line in _SPEED.strip().splitlines())
        yield "Record its baseline on the machine that will run it, and commit that as well:"
        yield f"    pytest {name} --trt-update-new"


def _required_models(measured: _Measured) -> Iterator[str]:
    """Yield lines of the ini file: a pattern of the tested models, and those that were left out."""
    root = read_project().rootdir
    models = [one.path.parent for one in measured.tested]
    folder = Path(os.path.relpath(os.path.commonpath(models), root))
    # Of the root folder, those of installed packages may be below.
    pattern = "*.onnx" if folder == Path() else f"{folder.as_posix()}/**/*.onnx"
    yield f"trt_require_models = {pattern}"
    left_out = {Path(os.path.relpath(path, root)): why for path, why in measured.left_out.items()}
    matched = {
        path: why
        for path, why in left_out.items()
        if path.parent == folder or (folder != Path() and folder in path.parents)
    }
    if matched:
        yield "trt_untested_models ="
    for path, why in matched.items():
        yield f"    {path.as_posix()}: {' '.join(why.message.split())}"


def _refuse_overwriting(output: Path) -> None:
    if not os.path.lexists(output):
        return
    raise ConfigurationError(
        f"{as_typed(output)} exists, and no file is overwritten",
        fix=Remedy(
            "Name another file, or print the module:",
            ("pytest-trt init --output FILE", "pytest-trt init --dry-run"),
        ),
        code="TRT462",
        facts={"file": str(output)},
    )


def _no_model(folder: Path, found: Found) -> ConfigurationError:
    facts: dict[str, Fact] = {"folder": str(folder), "models": len(found.models)}
    if found.models:
        return ConfigurationError(
            f"none of {count(len(found.models), 'ONNX model')} in {as_typed(folder)} can be tested",
            fix="Fix what is named above.",
            code="TRT460",
            facts=facts,
        )
    return ConfigurationError(
        f"there is no ONNX model in {as_typed(folder)}",
        fix=Remedy(
            "Name the folder that has one, or export a model first, from PyTorch with:",
            ('torch.onnx.export(network, example_inputs, "model.onnx")',),
        ),
        code="TRT460",
        facts=facts,
    )
