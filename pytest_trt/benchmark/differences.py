"""What differs between two measurements besides their figures: engine, toolchain, machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_trt import units

#: Environment label of an overloaded host, with how it was overloaded; absent otherwise.
HOST_BUSY = "host_busy"

#: What differs. "engine" is the key where the baseline does not say whether model or options
#: changed; "plan" is another build of one key; "environment" is a driver, clock or power limit.
Kind: TypeAlias = Literal[
    "toolchain",
    "environment",
    "host load",
    "model",
    "options",
    "engine",
    "plan",
    "layers",
    "device memory",
    "plan size",
]

#: Kinds that say where an engine comes from, not what it is: what to look at first.
CAUSES: tuple[Kind, ...] = ("model", "options", "engine", "toolchain", "plan", "environment")

#: Digits of a digest that are shown.
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        kind: What differs.
        then: What it was; empty where it is not known.
        now: What it is.
        label: For "environment" which one, such as "driver".
    """

    kind: Kind
    then: str = ""
    now: str = ""
    label: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "model":
                return f"the model changed (sha256 {self.then} -> {self.now})"
            case "options":
                return "the builder or its options changed (same model)"
            case "engine":
                return "the model, its options or the builder changed"
            case "plan":
                return "the engine was rebuilt from the same key, and its plan differs"
            case "host load":
                when = "now" if self.now else "when the baseline was recorded"
                return f"the host was overloaded {when}: {self.now or self.then}"
            case "toolchain":
                return f"{self.then} -> {self.now}"
            case "environment":
                return f"{self.label} {self.then} -> {self.now}"
        return f"{self.kind} {self.then} -> {self.now}"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was measured, and on what.

    Attributes:
        toolchain: What ran the engine: "TensorRT 8.6.0".
        environment: What may change from run to run, by label: driver, clocks.
        engine: Exact facts of the engine: key, plan, model, size_bytes, device_memory_bytes,
            layers.
    """

    toolchain: str
    environment: Mapping[str, str]
    engine: Mapping[str, int | str]


def differences(then: Circumstances, now: Circumstances) -> tuple[Difference, ...]:
    """Return what differs between two measurements."""
    same = then.toolchain == now.toolchain
    origin = _of_origin(then.engine, now.engine)
    # The toolchain is part of an engine's key: where it differs, it is why.
    causes = (one for one in origin if same or one.kind != "options")
    found = [*_of_machine(then, now), *causes]
    return (*found, *_of_figures(then.engine, now.engine))


def _of_machine(then: Circumstances, now: Circumstances) -> Iterator[Difference]:
    if then.toolchain != now.toolchain:
        yield Difference("toolchain", then.toolchain, now.toolchain)
    for label in dict.fromkeys([*then.environment, *now.environment]):
        old, new = then.environment.get(label, ""), now.environment.get(label, "")
        if label == HOST_BUSY:
            yield from (Difference("host load", then=old) for _ in [old] if old)
            yield from (Difference("host load", now=new) for _ in [new] if new)
        elif old != new:
            yield Difference("environment", old or "unknown", new or "unknown", label)


def _of_origin(then: Mapping[str, int | str], now: Mapping[str, int | str]) -> Iterator[Difference]:
    if then.get("key") == now.get("key"):
        if then.get("plan") != now.get("plan"):
            yield Difference("plan")
        return
    old, new = str(then.get("model", "")), str(now.get("model", ""))
    if not old or not new:  # baselines of version 1 do not name the model
        yield Difference("engine")
    elif old != new:
        yield Difference("model", old[:_DIGITS], new[:_DIGITS])
    else:
        yield Difference("options")


def _of_figures(
    then: Mapping[str, int | str], now: Mapping[str, int | str]
) -> Iterator[Difference]:
    kinds: tuple[tuple[Kind, str], ...] = (
        ("layers", "layers"),
        ("device memory", "device_memory_bytes"),
        ("plan size", "size_bytes"),
    )
    for kind, label in kinds:
        old, new = then.get(label), now.get(label)
        if isinstance(old, int) and isinstance(new, int) and old != new:
            shown = units.size if kind == "plan size" else "{:,}".format
            yield Difference(kind, shown(old), shown(new))
