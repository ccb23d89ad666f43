"""The FP32 reference: the model itself, without graph optimisations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_trt.backends.conversion.ort_messages import refusal
from pytest_trt.backends.conversion.ort_module import load_onnxruntime
from pytest_trt.backends.onnxruntime.options import session_options
from pytest_trt.backends.onnxruntime.values import require_readable
from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.libraries import Library

#: What a model that does not load means.
NO_REFERENCE = "ONNX Runtime computes the FP32 reference, so there is nothing to compare with"


def load_reference(model: Path, *, threads: int, custom_ops: Sequence[Library] = ()) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model as it is.

    Raises:
        ModelError: ONNX Runtime refuses the model, or a library.
    """
    ort = load_onnxruntime()
    options = session_options("disabled", threads=threads, spins=False, custom_ops=custom_ops)
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        refused = refusal(
            str(error),
            model,
            failed=f"ONNX Runtime {ort.__version__} cannot load {model.name}",
            code="TRT206",
        )
        raise ModelError(
            refused.message,
            fix=refused.remedy,
            code=refused.code,
            facts=refused.facts,
            details=[NO_REFERENCE, refused.log],
        ) from error
    require_readable(session, model)
    return session
