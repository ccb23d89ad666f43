"""Every builder option, declared once.

The declaration validates markers when tests are collected, selects what each backend is given, and
is what `pytest-trt options` and docs/reference/builder-options.md show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy, UnsupportedError
from pytest_trt.engine.spec import (
    CALIBRATED,
    FULL_PRECISIONS,
    PRECISIONS,
    OptionValue,
    require_scalar,
)
from pytest_trt.wording import known_names

#: The backends of this package, each with the name of its product.
PRODUCTS: Mapping[str, str] = {
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "onnxruntime": "ONNX Runtime",
}

#: The precisions of each backend.
BACKEND_PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "tensorrt": PRECISIONS,
    "tensorrt_rtx": PRECISIONS,
    "onnxruntime": tuple(one for one in PRECISIONS if one != "tf32"),
}


#: The option that stores libraries of plugins in plans.
SERIALIZE_PLUGINS = "serialize_plugins"

#: The option that lets TensorRT's own calibrators find INT8 ranges.
CALIBRATOR = "calibrator"

#: The option for plans that also run on later versions.
VERSION_COMPATIBLE = "version_compatible"


def holds_host_code(options: Mapping[str, OptionValue]) -> bool:
    """Whether plans of NVIDIA's products with these options contain code for the host."""
    return bool(options.get(VERSION_COMPATIBLE) or options.get(SERIALIZE_PLUGINS))


class Scope(NamedTuple):
    """Where an option exists.

    Attributes:
        backend: A backend's name.
        precisions: The precisions that it affects.
        since: The first version of the product that has it; empty for all supported ones.
        until: The last one.
    """

    backend: str
    precisions: tuple[str, ...] = PRECISIONS
    since: str = ""
    until: str = ""

    @property
    def versions(self) -> str:
        """The versions of the product that have it: "10.8 and later"."""
        if self.since and self.until:
            return f"{self.since} to {self.until}"
        return f"{self.since} and later" if self.since else f"up to {self.until}" * bool(self.until)


@dataclass(frozen=True, slots=True)
class BuilderOption:
    """One option.

    Attributes:
        name: Its name in `builder_options`.
        type: The type of its value; "names" is comma-separated text.
        default: What applies where it is not given.
        meaning: What it does.
        scopes: Where it exists.
        choices: The values that it may have, where they are words.
        of_builder: Whether the builder gets it, though it affects no FP32.
    """

    name: str
    type: Literal["int", "bool", "choice", "names"]
    default: str
    meaning: str
    scopes: tuple[Scope, ...]
    choices: tuple[str, ...] = ()
    of_builder: bool = False

    @property
    def values(self) -> str:
        """The values that it takes, as documentation shows them."""
        return {"choice": ", ".join(self.choices), "names": "comma-separated names"}.get(
            self.type, self.type
        )

    @property
    def precisions(self) -> frozenset[str]:
        """The precisions that it affects on any backend."""
        return frozenset(one for scope in self.scopes for one in scope.precisions)

    @property
    def of_conversion(self) -> bool:
        """Whether it is an option of the conversion to a precision, not of the builder."""
        return "fp32" not in self.precisions and not self.of_builder

    def exists(self, backend: str, precision: str | None = None) -> bool:
        """Whether any version of a backend has it, for a precision or for any."""
        return any(
            scope.backend == backend and precision in (None, *scope.precisions)
            for scope in self.scopes
        )


def _nvidia(
    *, since: str = "", until: str = "", rtx_until: str = "", precisions: tuple[str, ...] = ()
) -> tuple[Scope, ...]:
    given = precisions or PRECISIONS
    return (
        Scope("tensorrt", given, since, until),
        Scope("tensorrt_rtx", given, until=rtx_until),
    )


_CPU = Scope("onnxruntime", BACKEND_PRECISIONS["onnxruntime"])
_QUANTISED = (Scope("onnxruntime", CALIBRATED), *_nvidia(precisions=CALIBRATED))

#: Where parts of a model can stay in FP32.
_REDUCED = tuple(
    Scope(name, tuple(one for one in has if one not in FULL_PRECISIONS))
    for name, has in BACKEND_PRECISIONS.items()
)

#: The options by name. The versions are those of tests/backends/trt_api_surface.json.
BUILDER_OPTIONS: Mapping[str, BuilderOption] = {
    option.name: option
    for option in (
        BuilderOption(
            "workspace_bytes",
            "int",
            "all device memory",
            "limit of the builder's scratch memory, in bytes",
            _nvidia(),
        ),
        BuilderOption(
            "builder_optimization_level",
            "int",
            "3",
            "0 builds fast, 5 searches longest for a fast engine",
            _nvidia(),
        ),
        BuilderOption(
            "avg_timing_iterations", "int", "1", "timing runs averaged per tactic", _nvidia()
        ),
        BuilderOption(
            "max_aux_streams",
            "int",
            "chosen by the builder",
            "auxiliary CUDA streams that an engine may use",
            _nvidia(),
        ),
        BuilderOption(
            "max_num_tactics",
            "int",
            "-1",
            "tactics timed per layer; -1 lets the builder choose",
            _nvidia(since="10.7"),
        ),
        BuilderOption(
            "l2_limit_for_tiling",
            "int",
            "chosen by the builder",
            "bytes of L2 cache for tiling",
            _nvidia(since="10.8"),
        ),
        BuilderOption(
            "tiling_optimization_level",
            "choice",
            "none",
            "effort spent on tiling of fused kernels",
            _nvidia(since="10.8"),
            ("none", "fast", "moderate", "full"),
        ),
        BuilderOption(
            "hardware_compatibility",
            "choice",
            "none",
            "other GPUs on which plans also run; same_compute_capability needs TensorRT 10.9",
            _nvidia(),
            ("none", "ampere_plus", "same_compute_capability"),
        ),
        BuilderOption(
            VERSION_COMPATIBLE, "bool", "False", "plans also run on later versions", _nvidia()
        ),
        BuilderOption(
            "exclude_lean_runtime",
            "bool",
            "False",
            "version-compatible plans do not contain the lean runtime",
            _nvidia(),
        ),
        BuilderOption(
            SERIALIZE_PLUGINS,
            "bool",
            "False",
            "plans contain the libraries of plugin_libraries=, and load them from there",
            _nvidia(),
        ),
        BuilderOption("refit", "bool", "False", "weights can be replaced in the plan", _nvidia()),
        BuilderOption("sparse_weights", "bool", "False", "use structured sparsity", _nvidia()),
        BuilderOption(
            "strict_nans",
            "bool",
            "False",
            "disable optimisations that are wrong for NaN",
            _nvidia(since="10.7"),
        ),
        BuilderOption(
            "weight_streaming",
            "bool",
            "False",
            "weights may stay in host memory",
            _nvidia(since="10.0"),
        ),
        BuilderOption(
            "distributive_independence",
            "bool",
            "False",
            "batch entries do not interact",
            _nvidia(since="10.12"),
        ),
        BuilderOption(
            "disable_timing_cache", "bool", "False", "time every tactic again", _nvidia()
        ),
        BuilderOption(
            "obey_precision_constraints",
            "bool",
            "False",
            "fail rather than deviate from the precision of layers",
            _nvidia(until="10", rtx_until="1.4"),
        ),
        BuilderOption(
            "graph_optimization_level",
            "choice",
            "extended",
            "level of ONNX Runtime's graph optimiser",
            (_CPU,),
            ("disabled", "basic", "extended", "all"),
        ),
        BuilderOption(
            "op_block_list", "names", "", "former name of keep_fp32= for operators", _REDUCED
        ),
        BuilderOption(
            "node_block_list", "names", "", "former name of keep_fp32= for nodes", _REDUCED
        ),
        BuilderOption(
            "op_types",
            "names",
            "Conv,ConvTranspose,Gemm,MatMul",
            "operators to quantise",
            _QUANTISED,
        ),
        BuilderOption(
            "per_channel", "bool", "True", "one scale per output channel of a weight", _QUANTISED
        ),
        BuilderOption(
            "calibration_method",
            "choice",
            "minmax",
            "how ranges of activations are found",
            _QUANTISED,
            ("minmax", "entropy", "percentile"),
        ),
        BuilderOption(
            "block_size",
            "int",
            "128",
            "weights that share a scale in int4; TensorRT documents 64 and 128",
            (Scope("onnxruntime", ("int4",)), *_nvidia(precisions=("int4",))),
        ),
        BuilderOption(
            CALIBRATOR,
            "choice",
            "none",
            "TensorRT's own calibrator finds the ranges, instead of Q/DQ nodes",
            (Scope("tensorrt", ("int8",), until="10"),),
            ("none", "entropy", "minmax"),
            of_builder=True,
        ),
    )
}


def shared_options(options: Mapping[str, OptionValue], precision: str) -> dict[str, OptionValue]:
    """Return the options, given for several precisions, that apply to one of them.

    Options of a conversion apply to the precisions that it makes: those of int8 only to it.
    """
    return {
        name: value
        for name, value in options.items()
        if name not in BUILDER_OPTIONS
        or "fp32" in BUILDER_OPTIONS[name].precisions
        or precision in BUILDER_OPTIONS[name].precisions
    }


def options_of(backend: str, precision: str | None = None) -> dict[str, BuilderOption]:
    """Return the options that any version of a backend has, for a precision or for any."""
    return {name: one for name, one in BUILDER_OPTIONS.items() if one.exists(backend, precision)}


def check_options(
    options: Mapping[str, object],
    where: str,
    *,
    backend: str | None = None,
    precision: str | None = None,
) -> None:
    """Refuse names that no backend has and values that no version accepts.

    Args:
        options: Values by name.
        where: Where they are written, for messages.
        backend: The backend that must have them; None for any.
        precision: The precision that they must affect; None for any.

    Raises:
        ConfigurationError: An option does not exist there, or has an invalid value.
    """
    known = {
        name: one
        for name, one in BUILDER_OPTIONS.items()
        if (backend is None or one.exists(backend))
        and (precision is None or precision in one.precisions)
    }
    for name, value in options.items():
        if name not in known:
            subject = PRODUCTS[backend] if backend else precision
            what = f"{subject} has no builder option" if subject else "unknown builder option"
            raise ConfigurationError(
                f"{where}: {what} {name!r}",
                fix=Remedy(
                    known_names("builder option", name, known),
                    (f"pytest-trt options {backend or ''}".rstrip(),),
                ),
                code="TRT356",
                facts={"option": str(name), "backend": backend, "known": list(known)},
            )
        _check_value(known[name], value)


def _check_value(option: BuilderOption, value: object) -> None:
    require_scalar(option.name, value)
    expected = {"int": int, "bool": bool}.get(option.type, str)
    if type(value) is expected and (not option.choices or value in option.choices):
        return
    values = {"int": "a whole number", "bool": "True or False"}.get(option.type, option.values)
    facts: dict[str, Fact] = {"option": option.name, "value": str(value)}
    raise ConfigurationError(
        f"builder option {option.name}={value!r} is not {'one of ' * bool(option.choices)}{values}",
        fix=f"{option.name}: {option.meaning}.",
        code="TRT357",
        facts=facts,
    )


def require_options(
    options: Mapping[str, OptionValue],
    backend: str,
    precision: str,
    *,
    converts: bool,
    model: str = "",
) -> None:
    """Refuse options that a backend does not have for a precision, and invalid values.

    Args:
        options: Values by name.
        backend: The backend that builds.
        precision: The precision that it builds.
        converts: Whether it reaches the precision by converting the model.
        model: The model's name where it is not converted because it is quantised already.

    Raises:
        ConfigurationError: No backend has such an option, or it has no effect on the model.
        UnsupportedError: The option exists, but not here.
    """
    known = {
        name: one
        for name, one in options_of(backend, precision).items()
        if converts or not one.of_conversion
    }
    for name, value in options.items():
        if name in known:
            _check_value(known[name], value)
        elif name not in BUILDER_OPTIONS or (model and BUILDER_OPTIONS[name].of_conversion):
            quantised = f"{model} is quantised already: it has no " if model else "unknown "
            raise ConfigurationError(
                f"{quantised}builder option {name!r} of the {backend} backend for {precision}",
                fix=Remedy(
                    "Use one of these options:",
                    alternatives=tuple(f"{one.name}: {one.meaning}" for one in known.values()),
                ),
                code="TRT356",
                facts={"option": name, "backend": backend, "known": list(known)},
            )
        else:
            raise _not_available(name, backend, precision)


def has_all(backend: str, precision: str, options: Iterable[str]) -> bool:
    """Whether some version of a backend has a precision and, for it, all options.

    Backends of plugins declare nothing: they may have everything.
    """
    return backend not in PRODUCTS or (
        precision in BACKEND_PRECISIONS[backend]
        and set(options) <= options_of(backend, precision).keys()
    )


def _not_available(name: str, backend: str, precision: str) -> UnsupportedError:
    here = BUILDER_OPTIONS[name].exists(backend)
    return UnsupportedError(
        f"{PRODUCTS[backend]} has no builder option {name!r}{f' for {precision}' if here else ''}",
        fix=Remedy("Give it only where it exists:", alternatives=tuple(_places(name))),
        facts={"backend": backend, "precision": precision if here else None, "option": name},
    )


def _places(name: str) -> Iterator[str]:
    """Yield where an option exists, as it is written in a marker."""
    for scope in BUILDER_OPTIONS[name].scopes:
        versions = f" ({scope.versions})" if scope.versions else ""
        *first, last = scope.precisions
        named = f"{', '.join(first)} and {last}" if first else last
        of = "" if "fp32" in scope.precisions else f", {named}"
        yield (
            f"{PRODUCTS[scope.backend]}{versions}{of}: "
            f'by_backend={{"{scope.backend}": {{"builder_options": {{"{name}": ...}}}}}}'
        )


def require_precision(backend: str, precision: str) -> None:
    """Refuse a precision that a backend does not have.

    Raises:
        UnsupportedError: It has none.
    """
    if precision not in BACKEND_PRECISIONS[backend]:
        others = [name for name, has in BACKEND_PRECISIONS.items() if precision in has]
        raise UnsupportedError(
            f"{PRODUCTS[backend]} does not support precision {precision!r}",
            fix=f"Test it on a GPU (--trt-backend {others[0]}), or name a precision that "
            f"{PRODUCTS[backend]} has: {', '.join(BACKEND_PRECISIONS[backend])}.",
            facts={"backend": backend, "precision": precision, "option": None},
        )
