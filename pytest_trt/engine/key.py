"""The engine key: what must be equal for one plan to stand in for another.

The key is a pure function of values. It knows no file, no clock and no environment: whoever calls
it looks those up and passes them in, so that two processes, and two machines with one toolchain,
get one key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.profiles import Profile, ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange

#: Part of every key. Bump when a field changes its meaning or its spelling, or when the way plans
#: are built changes in a manner that no version number shows: every engine is then built anew.
KEY_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class EngineKey:
    """An engine's identity.

    Attributes:
        digest: Hex SHA-256 over the fields.
        fields: What went into it, as labels and texts that people can read, in order. Kept beside
            the plan, so that a miss can be explained field by field.
    """

    digest: str
    fields: tuple[tuple[str, str], ...]


def engine_key(
    *,
    model_digest: str,
    backend: str,
    spec: EngineSpec,
    target: Target,
    toolchain: Toolchain,
    route: Route,
    platform: str,
    calibration_digest: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> EngineKey:
    """Return the key of the engine that these values describe.

    Args:
        model_digest: Digest of the model with all its external data.
        backend: The backend's name.
        spec: What was asked: precision, profiles (their order counts), builder options by name.
        target: What the engine is bound to.
        toolchain: What builds it, every version that it names.
        route: How the precision is reached, and with which versions of which converters.
        platform: Operating system and machine type; plans are portable across neither.
        calibration_digest: Digest of the calibration inputs, where the route uses them.
        environment: Environment variables that change what the builder does, those that are set.

    Raises:
        ConfigurationError: The route calibrates, but what it calibrates on was not given: such an
            engine would be taken for another one that was calibrated on other data.
    """
    if route.needs_calibration and calibration_digest is None:
        raise ConfigurationError(
            f"an {spec.precision} engine on the route {route.name!r} depends on its calibration "
            "inputs, and the key was given none.",
            fix="pass the digest of the calibration inputs.",
        )
    fields = [
        ("model digest", model_digest),
        ("backend", backend),
        ("precision", spec.precision),
        ("route", route.name),
        ("arch", target.arch),
        ("platform", platform),
        *_labelled("device", target.device),
        *((_version_label(toolchain, name), text) for name, text in toolchain.versions.items()),
        *_labelled("converter", route.versions),
        *_labelled("builder option", {k: repr(v) for k, v in spec.builder_options.items()}),
        *_profile_fields(spec.profiles),
        *_labelled("environment", environment or {}),
    ]
    if route.needs_calibration and calibration_digest is not None:
        fields.append(("calibration digest", calibration_digest))
    return EngineKey(digest=_digest(fields), fields=tuple(fields))


def _version_label(toolchain: Toolchain, component: str) -> str:
    own = next(iter(toolchain.versions))
    return toolchain.product if component == own else f"{toolchain.product} {component}"


def _labelled(label: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    # Sorted: a mapping written in another order asks for the same engine.
    return [(f"{label} {name}", values[name]) for name in sorted(values)]


def _profile_fields(profiles: Iterable[Profile]) -> list[tuple[str, str]]:
    return [
        (f"{_range_label(bounds)} {index} {name}", f"{bounds.min} {bounds.opt} {bounds.max}")
        for index, profile in enumerate(profiles)
        for name, bounds in sorted(profile.items())
    ]


def _range_label(bounds: ShapeRange | ValueRange) -> str:
    # A shape and values may read alike: (8, 8).
    return "profile values" if isinstance(bounds, ValueRange) else "profile"


def _digest(fields: Iterable[tuple[str, str]]) -> str:
    state = LabelledHash(f"pytest-trt engine {KEY_SCHEMA}")
    for label, text in fields:
        state.add(label, text)
    return state.hexdigest()


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return what changed from one key's fields to another's, one readable line per field."""
    lines = []
    for label in [*new, *(label for label in old if label not in new)]:
        before, after = old.get(label), new.get(label)
        if before == after:
            continue
        if label.endswith("digest"):
            before, after = _short(before), _short(after)
        if before is None:
            lines.append(f"{label} {after} (was not set)")
        elif after is None:
            lines.append(f"{label} {before} (is no longer set)")
        else:
            named = "the model changed, digest" if label == "model digest" else label
            lines.append(f"{named} {before} -> {after}")
    return lines


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:12]


def same_runtime(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two engines differ in nothing but what was built: they run under one toolchain.

    Only then can they be timed against each other in one process. What an upgrade of the runtime
    has changed, two engines that both run on the new one cannot tell.

    Args:
        one: The fields of an engine's key.
        other: Those of another one.
    """
    return all(
        one.get(label) == other.get(label)
        for label in one.keys() | other.keys()
        if not label.endswith(" digest")
        and label != "route"
        and not label.startswith(("converter ", "builder option "))
    )


def explain_miss(
    key: EngineKey, model_name: str, candidates: Iterable[tuple[str, Mapping[str, str]]]
) -> str:
    """Return how the closest cached engine differs; empty where there is none of the same use.

    Args:
        key: What was looked for.
        model_name: File name of the model.
        candidates: Model file name and key fields of every cached engine.
    """
    wanted = dict(key.fields)
    siblings = [
        fields
        for name, fields in candidates
        if name == model_name or fields.get("model digest") == wanted["model digest"]
    ]
    same_use = [f for f in siblings if _use(f) == _use(wanted)]
    if not same_use:
        return ""
    nearest = min(same_use, key=lambda fields: len(differences(fields, wanted)))
    return ", ".join(differences(nearest, wanted)) or "the cached engine is gone"


def _use(fields: Mapping[str, str]) -> tuple[str | None, ...]:
    # Another precision, architecture or backend is another engine, not a changed one.
    return tuple(fields.get(label) for label in ("backend", "precision", "arch"))
