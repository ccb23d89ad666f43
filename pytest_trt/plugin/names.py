"""Names and help texts of the plugin's markers, and names of its fixtures.

Every run of pytest loads this module.
"""

from __future__ import annotations

import pytest

#: What each marker takes and does, for `pytest --markers`.
MARKER_LINES = {
    "trt_model": "trt_model(model, fixture=None, plan=None, precision='fp32', profiles=None, "
    "reference=None, "
    "reference_names={}, reference_only=(), builder_options={}, keep_fp32=(), "
    "by_precision={precision: {'builder_options': {...}, 'keep_fp32': (...)}}, "
    "by_backend={backend: {'builder_options': {...}, 'keep_fp32': (...)}}, input_ranges={}, "
    "calibration=None, seed=0, custom_ops=(), plugin_libraries=(), "
    "per_model={id: {keyword: value}}): the ONNX model under test, relative to the test file, or a "
    "list, mapping or pattern of several, or the name of a fixture that gives its path, and how "
    "engines are built, or the finished plan to test instead; the test runs once per model and "
    "precision.",
    "trt_consistency": "trt_consistency(rtol=, atol=, nan='forbid', max_mismatch_pct=0, cosine=, "
    "top1=, topk=(k, share), elementwise=True, metrics={name: limit, name: (function, limit)}, "
    "outputs={name: {...}}, by_precision={precision: {...}}, against='model', drift='2x', "
    "batch_invariant=False, "
    "deterministic=N, rebuilds=N, sweep='profile', per_model={id: {...}}): compare every "
    "trt_session.run of the test with the FP32 reference.",
    "trt_benchmark": "trt_benchmark(p50='5%', p95='10%', p99='10%', throughput='5%', p50_ms=, "
    "p95_ms=, p99_ms=, min_throughput=, plan_size=, device_memory=, layers=, plan_size_bytes=, "
    "device_memory_bytes=, max_layers=, build_s=, cold_start_s=, faster_than={opponent: factor}, "
    "mode=, batch=, sweep='profile', per_model={id: {...}}): compare what trt_benchmark(inputs) "
    "measures, and the engine itself, with the stored baseline, with absolute limits and with "
    "other engines; several markers are merged.",
}

#: Their names as a misspelt marker may have them: `trtconsistency`, `TRT_Consistency`.
_JOINED = frozenset(name.replace("_", "") for name in MARKER_LINES)

#: The fixtures. Projects may have others that begin with `trt_`.
FIXTURES = frozenset(
    (
        "_trt_subject",
        "trt_arch",
        "trt_benchmark",
        "trt_build",
        "trt_calibration",
        "trt_engine",
        "trt_engines",
        "trt_inputs",
        "trt_metrics",
        "trt_model_path",
        "trt_precision",
        "trt_reference",
        "trt_session",
        "trt_shape",
    )
)


def is_ours(name: str, config: pytest.Config) -> bool:
    """Whether a marker is the plugin's, or a misspelt one: not registered by the project."""
    if not name.startswith("trt_"):
        return name.lower().replace("_", "") in _JOINED and not _is_registered(name, config)
    return name in MARKER_LINES or not _is_registered(name, config)


def _is_registered(name: str, config: pytest.Config) -> bool:
    registered = (line.partition(":")[0].partition("(")[0] for line in config.getini("markers"))
    return name in map(str.strip, registered)
