"""What TensorRT refuses by returning nothing or false, as errors with what it logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_trt.diagnostics import EngineLoadError, EngineRunError, InputError


def refused_plan(plan: Path, log: Sequence[str], *, loaded: bool) -> EngineLoadError:
    """Return the error for a plan; `loaded` if only its context could not be made."""
    lines = "".join(f"\n  | {line}" for line in log)
    if loaded:
        return EngineLoadError(
            f"plan {plan} was loaded, but cannot be made ready to run on this GPU."
            f"{lines or ' TensorRT gives no reason.'}",
            fix="free device memory (nvidia-smi shows who uses it), or lower the max of the "
            "profiles: an execution context takes memory for the largest shapes.",
        )
    return EngineLoadError(
        f"plan {plan} cannot be loaded on this GPU.{lines or ' TensorRT gives no reason.'}",
        fix="it was made by another version or for another GPU: `pytest-trt cache clear`, then "
        "run again to build it here.",
    )


def refused_shape(
    model_name: str, tensor: str, shape: tuple[int, ...], log: Sequence[str]
) -> InputError:
    """Return the error for a shape that the engine does not take."""
    return InputError(
        f"the engine of {model_name} does not take shape {shape} for input {tensor!r}: "
        f"{' '.join(log) or 'TensorRT gives no reason'}",
        fix="feed shapes inside the profile that the engine was built with.",
    )


def refused_memory(model_name: str, tensor: str, log: Sequence[str]) -> EngineRunError:
    """Return the error for a tensor whose memory the engine does not take."""
    return EngineRunError(
        f"the engine of {model_name} refuses memory for tensor {tensor!r}: "
        f"{' '.join(log) or 'TensorRT gives no reason'}",
        fix="try another version of TensorRT, and show NVIDIA the model.",
    )
