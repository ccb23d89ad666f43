"""What to do about a failed comparison: the remedy for its gravest finding."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_trt.accuracy.judge import gravest, idle_field, is_exact, is_rounded, with_finding
from pytest_trt.accuracy.offer import (
    BEYOND_DEFAULT,
    Offer,
    allowing,
    allowing_exact,
    offer_text,
    sensible,
)
from pytest_trt.accuracy.result import UNMEASURED, Comparison, Kind, OutputResult
from pytest_trt.accuracy.subject import CalibratedBy, MovedRows, OtherModel, Subject, Tried
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance
from pytest_trt.diagnostics import Remedy
from pytest_trt.engine.spec import CALIBRATED
from pytest_trt.units import rounded_up

#: Up to this many times the tolerance, a difference looks like rounding rather than a defect.
_SLIGHTLY_ABOVE = 4.0

#: Without a known precision, no rounding explains a difference of this many times the tolerance.
_FAR_ABOVE = 100.0

#: Kinds that judge an output as a whole.
_AGREEMENT = ("cosine", "top1", "topk")


def remedy_for(comparison: Comparison, subject: Subject, offer: Offer | None) -> Remedy:
    """Return what to do about a comparison that failed."""
    finding, output = gravest(comparison)
    other = subject.other
    if other is not None and is_of_fixture(finding.kind, output, other):
        return Remedy(_OF_FIXTURE[finding.kind])
    if other is None or other.agrees is False or finding.kind in UNMEASURED:
        return _engine_remedy(finding.kind, output, comparison, subject, offer)
    if other.agrees:
        remedy = _other_model(other, subject, offer)
        names = _keyword_for_names(finding.kind, comparison)
        return replace(remedy, alternatives=(*names, *remedy.alternatives))
    engine = _engine_remedy(finding.kind, output, comparison, subject, None)
    return Remedy(
        f"{other.model} could not run in FP32 here, so the model or the engine may be the cause. "
        f"Compare {other.model} with {other.path} first.",
        alternatives=engine.as_alternatives("if the models agree:"),
    )


def is_of_fixture(kind: Kind, output: OutputResult | None, other: OtherModel) -> bool:
    """Whether the project's own reference is the cause by the form of what it returned."""
    if not other.is_fixture or other.agrees is False or kind not in _OF_FIXTURE:
        return False
    return kind != "nonfinite" or (output is not None and not output.nonfinite.in_actual)


def _other_model(other: OtherModel, subject: Subject, offer: Offer | None) -> Remedy:
    """The engine computes what its model specifies, so the two models differ."""
    if other.is_fixture and other.changed:
        model = shlex.quote(other.model)
        return Remedy(
            f"The model file changed since {other.changed}, which trt_reference still agrees with. "
            "Export it again from the same network, or restore it:",
            (f"git log -- {model}", f"git checkout COMMIT -- {model}"),
        )
    if other.is_fixture:
        if subject.moved is not None:
            return Remedy(
                "trt_reference returns rows in another order than the model: return them in its "
                "order.",
                alternatives=(f"if any order is right: {_ANY_ORDER}",),
            )
        known = f"The engine agrees with {other.model} in FP32, so"
        if other.engine_differs:
            known = "Most of the difference arises because"
        return Remedy(
            f"{known} the outputs of trt_reference differ from the model's. Check that both have "
            "the same weights, layout and preprocessing, and export the model again."
        )
    differs = f" in {other.differs}" if other.differs else ""
    reason = f"The engine agrees with {other.model}, which differs from {other.path}{differs}."
    if other.engine_differs:
        reason = (
            f"Most of the difference arises because {other.model} differs from "
            f"{other.path}{differs}."
        )
    if other.converted:
        return Remedy(
            f"{reason} Convert it again: calibrate on more representative inputs, or leave "
            "sensitive layers unconverted.",
            alternatives=(allowing(offer, subject),) if offer else (),
        )
    model, reference = shlex.quote(other.model), shlex.quote(other.path)
    new = f"`cp {model} {reference}`"
    return Remedy(
        f"{reason} Restore the model, unless the change is intended:",
        (f"git log -- {model}", f"git checkout COMMIT -- {model}"),
        () if other.names_differ else (f"if it is intended, make it the reference: {new}",),
    )


_ALL_OUTPUTS = "Return every output of the model from trt_reference, under the model's names."

#: What to do where the project's own reference differs from the model in more than its values.
_OF_FIXTURE: Mapping[Kind, str] = {
    "renamed": _ALL_OUTPUTS,
    "missing": _ALL_OUTPUTS,
    "extra": _ALL_OUTPUTS,
    "dtype": "Return the model's dtypes from trt_reference: array.astype(numpy.float32), "
    "tensor.float().",
    "shape": "Return the model's shapes from trt_reference: check layout and batch dimension.",
    "nonfinite": "trt_reference returned NaN or infinity where the engine does not: check its "
    "preprocessing.",
    "swapped": "Return the outputs of trt_reference under the model's names, or in the order of "
    "the model's outputs.",
}

_BY_KIND: Mapping[Kind, Remedy] = {
    "swapped": Remedy(
        "Return the outputs under the model's names: some step probably binds them by position."
    ),
    "renamed": Remedy(
        "Export the model with its previous output names.",
        alternatives=("if the new name is intended, update the reference",),
    ),
    "missing": Remedy(
        "Mark the tensor as an output of the model again.",
        alternatives=("if it was removed on purpose, update the reference",),
    ),
    "extra": Remedy(
        "Remove the output from the model.",
        alternatives=("if the new output is intended, update the reference",),
    ),
    "dtype": Remedy("Cast the output to the dtype of the reference."),
    "not applicable": Remedy(
        "Remove the measure from this output, or set it on one whose last axis is classes."
    ),
    "no metric value": Remedy(
        "Correct the metric, or use inputs and outputs for which it is defined: it has to return "
        "one real number at every run."
    ),
}


def _engine_remedy(
    kind: Kind,
    output: OutputResult | None,
    comparison: Comparison,
    subject: Subject,
    offer: Offer | None,
) -> Remedy:
    if kind == "not stored":
        return whole_remedy(comparison.outputs)
    if kind == "nothing compared":
        return _nothing_compared(output, comparison)
    if kind == "shape":
        first = "" if subject.model else "Check that both sides got the same inputs. "
        return Remedy(f"{first}Check the layout and the dynamic axes of the exported model.")
    idle = idle_field(output) if output and kind == "not applicable" else None
    if idle and idle[0] == "atol":
        return Remedy("Set an atol below the largest difference that this type allows.")
    if kind == "metric":
        return _precision_remedy(subject)
    if output is None or kind in _BY_KIND:
        return _BY_KIND[kind]
    if kind == "nonfinite":
        return _nonfinite(with_finding(comparison, "nonfinite"), subject)
    if kind == "mismatch":
        return _mismatch(output, comparison, subject, offer)
    what = "direction" if kind == "cosine" else "ranking"
    which = (
        "Each element is within its tolerance, but the" if output.tolerance.elementwise else "The"
    )
    return _with_reason(
        f"{which} {what} of {output.name!r} changed.",
        _precision_remedy(subject),
        "random inputs give near ties: compare rankings on real inputs"
        if what == "ranking"
        else "",
    )


def whole_remedy(outputs: Iterable[OutputResult]) -> Remedy:
    """Return how to store outputs whole that are stored as sketches.

    Args:
        outputs: What was compared; those that are stored whole do not matter.
    """
    largest = max(output.whole_bytes for output in outputs)
    needed = f"{math.ceil(largest / 1000)}KB"
    return Remedy(
        f"Store all elements; set trt_answers_size = {needed} in the ini file for later updates:",
        (f'pytest --trt-answers-size={needed} --trt-update --trt-update-reason "..."',),
    )


def _keyword_for_names(kind: Kind, comparison: Comparison) -> tuple[str, ...]:
    """Return how to map outputs that the reference seems to call otherwise, or to ignore others."""
    found = [one.outputs for one in comparison.findings if one.kind == kind]
    if kind == "renamed":
        names = {new: name for name, new in found}
        return (
            f"if only the names differ, map them in trt_model, such as reference_names={names}",
        )
    if kind == "missing":
        only = [name for name, *_ in found]
        return (f"if only the reference has to have it, add to trt_model: reference_only={only}",)
    return ()


def _nothing_compared(output: OutputResult | None, comparison: Comparison) -> Remedy:
    if output is not None:
        policy = f"nan={output.tolerance.nan!r}"
        if output.compared:  # by value, and its ranking was not
            return Remedy("Use inputs for which the outputs differ within a row.")
        return Remedy(f"Use inputs for which the outputs are finite, or remove {policy}.")
    if not comparison.outputs:
        return Remedy("Compare at least one output that both sides have.")
    return Remedy(
        "Use inputs for which the model returns non-empty outputs: empty ones agree whatever the "
        "engine computes."
    )


def _nonfinite(outputs: Sequence[OutputResult], subject: Subject) -> Remedy:
    # Under any policy but "forbid", what the reference has is allowed already.
    of_reference = [o for o in outputs if o.nonfinite.in_reference and o.tolerance.nan == "forbid"]
    of_engine = [output for output in outputs if output not in of_reference]
    match: Offer = {output.name: {"nan": "match"} for output in of_reference}
    allow = f"if NaN or infinity is intended there, such as a mask: {offer_text(match, subject)}"
    if not of_engine:
        return Remedy(
            "The FP32 reference itself is not finite: check the inputs and the model first.",
            alternatives=(allow,) if subject.model else (),
        )
    overflow = _overflow([output.name for output in of_engine], subject)
    if not match:
        return overflow
    return replace(overflow, alternatives=(*overflow.alternatives, allow))


def _overflow(names: Sequence[str], subject: Subject) -> Remedy:
    *first, last = [repr(name) for name in names[:3]] + ["others"] * (len(names) > 3)
    before = f"{', '.join(first)} and {last}" if first else last
    if subject.precision in ("fp32", "tf32", "int4"):  # activations are FP32
        return Remedy(
            "FP32's range rules out a plain overflow. Look for uninitialised memory, a wrong "
            f"input shape or a division by zero before {before}."
        )
    if not subject.precision:
        return Remedy(
            "If the engine computes in FP16, values above 65504 overflow: keep the layers that "
            f"compute {before} in FP32."
        )
    reason = "FP16 overflows above 65504, for example where a normalisation squares its input."
    if subject.precision == "bf16":
        reason = "BF16 overflows above 3.39e38, for example where FP32's lowest value is a mask."
    return _with_reason(reason, _keep_in_fp32(f"the layers that compute {before}", subject))


def _mismatch(
    output: OutputResult, comparison: Comparison, subject: Subject, offer: Offer | None
) -> Remedy:
    if is_exact(output):
        return _exact(output, subject, offer)
    if output.used > _SLIGHTLY_ABOVE and _only_later_rows(output) and _has_batch(comparison):
        assert output.rows is not None
        return Remedy(
            f"All rows from {output.rows.first} on along axis 0 are wrong, all earlier ones right: "
            "the engine or the test mishandles larger batches. Compare the same rows at batch 1."
        )
    if subject.random:
        return Remedy(
            f"The model draws random numbers ({', '.join(subject.random)}), so its outputs differ "
            "from run to run. Feed random numbers as an input, or export the model without them."
        )
    precise = _precision_remedy(subject)
    if subject.moved is not None:
        return _in_any_order(subject.moved, precise)
    if comparison.kinds.intersection(_AGREEMENT) and not beyond_rounding(output, subject.precision):
        return _with_reason(
            "top1=, topk= or cosine= fails too, so no rtol and atol would make this pass.", precise
        )
    if beyond_rounding(output, subject.precision):
        return _with_reason(_beyond_text(subject), precise)
    if offer is None:
        return _with_reason(_no_offer(comparison, subject), precise)
    allow = offer_text(offer, subject)
    # A range that is too narrow or too wide costs accuracy that a tolerance does not bring back.
    calibrated = subject.precision in CALIBRATED and subject.calibrated_by in ("project", "seeded")
    if output.used <= _SLIGHTLY_ABOVE and not calibrated:
        return Remedy(f"If this difference is acceptable for {output.name!r}, set:", (allow,))
    usual = DEFAULT_TOLERANCES.get(subject.precision)
    if usual is not None and _within(output, usual):
        return Remedy(
            f"{subject.precision} engines usually differ by this much ({usual.allowance}), so the "
            f"tolerance is too tight for {subject.precision}. To allow it:",
            (allow,),
        )
    return _with_reason("", precise, allowing(offer, subject))


#: How rows are compared that may be in any order.
_ANY_ORDER = (
    "elementwise=False, and a metric such as pytest_trt.metrics.detections, or a function that "
    "sorts both sides"
)


def _in_any_order(rows: MovedRows, precise: Remedy) -> Remedy:
    samples = "if the rows are samples of a batch, the engine mixes them up: run them at batch 1"
    return Remedy(
        "Rows that are sorted by a score change places where scores nearly tie. Compare them in "
        f"any order: {_ANY_ORDER}.",
        alternatives=(*([samples] if rows.axis == 0 else []), *precise.as_alternatives()),
    )


def _beyond_text(subject: Subject) -> str:
    if not subject.precision:
        return "Rounding does not explain this difference."
    name = "INT8 and FP16" if subject.precision == "mixed" else subject.precision.upper()
    operators = " or ".join(subject.choosing)
    causes = [f"near ties that {operators} decides otherwise"] if operators else []
    alone = " alone" if causes else ""
    what = "this" if subject.precision == "fp16" else "this difference"
    if subject.precision == "fp16":
        causes.append("an intermediate overflow above 65504")
    could = f", but {' or '.join(causes)} could" if causes else ""
    return f"{name} rounding{alone} does not explain {what}{could}."


def _with_reason(reason: str, remedy: Remedy, alternative: str = "") -> Remedy:
    """Put a reason in front of a remedy, and another way out behind it."""
    return Remedy(
        f"{reason} {remedy.text}".strip(),
        remedy.commands,
        (*remedy.alternatives, alternative) if alternative else remedy.alternatives,
    )


def _no_offer(comparison: Comparison, subject: Subject) -> str:
    """Return why no tolerance is offered: the output that needs the most of its range."""
    failed = [o for o in with_finding(comparison, "mismatch") if not is_exact(o)]
    unfit = [o for o in failed if sensible(o, subject.precision) == (None, None)]
    if not unfit:  # something else fails too
        return ""
    output = unfit[0]
    if output.sampled:
        return f"Only a sketch of {output.name!r} is stored, so the tolerance it needs is unknown."
    needed = f"{rounded_up(output.needed_atol):.4g}"
    return (
        f"No tolerance that still tests anything would pass: {output.name!r} needs atol={needed}, "
        f"and its largest |reference| is {output.scale:.4g}."
    )


def _precision_remedy(subject: Subject) -> Remedy:
    """What brings lost precision back, by the engine's precision."""
    if subject.plan:
        return _build_again(subject)
    match subject.precision:
        case "fp32" if subject.arch == "cpu":
            return _graph_optimisation(subject.tried)
        case "fp32":
            return Remedy("Look for layers that the backend fuses or computes differently.")
        case "tf32":
            return Remedy("Build the engine in fp32.")
        case "fp16" | "bf16" | "int4":
            return _keep_in_fp32("sensitive layers", subject)
        case precision if precision in CALIBRATED:
            keep = "keeping sensitive layers in FP32 may help"
            if subject.model:
                keep += f"; this finds them, for keep_fp32=: `{_tune(subject)}`"
            if subject.outside and subject.calibrated_by == "project":
                name = subject.outside[0].input
                wider = (
                    f"Calibrating on inputs whose {name!r} is like that of the failing runs may "
                    "help."
                )
                return Remedy(wider, alternatives=(keep,))
            return Remedy(_CALIBRATE[subject.calibrated_by], alternatives=(keep,))
    if not subject.model:
        return Remedy("Check that both sides got the same inputs and have the same weights.")
    return Remedy("Keep the layers that lose precision in FP32.")


_CALIBRATE: Mapping[CalibratedBy, str] = {
    "": "Calibrating on more representative inputs may help.",
    "seeded": "The engine was calibrated on random inputs: override the trt_calibration fixture "
    "with real ones.",
    "project": "Calibrating on more inputs, of every kind that the test runs, may help.",
    "model": "Quantising the model again on more representative inputs may help.",
}


def _build_again(subject: Subject) -> Remedy:
    return Remedy(
        f"The plan {subject.plan} may have been built from another version of the model: build it "
        "again.",
        alternatives=("if it fails again, keep the layers that lose precision in FP32",),
    )


def _keep_in_fp32(layers: str, subject: Subject) -> Remedy:
    if subject.plan:
        return _build_again(subject)
    tried = subject.tried
    if tried is not None and tried.passing:
        return Remedy(
            "The first run that failed passes with these operators in FP32:",
            (f"trt_model({tried.passing})",),
        )
    keep = f"Keeping {layers} in FP32 may help; this finds them:"
    if tried is not None:
        keep = (
            f"It also fails with only matrix products in {subject.precision.upper()}, so some of "
            "them may need FP32; this finds them:"
        )
    return Remedy(keep, *_keeping(subject))


def _graph_optimisation(tried: Tried | None) -> Remedy:
    if tried is None:
        return Remedy(
            "A graph optimisation may be the cause. To build with only the basic ones:",
            ('trt_model(builder_options={"graph_optimization_level": "basic"})',),
        )
    if not tried.passing:
        return Remedy(
            "The graph optimisations do not cause it: the first run that failed also fails with "
            f"{' and with '.join(tried.options)}."
        )
    return Remedy(
        "A graph optimisation causes it: the first run that failed passes with",
        (f"trt_model({tried.passing})",),
    )


def _keeping(subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the command that finds what has to stay in FP32, and the argument that names it."""
    if not subject.model:
        return (), ()
    argument = "keep_fp32=[...]"
    if subject.several:
        argument = f'by_precision={{"{subject.precision}": {{"keep_fp32": [...]}}}}'
    return (_tune(subject),), (f"by operator or node: trt_model({argument})",)


def _tune(subject: Subject) -> str:
    return f"pytest-trt tune {shlex.quote(subject.test or 'TEST')} --precision {subject.precision}"


def beyond_rounding(output: OutputResult, precision: str) -> bool:
    """Whether rounding in a precision explains no difference as large as that of an output."""
    usual = DEFAULT_TOLERANCES.get(precision)
    if usual is None:
        return output.used >= _FAR_ABOVE
    most = replace(usual, rtol=BEYOND_DEFAULT * usual.rtol, atol=BEYOND_DEFAULT * usual.atol)
    return output.used > _SLIGHTLY_ABOVE and not _within(output, most)


def _within(output: OutputResult, usual: Tolerance) -> bool:
    """Whether another tolerance would have let every value of the output pass."""
    return output.needed_atol <= usual.atol or output.needed_rtol <= usual.rtol


def _only_later_rows(output: OutputResult) -> bool:
    """Whether the rows are right up to one and all wrong, two at least, from there on."""
    rows = output.rows
    return (
        rows is not None
        and rows.first > 0
        and rows.mismatched > 1
        and rows.mismatched == rows.total - rows.first
    )


def _has_batch(comparison: Comparison) -> bool:
    """Whether axis 0 may well be the batch: as long in every output, and not followed by a 1.

    Recurrent models give [time, batch, classes], where later rows are worse by nature.
    """
    shapes = [output.shape for output in comparison.outputs if output.shape]
    return len({shape[0] for shape in shapes}) == 1 and not any(
        len(shape) > 2 and shape[1] == 1 for shape in shapes
    )


def _exact(output: OutputResult, subject: Subject, offer: Offer | None) -> Remedy:
    text = "Near ties in the scores can flip such outputs; compare the scores too."
    if output.dtype.startswith(("str", "object", "String")):
        text = "Strings must be equal: compare the numbers that they are computed from instead."
    elif is_rounded(output):
        text = "They are off by a step or two, as numbers that are rounded to integers are."
    if offer is None:
        return Remedy(text)
    return Remedy(text, alternatives=(allowing_exact(offer, subject),))
