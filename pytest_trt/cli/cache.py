"""`pytest-trt cache`: what is in the engine cache, why it is there, and whether it is whole."""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from pathlib import Path

import click

from pytest_trt import units
from pytest_trt.cli.table import print_table
from pytest_trt.engine.cache import CorruptEntry, EngineCache, Entry, default_cache_dir
from pytest_trt.engine.timing_cache import TimingFileError, read_timings, timing_files
from pytest_trt.wording import count


@click.group()
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache's folder, as --trt-cache-dir names it.  [default: the user's cache folder]",
)
@click.pass_context
def cache(context: click.Context, cache_dir: Path | None) -> None:
    """The engine cache."""
    context.obj = (cache_dir or default_cache_dir()).expanduser().absolute()


def _open(root: Path) -> EngineCache | None:
    """Open a cache that is there; looking at one shall not make one."""
    if not root.is_dir():
        click.echo(f"There is no engine cache at {root}.")
        return None
    return EngineCache(root)


@cache.command("list")
@click.pass_obj
def list_(root: Path) -> None:
    """List every engine, the most recently used first."""
    opened = _open(root)
    if opened is None:
        return
    entries = opened.entries()
    rows = [_row(entry) for entry in entries if isinstance(entry, Entry)]
    titles = ("model", "for", "key", "built with", "size", "built", "used")
    if rows:
        print_table(titles, rows, giving_way=(0, 3))
    for entry in entries:
        if isinstance(entry, CorruptEntry):
            click.echo(f"damaged: {entry.folder.name}: {entry.reason}")
    total = sum(entry.sidecar.size_bytes for entry in entries if isinstance(entry, Entry))
    click.echo(f"{count(len(entries), 'engine')}, {units.size(total)}, in {opened.folder}")
    timings = timing_files(opened.timing)
    if timings:
        total = sum(path.stat().st_size for path in timings)
        click.echo(f"{count(len(timings), 'timing cache')}, {units.size(total)}")


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
        _ago(datetime.fromtimestamp(entry.folder.stat().st_mtime, timezone.utc)),
    )


@cache.command()
@click.argument("name", required=False)
@click.pass_obj
def explain(root: Path, name: str | None) -> None:
    """Say why engines were built: what had changed against the nearest one that was cached.

    With NAME, a model's file name or the start of a key, show all that the key is made of.
    """
    opened = _open(root)
    if opened is None:
        return
    found = [entry for entry in opened.entries() if isinstance(entry, Entry)]
    if name is not None:
        found = [
            entry
            for entry in found
            if name == entry.sidecar.model_name
            or entry.folder.name.startswith(name)
            or entry.sidecar.key_digest.startswith(name)
        ]
        if not found:
            raise click.ClickException(
                f"no engine is called {name}.\nFix: `pytest-trt cache list` names them."
            )
    for entry in found:
        sidecar = entry.sidecar
        click.echo(f"{entry.folder.name}\n  built {sidecar.built_at}: {sidecar.reason}")
        if name is not None:
            for label, value in sidecar.key_fields.items():
                click.echo(f"    {label}: {value}")


@cache.command()
@click.option("--remove", is_flag=True, help="Remove what is not whole.")
@click.pass_obj
def verify(root: Path, remove: bool) -> None:
    """Check every byte of every engine and timing cache; exit status 1 if one is not whole."""
    opened = _open(root)
    if opened is None:
        return
    damaged = []
    entries = opened.entries()
    for entry in entries:
        checked: Entry | CorruptEntry | None = entry
        if isinstance(entry, Entry):
            checked = opened.lookup(entry.folder.name, entry.sidecar.key_digest)
        if isinstance(checked, CorruptEntry):
            damaged.append(checked)
            click.echo(f"damaged: {checked.folder.name}: {checked.reason}")
            if remove:
                opened.discard(checked.folder)
                click.echo(f"removed: {checked.folder.name}")
    click.echo(f"{len(entries) - len(damaged)} of {len(entries)} engines are whole.")
    if (_damaged_timings(opened, remove=remove) or damaged) and not remove:
        there = "" if root == default_cache_dir() else f" --cache-dir={shlex.quote(str(root))}"
        again = f"pytest-trt cache{there} verify --remove"
        click.echo(f"Fix: `{again}`; it is made again when needed.")
        raise SystemExit(1)


@cache.command()
@click.pass_obj
def clear(root: Path) -> None:
    """Delete engines, reference outputs, timing caches and digests; they are made again."""
    opened = _open(root)
    if opened is not None:
        click.echo(f"Removed {opened.clear()} engines from {opened.folder}.")


def _damaged_timings(opened: EngineCache, *, remove: bool) -> int:
    """Tell of timing caches that are not whole, and return how many there are."""
    damaged = 0
    for path in timing_files(opened.timing):
        try:
            read_timings(path)
        except (TimingFileError, OSError) as error:
            damaged += 1
            click.echo(f"damaged: {path.name}: {error}")
            if remove:
                path.unlink(missing_ok=True)
                click.echo(f"removed: {path.name}")
    return damaged


def _product(entry: Entry) -> str:
    fields = entry.sidecar.key_fields
    backend = fields.get("backend", "?")
    names = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX", "onnxruntime": "ONNX Runtime"}
    product = names.get(backend, backend)
    return f"{product} {fields.get(product, '')}".strip()


def _ago(moment: datetime) -> str:
    return units.age((datetime.now(timezone.utc) - moment).total_seconds())
