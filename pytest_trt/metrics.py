"""Metrics of outputs against a reference, in plain NumPy: `from pytest_trt.metrics import snr_db`.

Each takes the outputs and the reference, in this order, and returns a float, computed in float64.
NaN on either side gives NaN, which no limit allows. Arrays that a metric cannot judge (other
shapes, no elements, another type) raise a `ConfigurationError`.

In a test, `trt_consistency(metrics={"snr_db": ">= 40"})` uses those of one output by their name.
`detections` makes a metric of several outputs.
"""

from __future__ import annotations

from pytest_trt.accuracy.metrics.detection import Detections, detections
from pytest_trt.accuracy.metrics.distributions import kl_divergence, kl_divergence_logits
from pytest_trt.accuracy.metrics.errors import (
    max_abs,
    max_rel,
    mean_abs,
    mean_rel,
    percentile_abs,
    percentile_rel,
)
from pytest_trt.accuracy.metrics.ranking import topk
from pytest_trt.accuracy.metrics.signals import cosine, psnr_db, snr_db
from pytest_trt.accuracy.metrics.tokens import first_divergence, token_agreement

__all__ = [
    "Detections",
    "cosine",
    "detections",
    "first_divergence",
    "kl_divergence",
    "kl_divergence_logits",
    "max_abs",
    "max_rel",
    "mean_abs",
    "mean_rel",
    "percentile_abs",
    "percentile_rel",
    "psnr_db",
    "snr_db",
    "token_agreement",
    "topk",
]
