"""Outputs of a greedy decode loop: token ids [batch, steps], or [steps] of one sequence.

Where the two sides have different numbers of steps, the shorter one has diverged at its end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.arrays import Array
from pytest_trt.accuracy.metrics.arguments import unfit
from pytest_trt.tensors.elements import dtype_name


def token_agreement(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the share of token ids that are equal at their step, of the longer side's steps.

    From 0 to 1; larger is better. One early divergence changes all that follows, so this is
    lenient about late ones and severe about early ones; see `first_divergence`.

    Args:
        outputs: Integers [batch, steps] or [steps].
        reference: Integers with the same batch; the number of steps may differ.
    """
    same, steps = _agreeing("token_agreement", outputs, reference)
    return int(np.count_nonzero(same)) / (len(same) * steps)


def first_divergence(outputs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return how many steps agree before the first token that differs, in the worst sequence.

    From 0, in steps; larger is better. That is the index of the first token that differs; all of
    the steps where none does.

    Args:
        outputs: Integers [batch, steps] or [steps].
        reference: Integers with the same batch; the number of steps may differ.
    """
    same, _ = _agreeing("first_divergence", outputs, reference)
    differing = np.flatnonzero(~same.all(axis=0))
    return float(differing[0] if differing.size else same.shape[1])


def _agreeing(
    metric: str, outputs: npt.ArrayLike, reference: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which tokens agree over the steps that both sides have, and the longer side's steps.

    Raises:
        ConfigurationError: The arrays are not token ids, or are not of one batch.
    """
    left, right = (_tokens(metric, side) for side in (outputs, reference))
    if len(left) != len(right):
        raise unfit(
            metric,
            f"{len(left)} sequences, reference {len(right)}",
            "Give [batch, steps] of one batch.",
        )
    steps = max(left.shape[1], right.shape[1])
    if not steps or not len(left):
        raise unfit(metric, "there are no tokens", "Use inputs that give some.")
    shared = min(left.shape[1], right.shape[1])
    return left[:, :shared] == right[:, :shared], steps


def _tokens(metric: str, side: npt.ArrayLike) -> Array:
    array = np.asarray(side)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise unfit(
            metric,
            f"{dtype_name(array.dtype)}{list(array.shape)} are no token ids",
            "Give integers [batch, steps].",
        )
    return array.reshape(1, -1) if array.ndim == 1 else array
