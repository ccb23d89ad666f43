"""Outputs as scores that are ranked, one ranking for each row along the last axis."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.agreement import topk_agreement
from pytest_trt.accuracy.metrics.arguments import real_numbers, unfit


def topk(outputs: npt.ArrayLike, reference: npt.ArrayLike, k: int = 1) -> float:
    """Return the mean share of a row's k largest elements that are among the reference's k largest.

    From 0 to 1; larger is better. In a test its names are "top1", "top5" and so on; top1 is the
    share of rows whose largest element is where the reference has its largest. The first index wins
    ties among the outputs; any element that ties for the reference's last places counts as one of
    its k largest. The same as `top1=` and `topk=` of `trt_consistency`, but for NaN, which gives
    NaN.

    Args:
        outputs: Scores; each row along the last axis has more than k.
        reference: The same shape.
        k: How many of the largest.

    Raises:
        ConfigurationError: No row could disagree: there are at most k classes, or every row of the
            reference is constant.
    """
    left, right = real_numbers("topk", outputs, reference)
    classes = left.shape[-1] if left.ndim else 1
    if not 0 < k < classes:
        raise unfit(
            "topk", f"k={k!r} of {classes} classes", "Give rows of more classes than k, from 1 on."
        )
    if any(side.dtype.kind not in "biu" and np.isnan(side).any() for side in (left, right)):
        return math.nan
    found = topk_agreement(left, right, k, "forbid")
    if found is None:
        raise unfit(
            "topk",
            "every row of the reference is constant, so there is nothing to rank",
            "Use inputs whose outputs differ within a row.",
        )
    return found
