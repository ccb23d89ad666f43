"""A failed comparison as one diagnostic: what differs, by how much, where, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from pytest_trt.accuracy.judge import found_in_all, gravest, is_exact, scalar, with_finding
from pytest_trt.accuracy.offer import sensible, tolerance_offer
from pytest_trt.accuracy.remedy import is_of_fixture, remedy_for
from pytest_trt.accuracy.result import (
    UNMEASURED,
    Comparison,
    Finding,
    Kind,
    MetricOutcome,
    OutputResult,
)
from pytest_trt.accuracy.subject import MovedRows, OtherModel, Subject
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy
from pytest_trt.units import below, multiple, percent_of, rounded_up
from pytest_trt.wording import count

#: Characters for the names of outputs: about 45 of the line survive in a terminal of 80 columns,
#: and what is wrong with the outputs has to be among them.
_NAMES_LENGTH = 24

#: Further outputs that have a row each.
_ROWS = 10

#: Kinds of findings that wrong values cause.
_OF_VALUES = ("mismatch", "nonfinite", "top1", "topk", "cosine", "metric", "no metric value")

_CODES: dict[Kind, str] = {
    "nothing compared": "TRT400",
    "mismatch": "TRT401",
    "nonfinite": "TRT402",
    "shape": "TRT404",
    "dtype": "TRT405",
    "missing": "TRT406",
    "extra": "TRT406",
    "renamed": "TRT406",
    "swapped": "TRT407",
    "top1": "TRT410",
    "topk": "TRT410",
    "cosine": "TRT411",
    "not applicable": "TRT412",
    "no metric value": "TRT419",
    "metric": "TRT414",
    "not stored": "TRT679",
}


def explain(
    comparison: Comparison,
    subject: Subject | None = None,
    *,
    runs: Comparison | None = None,
    context: Sequence[str] = (),
    against: str = "",
) -> Diagnostic:
    """Return why a comparison failed.

    Args:
        comparison: The run that failed; of several the worst.
        subject: What was compared.
        runs: All runs as one, see `merge_runs`: a tolerance is offered only if all would pass.
        context: Lines about this run and others, shown before the rows of further outputs.
        against: What was compared with, if that is not the model or its reference.
    """
    subject = subject or Subject()
    finding, output = gravest(comparison)
    other = subject.other
    agrees = other is not None and other.agrees
    of_fixture = other is not None and is_of_fixture(finding.kind, output, other)
    runs = comparison if runs is None else runs
    offer = tolerance_offer(comparison, runs, subject.precision)
    if other is not None and other.agrees is not False and not (other.agrees and other.converted):
        # No tolerance makes up for a model that has changed, or for a wrong export.
        offer = None
    name = against or (PurePath(other.path).name if other else "")
    against = f" against {name}" if name else ""
    of = f" ({subject})" if str(subject) else ""
    facts: dict[str, Fact] = {
        "model": subject.model,
        "path": subject.path,
        "precision": subject.precision,
        "arch": subject.arch,
        "several_precisions": subject.several,
        "reference": other.path if other else None,
        "outputs": [one.name for one in comparison.outputs if not one.passed],
        **_facts(finding, output),
        "offer": offer,
    }
    if subject.tried is not None:
        facts |= {"tried": list(subject.tried.options), "passing": subject.tried.passing}
    if subject.outside:
        facts["outside_range"] = [one.input for one in subject.outside]
    if metrics := [one.name for one in comparison.failed_metrics]:
        facts["metrics"] = [*metrics]
    fault = subject.fault if finding.kind in _OF_VALUES else None
    if fault is not None:
        facts["known_fault"] = fault.text
    details = [
        *((f"likely cause: {fault.text}",) if fault else ()),
        *_primary(finding, output, comparison),
        *_moved(subject.moved),
        *(_needed(output, subject.precision) if output is not None and offer else ()),
        *(one.text for one in found_in_all(comparison) if output is not None),
        *(f"possible cause: {one.figures}" for one in subject.outside),
        *context,
        *_own_model(other),
        *_rows(comparison, output),
    ]
    remedy = remedy_for(comparison, subject, offer)
    if fault is not None:
        still = remedy.as_alternatives("if it still fails:") if remedy else ()
        remedy = replace(fault.remedy, alternatives=still)
    return Diagnostic(
        _code(finding, output, agrees=bool(agrees) and not of_fixture),
        f"{fact(comparison)}{against}{of}",
        facts,
        tuple(details),
        remedy,
    )


def explain_stored(
    comparison: Comparison,
    changed: Comparison | None,
    subject: Subject,
    *,
    runs: Comparison,
    context: Sequence[str] = (),
    update: str,
    no_reference: str = "",
) -> Diagnostic:
    """Return why an engine differs from stored answers: it does, or its model does.

    Args:
        comparison: The engine's outputs against them; of several runs the worst.
        changed: The FP32 outputs of the model, or of its reference, against them; None where these
            agree, or could not be computed.
        subject: What was compared.
        runs: All runs as one.
        context: Lines about this run, others, and what is stored.
        update: The command that replaces what is stored.
        no_reference: Why these FP32 outputs could not be computed; empty where they could.
    """
    if changed is None:
        found = explain(
            comparison, subject, runs=runs, context=context, against="the stored answers"
        )
        found = replace(found, facts={**found.facts, "against": "stored"})
        if comparison.kinds <= {*UNMEASURED}:
            return found
        if no_reference:
            return _of_unknown_cause(found, subject, no_reference)
        return replace(found, details=(_which_differs(subject), *found.details))
    # The model itself runs in FP32: nothing of the engine explains what it computes.
    of_model = replace(subject, fault=None, outside=())
    found = explain(changed, of_model, runs=changed, context=context)
    own, outputs, restored = "the model's own", "the model's FP32 outputs", "the model"
    if subject.other is not None:
        restored = subject.other.path
        own, outputs = f"{PurePath(restored).name}'s", f"the outputs of {restored}"
    return Diagnostic(
        "TRT416",
        f"{own} answers changed: {fact(changed)} ({subject})",
        {**found.facts, "against": "stored", "offer": None},
        (f"compared: {outputs} with the stored answers", *found.details),
        Remedy(
            f"If the change is intended, accept the new answers; if not, restore {restored}.",
            (update,),
        ),
    )


def _of_unknown_cause(found: Diagnostic, subject: Subject, no_reference: str) -> Diagnostic:
    """Return a difference from stored answers where nothing shows which of the two differs."""
    other, remedy = subject.other, found.remedy
    what = "the model's own FP32 outputs" if other is None else f"the outputs of {other.path}"
    if other is not None:
        remedy = Remedy(
            f"{other.path} could not be computed for these inputs, so the model or the engine may "
            "be the cause. Correct it first."
        )
    unknown = f"{what} could not be computed for these inputs: {no_reference}"
    return replace(found, details=(unknown, *found.details), remedy=remedy)


def _which_differs(subject: Subject) -> str:
    """Return which of the two differs, where the reference agrees with the stored answers."""
    other = subject.other
    if other is None:
        return "the model's own FP32 outputs agree with the stored answers: the engine differs"
    same = f"the outputs of {other.path} agree with the stored answers"
    if other.agrees:
        return f"{same}, and the engine with {other.model} in FP32: {other.model} differs"
    return same if other.agrees is None else f"{same}: the engine differs"


def fact(comparison: Comparison) -> str:
    """Return what is wrong with a failed comparison, in a few words."""
    finding, output = gravest(comparison)
    if output is None:
        return _of_the_set(finding, comparison)
    same = with_finding(comparison, finding.kind)
    names = _named([other.name for other in same])
    match finding.kind:
        case "nonfinite":
            return _nonfinite(same)
        case "shape" | "dtype":
            return f"{names}: wrong {finding.kind}"
        case "mismatch":
            return f"{_short(output.name)}: {_excess(output)}"
        case "nothing compared":
            return f"{names}: nothing compared"
        case "not applicable":
            return f"{_short(output.name)}: cannot be checked as requested"
        case "not stored":
            return f"{_short(output.name)}: cannot be checked against a sketch"
    return f"{_short(output.name)}: {_agreement(finding.kind, output)}"


def _code(finding: Finding, output: OutputResult | None, *, agrees: bool) -> str:
    if agrees and finding.kind not in UNMEASURED:
        return "TRT415"
    if output is not None:
        if finding.kind == "mismatch" and is_exact(output):
            return "TRT413"
        if finding.kind == "nonfinite" and not output.nonfinite.in_actual:
            return "TRT403"
    return _CODES[finding.kind]


def _facts(finding: Finding, output: OutputResult | None) -> dict[str, Fact]:
    """Return the figures of the gravest finding; infinite ones as text, as JSON has none."""
    facts: dict[str, Fact] = {"kind": finding.kind}
    if output is None:
        return facts
    figures = {
        "used": output.used,
        "needed_atol": output.needed_atol,
        "needed_rtol": output.needed_rtol,
    }
    facts |= {name: v if math.isfinite(v) else str(v) for name, v in figures.items()}
    facts |= {
        "output": output.name,
        "mismatched": output.mismatched,
        "total": output.compared,
        "rtol": output.tolerance.rtol,
        "atol": output.tolerance.atol,
    }
    worst = output.worst_used
    if worst is not None:
        facts |= {
            "worst_index": list(worst.index),
            "worst_actual": worst.actual,
            "worst_reference": worst.reference,
        }
    return facts


def _of_the_set(finding: Finding, comparison: Comparison) -> str:
    names = finding.outputs
    match finding.kind:
        case "swapped":
            short = [_short(name, _NAMES_LENGTH // 2) for name in names]
            return f"{' and '.join(short)} are swapped"
        case "renamed":
            return f"{_short(names[0])} is missing, {_short(names[1])} is new"
        case "nothing compared":
            return "nothing compared"
        case "metric" | "no metric value" | "not stored":
            return _metric(next(m for m in comparison.failed_metrics if m.kind == finding.kind))
    found = [one.outputs[0] for one in comparison.findings if one.kind == finding.kind]
    verb = "is" if len(found) == 1 else "are"
    what = "missing" if finding.kind == "missing" else "not in the reference"
    return f"{_named(found)} {verb} {what}"


def _metric(metric: MetricOutcome) -> str:
    of = f"{_short(metric.output)}: " if metric.output else ""
    if metric.not_stored:
        return f"{of}{_short(metric.name)} cannot be computed from a sketch"
    if metric.problem:
        return f"{of}{_short(metric.name)} has no value"
    return f"{of}{_short(metric.name)} {metric.figure}, required {metric.limit}"


def _nonfinite(outputs: Sequence[OutputResult]) -> str:
    affected = [output for output in outputs if output.nonfinite.in_actual]
    if not affected:
        return f"{_named([output.name for output in outputs])}: the reference is not finite"
    kinds = {
        "NaN": any(o.nonfinite.actual_nan for o in affected),
        "Inf": any(o.nonfinite.in_actual > o.nonfinite.actual_nan for o in affected),
    }
    what = " and ".join(kind for kind, there in kinds.items() if there)
    return f"{_named([output.name for output in affected])}: {what} in the output"


def _excess(output: OutputResult) -> str:
    """Return by how much an output exceeds its tolerance: "9.05x over tolerance"."""
    share = f"{output.mismatched:,} of {count(output.compared, 'element')}"
    if is_exact(output) or output.tolerance.atol == output.tolerance.rtol == 0.0:
        return f"{share} differ"
    if output.tolerance.max_mismatch_pct or math.isinf(output.used):
        return f"{share} over tolerance"
    times = multiple(output.used)
    return "just over tolerance" if times == "1" else f"{times}x over tolerance"


def _agreement(kind: Kind, output: OutputResult) -> str:
    tolerance = output.tolerance
    k, least_topk = tolerance.topk or (0, None)
    label, value, least = {
        "cosine": ("cosine", output.cosine, tolerance.cosine),
        "top1": ("top1", output.top1, tolerance.top1),
        "topk": (f"top{k}", output.topk, least_topk),
    }[kind]
    assert value is not None
    assert least is not None
    return f"{label} {below(value, least)} < {least:g}"


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
    # Both ends are shown: names that tools make differ in the last characters.
    end = length // 2 - 1
    return f"{name[:end]}..{name[-end:]}"


def _primary(
    finding: Finding, output: OutputResult | None, comparison: Comparison
) -> Iterator[str]:
    """Yield the lines about the gravest finding, and others of the same output."""
    if output is None:
        yield from (one.text for one in found_in_all(comparison))
        return
    if _short(output.name) != output.name:
        yield output.name
    yield from (one.text for one in sorted(output.findings, key=lambda one: one is not finding))
    worst = output.worst_used
    if worst is not None and output.mismatched:
        actual, reference = scalar(worst.actual), scalar(worst.reference)
        if actual == reference:
            # Four digits hide a difference in the fifth.
            actual, reference = repr(worst.actual), repr(worst.reference)
        at = f" at {list(worst.index)}" if worst.index else ""
        which = "first" if math.isinf(worst.value) else "worst"
        yield f"{which}{at}: {actual}, reference {reference}"
    if output.rows is not None and output.rows.total > 1:
        yield _spread(output)


def _spread(output: OutputResult) -> str:
    rows = output.rows
    assert rows is not None
    if rows.mismatched == rows.total:
        return f"all {rows.total:,} rows along axis 0 differ"
    if rows.mismatched == 1:
        return f"only row {rows.first} of {rows.total:,} along axis 0 differs"
    span = f"{rows.first} to {rows.last}"
    if rows.last - rows.first + 1 == rows.mismatched:
        return f"rows {span} of {rows.total:,} along axis 0 differ"
    return f"{rows.mismatched:,} of {rows.total:,} rows along axis 0 differ ({span})"


def _needed(output: OutputResult, precision: str) -> Iterator[str]:
    """Yield the smallest tolerances that pass, unless they would test nothing any more."""
    atol, rtol = sensible(output, precision)
    parts = []
    if atol is not None:
        parts.append(f"atol={rounded_up(atol, 4):.4g} at rtol={output.tolerance.rtol:.4g}")
    if rtol is not None:
        parts.append(f"rtol={rounded_up(rtol, 4):.4g} at atol={output.tolerance.atol:.4g}")
    if parts and output.mismatched and not is_exact(output):
        yield f"smallest tolerance that passes: {', or '.join(parts)}"


def _moved(rows: MovedRows | None) -> Iterator[str]:
    if rows is not None:
        which = f"{rows.moved:,} of {count(rows.differing, 'row')} along axis {rows.axis} that"
        if rows.moved == rows.differing:
            which = f"the {count(rows.moved, 'row')} along axis {rows.axis} that"
        yield f"{which} differ are those of the reference in another order"


def _own_model(other: OtherModel | None) -> Iterator[str]:
    if other is not None and other.agrees is False:
        yield "the engine does not agree with its own model in FP32 either"
    if other is not None and other.engine_differs:
        yield f"the engine differs from its own model in FP32 too: {other.engine_differs}"


def _rows(comparison: Comparison, primary: OutputResult | None) -> Iterator[str]:
    """Yield a row for each further output, the worst first."""
    rest = [output for output in comparison.outputs if output is not primary]
    failed = sorted((o for o in rest if not o.passed), key=lambda o: -o.used)
    passed = [output for output in rest if output.passed]
    yield from (failed_row(output) for output in failed[:_ROWS])
    if len(failed) > _ROWS:
        yield f"and {count(len(failed) - _ROWS, 'more output')} failed"
    room = max(_ROWS - len(failed), 0)
    yield from (_passed_row(output) for output in passed[:room])
    if len(passed) > room:
        yield f"and {count(len(passed) - room, 'more output')} passed"


def failed_row(output: OutputResult) -> str:
    """Return what is wrong with an output, and with how many of its elements."""
    one = fact(Comparison((output,)))
    if output.findings[0].kind == "mismatch" and not is_exact(output):
        return f"{one} ({output.mismatched:,} of {count(output.compared, 'element')})"
    return one


def _passed_row(output: OutputResult) -> str:
    if not output.size:
        return f"{output.name}: passed, but it has no elements ({list(output.shape)})"
    if not output.tolerance.elementwise:
        return f"{output.name}: its elements are not compared"
    parts = [f"{percent_of(100.0 * output.used)} of the tolerance used"]
    if output.worst_abs is None:
        parts = [f"equal in every element{' of its sketch' * bool(output.sampled)}"]
    if output.mismatched:
        share, allowed = percent_of(output.mismatched_pct), output.tolerance.max_mismatch_pct
        parts = [f"{share} of the elements over tolerance ({allowed:g}% may be)"]
    parts += [
        f"{name} {value:.4g}"
        for name, value in (
            ("cosine", output.cosine),
            ("top1", output.top1),
            (f"top{(output.tolerance.topk or (0,))[0]}", output.topk),
        )
        if value is not None
    ]
    if output.nonfinite.positions:
        verb = "left out" if output.tolerance.nan == "ignore" else "the same on both sides"
        parts.append(f"{count(output.nonfinite.positions, 'non-finite position')} {verb}")
    return f"{output.name}: passed, {', '.join(parts)}"
