"""Finished plans: built by another job, and tested as they will be deployed.

Nothing is built or cached. The plan is loaded from the path that the user names, through the file
descriptor whose bytes were hashed. A manifest next to it is checked against the test.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Protocol, cast

from pytest_trt.diagnostics import (
    ConfigurationError,
    Diagnostic,
    EngineLoadError,
    Remedy,
    as_typed,
)
from pytest_trt.engine.build import Engine, float_elements
from pytest_trt.engine.builder_options import SERIALIZE_PLUGINS
from pytest_trt.engine.facts import EngineFacts, Layer
from pytest_trt.engine.key import engine_key
from pytest_trt.engine.manifest import Manifest, read_manifest
from pytest_trt.engine.protocols import Backend, Plan
from pytest_trt.engine.shortfall import narrower_precision, precision_shortfall, precision_uncertain
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.files import FileStamp, open_regular
from pytest_trt.hashing import digest_open
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.profiles import Profile, ShapeRange

#: Endings of the names of plans, by which files are listed.
SUFFIXES = (".plan", ".engine", ".trt")

#: What backends report of plans, with a remedy for those that were built here.
_OF_CACHED = ("TRT320", "TRT321", "TRT322", "TRT323")

_ANOTHER = Remedy(
    "name a plan that was built for this target and version, or build and export it again.",
    ("pytest-trt export TESTS -o DIR",),
)


@dataclass(frozen=True, slots=True)
class PlanContent:
    """What a backend reports of a plan that it has loaded.

    Attributes:
        profiles: Its optimisation profiles; None where plans of the product hold none.
        layers: Its layers, or None where they are not reported.
        hidden_weights: About how many weights of the model the layers do not account for.
        device_memory_bytes: Scratch memory of one execution context, or None if not reported.
    """

    profiles: tuple[Profile, ...] | None = None
    layers: tuple[Layer, ...] | None = None
    hidden_weights: int = 0
    device_memory_bytes: int | None = None


class PlanReader(Protocol):
    """What a backend needs besides `Backend` for its finished plans to be tested."""

    def check_plan(self, plan: Plan, spec: EngineSpec, target: Target) -> None:
        """Check a plan's header: the product and version, and what it is for.

        Called before anything of the plan is loaded, also on machines that cannot run it.

        Raises:
            EngineLoadError: It is damaged, or for another product, version or architecture.
        """
        ...

    def read_plan(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> PlanContent:
        """Load a plan, and report what it contains.

        Raises:
            EngineLoadError: It cannot be loaded, or has other inputs or outputs than the model.
        """
        ...


@dataclass(frozen=True, slots=True)
class FinishedPlan:
    """A finished plan whose header and manifest match the test.

    Attributes:
        path: The file.
        digest: Hex BLAKE3 of its bytes.
        size_bytes: Its size.
        model: The model that it is compared with.
        spec: The request: the precision, profiles that the test needs, and how it is loaded.
        target: What it runs on.
        manifest: Its manifest; None without one.
    """

    path: Path
    digest: str
    size_bytes: int
    model: OnnxModel
    spec: EngineSpec
    target: Target
    manifest: Manifest | None


@contextlib.contextmanager
def opened_plan(path: Path, digest: str = "") -> Iterator[tuple[Plan, str]]:
    """Open a finished plan, and check that its bytes have the same digest before and after use.

    Args:
        path: The file.
        digest: The expected digest; empty to compute it.

    Yields:
        The plan, and its digest.

    Raises:
        EngineLoadError: It is missing, not a regular file, or changed.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError as error:
        raise missing_plan(path) from error
    except OSError as error:
        raise EngineLoadError(
            f"the plan {as_typed(path)} cannot be opened: {error.strerror}",
            fix="name a regular file that this user can read.",
            code="TRT325",
            facts={"plan": str(path), "problem": str(error.strerror)},
        ) from error
    with file:
        stamp, found = FileStamp.of(path, file), digest_open(file).digest
        if digest and found != digest:
            raise _changed(path, digest, found)
        try:
            yield Plan(path, stable_path=_stable_path(file, path), file=file), found
        except EngineLoadError as error:
            if error.diagnostic.code in _OF_CACHED:
                error.diagnostic = replace(error.diagnostic, remedy=_ANOTHER)
            raise
        # Whatever happened to the path, the file is the same; but it may have been written to.
        if FileStamp.of(path, file, stamp.path) != stamp or not stamp.rested(time.time_ns()):
            file.seek(0)
            now = digest_open(file).digest
            if now != found:
                raise _changed(path, found, now)


def _stable_path(file: FileIO, path: Path) -> Path:
    # Other processes of this user find it there, too.
    found = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
    return found if found.exists() else path


def check_finished(
    path: Path, model: OnnxModel, spec: EngineSpec, target: Target, backend: Backend
) -> FinishedPlan:
    """Return a finished plan after checking its header and its manifest; nothing is loaded.

    Raises:
        EngineLoadError: It is missing, damaged, or built for something else.
        ConfigurationError: The backend does not read finished plans.
    """
    reader = _reader(backend)
    with opened_plan(path) as (plan, digest):
        manifest = read_manifest(path)
        if manifest is not None:
            manifest.check_plan(path, digest, plan.size_bytes)
            _check_manifest(manifest, path, model, spec, target, backend)
            spec = replace(spec, builder_options={**manifest.options, **spec.builder_options})
        reader.check_plan(plan, spec, target)
        return FinishedPlan(path, digest, plan.size_bytes, model, spec, target, manifest)


def finished_engine(found: FinishedPlan, backend: Backend) -> Engine:
    """Load a finished plan, and return it as an engine.

    Raises:
        EngineLoadError: It cannot be loaded here, does not fit the model or the test, or has
            another precision.
    """
    model, spec, manifest = found.model, found.spec, found.manifest
    with opened_plan(found.path, found.digest) as (plan, _):
        content = _reader(backend).read_plan(plan, model, spec, found.target)
    profiles = content.profiles
    if profiles is None and manifest is not None:
        profiles = manifest.parsed_profiles
    if profiles is not None:
        _require_covered(spec.profiles, profiles, found)
        spec = replace(spec, profiles=profiles)
    facts = EngineFacts(
        size_bytes=found.size_bytes,
        build_s=None,
        memory_bytes=content.device_memory_bytes,
        layers=content.layers,
        hidden_weights=content.hidden_weights,
        fp32_weights_bytes=4 * float_elements(model),
    )
    shortfall = precision_shortfall(spec, model, facts, found.path)
    if shortfall is not None:
        raise does_not_fit(found.path, found.model, shortfall.message)
    if narrower := narrower_precision(spec, model, facts):
        raise does_not_fit(
            found.path,
            model,
            f"it is tested as {spec.precision}, but has layers or weights in {narrower}",
            fix="name its precision with precision= of trt_model, or the plan of this precision.",
        )
    toolchain, route = (
        backend.toolchain(),
        Route("finished plan", libraries=(*model.plugin_libraries, *model.custom_ops)),
    )
    warnings = (
        precision_uncertain(spec, model, facts),
        _other_device(found),
        _other_version(found, toolchain),
    )
    return Engine(
        model=model,
        spec=spec,
        target=found.target,
        toolchain=toolchain,
        route=route,
        key=engine_key(
            model_digest=model.digest,
            backend=backend.name,
            spec=spec,
            target=found.target,
            toolchain=toolchain,
            route=route,
            platform=f"{platform.system()} {platform.machine()}",
            plan_digest=found.digest,
        ),
        plan=found.path,
        plan_digest=found.digest,
        plan_facts=facts,
        cached=False,
        reason="",
        warnings=tuple(filter(None, warnings)),
        finished=True,
    )


def plans_in(folder: Path) -> tuple[str, ...]:
    """Return the first plans in a folder, by name."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError:
        return ()
    return tuple(names[:5])


def missing_plan(path: Path) -> EngineLoadError:
    """Return the error for a missing plan."""
    others = plans_in(path.parent)
    there = f" Plans in {as_typed(path.parent)}:" if others else ""
    return EngineLoadError(
        f"there is no plan {as_typed(path)}",
        fix=Remedy(
            f"build it, or correct plan=, which is relative to the test file.{there}",
            alternatives=others,
        ),
        code="TRT325",
        facts={"plan": str(path), "problem": "missing"},
    )


def _reader(backend: Backend) -> PlanReader:
    if not all(callable(getattr(backend, name, None)) for name in ("check_plan", "read_plan")):
        raise ConfigurationError(
            f"the backend {backend.name} cannot test finished plans",
            fix="drop plan= for this backend, or add check_plan and read_plan to it.",
            facts={"backend": backend.name},
        )
    return cast(PlanReader, backend)


def _check_manifest(
    manifest: Manifest,
    path: Path,
    model: OnnxModel,
    spec: EngineSpec,
    target: Target,
    backend: Backend,
) -> None:
    """Refuse a plan whose manifest does not match the test.

    Raises:
        EngineLoadError: Its model, backend, target or precision differs.
    """
    if manifest.model_digest != model.digest:
        raise EngineLoadError(
            f"the plan {as_typed(path)} was not built from {model.path.name}: its manifest has the "
            f"model digest {manifest.model_digest[:12]}, the model has {model.digest[:12]}",
            fix=Remedy(
                "build and export the plan again, or restore the model that it was built from.",
                ("pytest-trt export TESTS -o DIR",),
            ),
            code="TRT327",
            facts={
                "plan": str(path),
                "model": str(model.path),
                "built_from": manifest.model_digest,
                "digest": model.digest,
            },
        )
    if manifest.backend != backend.name:
        raise for_another(path, "TRT321", str(manifest.toolchain), str(backend.toolchain()))
    portable = manifest.options.get("hardware_compatibility", "none") != "none"
    if manifest.target.arch != target.arch and not portable:
        raise for_another(path, "TRT323", str(manifest.target), str(target))
    if manifest.precision != spec.precision:
        raise for_another(path, "TRT326", manifest.precision, spec.precision)
    _check_libraries(manifest, path, model)


def _check_libraries(manifest: Manifest, path: Path, model: OnnxModel) -> None:
    """Refuse a plan that was built with operator libraries other than those of the test.

    Raises:
        EngineLoadError: It was.
    """
    if manifest.options.get(SERIALIZE_PLUGINS):  # it contains them
        return
    named = {one.digest for one in (*model.custom_ops, *model.plugin_libraries)}
    for one in manifest.libraries:
        if one.digest not in named:
            raise EngineLoadError(
                f"the plan {as_typed(path)} was built with the library {one.name} of digest "
                f"{one.digest[:12]}, which the test does not load",
                fix=Remedy(
                    "name that library in custom_ops= or plugin_libraries=; or build and export "
                    "the plan again.",
                    ("pytest-trt export TESTS -o DIR",),
                ),
                code="TRT327",
                facts={"plan": str(path), "library": one.name, "digest": one.digest},
            )


def for_another(path: Path, code: str, its: str, ours: str) -> EngineLoadError:
    """Return the error for a plan that was built for something other than what is tested."""
    return EngineLoadError(
        f"the plan {as_typed(path)} is for {its}, but {ours} is tested",
        fix=_ANOTHER,
        code=code,
        facts={"plan": str(path), "built_for": its, "tested": ours},
    )


def _require_covered(
    wanted: Sequence[Profile], has: Sequence[Profile], found: FinishedPlan
) -> None:
    """Refuse a plan that does not cover the profiles= of the test.

    Raises:
        EngineLoadError: A profile is not covered by any of the plan's.
    """
    for one in wanted:
        if not any(_covers(other, one) for other in has):
            raise does_not_fit(
                found.path,
                found.model,
                f"none of its {len(has)} profiles covers {_text(one)}, which profiles= names",
                tuple(f"profile {number}: {_text(each)}" for number, each in enumerate(has)),
            )


def _covers(outer: Profile, inner: Profile) -> bool:
    for name, bounds in inner.items():
        other = outer.get(name)
        if other is None:  # of fixed shape in the plan's own model
            continue
        if type(other) is not type(bounds) or len(other.opt) != len(bounds.opt):
            return False
        lows, highs = (
            zip(other.min, bounds.min, strict=True),
            zip(bounds.max, other.max, strict=True),
        )
        if not all(a <= b for a, b in (*lows, *highs)):
            return False
    return True


def _text(profile: Profile) -> str:
    return ", ".join(
        f"{name} {'' if isinstance(one, ShapeRange) else 'values '}{one.min} to {one.max}"
        for name, one in profile.items()
    )


def does_not_fit(
    path: Path,
    model: OnnxModel,
    problem: str,
    details: Sequence[str] = (),
    fix: str = "name the plan of this model, or build it again from it.",
) -> EngineLoadError:
    """Return the error for a plan that does not fit the model or the test."""
    return EngineLoadError(
        f"the plan {as_typed(path)} does not fit the test of {model.path.name}: {problem}",
        fix=fix,
        code="TRT326",
        facts={"plan": str(path), "model": str(model.path), "problem": problem},
        details=details,
    )


def _other_device(found: FinishedPlan) -> Diagnostic | None:
    """Return a warning for a plan that was tested on another device of the architecture."""
    built = None if found.manifest is None else found.manifest.target
    if built is None or built.device == found.target.device:
        return None
    return Diagnostic(
        "TRT323",
        f"the plan was built and tested on {built}, but runs on {found.target}: it may be slower "
        "here",
        facts={"plan": str(found.path), "built_for": str(built), "tested": str(found.target)},
        severity="warning",
    )


def _other_version(found: FinishedPlan, here: Toolchain) -> Diagnostic | None:
    """Return a warning for a plan that another version built, and that this one runs."""
    built = None if found.manifest is None else found.manifest.toolchain
    if built is None or built.version == here.version:
        return None
    return Diagnostic(
        "TRT321",
        f"the plan was built and tested with {built}, but runs on {here} here",
        facts={"plan": str(found.path), "built_with": str(built), "tested": str(here)},
        severity="warning",
    )


def _changed(path: Path, before: str, now: str) -> EngineLoadError:
    return EngineLoadError(
        f"the plan {as_typed(path)} changed while it was tested: digest {before[:12]}, then "
        f"{now[:12]}",
        fix="run again once the process that writes the file has finished.",
        code="TRT329",
        facts={"plan": str(path), "before": before, "now": now},
    )
