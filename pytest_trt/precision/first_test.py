"""A first test of a model: its profile, its precisions, and tolerances from measured errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.explanation import fact
from pytest_trt.accuracy.resolve import default_tolerance
from pytest_trt.accuracy.result import Comparison, merge_runs
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance
from pytest_trt.diagnostics import Diagnostic, PytestTrtError, Remedy
from pytest_trt.engine.protocols import Progress
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.precision.samples import Sample, profile_of
from pytest_trt.precision.suggest import Workplace
from pytest_trt.precision.tolerance import OutputEvidence, propose
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.elements import dtype_name
from pytest_trt.tensors.profile_choice import distinct_points, shapes_at
from pytest_trt.tensors.profiles import Profile, example_ranges, parse_profiles
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors

#: The precisions of a first test; others need data to calibrate on.
FIRST_PRECISIONS = ("fp32", "fp16")

#: Seeds of the inputs at the opt point; the others have the first alone, which tests run.
SEEDS = range(4)

#: Sizes (min, opt, max) that are tried in turn for dynamic dimensions other than the batch. Models
#: whose layers fit one size only, as those with a fixed window, are found by the single ones.
_SIZES = ((32, 128, 256), *((size,) * 3 for size in (512, 256, 224, 640, 64, 16, 8, 1)))
_BATCHES = ((1, 4, 8), (1, 1, 1))

#: By how much tolerances exceed what the runs needed.
_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class FirstTest:
    """What a first test of a model has in its markers.

    Attributes:
        model: The model.
        profile: The profile; empty where no input is dynamic.
        tolerances: Fields of the tolerance of each output, by precision.
        left_out: Why precisions are left out.
        samples: On how many samples.
    """

    model: OnnxModel
    profile: Profile
    tolerances: Mapping[str, Mapping[str, Mapping[str, float]]]
    left_out: Mapping[str, Diagnostic] = field(default_factory=dict)
    samples: int = 0


def first_test(
    place: Workplace, model: OnnxModel, arch: str, data: Sequence[Sample], *, say: Progress
) -> FirstTest:
    """Measure a model in every precision of a first test, and return what its markers need.

    Args:
        place: What engines are built and run with.
        model: The model.
        arch: The architecture.
        data: Samples; without any, seeded inputs are measured.
        say: Receives each step.

    Raises:
        PytestTrtError: The model runs with no inputs that can be made for it, or no engine of it
            can be built and compared.
    """
    name = model.path.name
    say(f"{name}: FP32 reference")
    if data:
        profiles = profile_of(model.inputs, data)
        profile: Profile = profiles[0] if profiles else {}
        inputs: list[Tensors] = [one.inputs for one in data]
    else:
        profile = _runnable_profile(place, model)
        inputs = list(_seeded(model, profile))
    pairs = [(one, place.reference_outputs(model, one)) for one in inputs]
    tolerances: dict[str, dict[str, dict[str, float]]] = {}
    left_out: dict[str, PytestTrtError] = {}
    for precision in FIRST_PRECISIONS:
        say(f"{name}: {precision} engine")
        try:
            spec = EngineSpec(precision, (profile,) if profile else (), {})
            tolerances[precision] = _tolerances(place, model, spec, arch, pairs, say)
        except PytestTrtError as error:
            left_out[precision] = error
    if not tolerances:
        raise left_out[FIRST_PRECISIONS[0]]
    reasons = {precision: error.diagnostic for precision, error in left_out.items()}
    return FirstTest(model, profile, tolerances, reasons, len(pairs))


def _seeded(model: OnnxModel, profile: Profile) -> Iterator[Tensors]:
    """Yield inputs at each point of the profile, and more of them at its opt point."""
    for point in distinct_points(profile or None):
        shapes = shapes_at(model.inputs, profile or None, point)
        for seed in SEEDS if point == "opt" else SEEDS[:1]:
            yield seeded_inputs(model, shapes, seed=seed)


def _runnable_profile(place: Workplace, model: OnnxModel) -> Profile:
    """Return the first profile of several at whose points the model runs in FP32."""
    first: PytestTrtError | None = None
    for profile in _profiles(model):
        try:
            for point in distinct_points(profile or None):
                shapes = shapes_at(model.inputs, profile or None, point)
                place.reference_outputs(model, seeded_inputs(model, shapes))
        except PytestTrtError as error:
            first = first or error
        else:
            return profile
    assert first is not None
    raise first


def _profiles(model: OnnxModel) -> Iterator[Profile]:
    tried = []
    for batch in _BATCHES:
        for sizes in _SIZES:
            ranges = example_ranges(model.inputs, batch=batch, other=sizes)
            if ranges not in tried:
                tried.append(ranges)
                parsed = parse_profiles(ranges, model.inputs, where="init") if ranges else ()
                yield parsed[0] if parsed else {}


def _tolerances(
    place: Workplace,
    model: OnnxModel,
    spec: EngineSpec,
    arch: str,
    pairs: Sequence[tuple[Tensors, Tensors]],
    say: Progress,
) -> dict[str, dict[str, float]]:
    """Return fields of the tolerance of each output with which all samples pass.

    Raises:
        PytestTrtError: There is no engine, it does not run, or no tolerance would test anything.
    """
    engine = place.engine(model, spec, arch, calibration=lambda: (), progress=say)
    session = place.session(engine)
    say(f"{model.path.name}: comparing {spec.precision} with FP32")
    runs = [
        (
            items_of(session.run(inputs), model.outputs).tensors,
            items_of(reference, model.outputs).tensors,
        )
        for inputs, reference in pairs
    ]
    default = DEFAULT_TOLERANCES[spec.precision]
    evidence: dict[str, OutputEvidence] = {}
    for actual, reference in runs:
        for output in actual.keys() & reference.keys():
            known = evidence.setdefault(output, OutputEvidence(default))
            known.add(actual[output], reference[output])
    found = {
        spec.name: propose(spec.name, engine.spec.precision, evidence[spec.name], _MARGIN)
        for spec in model.outputs
        if spec.name in evidence
    }
    fields = {name: dict(one.fields) for name, one in found.items() if one.fields}
    untestable = [one for name, one in found.items() if name not in fields and one.elements]
    if untestable:
        raise _no_tolerance(spec.precision, f"{untestable[0].output}: {untestable[0].reason}")
    given = {name: Tolerance(**one) for name, one in fields.items()}  # type: ignore[arg-type]
    compared = merge_runs(_compared(run, given, spec.precision) for run in runs)
    if not compared.passed:
        raise _no_tolerance(spec.precision, fact(compared))
    return fields


def _compared(
    run: tuple[Tensors, Tensors], given: Mapping[str, Tolerance], precision: str
) -> Comparison:
    actual, reference = run
    tolerances = {
        name: given.get(name) or default_tolerance(precision, dtype_name(array.dtype))
        for name, array in reference.items()
    }
    return compare_values(actual, reference, tolerances, precision=precision)


def _no_tolerance(precision: str, why: str) -> PytestTrtError:
    return PytestTrtError(
        f"no useful tolerance lets {precision} pass: {why}",
        fix=Remedy(
            "Give real inputs as .npz files next to the model, or keep layers in FP32 with "
            "keep_fp32=."
        ),
        code="TRT461",
        facts={"precision": precision, "reason": why},
    )
