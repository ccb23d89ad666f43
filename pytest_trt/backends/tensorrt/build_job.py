"""What crosses the border between pytest's process and the one that builds: all of it JSON.

Down goes one job. Up come events, an object a line::

    {"event": "started"}                      the child listens; vendor libraries come next
    {"event": "progress", "text": ...}        what it does now
    {"event": "log", "line": ...}             a line of the builder's log that is worth keeping
    {"event": "done", "notes": [...]}         the plan is written
    {"event": "error", "error": NAME, ...}    one of this package's errors
    {"event": "os error", "errno": N, ...}    the operating system's, such as a full disk
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt import diagnostics as errors
from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.diagnostics import EngineBuildError, PytestTrtError
from pytest_trt.engine.spec import OptionValue
from pytest_trt.tensors.profiles import Profile, profile_from_json, profile_to_json


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What to build, in the builder's own terms.

    Attributes:
        version: Product and version as messages name them.
        model_name: File name of the user's model, for messages.
        title: What is built, as progress names it: "digits.onnx fp16 for sm90".
        source: The ONNX file to parse: the model, or its conversion.
        output: Where the plan goes.
        profiles: Optimisation profiles, in order.
        flags: Members of BuilderFlag to set: "FP16", "INT8".
        tf32: Whether FP32 may be computed in TF32.
        options: Builder options by name.
        compute_capabilities: Members of ComputeCapability to build for; empty for TensorRT.
        control_flow: The model's control flow as messages name it: "25 If".
        opset: The model's version of the default operator set.
        timing_cache: The file of timings to use and add to; None for none.
    """

    version: str
    model_name: str
    title: str
    source: Path
    output: Path
    profiles: Sequence[Profile] = ()
    flags: Sequence[str] = ()
    tf32: bool = False
    options: Mapping[str, OptionValue] | None = None
    compute_capabilities: Sequence[str] = ()
    control_flow: Sequence[str] = ()
    opset: int = 0
    timing_cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """What a build leaves beside its plan.

    Attributes:
        log_tail: The last lines that the builder logged.
        notes: What a reader of the report should know.
    """

    log_tail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One plan to build in a process of its own.

    Attributes:
        product: What builds it.
        plan: What to build.
        device: CUDA's number of the GPU to build on; None for a cross-build, which needs none.
    """

    product: Product
    plan: BuildPlan
    device: int | None

    def to_json(self) -> str:
        """Return the job as one line."""
        plan = {
            field.name: getattr(self.plan, field.name) for field in dataclasses.fields(BuildPlan)
        }
        plan["source"], plan["output"] = str(self.plan.source), str(self.plan.output)
        if self.plan.timing_cache is not None:
            plan["timing_cache"] = str(self.plan.timing_cache)
        plan["profiles"] = [profile_to_json(profile) for profile in self.plan.profiles]
        product = dataclasses.asdict(self.product)
        return json.dumps({"product": product, "plan": plan, "device": self.device})

    @classmethod
    def from_json(cls, text: str | bytes) -> BuildJob:
        """Return the job that `to_json` wrote."""
        content = json.loads(text)
        plan = content["plan"]
        plan["source"], plan["output"] = Path(plan["source"]), Path(plan["output"])
        if plan["timing_cache"] is not None:
            plan["timing_cache"] = Path(plan["timing_cache"])
        plan["profiles"] = [profile_from_json(profile) for profile in plan["profiles"]]
        return cls(Product(**content["product"]), BuildPlan(**plan), content["device"])


def error_to_json(error: PytestTrtError | OSError) -> dict[str, Any]:
    """Return the event that tells an error."""
    if isinstance(error, OSError):
        path = None if error.filename is None else str(error.filename)
        return {
            "event": "os error",
            "errno": error.errno,
            "text": error.strerror or str(error),
            "path": path,
        }
    return {
        "event": "error",
        "error": type(error).__name__,
        "message": error.message,
        "fix": error.fix,
        "log_tail": list(getattr(error, "log_tail", ())),
    }


def error_from_json(event: dict[str, Any]) -> PytestTrtError | OSError:
    """Return the error that an event tells, of the class that it had in the other process."""
    if event["event"] == "os error":
        return OSError(event["errno"], event["text"], event["path"])
    message, fix = event["message"], event["fix"]
    kind = getattr(errors, event["error"])
    if kind is EngineBuildError:
        return EngineBuildError(message, fix=fix, log_tail=event["log_tail"])
    error: PytestTrtError = kind(message, fix=fix)
    return error
