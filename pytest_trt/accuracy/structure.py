"""The set of outputs and their shapes, which are checked before any value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from pytest_trt.accuracy.arrays import Array
from pytest_trt.accuracy.result import Finding
from pytest_trt.accuracy.sketch import Sketch
from pytest_trt.tensors.elements import dtype_name

#: Elements sampled, evenly spread, to check whether one output holds another's values.
_SAMPLE = 4096


def name_findings(
    actual: Mapping[str, Array], reference: Mapping[str, Array | Sketch]
) -> tuple[Finding, ...]:
    """Return what is wrong with the set of outputs: missing, extra, probably renamed, or none."""
    missing = [name for name in reference if name not in actual]
    extra = [name for name in actual if name not in reference]
    findings = []
    for name in list(missing):
        new = _renamed_to(name, reference[name], extra, actual)
        if new is None:
            continue
        missing.remove(name)
        extra.remove(new)
        findings.append(
            Finding(
                "renamed",
                f"output {name!r} is missing, and {new!r} has its shape and dtype "
                f"({_describe(actual[new])}): probably renamed",
                (name, new),
            )
        )
    has = ", ".join(map(repr, actual)) or "none"
    findings += [
        Finding(
            "missing",
            f"output {name!r} ({_describe(reference[name])}) is missing; returned: {has}",
            (name,),
        )
        for name in missing
    ]
    wants = ", ".join(map(repr, reference)) or "none"
    findings += [
        Finding(
            "extra",
            f"output {name!r} ({_describe(actual[name])}) is not in the reference, "
            f"which has {wants}",
            (name,),
        )
        for name in extra
    ]
    if not any(name in actual for name in reference):
        findings.append(Finding("nothing compared", "no output was compared with a reference"))
    return tuple(findings)


def _renamed_to(
    name: str, expected: Array | Sketch, candidates: Sequence[str], actual: Mapping[str, Array]
) -> str | None:
    """The only extra output that looks like a missing one, or the closest name among several."""
    similar = [
        other
        for other in candidates
        if actual[other].shape == expected.shape and actual[other].dtype == expected.dtype
    ]
    if len(similar) > 1:
        similar = difflib.get_close_matches(name, similar, n=1, cutoff=0.0)
    return similar[0] if similar else None


def shape_finding(actual: tuple[int, ...], reference: tuple[int, ...]) -> Finding:
    """Return how two shapes differ."""
    text = f"shape {list(actual)}, reference {list(reference)}"
    if len(actual) == len(reference) and actual[1:] == reference[1:]:
        text += ": only axis 0, usually the batch, differs"
    elif [dim for dim in actual if dim != 1] == [dim for dim in reference if dim != 1]:
        text += ": only axes of length 1 differ"
    elif sorted(actual) == sorted(reference):
        text += ": the axes are permuted, as between NHWC and NCHW"
    elif np.prod(actual, dtype=object) == np.prod(reference, dtype=object):
        text += ": reshaped, the number of elements is the same"
    return Finding("shape", text)


def holds_values_of(actual: Array, reference: Array, rtol: float, atol: float) -> bool:
    """Whether a sample of an output lies within the tolerance of another output's reference."""
    if actual.shape != reference.shape or actual.dtype != reference.dtype or not actual.size:
        return False
    places = np.unique(np.linspace(0, actual.size - 1, _SAMPLE).astype(np.intp))
    index = np.unravel_index(places, actual.shape)
    left, right = (side[index].astype(np.complex128) for side in (actual, reference))
    with np.errstate(invalid="ignore"):  # NumPy 1 multiplies infinite complex numbers in it
        return bool(np.isclose(left, right, rtol=rtol, atol=atol, equal_nan=True).all())


def _describe(array: Array | Sketch) -> str:
    return f"{dtype_name(array.dtype)}{list(array.shape)}"
