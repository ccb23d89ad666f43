"""Builder options of TensorRT by name, and how each reaches the builder's configuration.

Members are looked up by name: their values differ between versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy
from pytest_trt.engine.spec import OptionValue

#: Options that are integer attributes of IBuilderConfig under the same name.
_INTEGERS: Mapping[str, str] = {
    "builder_optimization_level": "0 (fast build) to 5 (fast engine), TensorRT's default is 3",
    "avg_timing_iterations": "timing runs averaged per tactic",
    "max_aux_streams": "auxiliary CUDA streams an engine may use",
    "max_num_tactics": "tactics timed per layer, -1 for TensorRT's own choice",
    "l2_limit_for_tiling": "bytes of L2 cache for tiling",
}

#: Options that name a member of an enum: (attribute of IBuilderConfig, enum, meaning).
_MEMBERS: Mapping[str, tuple[str, str, str]] = {
    "tiling_optimization_level": (
        "tiling_optimization_level",
        "TilingOptimizationLevel",
        "none, fast, moderate or full",
    ),
    "hardware_compatibility": (
        "hardware_compatibility_level",
        "HardwareCompatibilityLevel",
        "none, ampere_plus or same_compute_capability",
    ),
}

#: Options that set or clear a BuilderFlag: (member, meaning).
_FLAGS: Mapping[str, tuple[str, str]] = {
    "version_compatible": ("VERSION_COMPATIBLE", "plans also run on later versions"),
    "exclude_lean_runtime": ("EXCLUDE_LEAN_RUNTIME", "such plans do not contain their runtime"),
    "refit": ("REFIT", "weights can be replaced in the plan"),
    "sparse_weights": ("SPARSE_WEIGHTS", "use structured sparsity"),
    "strict_nans": ("STRICT_NANS", "no optimisation that is wrong for NaN"),
    "weight_streaming": ("WEIGHT_STREAMING", "weights may stay in host memory"),
    "distributive_independence": ("DISTRIBUTIVE_INDEPENDENCE", "batch entries do not interact"),
    "disable_timing_cache": ("DISABLE_TIMING_CACHE", "time every tactic again"),
    "obey_precision_constraints": ("OBEY_PRECISION_CONSTRAINTS", "fail rather than deviate"),
}

_WORKSPACE = "workspace_bytes"

#: Every option of the builder, with its meaning.
BUILDER_OPTIONS: Mapping[str, str] = {
    _WORKSPACE: "limit of scratch memory, default all device memory",
    **_INTEGERS,
    **{name: meaning for name, (_, _, meaning) in _MEMBERS.items()},
    **{name: f"true or false: {meaning}" for name, (_, meaning) in _FLAGS.items()},
}


def apply_builder_options(
    trt: Any, config: Any, options: Mapping[str, OptionValue], *, version: str
) -> None:
    """Set builder options on an IBuilderConfig.

    Args:
        trt: The vendor module.
        config: Its IBuilderConfig.
        options: Values by name, see `BUILDER_OPTIONS`.
        version: Product and version, for messages.

    Raises:
        ConfigurationError: A name is unknown, this version lacks it, or the value is invalid.
    """
    require_known(options, BUILDER_OPTIONS)
    for name, value in options.items():
        if name == _WORKSPACE:
            limit = partial(config.set_memory_pool_limit, trt.MemoryPoolType.WORKSPACE)
            _set_integer(name, _integer(name, value), limit)
        elif name in _INTEGERS:
            _require(hasattr(config, name), name, version)
            _set_integer(name, _integer(name, value), partial(setattr, config, name))
            _require_taken(name, value, getattr(config, name))
        elif name in _MEMBERS:
            _set_member(trt, config, name, value, version)
        else:
            _set_flag(trt, config, name, value, version)


def require_known(options: Mapping[str, OptionValue], known: Mapping[str, str]) -> None:
    """Refuse unknown options.

    Raises:
        ConfigurationError: An option is not in `known`.
    """
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise ConfigurationError(
            f"unknown builder option {', '.join(unknown)}",
            fix=Remedy(
                "use one of the options of this backend and precision:",
                alternatives=tuple(f"{name}: {meaning}" for name, meaning in known.items()),
            ),
            code="TRT356",
            facts={"option": unknown[0], "known": list(known)},
        )


def _set_member(trt: Any, config: Any, name: str, value: OptionValue, version: str) -> None:
    attribute, enum_name, _ = _MEMBERS[name]
    enum = getattr(trt, enum_name, None)
    _require(enum is not None and hasattr(config, attribute), name, version)
    members = getattr(enum, "__members__", {})
    if str(value).upper() not in members:
        raise _invalid(
            name,
            value,
            f"{version} has no such value",
            f"use one of {', '.join(member.lower() for member in members)}.",
        )
    setattr(config, attribute, members[str(value).upper()])


def _set_flag(trt: Any, config: Any, name: str, value: OptionValue, version: str) -> None:
    if not isinstance(value, bool):
        raise _invalid(name, value, "it must be a boolean", "use True or False.")
    flag = getattr(trt.BuilderFlag, _FLAGS[name][0], None)
    if flag is None and not value:
        return
    _require(flag is not None, name, version)
    if value:
        config.set_flag(flag)
    else:
        config.clear_flag(flag)


def _integer(name: str, value: OptionValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(name, value, "it must be an integer", "use a whole number.")
    return value


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
    return _invalid(name, value, f"refused: {why}", f"its meaning is: {BUILDER_OPTIONS[name]}.")


def _invalid(name: str, value: OptionValue, why: str, fix: str) -> ConfigurationError:
    facts: dict[str, Fact] = {"option": name, "value": value}
    return ConfigurationError(
        f"builder option {name}={value!r}: {why}", fix=fix, code="TRT357", facts=facts
    )


def _require(present: bool, name: str, version: str) -> None:
    if not present:
        raise ConfigurationError(
            f"{version} has no builder option {name}",
            fix="leave it out, or use a version of the product that has it.",
            code="TRT357",
            facts={"option": name, "version": version},
        )
