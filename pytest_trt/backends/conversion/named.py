"""Checks that the model has the operators that builder options name.

A misspelt name would be an option without effect, and the engine would be built as if it were fine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import OptionValue, listed
from pytest_trt.wording import known_names

_OPTION = "op_types"


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
    unknown = [name for name in listed(options.get(_OPTION)) if name not in known]
    if unknown:
        raise ConfigurationError(
            f"{_OPTION} names {', '.join(map(repr, unknown))}, but {model_name} has no such "
            "operator",
            fix=known_names("operator", unknown[0], known),
            code="TRT358",
            facts={"model": model_name, "option": _OPTION, "unknown": unknown},
        )
