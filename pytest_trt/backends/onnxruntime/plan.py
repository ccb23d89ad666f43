"""Plans of the embedded backend: models that ONNX Runtime optimised and wrote, and their check.

Every plan is loaded before it counts as built, and run where there is calibration data. Where a
level of optimisation breaks a valid model, the plan gets the next lower level, at which it is also
loaded later; its file name states the level.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.ort_messages import first_line, refusal
from pytest_trt.backends.conversion.ort_module import load_onnxruntime, onnxruntime_version
from pytest_trt.backends.onnxruntime import retained
from pytest_trt.backends.onnxruntime.options import OPTIMIZATION_LEVELS, session_options
from pytest_trt.backends.onnxruntime.values import require_readable
from pytest_trt.diagnostics import (
    ConfigurationError,
    EngineBuildError,
    EngineLoadError,
    ModelError,
    PytestTrtError,
    Remedy,
)
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import CALIBRATED, EngineSpec, brings
from pytest_trt.files import PRIVATE
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.onnx.libraries import Library

_PLAN_NAME = "engine.onnx"

#: What a model is converted into, in the folder of its plan, and how the names of its data files
#: begin.
CONVERTED_NAME = "converted.onnx"

#: Engines of models above this size store their weights in a second file: protobuf messages are
#: limited to 2 GiB, and the optimiser adds to them.
_EXTERNAL_WEIGHTS_ABOVE_BYTES = 1 << 30

#: Session options: the file of a plan's weights, and the least size of what goes there.
#: Source: onnxruntime_session_options_config_keys.h.
_WEIGHTS_FILE = "session.optimized_model_external_initializers_file_name"
_LEAST_WEIGHTS_BYTES = "session.optimized_model_external_initializers_min_size_in_bytes"


#: Session option: what fused products of block-quantised weights compute in; the default quantises
#: activations as well. Source: onnxruntime_session_options_config_keys.h,
#: kOrtSessionOptionsQDQMatMulNBitsAccuracyLevel.
_BLOCK_ACCURACY, _IN_FLOAT32 = "session.qdq_matmulnbits_accuracy_level", "1"


#: The builder option of the level of optimisation.
LEVEL = "graph_optimization_level"

#: The highest level for fp8. Seen with ONNX Runtime 1.32: at 'extended' the classifier answers
#: 80% of the digits differently from the same model at 'basic', which agrees with 'disabled'.
HIGHEST_OF_FP8 = "basic"


def as_it_is(model: OnnxModel, spec: EngineSpec) -> bool:
    """Whether a model already has the spec's precision."""
    return spec.precision == "fp32" or brings(model, spec.precision)


def write_plan(
    source: Path, request: BuildRequest, *, threads: int
) -> tuple[Path, tuple[str, ...]]:
    """Write a plan at the highest level up to the requested one that does not break the model.

    The session that checked it is retained for its first run.

    Returns:
        The plan, and why its level is lower than requested (see `lowered_level`) if it is.

    Raises:
        EngineBuildError: ONNX Runtime refuses the model at every level.
    """
    wanted = _level(request.spec, default="extended")
    plan = request.directory / _PLAN_NAME
    try:
        _write(source, plan, request, wanted, threads)
    except EngineBuildError as error:
        _remove(plan)
        lower = _write_lower(source, request, wanted, threads)
        if lower is None:
            raise
        return lower, (f"{error.message} at the level {wanted!r}", *error.log_tail)
    return plan, ()


def lowered_level(plan: Path) -> str | None:
    """Return a plan's level of optimisation if it is lower than requested, else None."""
    return next((one for one in OPTIMIZATION_LEVELS if plan.name == _lowered_name(one)), None)


def loaded_level(plan: Path, spec: EngineSpec) -> str:
    """Return the level of optimisation at which a plan is loaded."""
    return lowered_level(plan) or _level(spec, default="all")


def converted_files(folder: Path) -> list[Path]:
    """Return the converted model and its data files."""
    return [path for path in folder.iterdir() if path.name.startswith(CONVERTED_NAME)]


def load_plan(
    plan: Path,
    spec: EngineSpec,
    *,
    threads: int,
    spins: bool = True,
    custom_ops: Sequence[Library] = (),
) -> Any:
    """Return an `onnxruntime.InferenceSession` of a plan.

    Raises:
        ModelError: A library cannot be loaded, or was replaced after it was hashed.
        Exception: ONNX Runtime cannot load it; its exceptions have no other common base class.
    """
    # The layout for this CPU, which the plan does not contain, is chosen here.
    level = loaded_level(plan, spec)
    return load_onnxruntime().InferenceSession(
        str(plan),
        session_options(level, threads=threads, spins=spins, custom_ops=custom_ops),
        providers=["CPUExecutionProvider"],
    )


def open_plan(
    plan: Path,
    spec: EngineSpec,
    *,
    model: Path,
    shown: Path,
    threads: int,
    spins: bool = True,
    custom_ops: Sequence[Library] = (),
) -> Any:
    """Return an `onnxruntime.InferenceSession` of a plan.

    Args:
        plan: The plan.
        spec: What was requested.
        model: The model that it was built from.
        shown: The plan, as messages name it.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        spins: Whether threads without work spin; not for a run or two that nobody times.
        custom_ops: Libraries of custom operators.

    Raises:
        EngineLoadError: ONNX Runtime cannot load it.
        ModelError: A library cannot be loaded, or was replaced after it was hashed.
    """
    try:
        return load_plan(plan, spec, threads=threads, spins=spins, custom_ops=custom_ops)
    except ModelError:
        raise
    except Exception as error:
        version = onnxruntime_version()
        raise EngineLoadError(
            f"ONNX Runtime {version} cannot load {shown}",
            fix=Remedy("rebuild the engine:", commands=("pytest-trt cache clear",)),
            code="TRT322",
            facts={"model": str(model), "plan": str(shown), "version": version},
            details=[first_line(error).replace(str(plan), str(shown))],
        ) from error


def _write_lower(source: Path, request: BuildRequest, wanted: str, threads: int) -> Path | None:
    """Write and return a plan below the requested level, or None if none can be."""
    from pytest_trt.backends.conversion.converting import unoptimised

    names = list(OPTIMIZATION_LEVELS)
    try:
        unoptimised(source, request.model.custom_ops)
    except Exception:  # the model is refused as it is
        return None
    for level in reversed(names[: names.index(wanted)]):
        plan = request.directory / _lowered_name(level)
        try:
            _write(source, plan, request, level, threads)
        except EngineBuildError:
            _remove(plan)
        else:
            return plan
    return None


def _write(source: Path, plan: Path, request: BuildRequest, level: str, threads: int) -> None:
    """Optimise a model into a plan, check the plan, and retain its session.

    Raises:
        ModelError: The model is damaged, or an input or output cannot be used from Python.
        EngineBuildError: ONNX Runtime refuses the model or the plan, or the plan has other inputs
            or outputs, or does not run on the calibration data.
    """
    from pytest_trt.backends.conversion.converting import different_tensors, run_failure, verify

    # Optimising runs nothing: no threads to start and end.
    model, chosen = (
        request.model,
        session_options(level, threads=1, custom_ops=request.model.custom_ops),
    )
    if request.spec.precision == "int4":
        chosen.add_session_config_entry(_BLOCK_ACCURACY, _IN_FLOAT32)
    chosen.optimized_model_filepath = str(plan)
    # A float16 model doubles in size when it is rounded in float32.
    parts = converted_files(request.directory)
    size_bytes = max(model.size_bytes, sum(part.stat().st_size for part in parts))
    if size_bytes > _EXTERNAL_WEIGHTS_ABOVE_BYTES:
        chosen.add_session_config_entry(_WEIGHTS_FILE, f"{plan.name}.data")
    elif model.external_files:
        # By default weights stay in the model's own files, which do not belong to the plan. With
        # a file for weights larger than any, all are stored in the plan.
        chosen.add_session_config_entry(_WEIGHTS_FILE, f"{plan.name}.data")
        chosen.add_session_config_entry(_LEAST_WEIGHTS_BYTES, str(1 << 40))
    try:
        load_onnxruntime().InferenceSession(str(source), chosen, providers=["CPUExecutionProvider"])
        started_s = time.perf_counter()
        session = load_plan(
            plan, request.spec, threads=threads, spins=False, custom_ops=model.custom_ops
        )
        load_s = time.perf_counter() - started_s
    except ModelError:  # of a library of custom operators
        raise
    except Exception as error:  # its exceptions have no other common base class
        raise _refused(error, request, converted=source != model.path) from error
    require_readable(session, model.path)
    # Other precisions have no inputs that the model is known to run on.
    known = request.calibration if request.spec.precision in CALIBRATED else ()
    different = different_tensors(model, plan)
    failure = None if different else run_failure(session, known)
    if different or failure is not None:
        if source != model.path:  # then the conversion may have broken it
            verify(model, source, request.spec.precision, known)
        reason = f"inputs or outputs differ: {', '.join(different)}"
        raise _broken(request, level, reason if failure is None else first_line(failure))
    # As the cache does, which would change the times that tell whose session is retained.
    plan.chmod(PRIVATE)
    retained.retain(session, load_s, plan=plan, threads=threads, size_bytes=model.size_bytes)


def _refused(error: Exception, request: BuildRequest, *, converted: bool) -> PytestTrtError:
    """Return the error for a model that ONNX Runtime does not load."""
    from pytest_trt.backends.conversion.converting import invalid
    from pytest_trt.onnx.loading import load

    model, precision = request.model, request.spec.precision
    try:
        load(model.path)
    except ModelError as damage:  # it names the tensor or the node
        return damage
    if converted:
        return invalid(model, precision, error)
    return refusal(
        str(error),
        model.path,
        failed=f"ONNX Runtime {onnxruntime_version()} cannot load {model.path.name} as an "
        f"{precision} engine",
        precision=precision,
    ).as_error()


def _broken(request: BuildRequest, level: str, reason: str) -> EngineBuildError:
    """Return the error for a plan that ONNX Runtime loads, but that is not the model's."""
    model, precision = request.model, request.spec.precision
    return EngineBuildError(
        f"ONNX Runtime {onnxruntime_version()} breaks the {precision} engine of {model.path.name}",
        fix="test the model in another precision, or with another version of ONNX Runtime.",
        code="TRT300",
        facts={"model": str(model.path), "precision": precision, "level": level},
        log_tail=[reason],
    )


def _remove(plan: Path) -> None:
    for part in plan.parent.glob(f"{plan.name}*"):
        part.unlink()


def _lowered_name(level: str) -> str:
    return f"engine.{level}.onnx"


def _level(spec: EngineSpec, *, default: str) -> str:
    default = HIGHEST_OF_FP8 if spec.precision == "fp8" else default
    return str(spec.builder_options.get(LEVEL, default))


def require_level(spec: EngineSpec) -> None:
    """Refuse a level at which ONNX Runtime computes fp8 wrongly.

    Raises:
        ConfigurationError: The spec asks for it.
    """
    level, names = _level(spec, default="extended"), list(OPTIMIZATION_LEVELS)
    if spec.precision == "fp8" and names.index(level) > names.index(HIGHEST_OF_FP8):
        raise ConfigurationError(
            f"builder option {LEVEL}={level!r} breaks fp8: above {HIGHEST_OF_FP8!r} ONNX Runtime "
            "rewrites FP8 Q/DQ nodes as if they were INT8",
            fix=f"leave it out for fp8, or set {HIGHEST_OF_FP8!r}.",
            code="TRT357",
            facts={"option": LEVEL, "value": level},
        )
