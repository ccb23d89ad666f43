"""The engine key: what must be equal for one plan to be used in place of another.

The key is a pure function of values. It reads no file, clock or environment: the caller passes
their content, so that two processes, and two machines with one toolchain, get one key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.hashing import LabelledHash
from pytest_trt.tensors.profiles import Profile, ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange

#: Part of every key. Bump when a field changes its meaning or its spelling, or when plans are built
#: differently and no version number shows it: every engine is then rebuilt.
KEY_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class EngineKey:
    """An engine's identity.

    Attributes:
        digest: Hex SHA-256 over the fields.
        fields: What went into it, as readable labels and texts, in order. Stored next to the plan,
            so that a miss can be explained field by field.
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
    plan_digest: str | None = None,
) -> EngineKey:
    """Return the key of the engine that these values describe.

    Args:
        model_digest: Digest of the model with all its external data.
        backend: The backend's name.
        spec: The request: precision, profiles (their order counts), builder options by name, what
            stays in FP32.
        target: What the engine is bound to.
        toolchain: What builds it, every version that it names.
        route: How the precision is reached, and with which versions of which converters.
        platform: Operating system and machine type; plans are portable across neither.
        calibration_digest: Digest of the calibration inputs, where the route uses them.
        environment: Environment variables that change what the builder does, those that are set.
        plan_digest: Digest of a plan that is tested as it is, and was not built from the request.

    Raises:
        ConfigurationError: The route calibrates, but no digest was given: engines that were
            calibrated on different data would have one key.
    """
    if route.needs_calibration and calibration_digest is None:
        raise ConfigurationError(
            f"the key of an {spec.precision} engine that {route.name!r} calibrates needs the "
            "digest of its calibration inputs",
            fix="Pass calibration_digest=.",
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
        *([("keep_fp32", repr(list(spec.keep_fp32)))] if spec.keep_fp32 else []),
        *_profile_fields(spec.profiles),
        *_labelled("environment", environment or {}),
        *((f"library {one.path.name}", one.digest) for one in route.libraries),
    ]
    if route.needs_calibration and calibration_digest is not None:
        fields.append(("calibration digest", calibration_digest))
    if plan_digest is not None:
        fields.append(("plan digest", plan_digest))
    return EngineKey(digest=_digest(fields), fields=tuple(fields))


#: The points of a range, in the order of its field.
_POINTS = ("min", "opt", "max")

#: Characters of a value up to which a difference shows it whole.
_LONGEST = 120


def _version_label(toolchain: Toolchain, component: str) -> str:
    own = next(iter(toolchain.versions))
    return toolchain.product if component == own else f"{toolchain.product} {component}"


def _labelled(label: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    # Sorted: a mapping written in another order requests the same engine.
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
        if label.endswith("digest") or label.startswith("library "):
            before, after = _short(before), _short(after)
        elif label.startswith("profile "):
            before, after = _range_text(before), _range_text(after)
        before, after = _cut(before), _cut(after)
        if before is None:
            lines.append(f"{label}: not set -> {after}")
        elif after is None:
            lines.append(f"{label}: {before} -> not set")
        else:
            named = "the model changed, digest" if label == "model digest" else label
            lines.append(f"{named} {before} -> {after}")
    return lines


def _range_text(field: str | None) -> str | None:
    """Return a range of `_profile_fields` with its points named, or one point for all three."""
    points = re.findall(r"\([^()]*\)", field or "")
    if len(points) != len(_POINTS):
        return field
    if len(set(points)) == 1:
        return f"always {points[0]}"
    return " ".join(f"{name} {point}" for name, point in zip(_POINTS, points, strict=True))


def _cut(text: str | None) -> str | None:
    """Return a text whose middle is left out if it is long, such as a list of many nodes."""
    if text is None or len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:12]


def same_runtime(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two engines run under one toolchain, and differ only in what was built.

    Only then can they be timed against each other in one process: two engines that both run on an
    upgraded runtime do not show what the upgrade changed.
    """
    return all(
        one.get(label) == other.get(label)
        for label in one.keys() | other.keys()
        if not label.endswith(" digest")
        and label not in ("route", "keep_fp32")
        and not label.startswith(("converter ", "builder option "))
    )


def explain_miss(key: EngineKey, candidates: Iterable[Mapping[str, str]]) -> str:
    """Return how the closest cached engine differs; empty where there is none."""
    changes = [differences(one, dict(key.fields)) for one in candidates]
    nearest: list[str] = min(filter(None, changes), key=len, default=[])
    return ", ".join(nearest)
