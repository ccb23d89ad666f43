"""The metrics that a test names by a string: what they compute, their unit, range and direction."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

from pytest_trt.accuracy.metrics import detection, distributions, errors, ranking, signals, tokens

#: A metric: of the outputs, the reference and, if it takes three arguments, the inputs.
MetricFunction: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What is known of a metric of this package.

    Attributes:
        function: Computes it.
        larger_is_better: Whether a larger value is a better one.
        least: Its least value.
        most: Its largest value.
        unit: Its unit; empty for shares, ratios and what is in the output's own unit.
        of: What it judges: outputs of floating-point numbers by default, or token ids.
        ranked: How many of the largest elements of a row it looks for; 0 where it ranks none.
    """

    function: MetricFunction
    larger_is_better: bool
    least: float
    most: float
    unit: str = ""
    of: Literal["floats", "tokens"] = "floats"
    ranked: int = 0


def _error(function: MetricFunction) -> BuiltIn:
    return BuiltIn(function, larger_is_better=False, least=0.0, most=math.inf)


def _share(function: MetricFunction, of: Literal["floats", "tokens"] = "floats") -> BuiltIn:
    return BuiltIn(function, larger_is_better=True, least=0.0, most=1.0, of=of)


def _divergence(function: MetricFunction) -> BuiltIn:
    return BuiltIn(function, larger_is_better=False, least=0.0, most=math.inf, unit="nats")


def _ratio_db(function: MetricFunction) -> BuiltIn:
    return BuiltIn(function, larger_is_better=True, least=-math.inf, most=math.inf, unit="dB")


_BY_NAME = {
    "max_abs": _error(errors.max_abs),
    "mean_abs": _error(errors.mean_abs),
    "max_rel": _error(errors.max_rel),
    "mean_rel": _error(errors.mean_rel),
    "cosine": BuiltIn(signals.cosine, larger_is_better=True, least=-1.0, most=1.0),
    "snr_db": _ratio_db(signals.snr_db),
    "psnr_db": _ratio_db(signals.psnr_db),
    "kl_divergence": _divergence(distributions.kl_divergence),
    "kl_divergence_logits": _divergence(distributions.kl_divergence_logits),
    "token_agreement": _share(tokens.token_agreement, "tokens"),
    "first_divergence": BuiltIn(
        tokens.first_divergence,
        larger_is_better=True,
        least=0.0,
        most=math.inf,
        unit="steps",
        of="tokens",
    ),
}

#: Names as messages and documentation list them; of percentiles and ranks as an example.
BUILT_IN_NAMES = (*_BY_NAME, "p99_abs", "p99_rel", "top1", "top5")

_PERCENTILES = {"abs": errors.percentile_abs, "rel": errors.percentile_rel}


def built_in(name: str) -> BuiltIn | None:
    """Return the metric of a name, or None: "max_abs", "p99.9_abs", "top5"."""
    percentile = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)_(abs|rel)", name)
    if percentile and float(percentile[1]) > 0.0:
        function = _PERCENTILES[percentile[2]]
        return _error(partial(function, percentile=float(percentile[1])))
    rank = re.fullmatch(r"top([1-9]\d*)", name)
    if rank:
        k = int(rank[1])
        return replace(_share(partial(ranking.topk, k=k)), ranked=k)
    return _BY_NAME.get(name)


def built_in_of(function: object) -> BuiltIn | None:
    """Return what is known of a function, or None where it is not one of this package."""
    if isinstance(function, detection.Detections):
        return _share(function)
    return next((one for one in _BY_NAME.values() if one.function is function), None)
