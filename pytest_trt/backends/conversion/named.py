"""Checks that the model has the operators and nodes that builder options name.

A misspelt name would be an option without effect, and the engine would be built as if it were fine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import OptionValue
from pytest_trt.wording import known_names

_OPERATOR_OPTIONS = ("op_block_list", "op_types")
_NODE_OPTION = "node_block_list"


def listed(value: OptionValue | None) -> list[str]:
    """Return the entries of a comma-separated option; none if it is not given."""
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def require_operators(
    model_name: str, operators: Iterable[str], options: Mapping[str, OptionValue]
) -> None:
    """Refuse options that name operators that a model does not have.

    Args:
        model_name: The model's file name, for messages.
        operators: Its operators; a domain before "::" is ignored, as converters do.
        options: Builder options.

    Raises:
        ConfigurationError: An operator is not in the model.
    """
    known = sorted({operator.rpartition("::")[2] for operator in operators})
    for option in _OPERATOR_OPTIONS:
        _require(model_name, option, "operator", listed(options.get(option)), known)


def require_nodes(
    model_name: str, nodes: Iterable[str], options: Mapping[str, OptionValue]
) -> None:
    """Refuse options that name nodes that a model does not have.

    Args:
        model_name: The model's file name, for messages.
        nodes: The names of its nodes, subgraphs included; "" for one without a name.
        options: Builder options.

    Raises:
        ConfigurationError: A node is not in the model.
    """
    wanted = listed(options.get(_NODE_OPTION))
    if wanted:
        known = list(dict.fromkeys(name for name in nodes if name))
        _require(model_name, _NODE_OPTION, "node", wanted, known)


def _require(
    model_name: str, option: str, kind: str, wanted: Iterable[str], known: list[str]
) -> None:
    unknown = [name for name in wanted if name not in known]
    if not unknown:
        return
    fix = known_names(kind, unknown[0], known)
    if not known and kind == "node":
        fix = "the nodes of this model have no names: use op_block_list with operators instead."
    raise ConfigurationError(
        f"{option} names {', '.join(map(repr, unknown))}, but {model_name} has no such {kind}",
        fix=fix,
        code="TRT358",
        facts={"model": model_name, "option": option, "unknown": unknown},
    )
