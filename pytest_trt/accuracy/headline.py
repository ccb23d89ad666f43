"""The first line of a failure, which begins with the fact: pytest's short summary cuts it off."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_trt.accuracy.findings import Comparison, OutputComparison
from pytest_trt.accuracy.gravity import gravest, is_exact, with_finding
from pytest_trt.accuracy.numbers import multiple
from pytest_trt.wording import count

#: Characters for the names of outputs: about 45 of the line survive in a terminal of 80 columns,
#: and what is wrong with the outputs has to be among them.
_NAMES_LENGTH = 24


def headline(comparison: Comparison, subject: str) -> str:
    """Return one line: what is wrong, with what, and how many outputs it concerns.

    Args:
        comparison: What was found.
        subject: What was compared.
    """
    failed = sum(not output.passed for output in comparison.outputs)
    total = len(comparison.outputs)
    outputs = f"{total} of {count(total, 'output')}"
    if comparison.passed:
        return f"{subject}: {outputs} passed."
    if failed:
        rest = f"{failed} of {count(total, 'output')} failed."
    elif any(output.compared for output in comparison.outputs):
        rest = "the set of outputs is wrong, the values of those that were compared pass."
    else:
        rest = "no value was compared."
    return f"{fact(comparison)} ({subject}): {rest}"


def fact(comparison: Comparison) -> str:
    """Return what is wrong with a comparison that failed, in a few words."""
    finding, output = gravest(comparison)
    if output is None:
        return _of_whole(finding.kind, finding.outputs, comparison)
    alike = with_finding(comparison, finding.kind)
    same = [other.name for other in alike]
    name = _short(output.name)
    match finding.kind:
        case "nonfinite":
            return _nonfinite(alike)
        case "shape" | "dtype":
            return f"{_named(same)} {_has(same)} another {finding.kind}"
        case "mismatch":
            return _mismatch(name, output)
        case "nothing compared":
            return f"nothing compared in {_named(same)}"
        case "not applicable":
            return f"{name} cannot be checked as asked"
        case _:
            return f"{name}: {_agreement(finding.kind, output)}"


def _of_whole(kind: str, names: Sequence[str], comparison: Comparison) -> str:
    if kind == "swapped":
        return f"{' and '.join(_short(name, _NAMES_LENGTH // 2) for name in names)} are swapped"
    if kind == "renamed":
        return f"{_short(names[0])} is missing, {_short(names[1])} is new"
    if kind == "nothing compared":
        return "nothing compared"
    found = [f.outputs[0] for f in comparison.findings if f.kind == kind]
    verb = "is" if len(found) == 1 else "are"
    what = "missing" if kind == "missing" else "not in the reference"
    return f"{_named(found)} {verb} {what}"


def _nonfinite(outputs: Sequence[OutputComparison]) -> str:
    affected = [output for output in outputs if output.nonfinite.in_actual]
    if not affected:
        return f"the reference of {_named([output.name for output in outputs])} is not finite"
    kinds = {
        "NaN": any(o.nonfinite.actual_nan for o in affected),
        "Inf": any(o.nonfinite.in_actual > o.nonfinite.actual_nan for o in affected),
    }
    names = [output.name for output in affected]
    what = " and ".join(kind for kind, there in kinds.items() if there)
    return f"{_named(names)} {_has(names)} {what}"


def _mismatch(name: str, output: OutputComparison) -> str:
    share = f"{output.mismatched:,} of {output.compared:,}"
    if is_exact(output) or output.tolerance.atol == output.tolerance.rtol == 0.0:
        return f"{name}: {share} differ"
    if output.tolerance.max_mismatch_pct or output.used == float("inf"):
        return f"{name}: {share} beyond its tolerance"
    times = multiple(output.used)
    return (
        f"{name} just above its tolerance" if times == "1" else f"{name} at {times}x its tolerance"
    )


def _agreement(kind: str, output: OutputComparison) -> str:
    tolerance = output.tolerance
    k, least_topk = tolerance.topk or (0, None)
    label, value, least = {
        "cosine": ("cosine", output.cosine, tolerance.cosine),
        "top1": ("top1", output.top1, tolerance.top1),
        "topk": (f"top{k}", output.topk, least_topk),
    }[kind]
    return f"{label} {value:.4g} < {least:g}"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _named(names: Sequence[str]) -> str:
    """Return two names where they are short, else the first and how many others there are."""
    first, *others = names
    if not others:
        return _short(first)
    if len(others) == 1 and len(first) + len(others[0]) <= _NAMES_LENGTH:
        return f"{first} and {others[0]}"
    # Nine characters fewer, for what follows the name.
    return f"{_short(first, _NAMES_LENGTH - 9)} and {count(len(others), 'other')}"


def _short(name: str, length: int = _NAMES_LENGTH) -> str:
    if len(name) <= length:
        return name
    # Both ends are kept: names that tools make differ in the last characters.
    kept = length // 2 - 1
    return f"{name[:kept]}..{name[-kept:]}"
