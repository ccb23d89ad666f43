"""How the builder options of TensorRT reach the builder's configuration.

Members are looked up by name: their values differ between versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy, UnsupportedError
from pytest_trt.engine.builder_options import BUILDER_OPTIONS
from pytest_trt.engine.spec import OptionValue

#: Options that name a member of an enum: (attribute of IBuilderConfig, enum).
MEMBERS: Mapping[str, tuple[str, str]] = {
    "tiling_optimization_level": ("tiling_optimization_level", "TilingOptimizationLevel"),
    "hardware_compatibility": ("hardware_compatibility_level", "HardwareCompatibilityLevel"),
}

_WORKSPACE = "workspace_bytes"


def apply_builder_options(
    trt: Any, config: Any, options: Mapping[str, OptionValue], *, version: str
) -> None:
    """Set builder options on an IBuilderConfig.

    Integers are attributes of the same name, booleans are a BuilderFlag of the same name.

    Raises:
        ConfigurationError: The builder refuses a value.
        UnsupportedError: This version lacks an option.
    """
    for name, value in options.items():
        if name == _WORKSPACE:
            limit = partial(config.set_memory_pool_limit, trt.MemoryPoolType.WORKSPACE)
            _set_integer(name, int(value), limit)
        elif name in MEMBERS:
            _set_member(trt, config, name, value, version)
        elif BUILDER_OPTIONS[name].type == "bool":
            _set_flag(trt, config, name, bool(value), version)
        elif hasattr(config, name):
            _set_integer(name, int(value), partial(setattr, config, name))
            _require_taken(name, value, getattr(config, name))
        else:
            raise _lacking(name, version)


def _set_member(trt: Any, config: Any, name: str, value: OptionValue, version: str) -> None:
    attribute, enum_name = MEMBERS[name]
    enum = getattr(trt, enum_name, None)
    if enum is None or not hasattr(config, attribute):
        raise _lacking(name, version)
    members = enum.__members__
    if str(value).upper() not in members:
        raise _invalid(
            name,
            value,
            f"{version} has no such value",
            f"use one of {', '.join(member.lower() for member in members)}.",
        )
    setattr(config, attribute, members[str(value).upper()])


def _set_flag(trt: Any, config: Any, name: str, value: bool, version: str) -> None:
    flag = getattr(trt.BuilderFlag, name.upper(), None)
    if flag is None and not value:
        return
    if flag is None:
        raise _lacking(name, version)
    if value:
        config.set_flag(flag)
    else:
        config.clear_flag(flag)


def _set_integer(name: str, value: int, put: Callable[[int], object]) -> None:
    try:
        put(value)
    except (TypeError, ValueError, OverflowError) as exc:
        # The message of the bindings continues with a list of overloads.
        raise _refused(name, value, str(exc).partition(" The following")[0].rstrip(".")) from exc


def _require_taken(name: str, value: OptionValue, stored: object) -> None:
    """Refuse a number that the builder ignored or changed, which it logs at most.

    Source: seen with TensorRT-RTX 1.7, which stores 5 for an optimisation level of 9.
    """
    if stored != value:
        raise _refused(name, value, f"the builder uses {stored}")


def _refused(name: str, value: OptionValue, why: str) -> ConfigurationError:
    return _invalid(
        name, value, f"refused: {why}", f"its meaning is: {BUILDER_OPTIONS[name].meaning}."
    )


def _invalid(name: str, value: OptionValue, why: str, fix: str) -> ConfigurationError:
    facts: dict[str, Fact] = {"option": name, "value": value}
    return ConfigurationError(
        f"builder option {name}={value!r}: {why}", fix=fix, code="TRT357", facts=facts
    )


def _lacking(name: str, version: str) -> UnsupportedError:
    return UnsupportedError(
        f"{version} has no builder option {name!r}",
        fix=Remedy(
            "Leave it out, or use a version of the product that has it:", ("pytest-trt options",)
        ),
        facts={"option": name, "version": version},
    )
