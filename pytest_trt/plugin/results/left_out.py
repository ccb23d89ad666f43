"""What a test leaves out: what a reader of its result may take for compared, and was not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.engine.spec import FULL_PRECISIONS, PRECISIONS, brings
from pytest_trt.plugin.planning.markers import ModelMarker
from pytest_trt.plugin.planning.marks import params_of
from pytest_trt.plugin.planning.plan import ARCH, MODEL, PRECISION, SHAPE, TestPlan, chosen_point
from pytest_trt.plugin.results.attached import checks_of
from pytest_trt.plugin.state import TestState, plan_of
from pytest_trt.tensors.profile_choice import ranges_at
from pytest_trt.wording import count

if TYPE_CHECKING:
    from pytest_trt.engine.session import Session


def left_out(item: pytest.Item, state: TestState) -> Iterator[Diagnostic]:
    """Yield what a reader may take for compared, and was not."""
    if state.refused:
        yield _refused(state)
    yield from (_never_run(one) for one in state.sessions if not one.used)
    if state.references:
        # The model's own Q/DQ nodes round the values of both.
        brought = {one.key.digest for one in state.engines if brings(one.model, one.spec.precision)}
        same = (one for one in checks_of(state) if one.key not in brought and _is_same(one))
        yield from map(_same_as_engine, same)
    plan = plan_of(item)
    if plan is not None and state.engines:
        yield from _not_as_named(item, plan, state)
    if plan is None or plan.model is None or not state.shapes:
        return
    yield from _of_inputs(plan.model, state)
    if plan.profiles:
        yield from _shape_not_run(item, plan, plan.model, state)


def restrictions(state: TestState) -> Iterator[Diagnostic]:
    """Yield which invariants were only partly checked."""
    for check in checks_of(state):
        for one in check.invariants:
            if one.restriction:
                yield Diagnostic(
                    "TRT179",
                    f"{one.name} of {check.model} was only partly checked: {one.restriction}",
                    {"invariant": one.name, "model": check.model},
                    severity="note",
                )


def _is_same(result: AccuracyResult) -> bool:
    """Whether no element of an engine's reduced precision differs from its reference."""
    floats = [one for one in result.outputs if "float" in one.dtype and one.compared]
    return (
        result.precision not in FULL_PRECISIONS
        and result.against == "model"
        and any(one.scale % 1 for one in floats)  # whole numbers, as one-hot classes, agree anyway
        and all(one.worst_abs is None for one in floats)
    )


def _same_as_engine(result: AccuracyResult) -> Diagnostic:
    return Diagnostic(
        "TRT188",
        f"trt_reference gives exactly what the {result.precision} engine of {result.model} "
        "returns: if it runs that engine, or was recorded from it, a wrong engine passes",
        {"model": result.model, "precision": result.precision},
        remedy=Remedy(
            "Compute or record the reference in FP32, by something else than the engine under test."
        ),
        severity="note",
    )


#: Names of parameters that choose what is tested; `input_precision` or `tokenizer` may be used.
_OF_PRECISIONS = {"precision", "engine_precision", "model_precision"}
_OF_MODELS = {"model", "model_path", "model_file", "onnx", "onnx_path", "onnx_file"}


def _not_as_named(item: pytest.Item, plan: TestPlan, state: TestState) -> Iterator[Diagnostic]:
    """Yield parameters of the test, and so of its name, that name what none of its engines is."""
    if "trt_engines" in getattr(item, "fixturenames", ()):  # another test may run its engine
        return
    precisions = dict.fromkeys(one.spec.precision for one in state.engines)
    models = dict.fromkeys(one.model.path.name for one in state.engines)
    reference = plan.model.reference if plan.model is not None else None
    for argument, value in params_of(item).items():
        if argument in (ARCH, MODEL, PRECISION, SHAPE) or not isinstance(value, str | Path):
            continue
        name = Path(value).name
        is_precision = argument in _OF_PRECISIONS and value in PRECISIONS
        is_model = argument in _OF_MODELS and name.endswith(".onnx")
        if is_precision and value not in precisions:
            yield _named_alone(argument, str(value), precisions)
        elif is_model and name not in (*models, reference and reference.name):
            yield _named_alone(argument, name, models)


def _named_alone(argument: str, value: str, tested: Iterable[str]) -> Diagnostic:
    return Diagnostic(
        "TRT187",
        f"the parameter {argument} of the test names {value}, and its engine is of "
        f"{' and '.join(tested)}",
        {"argument": argument, "value": value, "tested": [*tested]},
        remedy=Remedy(
            "Name it in the trt_model marker, which runs the test for each precision and model, or "
            "pass it on: trt_build(precision), trt_engines(model)."
        ),
        severity="note",
    )


def _of_inputs(model: ModelMarker, state: TestState) -> Iterator[Diagnostic]:
    """Yield what the values of the inputs leave out."""
    for name, generated in state.generated.items():
        if state.conditions.get(name) == {generated}:
            yield _one_branch(model.name, name, generated)
    for name, (largest, rows) in sorted(state.limited.items()):
        if rows is None:
            yield _small_numbers(model.name, name)
        else:
            yield _few_rows(model.name, name, rows, largest)


def _shape_not_run(
    item: pytest.Item, plan: TestPlan, model: ModelMarker, state: TestState
) -> Iterator[Diagnostic]:
    """Yield that no run had the shapes of the profile's point that the test is for."""
    point = params_of(item).get(SHAPE)
    if point is None:
        return
    profile, name = chosen_point(str(point), plan.profiles, model)
    wanted = ranges_at(profile, name)
    if any(run.issuperset(wanted.items()) for run in state.shapes):
        return
    shapes = ", ".join(f"{key} {list(shape)}" for key, shape in wanted.items())
    yield Diagnostic(
        "TRT181",
        f"no run had the shapes of {model.name} at {point}: {shapes}",
        {"model": model.name, "shape": str(point)},
        remedy=Remedy("Run the inputs of trt_inputs, or return these shapes from its override."),
        severity="note",
    )


def _one_branch(model: str, name: str, value: int) -> Diagnostic:
    return Diagnostic(
        "TRT182",
        f"{name!r} of {model} decides which branch runs or how often a loop does, and trt_inputs "
        f"generated {value} for it: what runs at other values was not compared",
        {"model": model, "tensor": name, "value": value},
        remedy=Remedy(
            "Give the values that the model is used with, a marker or test for each, as in:",
            (f'input_ranges={{"{name}": ({1 - value}, {1 - value})}}',),
        ),
        severity="note",
    )


def _never_run(session: Session) -> Diagnostic:
    engine = session.engine
    name, precision = engine.model.path.name, engine.spec.precision
    return Diagnostic(
        "TRT184",
        f"the test requested a session of the {precision} engine of {name}, and did not use it",
        {"model": name, "precision": precision},
        remedy=Remedy(
            "Run it: consume the generator, map() or zip() that does, and cache no outputs across "
            "tests. Or do not request it: a test that only builds needs trt_engine alone."
        ),
        severity="note",
    )


def _few_rows(model: str, name: str, rows: int, largest: int) -> Diagnostic:
    return Diagnostic(
        "TRT183",
        f"{model} looks up rows of a table of {rows:,} by {name!r}, and trt_inputs generated 0 to "
        f"{largest} for it: what other rows hold was not compared",
        {"model": model, "tensor": name, "rows": rows},
        remedy=Remedy(
            "Give values that select all rows: an override of trt_inputs; or input_ranges= of "
            "trt_model, if all columns of the input have the same range."
        ),
        severity="note",
    )


def _small_numbers(model: str, name: str) -> Diagnostic:
    return Diagnostic(
        "TRT189",
        f"{model} computes with the numbers in {name!r}, such as lengths, positions or time steps, "
        "and trt_inputs generated 0 to 1 for it: what larger ones give was not compared",
        {"model": model, "tensor": name},
        remedy=Remedy(
            "Give the numbers that the model is used with: input_ranges= of trt_model, or an "
            "override of trt_inputs."
        ),
        severity="note",
    )


def _refused(state: TestState) -> Diagnostic:
    """Return the note on runs whose inputs were refused: a thread pool hides that error."""
    number = len(state.refused)
    return Diagnostic(
        "TRT168",
        f"{count(number, 'run')} not compared, as the inputs were refused: {state.refused[0]}",
        {"check": "trt_consistency", "runs": number, "refused": True},
        severity="note",
    )
