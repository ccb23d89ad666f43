"""Two engines of one model, layer by layer: what was split, fused, added, removed or changed.

Layers are identified by the model's nodes in them, because names of layers are chosen by the
builder. Layers without nodes of the model, such as reformats and casts, are counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pytest_trt.engine.facts import CONVERSION, Layer

#: Limits of what baselines store, which are reviewed, and of what reports store.
_MAX_ROWS, _MAX_NODES = 200, 1000
_MAX_REPORTED_ROWS, _MAX_REPORTED_NODES = 1000, 5000

#: Nodes shown as a layer's name; a transformer's opaque layer has hundreds.
_NODES_SHOWN = 4


class Change(str, Enum):
    """What happened to layers, the most severe first.

    `SPLIT`: one layer became several. `PRECISION`: the same nodes are computed in another
    precision. `KIND`: the same nodes are a layer of another kind. `ADDED`: nodes that were in no
    layer. `REGROUPED`: several layers divide their nodes differently. `FUSED`: several layers
    became one. `REMOVED`: nodes that are in no layer any more.
    """

    SPLIT = "split"
    PRECISION = "precision"
    KIND = "kind"
    ADDED = "added"
    REGROUPED = "regrouped"
    FUSED = "fused"
    REMOVED = "removed"


_SEVERITY = {change: place for place, change in enumerate(Change)}


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One difference between two engines.

    Attributes:
        change: What it is.
        before: The old layers; empty for added ones.
        after: The new layers; empty for removed ones.
    """

    change: Change
    before: tuple[Layer, ...]
    after: tuple[Layer, ...]

    def __str__(self) -> str:
        before, after = _listed(self.before), _listed(self.after)
        match self.change:
            case Change.ADDED:
                return f"added: {_described(self.after)}"
            case Change.REMOVED:
                return f"removed: {_described(self.before)}"
            case Change.PRECISION:
                return f"precision: {after}, {_precision_change(self.before, self.after)}"
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
        change = _precision_change(self.before, self.after)
        return f" ({change})" if _precision_differs(self.before, self.after) else ""


def layer_changes(before: Sequence[Layer], after: Sequence[Layer]) -> tuple[LayerChange, ...]:
    """Return what differs between the layers of two engines of one model, most severe first."""
    found = [*_by_nodes(before, after), *_by_count(before, after)]
    return tuple(sorted(found, key=lambda one: _SEVERITY[one.change]))


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
    """Yield groups of layers of both engines; no two groups have a node in common."""
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
    """Return what happened to layers that share nodes, or None if they are the same."""
    shapes = [Counter(frozenset(layer.origins) for layer in side) for side in (old, new)]
    if shapes[0] != shapes[1]:
        if len(old) == 1 and len(new) > 1:
            return Change.SPLIT
        return Change.FUSED if len(new) == 1 and len(old) > 1 else Change.REGROUPED
    if Counter(layer.kind for layer in old) != Counter(layer.kind for layer in new):
        return Change.KIND
    return Change.PRECISION if _precision_differs(old, new) else None


def _by_count(before: Sequence[Layer], after: Sequence[Layer]) -> Iterator[LayerChange]:
    """Yield kinds of layers without nodes of the model whose number changed."""
    sides = [[layer for layer in side if not layer.origins] for side in (before, after)]
    old, new = (Counter((one.kind, one.precision) for one in side) for side in sides)
    for what, side, more in (
        (Change.REMOVED, sides[0], old - new),
        (Change.ADDED, sides[1], new - old),
    ):
        for kind, count in more.items():
            some = tuple(one for one in side if (one.kind, one.precision) == kind)[-count:]
            yield LayerChange(what, *((some, ()) if what is Change.REMOVED else ((), some)))


def _precision_differs(before: Sequence[Layer], after: Sequence[Layer]) -> bool:
    """Whether the precisions differ; False where one is not reported."""
    old, new = ({layer.precision for layer in side} for side in (before, after))
    return old != new and None not in old | new


def _precision_change(before: Sequence[Layer], after: Sequence[Layer]) -> str:
    return " -> ".join(_distinct(one.precision or "unknown" for one in s) for s in (before, after))


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _listed(layers: Sequence[Layer]) -> str:
    return " | ".join(map(_name, layers))


def _described(layers: Sequence[Layer]) -> str:
    """Name layers of one kind, or their number where they have no nodes."""
    first = layers[0]
    if first.origins:
        return f"{_name(first)} ({first.precision or 'unknown'})"
    kind = " ".join(filter(None, [_name(first), _precision_suffix(first.precision)]))
    return f"{len(layers)} x {kind} without a node of the model"


def _precision_suffix(precision: str | None) -> str:
    return f"({precision})" if precision not in (None, CONVERSION) else ""


def _name(layer: Layer) -> str:
    nodes, more = layer.origins[:_NODES_SHOWN], len(layer.origins) - _NODES_SHOWN
    return " + ".join(nodes) + (f" + {more} more" if more > 0 else "") or layer.kind or layer.name


def shortened(changes: Sequence[LayerChange], limit: int) -> tuple[str, ...]:
    """Return a line for each change up to a limit, then the number of further ones."""
    lines = tuple(map(str, changes[:limit]))
    more = len(changes) - len(lines)
    return (*lines, f"and {more} more") if more else lines


def layer_rows(
    layers: Sequence[Layer] | None, *, reported: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Return layers as they are stored; none of an engine with too many.

    A row is the layer's kind, its precision, and the model's nodes in it. The layer's name may
    change with every build, so it is not stored.

    Args:
        layers: The layers of an engine.
        reported: Whether they are for a report, which has room for more than a baseline.
    """
    most = (_MAX_REPORTED_ROWS, _MAX_REPORTED_NODES) if reported else (_MAX_ROWS, _MAX_NODES)
    rows = tuple((one.kind, one.precision or "", *one.origins) for one in layers or ())
    is_small = len(rows) <= most[0] and sum(map(len, rows)) - 2 * len(rows) <= most[1]
    return rows if is_small else ()


def layer_kinds(layers: Sequence[Layer] | None) -> dict[str, int]:
    """Return the number of layers by kind and precision, such as "Conv (half)"; sorted."""
    kinds = Counter(
        " ".join(filter(None, (one.kind, _precision_suffix(one.precision)))) for one in layers or ()
    )
    return dict(sorted(kinds.items()))


def kind_changes(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[str, ...]:
    """Return a line for each kind of layers whose number differs, the largest change first."""
    kinds = dict.fromkeys([*before, *after])
    changed = {one: after.get(one, 0) - before.get(one, 0) for one in kinds}
    return tuple(
        f"{one}: {before.get(one, 0)} -> {after.get(one, 0)}"
        for one in sorted(kinds, key=lambda one: -abs(changed[one]))
        if changed[one]
    )


def layers_of(rows: Sequence[Sequence[str]]) -> tuple[Layer, ...]:
    """Return the layers that `layer_rows` encoded, named by the nodes in them."""
    return tuple(
        Layer(" + ".join(nodes) or kind, kind, precision or None, tuple(nodes))
        for kind, precision, *nodes in rows
    )
