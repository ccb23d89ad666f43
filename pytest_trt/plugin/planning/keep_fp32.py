"""`keep_fp32` of markers and of `trt_build`, and the block lists that it replaces."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pytest_trt.diagnostics import ConfigurationError, PytestTrtWarning
from pytest_trt.plugin.planning.keywords import expect

_MARKER = "trt_model"


def parse_keep_fp32(value: object, where: str = _MARKER) -> tuple[str, ...]:
    """Return the entries of `keep_fp32`: a list, or one text.

    Raises:
        ConfigurationError: It is neither.
    """
    entries = (value,) if isinstance(value, str) else value
    valid = isinstance(entries, list | tuple) and all(
        isinstance(one, str) and one.strip() for one in entries
    )
    like = 'a list of nodes, operators and patterns, like ["LayerNormalization", "/head/*"]'
    expect(valid, where, "keep_fp32", value, like)
    assert isinstance(entries, list | tuple)
    return tuple(entries)


def check_keep_fp32(values: Mapping[str, Any]) -> None:
    """Refuse `keep_fp32` of a marker whose precisions narrow nothing; warn of block lists.

    Raises:
        ConfigurationError: It has no effect.
    """
    from pytest_trt.engine.spec import FULL_PRECISIONS, block_list_entries, keeps_nothing

    by_precision, by_backend = values["by_precision"], values["by_backend"]
    for own in (values, *by_precision.values(), *by_backend.values()):
        warn_of_block_lists(own.get("builder_options", {}))
    full = [p for p in FULL_PRECISIONS if by_precision.get(p, {}).get("keep_fp32")]
    if full:
        raise keeps_nothing(
            f"trt_model, by_precision: keep_fp32 has no effect on {full[0]} engines",
            "give it for a reduced precision, or remove it.",
            precision=full[0],
        )
    kept = any(
        own.get("keep_fp32") or block_list_entries(own.get("builder_options", {}))
        for own in (values, *by_backend.values())
    )
    if kept and values["named"] and set(values["named"]) <= set(FULL_PRECISIONS):
        named = ", ".join(values["named"])
        raise keeps_nothing(
            f"trt_model: keep_fp32 has no effect where precision is {named}",
            "name a reduced precision as well, remove it, or write keep_fp32=None here if an outer "
            "marker gives it.",
            precision=named,
        )


def warn_of_block_lists(options: Mapping[str, Any], where: str = _MARKER) -> None:
    """Warn of block lists among builder options: what they name is now `keep_fp32`.

    Raises:
        ConfigurationError: A filter of warnings makes it an error.
    """
    from pytest_trt.engine.spec import BLOCK_LISTS, block_list_entries

    entries = block_list_entries(options)
    if not entries:
        return
    given = " and ".join(name for name in BLOCK_LISTS if name in options)
    text = f"{where}: the builder option {given} is now keep_fp32={list(entries)}"
    try:
        warnings.warn(PytestTrtWarning(text), stacklevel=2)
    except PytestTrtWarning:  # for -W error
        fix = "write keep_fp32=, or do not turn this warning into an error."
        facts = {"marker": where}
        raise ConfigurationError(text, fix=fix, code="TRT150", facts=facts) from None
