"""Model-local functions: how many nodes a model has once all calls are replaced by their bodies.

Functions that call each other multiply: 2 KB can stand for more nodes than any memory holds.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_trt.tensors.elements import MOST_ELEMENTS

#: Memory of one node in a loaded model.
#: Source: ONNX Runtime 1.32, a model of 100,000 Neg nodes: 270 MB.
NODE_BYTES = 2_700

#: Calls by operator or function.
Calls = Mapping[str, int]


def expanded_nodes(calls: Calls, functions: Mapping[str, Calls]) -> int:
    """Return how many nodes a graph has without functions, at most `MOST_ELEMENTS`.

    A function that calls itself, which no runtime loads, counts once.
    """
    sizes: dict[str, int] = {}
    begun: set[str] = set()
    waiting = [name for name in calls if name in functions]
    while waiting:
        name = waiting.pop()
        open_calls = [one for one in functions[name] if one in functions and one not in sizes]
        if name in sizes:
            continue
        if open_calls and name not in begun:
            begun.add(name)
            waiting += [name, *open_calls]
        else:
            sizes[name] = _total(functions[name], sizes)
    return _total(calls, sizes)


def _total(calls: Calls, sizes: Mapping[str, int]) -> int:
    total = sum(count * sizes.get(name, 1) for name, count in calls.items())
    return min(total, MOST_ELEMENTS)
