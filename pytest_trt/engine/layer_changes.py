"""Two engines of one model, layer by layer: what was split, fused, added, removed or changed.

Layers are told apart by the model's nodes in them, as names of layers are the builder's own and
change with it. Layers without nodes of the model, such as reformats and casts, are counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from pytest_trt.engine.facts import CONVERSION, Layer

#: Limits of what is stored: larger engines nobody reviews layer by layer.
_MAX_ROWS, _MAX_NODES = 200, 1000

#: Nodes that a layer is named by; a transformer's opaque layer has hundreds.
_NODES_SHOWN = 4


class Change(str, Enum):
    """What became of layers, gravest first.

    `SPLIT`: what was one layer is several. `PRECISION`: the same nodes are computed in another
    precision. `KIND`: the same nodes are a layer of another kind. `ADDED`: nodes that no layer
    had. `REGROUPED`: several layers share their nodes otherwise. `FUSED`: several are one.
    `REMOVED`: nodes that no layer has any more.
    """

    SPLIT = "split"
    PRECISION = "precision"
    KIND = "kind"
    ADDED = "added"
    REGROUPED = "regrouped"
    FUSED = "fused"
    REMOVED = "removed"


_GRAVITY = {change: place for place, change in enumerate(Change)}


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One difference between two engines.

    Attributes:
        change: What it is.
        before: The layers that were there; none of layers that were added.
        after: The layers that are there instead; none of layers that were removed.
    """

    change: Change
    before: tuple[Layer, ...]
    after: tuple[Layer, ...]

    def __str__(self) -> str:
        before, after = _listed(self.before), _listed(self.after)
        match self.change:
            case Change.ADDED:
                return f"added: {_alike(self.after)}"
            case Change.REMOVED:
                return f"removed: {_alike(self.before)}"
            case Change.PRECISION:
                return f"precision: {after}, {_told(self.before, self.after)}"
            case Change.KIND:
                kinds = " -> ".join(
                    _distinct(one.kind for one in s) for s in (self.before, self.after)
                )
                return f"kind: {after}, {kinds}{self._precisions()}"
            case Change.SPLIT:
                return f"split: {before} -> {len(self.after)} layers: {after}{self._precisions()}"
            case Change.FUSED:
                return f"fused: {len(self.before)} layers: {before} -> {after}{self._precisions()}"
        return f"regrouped: {before} -> {after}{self._precisions()}"

    def _precisions(self) -> str:
        told = _told(self.before, self.after)
        return f" ({told})" if _computes_otherwise(self.before, self.after) else ""


def layer_changes(before: Sequence[Layer], after: Sequence[Layer]) -> tuple[LayerChange, ...]:
    """Return what differs between the layers of two engines of one model, gravest first.

    Args:
        before: Layers of the one engine, in its order.
        after: Layers of the other.
    """
    found = [*_by_nodes(before, after), *_by_count(before, after)]
    return tuple(sorted(found, key=lambda one: _GRAVITY[one.change]))


def _by_nodes(before: Sequence[Layer], after: Sequence[Layer]) -> Iterator[LayerChange]:
    sides = [[layer for layer in side if layer.origins] for side in (before, after)]
    for old, new in _sharing(*sides):
        if not old or not new:
            yield from (LayerChange(Change.ADDED, (), (layer,)) for layer in new)
            yield from (LayerChange(Change.REMOVED, (layer,), ()) for layer in old)
            continue
        change = _change(old, new)
        if change is not None:
            yield LayerChange(change, tuple(old), tuple(new))


def _sharing(
    before: Sequence[Layer], after: Sequence[Layer]
) -> Iterator[tuple[list[Layer], list[Layer]]]:
    """Yield the layers of both engines in groups that have no node in common with each other."""
    layers = [(0, layer) for layer in before] + [(1, layer) for layer in after]
    having: defaultdict[str, list[int]] = defaultdict(list)
    for place, (_, layer) in enumerate(layers):
        for node in layer.origins:
            having[node].append(place)
    seen: set[int] = set()
    for first in range(len(layers)):
        if first in seen:
            continue
        group, reached = [], [first]
        seen.add(first)
        while reached:
            place = reached.pop()
            group.append(place)
            for node in layers[place][1].origins:
                reached += (fresh := [p for p in having.pop(node, ()) if p not in seen])
                seen.update(fresh)
        members = [layers[place] for place in sorted(group)]
        yield [one for side, one in members if side == 0], [one for side, one in members if side]


def _change(old: Sequence[Layer], new: Sequence[Layer]) -> Change | None:
    """Return what layers became that have the others' nodes, or None for the same layers."""
    shapes = [Counter(frozenset(layer.origins) for layer in side) for side in (old, new)]
    if shapes[0] != shapes[1]:
        if len(old) == 1 and len(new) > 1:
            return Change.SPLIT
        return Change.FUSED if len(new) == 1 and len(old) > 1 else Change.REGROUPED
    if Counter(layer.kind for layer in old) != Counter(layer.kind for layer in new):
        return Change.KIND
    return Change.PRECISION if _computes_otherwise(old, new) else None


def _by_count(before: Sequence[Layer], after: Sequence[Layer]) -> Iterator[LayerChange]:
    """Yield layers without nodes of the model of which there are more now, or fewer."""
    sides = [[layer for layer in side if not layer.origins] for side in (before, after)]
    old, new = (Counter((one.kind, one.precision) for one in side) for side in sides)
    for what, side, more in (
        (Change.REMOVED, sides[0], old - new),
        (Change.ADDED, sides[1], new - old),
    ):
        for kind, count in more.items():
            some = tuple(one for one in side if (one.kind, one.precision) == kind)[-count:]
            yield LayerChange(what, *((some, ()) if what is Change.REMOVED else ((), some)))


def _computes_otherwise(before: Sequence[Layer], after: Sequence[Layer]) -> bool:
    """Whether the precisions differ; of one that is not told nothing is claimed."""
    old, new = ({layer.precision for layer in side} for side in (before, after))
    return old != new and None not in old | new


def _told(before: Sequence[Layer], after: Sequence[Layer]) -> str:
    return " -> ".join(_distinct(one.precision or "unknown" for one in s) for s in (before, after))


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _listed(layers: Sequence[Layer]) -> str:
    return " | ".join(map(_called, layers))


def _alike(layers: Sequence[Layer]) -> str:
    """Name layers of one kind, or say how many there are where they have no nodes."""
    first = layers[0]
    if first.origins:
        return f"{_called(first)} ({first.precision or 'unknown'})"
    kind = " ".join(filter(None, [_called(first), _apart(first.precision)]))
    return f"{len(layers)} x {kind} without a node of the model"


def _apart(precision: str | None) -> str:
    return f"({precision})" if precision not in (None, CONVERSION) else ""


def _called(layer: Layer) -> str:
    nodes, more = layer.origins[:_NODES_SHOWN], len(layer.origins) - _NODES_SHOWN
    return " + ".join(nodes) + (f" + {more} more" if more > 0 else "") or layer.kind or layer.name


def shortened(changes: Sequence[LayerChange], most: int) -> tuple[str, ...]:
    """Return a line for each change; of more than so many only how many more there are."""
    lines = tuple(map(str, changes[:most]))
    more = len(changes) - len(lines)
    return (*lines, f"and {more} more") if more else lines


def layer_rows(layers: Sequence[Layer] | None) -> tuple[tuple[str, ...], ...]:
    """Return layers as they are stored; none of an engine with too many to be reviewed.

    A row is the layer's kind, its precision, and the model's nodes in it. The layer's own name is
    the builder's and may be another after every build, so it is left out.
    """
    rows = tuple((one.kind, one.precision or "", *one.origins) for one in layers or ())
    reviewable = len(rows) <= _MAX_ROWS and sum(map(len, rows)) - 2 * len(rows) <= _MAX_NODES
    return rows if reviewable else ()


def layers_of(rows: Sequence[Sequence[str]]) -> tuple[Layer, ...]:
    """Return the layers that `layer_rows` made these rows of, called by the nodes in them."""
    return tuple(
        Layer(" + ".join(nodes) or kind, kind, precision or None, tuple(nodes))
        for kind, precision, *nodes in rows
    )
