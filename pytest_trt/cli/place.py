"""What commands build and run engines with, without running a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_trt.cli.ini import read_project

if TYPE_CHECKING:
    from pytest_trt.plugin.run import TrtRun


@contextmanager
def opened_run(
    arch: str = "", backend: str = "auto", threads: int = 0, cache_dir: Path | None = None
) -> Iterator[TrtRun]:
    """Provide what engines are built and run with: what a test run without tests has."""
    from pytest_trt.plugin.options.settings import default_settings
    from pytest_trt.plugin.run import TrtRun
    from pytest_trt.terms import parse_archs

    archs = parse_archs(arch) if arch else ()
    if len(archs) > 1:
        raise click.UsageError("--arch: precisions are compared on one architecture.")
    settings = default_settings(
        arch=archs, backend=backend, threads=threads, cache_dir=read_project().cache(cache_dir)
    )
    run = TrtRun(settings)
    try:
        yield run
    finally:
        run.close()
