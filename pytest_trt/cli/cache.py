"""`pytest-trt cache`: lists, explains, verifies and clears the engine cache."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import click

from pytest_trt import units
from pytest_trt.cli.command import CommandGroup, json_option
from pytest_trt.cli.ini import read_project
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import print_table
from pytest_trt.diagnostics import CacheError, Remedy
from pytest_trt.engine.cache import LAYOUT, CorruptEntry, EngineCache, Entry
from pytest_trt.engine.timing_cache import TimingFileError, read_timings, timing_files
from pytest_trt.wording import count

#: Names of products by the backend in an engine's key.
_PRODUCTS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX", "onnxruntime": "ONNX Runtime"}


@click.group(cls=CommandGroup)
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache folder.  [default: trt_cache_dir of the project, else the user's cache folder]",
)
@click.pass_context
def cache(context: click.Context, cache_dir: Path | None) -> None:
    """List, explain, verify and clear the engine cache."""
    context.obj = read_project().cache(cache_dir)


def _open(root: Path, *, as_json: bool = False) -> EngineCache | None:
    """Open an existing cache; inspecting one must not create it."""
    if not (root / LAYOUT).is_dir():
        echo(f"There is no engine cache at {root}.", err=as_json)
        if as_json:
            echo_json([])
        return None
    return EngineCache(root)


@cache.command("list", examples=["pytest-trt cache list", "pytest-trt cache list --json"])
@json_option
@click.pass_obj
def list_(root: Path, as_json: bool) -> None:
    """List all engines, the most recently used first."""
    opened = _open(root, as_json=as_json)
    if opened is None:
        return
    entries = opened.entries()
    if as_json:
        echo_json([_data(entry) for entry in entries])
        return
    engines = [entry for entry in entries if isinstance(entry, Entry)]
    titles = ("model", "for", "key", "built with", "size", "built", "used")
    if engines:
        print_table(titles, [_row(entry) for entry in engines], giving_way=(0, 3))
    for entry in entries:
        if isinstance(entry, CorruptEntry):
            echo(f"damaged: {entry.folder.name}: {entry.reason}")
    total = sum(entry.sidecar.size_bytes for entry in engines)
    echo(f"{count(len(entries), 'engine')}, {units.size(total)}, in {opened.folder}")
    timings = timing_files(opened.timing)
    if timings:
        total = sum(path.stat().st_size for path in timings)
        echo(f"{count(len(timings), 'timing cache')}, {units.size(total)}")


def _data(entry: Entry | CorruptEntry) -> dict[str, object]:
    if isinstance(entry, CorruptEntry):
        return {"folder": str(entry.folder), "damaged": entry.reason}
    sidecar = entry.sidecar
    return {
        "folder": str(entry.folder),
        "damaged": "",
        "model": sidecar.model_name,
        "key": sidecar.key_digest,
        "size_bytes": sidecar.size_bytes,
        "built": sidecar.built_at,
        "used": _used(entry).isoformat(timespec="seconds"),
        "reason": sidecar.reason,
        "fields": dict(sidecar.key_fields),
    }


def _used(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.folder.stat().st_mtime, timezone.utc)


def _row(entry: Entry) -> tuple[str, ...]:
    sidecar = entry.sidecar
    fields = sidecar.key_fields
    return (
        sidecar.model_name,
        f"{fields.get('arch', '?')} {fields.get('precision', '?')}",
        sidecar.key_digest[:8],
        _product(entry),
        units.size(sidecar.size_bytes),
        _ago(datetime.fromisoformat(sidecar.built_at)),
        _ago(_used(entry)),
    )


@cache.command(
    examples=["pytest-trt cache explain", "pytest-trt cache explain classifier.onnx"],
)
@click.argument("name", required=False)
@json_option
@click.pass_obj
def explain(root: Path, name: str | None, as_json: bool) -> None:
    """Show why each engine was built.

    The reason is how the closest cached engine differed. NAME is a model's file name or the
    beginning of a key; with it, the fields of the key are shown too.
    """
    opened = _open(root, as_json=as_json)
    if opened is None:
        return
    found = [entry for entry in opened.entries() if isinstance(entry, Entry)]
    if name is not None:
        found = [entry for entry in found if _matches(entry, name)]
        if not found:
            raise CacheError(
                f"no cached engine matches {name!r}",
                code="TRT805",
                facts={"name": name, "folder": str(opened.folder)},
                fix=Remedy("This lists the engines:", (_command(root, "list"),)),
            )
    if as_json:
        echo_json([_data(entry) for entry in found])
        return
    if not found:
        echo("The cache is empty.")
    for entry in found:
        sidecar = entry.sidecar
        reason = sidecar.reason or "first build"
        echo(entry.folder.name)
        echo(f"  built {sidecar.built_at}: {reason}")
        if name is not None:
            for label, value in sidecar.key_fields.items():
                echo(f"    {label}: {value}")


def _matches(entry: Entry, name: str) -> bool:
    starts = (entry.folder.name, entry.sidecar.key_digest)
    return name == entry.sidecar.model_name or any(text.startswith(name) for text in starts)


@cache.command(
    examples=["pytest-trt cache verify", "pytest-trt cache verify --remove"],
    negative="an engine or a timing cache is damaged and not removed",
)
@click.option("--remove", is_flag=True, help="Remove damaged engines and timing caches.")
@click.pass_obj
def verify(root: Path, remove: bool) -> None:
    """Verify all engines and timing caches by their digests."""
    if not (root / LAYOUT).is_dir():  # perhaps its name is misspelt: nothing would be verified
        raise click.UsageError(f"There is no engine cache at {root}: is it in another --cache-dir?")
    opened = EngineCache(root)
    entries = opened.entries()
    engines = list(_damaged_engines(opened, entries))
    timings = list(_damaged_timings(opened))
    for path, reason in (*engines, *timings):
        echo(f"damaged: {path.name}: {reason}")
        if remove:
            if path.is_dir():
                opened.discard(path)
            else:
                path.unlink(missing_ok=True)
            echo(f"removed: {path.name}")
    is_are = "is" if len(entries) == 1 else "are"
    whole = len(entries) - len(engines)
    intact = f"{whole} of {count(len(entries), 'engine')} {is_are} intact."
    echo(intact if entries or timings else "The cache is empty.")
    if (engines or timings) and not remove:
        echo("Fix: Remove what is damaged; it is rebuilt when needed.")
        echo(f"    {_command(root, 'verify --remove')}")
        raise SystemExit(1)


def _damaged_engines(
    opened: EngineCache, entries: list[Entry | CorruptEntry]
) -> Iterator[tuple[Path, str]]:
    for entry in entries:
        checked: Entry | CorruptEntry | None = entry
        if isinstance(entry, Entry):
            checked = opened.lookup(entry.folder.name, entry.sidecar.key_digest)
        if isinstance(checked, CorruptEntry):
            yield checked.folder, checked.reason


def _damaged_timings(opened: EngineCache) -> Iterator[tuple[Path, str]]:
    for path in timing_files(opened.timing):
        try:
            read_timings(path)
        except (TimingFileError, OSError) as error:
            yield path, str(error)


@cache.command(examples=["pytest-trt cache clear", "pytest-trt cache --cache-dir=DIR clear"])
@click.pass_obj
def clear(root: Path) -> None:
    """Delete everything in the cache; it is rebuilt when needed."""
    opened = _open(root)
    if opened is not None:
        echo(f"Removed {count(opened.clear(), 'engine')} from {opened.folder}.")


def _command(root: Path, words: str) -> str:
    folder = "" if root == read_project().cache() else f" --cache-dir={shlex.quote(str(root))}"
    return f"pytest-trt cache{folder} {words}"


def _product(entry: Entry) -> str:
    fields = entry.sidecar.key_fields
    backend = fields.get("backend", "?")
    product = _PRODUCTS.get(backend, backend)
    return f"{product} {fields.get(product, '')}".strip()


def _ago(moment: datetime) -> str:
    return units.age((datetime.now(timezone.utc) - moment).total_seconds())
