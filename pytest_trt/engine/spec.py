"""The request (spec), what an engine runs on (target), what builds it (toolchain, route)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pytest_trt.diagnostics import ConfigurationError, Fact
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.libraries import Library
from pytest_trt.tensors.profiles import Profile

#: The precisions a spec may ask for. `fp32` means FP32 everywhere: TF32 is a precision of its own.
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4", "mixed")

#: Types of builder options. No files: the key would not cover their content.
OptionValue: TypeAlias = str | int | float | bool

#: The precisions that narrow nothing, so that there is nothing to keep in FP32.
FULL_PRECISIONS = ("fp32", "tf32")

#: The precisions whose ranges come from representative inputs.
CALIBRATED = ("int8", "fp8", "mixed")

#: The precisions that a model may bring by Q/DQ nodes of its own, so that it is not converted.
_BROUGHT = ("int8", "fp8", "int4")

#: Builder options that `EngineSpec.keep_fp32` replaces.
BLOCK_LISTS = ("op_block_list", "node_block_list")


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What a user requests: the same on every machine.

    Attributes:
        precision: One of `PRECISIONS`.
        profiles: Optimisation profiles, in the order in which the engine numbers them.
        builder_options: Options of the backend's builder by name, as the user gave them, without
            block lists.
        keep_fp32: What stays in FP32: names of nodes, operators, or patterns of names of nodes, as
            `fnmatch` has them; each once, in sorted order. Block lists of the options are added.

    Raises:
        ConfigurationError: An unknown precision, an option value that is not a scalar, or something
            to keep in an engine that is FP32 anyway.
    """

    precision: str = "fp32"
    profiles: tuple[Profile, ...] = ()
    builder_options: Mapping[str, OptionValue] = field(default_factory=dict)
    keep_fp32: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigurationError(
                f"unknown precision {self.precision!r}",
                code="TRT111",
                facts={"precision": self.precision},
                fix=f"Use one of {', '.join(PRECISIONS)}.",
            )
        for name, value in self.builder_options.items():
            require_scalar(name, value)
        kept = {*self.keep_fp32, *block_list_entries(self.builder_options)}
        if kept and self.precision in FULL_PRECISIONS:
            raise keeps_nothing(
                f"keep_fp32 has no effect on a {self.precision} engine",
                "remove it; under a marker that has it, write keep_fp32=None.",
                precision=self.precision,
            )
        others = {n: v for n, v in self.builder_options.items() if n not in BLOCK_LISTS}
        object.__setattr__(self, "keep_fp32", tuple(sorted(kept)))
        object.__setattr__(self, "builder_options", others)


def require_scalar(name: str, value: object) -> None:
    """Refuse the value of a builder option that a key cannot hold.

    Raises:
        ConfigurationError: It is not text, a number or a boolean.
    """
    if not isinstance(value, str | int | float | bool):
        raise ConfigurationError(
            f"builder option {name}={value!r} is a {type(value).__name__}; the engine key "
            "can only hold text, numbers and booleans",
            code="TRT112",
            facts={"option": name, "type": type(value).__name__},
            fix=_as_text(value),
        )


def brings(model: OnnxModel, precision: str) -> bool:
    """Whether a model is built as it is because its own Q/DQ nodes decide the precision."""
    return precision in _BROUGHT and model.is_quantized


def block_list_entries(options: Mapping[str, object]) -> tuple[str, ...]:
    """Return what the block lists of some builder options name, as `keep_fp32` has it."""
    return tuple(one for name in BLOCK_LISTS for one in listed(options.get(name)))


def listed(value: object) -> list[str]:
    """Return the entries of a comma-separated option; none if it is not given."""
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def keeps_nothing(problem: str, fix: str, **facts: Fact) -> ConfigurationError:
    """Return the error for something to keep in FP32 where nothing is narrowed."""
    return ConfigurationError(problem, fix=fix, code="TRT361", facts=facts)


def _as_text(value: object) -> str:
    """Return how to write an option's value: lists of names are comma-separated text."""
    if isinstance(value, list | tuple | set | frozenset) and value:
        names = sorted(value) if isinstance(value, set | frozenset) else value
        if all(isinstance(name, str) for name in names):
            return f'Write "{",".join(names)}".'
    return "Use text, a number or a boolean."


@dataclass(frozen=True, slots=True)
class Target:
    """Where an engine runs.

    Attributes:
        arch: `cpu`, or a GPU architecture such as `sm86`.
        device: What else the engine is bound to, by label (GPU name, SM count, MIG profile, CPU
            machine type); empty for nothing else.
    """

    arch: str
    device: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        device = ", ".join(self.device.values())
        return f"{self.arch} ({device})" if device else self.arch


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What builds and runs engines on this machine.

    Attributes:
        product: Its name, "TensorRT" or "ONNX Runtime".
        versions: Versions by component; the first one is the product's.
    """

    product: str
    versions: Mapping[str, str]

    @property
    def version(self) -> str:
        """The product's version."""
        return next(iter(self.versions.values()))

    def __str__(self) -> str:
        return f"{self.product} {self.version}"


@dataclass(frozen=True, slots=True)
class Route:
    """How a backend reaches a precision; this changes the engine as much as its version does.

    Attributes:
        name: Short and stable, e.g. "as the model is", "builder flags", "converted model".
        versions: Versions of tools other than the toolchain (converters).
        needs_calibration: Whether the engine depends on representative inputs.
        libraries: Libraries of the model that the engine is built with, or run with.
        builder_chooses: Whether the builder may leave layers in FP32 that could be narrower.
    """

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    needs_calibration: bool = False
    libraries: tuple[Library, ...] = ()
    builder_chooses: bool = False
