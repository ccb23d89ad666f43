"""The markers' lines for `pytest --markers`.

They stand apart from the markers themselves because every run registers them, in projects too that
have no model: this module costs such a run nothing to load, `markers` would.
"""

from __future__ import annotations

#: What each marker takes and does, by its name.
MARKER_LINES = {
    "trt_model": "trt_model(model, precision='fp32', profiles=None, reference=None, "
    "builder_options={}, input_ranges={}, seed=0): the ONNX model under test, relative to the test "
    "file, and how engines of it are built; several precisions run the test once for each.",
    "trt_consistency": "trt_consistency(rtol=, atol=, nan='forbid', max_mismatch_pct=0, cosine=, "
    "top1=, topk=(k, share), outputs={name: {...}}, by_precision={precision: {...}}): every "
    "trt_session.run of the test is compared with the FP32 reference.",
    "trt_benchmark": "trt_benchmark(p50='5%', p95='10%', p99='10%', throughput='5%', p50_ms=, "
    "p95_ms=, p99_ms=, min_throughput=, plan_size=, device_memory=, layers=, plan_size_bytes=, "
    "device_memory_bytes=, max_layers=, build_s=, cold_start_s=, mode=, batch=): what "
    "trt_benchmark(inputs) measures, and the engine itself, are held against the stored baseline "
    "and against absolute limits; several of these add up.",
}
