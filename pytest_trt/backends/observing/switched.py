"""A model whose nodes are switched between FP32 and a reduced precision from run to run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_trt.backends.conversion.convert_job import ConversionJob
from pytest_trt.backends.conversion.isolated import Task, call_isolated, stored_samples
from pytest_trt.backends.observing.switches import SWITCHES, Unit
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.engine.protocols import BackendSession, BuildRequest
from pytest_trt.onnx.file import load_model
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.spec import Tensors

__all__ = ["SwitchedModel", "Unit", "switched"]


@dataclass(frozen=True, slots=True)
class SwitchedModel:
    """The model, loaded in ONNX Runtime without optimisations.

    Attributes:
        units: What can be switched, in the order of the model.
        session: The loaded model.
    """

    units: tuple[Unit, ...]
    session: BackendSession

    def run(self, kept: Collection[str], inputs: Tensors) -> Tensors:
        """Return the outputs with some units in FP32 and all others in reduced precision.

        Raises:
            EngineRunError: ONNX Runtime failed.
        """
        flags = np.array([one.entry not in kept for one in self.units] or [False], np.float32)
        return self.session.run({**inputs, SWITCHES: flags})


def switched(
    request: BuildRequest, folder: Path, *, threads: int = 0, timeout_s: float = 0
) -> SwitchedModel:
    """Make a model switchable, in the child process, and load it.

    Args:
        request: The engine that it stands for: its model, spec and calibration inputs.
        folder: A private folder that exists as long as the model is used.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        timeout_s: Seconds for writing it, and for each run; 0 for no limit.

    Raises:
        PytestTrtError: It cannot be converted or loaded.
    """
    model, spec = request.model, request.spec
    task = Task(
        f"making {model.path.name} switchable", model, spec.precision, timeout_s, request.progress
    )
    output = folder / model.path.name
    with stored_samples(request.calibration, folder) as calibration:
        job = ConversionJob(
            model, spec.precision, output, spec.builder_options, spec.keep_fp32, calibration
        )
        found = call_isolated(
            "pytest_trt.backends.observing.switches:do_switch", task, job=to_data(job)
        )
    units = tuple(from_data(Unit, one) for one in found)
    backend = OnnxRuntimeBackend(threads, build_timeout_s=timeout_s, run_timeout_s=timeout_s)
    return SwitchedModel(units, backend.reference(load_model(output)))
