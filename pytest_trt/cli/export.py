"""`pytest-trt export` and `verify`: what was tested is what ships."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from pytest_trt import units
from pytest_trt.cli.baseline.stored import age
from pytest_trt.cli.command import command
from pytest_trt.cli.completion import complete_tests
from pytest_trt.cli.ini import read_project
from pytest_trt.cli.output import echo
from pytest_trt.diagnostics import CacheError, EngineLoadError, Remedy, as_typed
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.manifest import Manifest, PassedTest, manifest_path
from pytest_trt.engine.tested import TESTED_RUNS, TestedEngine, TestedRun
from pytest_trt.files import atomic_open, atomic_write
from pytest_trt.hashing import digest_file


class _Refused(Exception):
    """A plan is not exported; the text says why.

    Attributes:
        needs_run: Whether another run of its tests is needed.
    """

    def __init__(self, why: str, *, needs_run: bool = True) -> None:
        super().__init__(why)
        self.needs_run = needs_run


@command(
    examples=[
        "pytest-trt export tests/test_classifier.py --output dist",
        "pytest-trt export tests/test_classifier.py::test_same_answers -o dist --force",
    ],
    negative="an engine was refused",
)
@click.argument("tests", nargs=-1, required=True, shell_complete=complete_tests)
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for the plans; it is created.",
)
@click.option("--force", is_flag=True, help="Overwrite plans that differ.")
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Engine cache, as for --trt-cache-dir.  [default: that of the ini file, else the user's "
    "cache folder]",
)
def export(tests: tuple[str, ...], folder: Path, force: bool, cache_dir: Path | None) -> None:
    """Write the plans of the engines that TESTS requested in the last run, if all of them passed.

    TESTS are files, folders, node ids or names of tests. A plan is written as
    STEM.PRECISION.ARCH.plan, with a manifest next to it: its digest, what it was built from and
    for, and the tests that passed with it. An engine is refused if any test of the run that used
    it did not pass.
    """
    root = read_project().cache(cache_dir)
    run = _last_run(root)
    keys = _chosen(run, tests)
    cache, refused, untested = EngineCache(root), 0, 0
    for key in keys:
        engine = run.engines[key]
        try:
            if why := run.refusal(key):
                raise _Refused(why)
            if why := _ambiguous(run, keys, engine):
                raise _Refused(why, needs_run=False)
            path = _export(cache, run, engine, folder, force=force)
        except _Refused as error:
            refused += 1
            untested += error.needs_run
            echo(f"Error: {engine} is not exported: {error}", err=True)
        else:
            passed = sum(1 for _ in run.passed(key))
            size = units.size(path.stat().st_size)
            tested = f"{passed} test{'s' * (passed > 1)} passed {age(run.finished)}"
            echo(f"wrote {as_typed(path)}: {size}, digest {engine.plan_digest[:12]}, {tested}")
    if untested:
        echo("Fix: Remove the cause, and run the tests again.", err=True)
    if refused:
        raise SystemExit(1)


def _last_run(cache: Path) -> TestedRun:
    found = None
    if cache.is_dir():
        found = TESTED_RUNS.read(EngineCache(cache).last_runs, Path.cwd())
    if found is None:
        raise CacheError(
            f"the cache {cache} has no engines of a run in {Path.cwd()}",
            fix=Remedy(
                "Run the tests here first. If they use another cache, name it:",
                ("pytest-trt export TESTS -o DIR --cache-dir=DIR",),
            ),
            code="TRT820",
            facts={"cache": str(cache), "folder": str(Path.cwd())},
        )
    return found


def _chosen(run: TestedRun, names: Sequence[str]) -> list[str]:
    """Return the keys of the engines of tests.

    Raises:
        CacheError: A name is that of no test.
    """
    keys: dict[str, None] = {}
    for name in names:
        found = [one for one in run.tests if one.engines and _matches(run, one.test, name)]
        if not found:
            tests = [one.test for one in run.tests if one.engines]
            raise CacheError(
                f"the last run, {age(run.finished)}, has no engine of {name}; it has those of:",
                fix="Name one of these, or their file or folder.",
                code="TRT820",
                facts={"name": name, "tests": tests, "finished": run.finished},
                details=tests,
            )
        keys.update(dict.fromkeys(key for one in found for key in one.engines))
    return list(keys)


def _matches(run: TestedRun, test: str, name: str) -> bool:
    if name in (test, test.partition("::")[2]):
        return True
    file, separator, rest = name.partition("::")
    path = Path(os.path.normpath(Path.cwd() / file))
    if not path.is_relative_to(run.root):
        return False
    wanted = path.relative_to(run.root).as_posix()
    if wanted == ".":
        return not separator
    wanted += separator + rest
    return test == wanted or test.startswith(tuple(f"{wanted}{end}" for end in ("/", "::", "[")))


def _ambiguous(run: TestedRun, keys: Sequence[str], engine: TestedEngine) -> str:
    same = [key for key in keys if run.engines[key].file_name == engine.file_name]
    if len(same) < 2:
        return ""
    others = ", ".join(key[:8] for key in same if key != engine.key)
    return (
        f"engine {others} would have the same name, {engine.file_name}: export the tests of each "
        "to a folder of its own"
    )


def _export(
    cache: EngineCache, run: TestedRun, engine: TestedEngine, folder: Path, *, force: bool
) -> Path:
    """Write a plan and its manifest, and return the plan.

    Raises:
        _Refused: The cache does not have the plan that was tested, or another file is in the way.
    """
    gone = _Refused("the plan that was tested is no longer in the cache: run the tests again")
    found = cache.find(engine.key)
    if found is None:
        raise gone
    digests = found.sidecar.files
    if digests[found.sidecar.plan_name].digest != engine.plan_digest:
        raise gone
    if len(digests) > 1:
        raise _Refused("its weights are in another file than its plan")
    path = folder / engine.file_name
    if _differs(path, engine.plan_digest) and not force:
        raise _Refused(f"{as_typed(path)} is another plan; --force overwrites it", needs_run=False)
    manifest = _manifest(run, engine, path.name, digests[found.sidecar.plan_name].size_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    # Never a plan next to the manifest of another one.
    manifest_path(path).unlink(missing_ok=True)
    try:
        with (
            cache.plan(found.plan, engine.key) as plan,
            plan.stable_path.open("rb") as source,
            atomic_open(path) as file,
        ):
            shutil.copyfileobj(source, file, 1 << 20)
    except EngineLoadError as error:
        raise gone from error
    if digest_file(path).digest != engine.plan_digest:
        path.unlink()
        raise gone
    atomic_write(manifest_path(path), manifest.to_text())
    return path


def _differs(path: Path, digest: str) -> bool:
    """Whether another plan is in the place of one.

    Raises:
        _Refused: What is there is no file.
    """
    try:
        return digest_file(path).digest != digest
    except FileNotFoundError:
        return False
    except OSError as error:  # a folder, or below a file
        why = f"{as_typed(path)} cannot be written: {error.strerror}"
        raise _Refused(why, needs_run=False) from error


def _manifest(run: TestedRun, engine: TestedEngine, name: str, size_bytes: int) -> Manifest:
    return Manifest(
        plan=name,
        digest=engine.plan_digest,
        size_bytes=size_bytes,
        model=Path(engine.model).name,
        model_digest=engine.model_digest,
        backend=engine.backend,
        precision=engine.precision,
        profiles=engine.profiles,
        options=engine.options,
        keep_fp32=engine.keep_fp32,
        libraries=engine.libraries,
        toolchain=engine.toolchain,
        target=engine.target,
        key=engine.key,
        tests=tuple(
            PassedTest(one.test, one.verdicts[engine.key]) for one in run.passed(engine.key)
        ),
        tested=run.finished,
        commit=run.commit,
        report=run.report,
    )
