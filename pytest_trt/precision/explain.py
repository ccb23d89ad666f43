"""What a search for the bad layer found, as a diagnostic."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_trt.backends.observing.tensor_error import TensorError
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy
from pytest_trt.engine.known_faults import KnownFault
from pytest_trt.engine.spec import CALIBRATED
from pytest_trt.precision.localize import ALONE, Localization
from pytest_trt.units import percent_of
from pytest_trt.wording import count

#: Layers in the facts: the table of `pytest-trt localize`.
_ROWS = 20

#: Layers after the first that a failure names.
_OTHERS = 3

#: What differs where precision was lost, and no shape or name.
_OF_PRECISION = ("mismatch", "nonfinite", "cosine", "top1", "topk", "metric")

#: The model's own FP32 outputs differ from the stored answers: no precision makes up for that.
_MODEL_CHANGED = "TRT416"

#: How far the outputs of an engine that is looked at may be from those of the one under test: what
#: tactics of one precision differ by, and not what makes a check fail.
_SAME = 1e-3


@dataclass(frozen=True, slots=True)
class Fp32Trial:
    """An engine with some layers in FP32, tried on the runs of a test.

    Attributes:
        layers: The names of their nodes: the first bad layer, and those that read it if need be.
        error: The relative error of the outputs of the worst run.
        passed: How many runs pass.
        tried: How many runs were tried, the worst one first.
        runs: How many runs the test made.
    """

    layers: tuple[str, ...]
    error: float
    passed: int
    tried: int = 1
    runs: int = 1

    @property
    def passes(self) -> bool:
        """Whether every run that was tried passes."""
        return self.passed == self.tried


@dataclass(frozen=True, slots=True)
class About:
    """What was searched.

    Attributes:
        model: File name of the model.
        path: The model's file, as it is typed.
        precision: The engine's precision.
        arch: What the engine was built for.
        reference: The other model that gives the reference, and that the engine's own model was
            compared with; empty where the engine was compared with its own model.
        fault: A known fault of what ran the engine.
        keep_fp32: What the marker keeps in FP32 already.
        several: Whether the marker names other precisions that the argument would change too.
    """

    model: str
    path: str
    precision: str
    arch: str
    reference: str = ""
    fault: KnownFault | None = None
    keep_fp32: tuple[str, ...] = ()
    several: bool = False


def explain(
    found: Localization, about: About, trial: Fp32Trial | None = None, *, failed: bool = True
) -> Diagnostic:
    """Return the result of a search."""
    first, facts = found.first, _facts(found, about, trial)
    code = "TRT440" if first is not None and found.share >= ALONE else "TRT441"
    if first is None:
        message = f"no layer differs from FP32 by more than rounding ({_compared(found)} compared)"
    elif first.carried is None:
        code, facts["reason"] = "TRT442", "the time limit ended the search"
        message = (
            f"the time limit ended the search before {_title(first)}, which has the largest own "
            f"error ({_figure(first.own)}), was tried alone"
        )
    elif code == "TRT440":
        which = "first bad layer" if failed else "layer with most of the error, within tolerance"
        message = f"{which}: {_title(first)}: relative error {_errors(first)}"
    else:
        message = (
            f"no layer alone is to blame: the worst, {_title(first)}, makes "
            f"{percent_of(100 * found.share)} of the error of the outputs"
        )
    return Diagnostic(
        code,
        message,
        facts,
        tuple(_details(found, first, about)),
        _remedy(found, about, trial),
        severity="note",
    )


def with_one_fix(
    failures: Sequence[Diagnostic], searched: Sequence[Diagnostic]
) -> list[Diagnostic]:
    """Return failures and what was found of their layers, with one fix where each has another.

    What lets all runs pass is tried, and keeps the fewest layers in FP32: it takes the place of
    what the failure would advise, which is the one that a summary shows.
    """
    found, notes = list(failures), list(searched)
    for at, note in enumerate(notes):
        argument = next((one for one in note.remedy.commands if "keep_fp32" in one), "")
        of = [
            place
            for place, one in enumerate(found)
            if _engine(one) == _engine(note)
            and one.facts.get("kind") in _OF_PRECISION
            and one.code != _MODEL_CHANGED
        ]
        if not argument or not of:
            continue
        first = found[of[0]]
        if note.facts.get("passes"):
            ranges = note.facts.get("precision") in CALIBRATED
            calibration = (first.remedy.text,) if ranges and first.remedy.text else ()
            remedy = replace(note.remedy, alternatives=calibration)
            found[of[0]] = replace(first, remedy=remedy)
        elif not first.facts.get("passing"):
            continue
        notes[at] = replace(note, remedy=Remedy())
    return [*found, *notes]


def _engine(one: Diagnostic) -> tuple[Fact, Fact]:
    return one.facts.get("path"), one.facts.get("precision")


def not_searched(reason: str, about: About, remedy: Remedy) -> Diagnostic:
    """Return why nothing was found out."""
    return Diagnostic(
        "TRT442",
        f"the bad layer of {about.model} {about.precision} was not searched for: {reason}",
        {"model": about.model, "path": about.path, "reason": reason},
        remedy=remedy,
        severity="note",
    )


def _details(found: Localization, first: TensorError | None, about: About) -> Iterator[str]:
    if about.fault:
        yield f"likely cause: {about.fault.text}"
    if about.reference:
        yield f"compared are {about.model} and {about.reference}, both in FP32"
    if first is not None:
        others = [name for name in first.nodes if name != first.node]
        with_ = f", computed together with {', '.join(others[-4:])}" if others else ""
        yield f"output {first.tensor} {list(first.shape)}{with_}"
        yield first.cause or (
            f"values from {first.low:.4g} to {first.high:.4g}, own error up to {first.max_abs:.3g}"
        )
        if first.carried is not None:
            yield _alone(first.carried, found.total)
        rest = [one for one in found.layers if one is not first and one.suspicion > 0]
        for one in rest[:_OTHERS]:
            yield f"next: {_title(one)}: own error {_figure(one.own)}"
    if found.changed > _SAME:
        yield (
            "looking changed the result: with more outputs, the engine's own differ by "
            f"{_figure(found.changed)}"
        )
    if found.is_complete and len(found.layers) < found.tensors:
        yield f"compared were {_compared(found)}"
    if not found.is_complete:
        yield f"the time limit ended the search after {_compared(found)}"


def _alone(carried: float, total: float) -> str:
    if math.isinf(carried):
        return "its own error alone makes outputs that are not finite"
    return (
        f"its own error alone gives the outputs a relative error of {_figure(carried)}; "
        f"they have {_figure(total)}"
    )


def _remedy(found: Localization, about: About, trial: Fp32Trial | None) -> Remedy:
    if about.reference and found.first is not None:
        return Remedy("Correct the layer in the model, or in the export that made it.")
    if trial is None:
        return Remedy()
    names = [*about.keep_fp32, *trial.layers]
    line = f"keep_fp32={json.dumps(names)}"
    if about.several:
        line = f"by_precision={json.dumps({about.precision: {'keep_fp32': names}})}"
    argument = "this argument of trt_model"
    if about.keep_fp32:
        argument = "this keep_fp32 of trt_model, in place of the present one"
    remedy = Remedy()
    if trial.passes:
        which = "the check passes"
        if trial.tried < trial.runs:
            which = f"{trial.tried:,} of {trial.runs:,} runs were tried, and pass,"
        remedy = Remedy(f"{which} with {argument}:", (line,))
    elif trial.error < ALONE * found.total:
        figures = f"{_figure(found.total)} to {_figure(trial.error)}"
        still = "the check still fails"
        if trial.passed:
            still = f"{trial.passed:,} of {count(trial.tried, 'run')} that were tried pass"
        remedy = Remedy(
            f"{argument} lowers the error of the worst run's outputs from {figures}; {still}:",
            (line,),
        )
    if about.fault is None or not remedy:
        return remedy
    return replace(about.fault.remedy, alternatives=remedy.as_alternatives("if that is no option:"))


def _facts(found: Localization, about: About, trial: Fp32Trial | None) -> dict[str, Fact]:
    first = found.first
    facts: dict[str, Fact] = {
        "model": about.model,
        "path": about.path,
        "precision": about.precision,
        "arch": about.arch,
        "reference": about.reference or None,
        "total_error": _fact(found.total),
        "changed_by_looking": _fact(found.changed),
        "tensors": found.tensors,
        "compared": len(found.layers),
        "complete": found.is_complete,
        "seconds": round(found.seconds, 1),
        "layers": [_row(one) for one in found.layers[:_ROWS]],
    }
    if first is not None:
        facts |= {
            "layer": first.node,
            "operator": first.operator,
            "output": first.tensor,
            "error_before": _fact(first.before),
            "error_after": _fact(first.error),
            "own_error": _fact(first.own),
            "share": found.share,
            "low": first.low,
            "high": first.high,
            "cause": first.cause,
        }
    if trial is not None:
        facts |= {
            "keep_fp32": [*trial.layers],
            "passes": trial.passes,
            "passed_runs": trial.passed,
            "tried_runs": trial.tried,
            "trial_error": _fact(trial.error),
        }
    return facts


def _row(one: TensorError) -> dict[str, Fact]:
    return {
        "layer": one.node,
        "operator": one.operator,
        "output": one.tensor,
        "own_error": _fact(one.own),
        "error_before": _fact(one.before),
        "error_after": _fact(one.error),
        "outputs_error": None if one.carried is None else _fact(one.carried),
        "max_abs": _fact(one.max_abs),
        "nonfinite": one.nonfinite,
        "low": one.low,
        "high": one.high,
        "cause": one.cause,
    }


def _title(one: TensorError) -> str:
    return f"{one.node} ({one.operator})"


def _errors(one: TensorError) -> str:
    return f"{_figure(one.before)} -> {_figure(one.error)}"


def _compared(found: Localization) -> str:
    layers = count(found.tensors, "layer")
    return layers if len(found.layers) == found.tensors else f"{len(found.layers):,} of {layers}"


def _figure(error: float) -> str:
    return "infinite" if math.isinf(error) else f"{error:.2g}"


def _fact(value: float) -> float | str:
    """Return a number as JSON has it: infinite ones as text."""
    return value if math.isfinite(value) else str(value)
