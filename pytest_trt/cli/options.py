"""`pytest-trt options`: every builder option, and which backend, version and precision has it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import click

from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.output import echo_json
from pytest_trt.cli.table import Row, print_table
from pytest_trt.engine.builder_options import (
    BACKEND_PRECISIONS,
    PRODUCTS,
    BuilderOption,
    options_of,
)


@command(
    examples=["pytest-trt options", "pytest-trt options tensorrt", "pytest-trt options --json"],
)
@click.argument("backend", required=False, type=click.Choice(list(PRODUCTS)))
@json_option
def options(backend: str | None, as_json: bool) -> None:
    """List the builder options of a backend; without one, those of all.

    They are values of builder_options= of trt_model, also in by_precision= and by_backend=.
    """
    backends = [backend] if backend else list(PRODUCTS)
    if as_json:
        echo_json({name: _data(name) for name in backends})
        return
    rows: list[Row] = []
    for name in backends:
        precisions = ", ".join(BACKEND_PRECISIONS[name])
        rows += ["", f"{name}: {PRODUCTS[name]}, precisions {precisions}"]
        for option in options_of(name).values():
            rows += _rows(option, name)
    print_table(("option", "type", "default", "precisions", "versions"), rows, giving_way=())


def _rows(option: BuilderOption, backend: str) -> Iterator[Row]:
    first = [option.name, option.type, option.default or "-"]
    for scope in option.scopes:
        if scope.backend == backend:
            has = BACKEND_PRECISIONS[backend]
            everywhere = set(scope.precisions) >= set(has)
            precisions = "all" if everywhere else ", ".join(scope.precisions)
            yield (*first, precisions, scope.versions or "all")
            first = ["", "", ""]
    choices = f": {', '.join(option.choices)}" if option.choices else ""
    yield from textwrap.wrap(
        f"{option.meaning}{choices}", 96, initial_indent="    ", subsequent_indent="    "
    )


def _data(backend: str) -> dict[str, object]:
    return {
        "product": PRODUCTS[backend],
        "precisions": list(BACKEND_PRECISIONS[backend]),
        "options": [
            {
                "name": option.name,
                "type": option.type,
                "choices": list(option.choices),
                "default": option.default,
                "meaning": option.meaning,
                "scopes": [
                    {
                        "precisions": list(scope.precisions),
                        "since": scope.since,
                        "until": scope.until,
                    }
                    for scope in option.scopes
                    if scope.backend == backend
                ],
            }
            for option in options_of(backend).values()
        ],
    }
