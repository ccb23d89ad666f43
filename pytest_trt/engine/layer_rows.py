"""Layers as files keep them: a row of each, without the name that its builder chose."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_trt.engine.facts import Layer

#: Layers, and nodes in them, that a file keeps: more of them nobody reviews.
_MOST_ROWS, _MOST_NODES = 200, 1000


def layer_rows(layers: Sequence[Layer] | None) -> tuple[tuple[str, ...], ...]:
    """Return layers as they are stored; none of an engine with too many to be reviewed.

    A row is the layer's kind, its precision, and the model's nodes in it. The layer's own name is
    the builder's and may be another after every build, so it is left out.
    """
    rows = tuple((one.kind, one.precision or "", *one.origins) for one in layers or ())
    reviewable = len(rows) <= _MOST_ROWS and sum(map(len, rows)) - 2 * len(rows) <= _MOST_NODES
    return rows if reviewable else ()


def layers_of(rows: Sequence[Sequence[str]]) -> tuple[Layer, ...]:
    """Return the layers that `layer_rows` made these rows of, called by the nodes in them."""
    return tuple(
        Layer(" + ".join(nodes) or kind, kind, precision or None, tuple(nodes))
        for kind, precision, *nodes in rows
    )
