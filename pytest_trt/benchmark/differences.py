"""What besides the figures differs between two measurements: engine, toolchain, machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_trt import units

#: What of the environment tells what kept the host busy; it is there only if something did.
HOST_BUSY = "host_busy"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What one measurement was made of and with.

    Attributes:
        toolchain: What ran the engine: "TensorRT 8.6.0".
        environment: What may change from run to run, by label: driver, clocks.
        engine: Exact facts of the engine: key, plan, model, size_bytes, device_memory_bytes,
            layers.
    """

    toolchain: str
    environment: Mapping[str, str]
    engine: Mapping[str, int | str]


def differences(then: Circumstances, now: Circumstances) -> list[str]:
    """Return what differs between two measurements, a line each."""
    found = []
    if then.toolchain != now.toolchain:
        found.append(f"{then.toolchain} -> {now.toolchain}")
    for label in dict.fromkeys([*then.environment, *now.environment]):
        old, new = then.environment.get(label, "unknown"), now.environment.get(label, "unknown")
        if label == HOST_BUSY:
            found += [
                f"the host was busy {when}: {told}"
                for when, told in (("then", old), ("this time", new))
                if told != "unknown"
            ]
        elif old != new:
            found.append(f"{label} {old} -> {new}")
    if then.engine.get("key") != now.engine.get("key"):
        found.append(f"the engine is another one: {_what_changed(then.engine, now.engine)}")
    elif then.engine.get("plan") != now.engine.get("plan"):
        found.append("the engine was built anew, and its plan is another one")
    for label, name in (("layers", "layers"), ("device_memory_bytes", "device memory")):
        old_count, new_count = then.engine.get(label), now.engine.get(label)
        if old_count is not None and new_count is not None and old_count != new_count:
            found.append(f"{name} {old_count:,} -> {new_count:,}")
    old_size, new_size = then.engine.get("size_bytes"), now.engine.get("size_bytes")
    if isinstance(old_size, int) and isinstance(new_size, int) and old_size != new_size:
        found.append(f"plan {units.size(old_size)} -> {units.size(new_size)}")
    return found


def _what_changed(then: Mapping[str, int | str], now: Mapping[str, int | str]) -> str:
    old, new = then.get("model"), now.get("model")
    if old is None or new is None:  # baselines of before this was kept
        return "its model, its options or its builder changed"
    if old != new:
        return f"its model changed (sha256 {str(old)[:8]} -> {str(new)[:8]})"
    return "of the same model, its options or its builder changed"
