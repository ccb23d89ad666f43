"""Which nodes of a model `keep_fp32` names: one implementation for every precision and backend."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import EngineSpec, brings, keeps_nothing
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.wording import known_names

#: What makes an entry a pattern, if it is not a name itself.
_WILDCARDS = frozenset("*?[")


def require_effect(model: OnnxModel, spec: EngineSpec) -> None:
    """Refuse `keep_fp32` where the model is not converted because it is quantised already.

    Raises:
        ConfigurationError: It is.
    """
    if spec.keep_fp32 and brings(model, spec.precision):
        raise keeps_nothing(
            f"keep_fp32 has no effect on {model.path.name} in {spec.precision}: the model brings "
            "its own Q/DQ nodes",
            "remove it, or give it to other precisions alone: "
            'by_precision={"fp16": {"keep_fp32": [...]}}.',
            model=str(model.path),
            precision=spec.precision,
        )


def kept_nodes(
    model_name: str, keep_fp32: Collection[str], nodes: Iterable[tuple[str, str]]
) -> frozenset[int]:
    """Return which nodes stay in FP32, by their indices.

    Args:
        model_name: The model's file name, for messages.
        keep_fp32: Names of nodes, operators, or patterns of names of nodes. What is both a name and
            an operator means both; an operator of another domain has no domain.
        nodes: Name and operator of every node, those of subgraphs included; "" for one without a
            name. Names as the file has them, where several nodes may have one.

    Raises:
        ConfigurationError: An entry names no node.
    """
    if not keep_fp32:
        return frozenset()
    all_nodes = list(nodes)
    names = {name for name, _ in all_nodes}
    matches = {
        entry: [
            index
            for index, (name, operator) in enumerate(all_nodes)
            if entry in (name, operator)
            or (name and entry not in names and _is_pattern(entry) and fnmatchcase(name, entry))
        ]
        for entry in keep_fp32
    }
    unmatched = [entry for entry, found in matches.items() if not found]
    if unmatched:
        raise _unmatched(model_name, unmatched, all_nodes)
    return frozenset(index for found in matches.values() for index in found)


def _is_pattern(entry: str) -> bool:
    return not _WILDCARDS.isdisjoint(entry)


def _unmatched(
    model_name: str, unmatched: Sequence[str], nodes: Sequence[tuple[str, str]]
) -> ConfigurationError:
    names = list(dict.fromkeys(name for name, _ in nodes if name))
    operators = sorted({operator for _, operator in nodes})
    entry = unmatched[0]
    parts = [part.strip() for part in entry.split(",")]
    if len(parts) > 1 and {*parts} <= {*names, *operators}:
        fix = f"Write a list: keep_fp32={parts}"
    elif not names:
        fix = f"The nodes of this model have no names: name operators, {', '.join(operators)}."
    else:
        fix = known_names("operator or node", entry, [*operators, *names])
    return ConfigurationError(
        f"keep_fp32 names {', '.join(map(repr, unmatched))}, but {model_name} has no such operator "
        "or node",
        fix=fix,
        code="TRT358",
        facts={"model": model_name, "option": "keep_fp32", "unknown": list(unmatched)},
    )
