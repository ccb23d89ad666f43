"""The job of the process that builds: which product builds which plan on which GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.engine.spec import OptionValue
from pytest_trt.onnx.libraries import Library
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.profiles import Profile, profile_from_json, profile_to_json


@dataclass(frozen=True, slots=True)
class Calibrator:
    """How a build calibrates INT8 ranges.

    Attributes:
        algorithm: "entropy" or "minmax".
        samples: The file of the calibration data, which the parent process wrote.
        table: Where the table of ranges is stored; None for nowhere.
        device: CUDA's number of the GPU.
    """

    algorithm: str
    samples: Path
    table: Path | None
    device: int


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
        keep_fp32: What builder flags may not narrow.
        compute_capabilities: Members of ComputeCapability to build for; empty for TensorRT.
        control_flow: The model's control flow as messages name it: "25 If".
        opset: The model's version of the default operator set.
        timing_cache: The file of timings to use and add to; None for none.
        plugin_libraries: Libraries of plugins to load first.
        observed: Whether the plan emits the tensors that fusion leaves, see `debug_tensors`.
        calibrator: How the builder calibrates INT8 ranges; None where it does not.
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
    keep_fp32: tuple[str, ...] = ()
    compute_capabilities: Sequence[str] = ()
    control_flow: Sequence[str] = ()
    opset: int = 0
    timing_cache: Path | None = None
    plugin_libraries: tuple[Library, ...] = ()
    observed: bool = False
    calibrator: Calibrator | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """What a build leaves next to its plan.

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

    def to_data(self) -> dict[str, Any]:
        """Return the job as JSON-simple data."""
        # Ranges of shapes and of values have the same fields, so profiles have their own form.
        data: dict[str, Any] = to_data(replace(self, plan=replace(self.plan, profiles=())))
        data["plan"]["profiles"] = [profile_to_json(profile) for profile in self.plan.profiles]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> BuildJob:
        """Return the job that `to_data` encoded."""
        job = from_data(cls, {**data, "plan": {**data["plan"], "profiles": []}})
        profiles = tuple(map(profile_from_json, data["plan"]["profiles"]))
        return replace(job, plan=replace(job.plan, profiles=profiles))
