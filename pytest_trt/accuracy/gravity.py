"""Which finding explains the others: what a failure begins with and what its fix is for."""

from __future__ import annotations

from pytest_trt.accuracy.findings import Comparison, Finding, OutputComparison

#: Kinds of findings, the one that explains the others first.
_GRAVITY = (
    "swapped",
    "renamed",
    "missing",
    "extra",
    "nothing compared",
    "shape",
    "nonfinite",
    "dtype",
    "mismatch",
    "not applicable",
    "cosine",
    "top1",
    "topk",
)


def gravest(comparison: Comparison) -> tuple[Finding, OutputComparison | None]:
    """Return the gravest finding of a comparison that failed, and the output that it is of.

    The output is None where the finding is of the comparison as a whole. Of several outputs with
    findings of one kind, it is the one that is furthest off.
    """
    whole = [(finding, None) for finding in comparison.findings]
    single = [(finding, output) for output in comparison.outputs for finding in output.findings]
    return min([*whole, *single], key=_rank)


def with_finding(comparison: Comparison, kind: str) -> list[OutputComparison]:
    """Return the outputs that have a finding of a kind."""
    return [
        output
        for output in comparison.outputs
        if any(finding.kind == kind for finding in output.findings)
    ]


def is_exact(output: OutputComparison) -> bool:
    """Whether equality is asked for, or all that there is: a larger tolerance is no answer then."""
    zero = output.tolerance.atol == output.tolerance.rtol == 0.0
    return output.worst_abs is None or output.dtype == "bool" or (zero and "int" in output.dtype)


def _rank(found: tuple[Finding, OutputComparison | None]) -> tuple[int, bool, float]:
    finding, output = found
    gravity = _GRAVITY.index(finding.kind)
    if output is None:
        return gravity, False, 0.0
    # A class or an index follows from the scores: where those fail too, they are the cause.
    return gravity, is_exact(output), -output.used
