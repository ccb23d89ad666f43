"""Options of ONNX Runtime's sessions: the same for engines, references and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_trt.backends.conversion.custom_ops import register_custom_ops
from pytest_trt.backends.conversion.ort_messages import SEVERITY_FATAL
from pytest_trt.backends.conversion.ort_module import load_onnxruntime
from pytest_trt.onnx.libraries import Library

#: ONNX Runtime's names of the levels, the lowest first. The default is 'extended' because 'all'
#: adds layouts for the CPU at hand, and a cached engine may run on another CPU.
#: Source: ONNX Runtime documentation, "Graph optimizations", offline mode.
OPTIMIZATION_LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}

#: Entries of sessions that change results. Without it, INT8 products overflow 16 bits on x86 CPUs
#: without VNNI, and an engine is right on one machine and wrong on another.
#: Source: onnxruntime_session_options_config_keys.h, kOrtSessionOptionsAvx2PrecisionMode.
ENTRIES = {"session.x64quantprecision": "1"}

#: Microseconds for which a thread without work spins. P50 of calls of 0.01 and 0.08 ms was 1.01
#: times that of threads that spin without a limit; loading, running and closing a small model took
#: half the CPU time.
#: Source: ONNX Runtime 1.32 on two busy cores; tests/benchmarks/interleaved_cpu.py.
_SPIN_US = 100


def session_options(
    level: str, *, threads: int, spins: bool = True, custom_ops: Sequence[Library] = ()
) -> Any:
    """Return the `onnxruntime.SessionOptions` for a level of optimisation.

    Args:
        level: A key of `OPTIMIZATION_LEVELS`.
        threads: Threads of one inference; 0 for the default of ONNX Runtime.
        spins: Whether threads without work spin; not for a run or two that nobody times.
        custom_ops: Libraries of custom operators.

    Raises:
        ModelError: A library cannot be loaded, or was replaced after it was hashed.
    """
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, OPTIMIZATION_LEVELS[level]
    )
    options.intra_op_num_threads = threads
    options.log_severity_level = SEVERITY_FATAL
    for key, value in ENTRIES.items():
        options.add_session_config_entry(key, value)
    # Threads of a session spin after a run, waiting for the next. If two sessions are
    # interleaved on few cores, one slows the other down, so threads stop after each call.
    # Source: tests/benchmarks/interleaved_cpu.py, which also measures its cost.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # They also spin from the session's creation to its first run, and during a run while one
    # thread is enough: without a limit as long as a small model takes to load. Versions that
    # have no such option ignore it.
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    if not spins:
        # Twice as quick as with that limit for loading and running a small model once.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    register_custom_ops(options, custom_ops)
    return options
