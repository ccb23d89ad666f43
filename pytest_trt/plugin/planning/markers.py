"""The plugin's markers: a dataclass each, whose fields are the marker's keywords.

They are parsed when tests are collected: an invalid marker is a collection error that names the
test, not a failure after minutes of building.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, cast

import pytest

from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.plugin.planning.keep_fp32 import check_keep_fp32, parse_keep_fp32
from pytest_trt.plugin.planning.keywords import expect, invalid, keywords, listed
from pytest_trt.plugin.planning.library_files import parse_custom_ops, parse_plugin_libraries
from pytest_trt.plugin.planning.named_models import (
    MODEL_MARKER,
    NamedModel,
    model_marks,
    model_of,
    models_in,
)
from pytest_trt.plugin.planning.plan_files import PlanFiles, check_with_plan, parse_plan_files
from pytest_trt.units import parse_factor
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    from pytest_trt.accuracy.metric_checks import MetricCheck
    from pytest_trt.engine.spec import EngineSpec
    from pytest_trt.tensors.profiles import Profile
    from pytest_trt.terms import Mode

_Metrics: TypeAlias = "Mapping[str, MetricCheck | None]"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ModelMarker:
    """The model under test, and how engines of it are built.

    Attributes:
        model: The ONNX file, absolute; None where a fixture has not given it yet.
        fixture: The fixture that gives the path when the test runs; empty if the marker does.
        plan: The finished plans that are tested instead of engines to build; None to build.
        precision: One precision, or several to run the test once for each.
        profiles: Ranges of the dynamic inputs' shapes, {input: (min, opt, max)}, and of the values
            of inputs that contain a shape, {input: {"values": (min, opt, max)}}; or a list of both.
        reference: ONNX file to compare with instead of the model itself.
        reference_names: Names of inputs and outputs in the reference, by name in the model, where
            the two differ.
        reference_only: Inputs and outputs that only the reference has: inputs get their values from
            those of the test, outputs are ignored.
        builder_options: Options of the backend's builder by name.
        keep_fp32: What stays in FP32: names of nodes, operators, and patterns of names of nodes.
        by_precision: Both of them by precision, which take precedence.
        by_backend: Both of them by backend, which take precedence over either.
        input_ranges: Value ranges of seeded inputs: {input: (low, high)}.
        seed: Seed of the seeded inputs.
        calibration: Folder or file of calibration data, absolute; None for the fixture's.
        custom_ops: Libraries with its operators for ONNX Runtime: paths, and names of packages.
        plugin_libraries: Libraries with its operators for TensorRT, as plugins; None for those of
            --trt-plugin-library.
        named: The precisions, if the marker gives any: what its checks have to have compared. No
            keyword.
        id: The model's id among those that the marker names. No keyword.
    """

    NAME: ClassVar[str] = MODEL_MARKER

    model: Path | None
    fixture: str = ""
    plan: PlanFiles | None = None
    precision: tuple[str, ...] = ("fp32",)
    profiles: Any = None
    reference: Path | None = None
    reference_names: Mapping[str, str] = field(default_factory=dict)
    reference_only: tuple[str, ...] = ()
    builder_options: Mapping[str, Any] = field(default_factory=dict)
    keep_fp32: tuple[str, ...] = ()
    by_precision: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_backend: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    input_ranges: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    calibration: Path | None = None
    custom_ops: tuple[Path | str, ...] = ()
    plugin_libraries: tuple[Path, ...] | None = None
    named: tuple[str, ...] = ()
    id: str = ""

    @property
    def path(self) -> Path:
        """The ONNX file, once it is known."""
        assert self.model is not None
        return self.model

    @property
    def name(self) -> str:
        """The model as messages name it."""
        return f"fixture {self.fixture}" if self.model is None else self.model.name

    def options(self, backend: str, precision: str) -> dict[str, Any]:
        """Return the builder options of one engine."""
        from pytest_trt.engine.builder_options import shared_options

        given = {
            **self.builder_options,
            **self.by_precision.get(precision, {}).get("builder_options", {}),
            **self.by_backend.get(backend, {}).get("builder_options", {}),
        }
        # What a marker names for one precision alone has to apply to it.
        return given if self.precision == (precision,) else shared_options(given, precision)

    def spec(
        self,
        backend: str,
        precision: str,
        profiles: tuple[Profile, ...],
        *,
        options: Mapping[str, Any] | None = None,
        keep_fp32: tuple[str, ...] | None = None,
    ) -> EngineSpec:
        """Return the request of one engine.

        Raises:
            ConfigurationError: An option is invalid, or something is to stay in FP32 in an engine
                that is FP32 anyway.
        """
        from pytest_trt.engine.spec import BLOCK_LISTS, FULL_PRECISIONS, EngineSpec

        if options is None:
            given = self.options(backend, precision)
            replaced = BLOCK_LISTS if keep_fp32 is not None else ()
            options = {name: value for name, value in given.items() if name not in replaced}
        if keep_fp32 is None:
            own = {**self.by_precision.get(precision, {}), **self.by_backend.get(backend, {})}
            keep_fp32 = own.get("keep_fp32", self.keep_fp32)
            if precision in FULL_PRECISIONS and self.precision != (precision,):
                keep_fp32 = ()
        return EngineSpec(precision, profiles, options, keep_fp32)


#: What a `trt_model` marker takes.
MODEL_KEYWORDS = tuple(
    entry.name for entry in fields(ModelMarker) if entry.name not in ("named", "id")
)


@dataclass(frozen=True, slots=True)
class ConsistencyMarker:
    """Compare every `trt_session.run` of the test with the FP32 reference.

    Attributes:
        tolerance: Tolerance of all outputs: rtol, atol, nan, max_mismatch_pct, cosine,
            top1, topk, elementwise.
        outputs: The same by output, which takes precedence.
        metrics: Metrics of all outputs by name, parsed; None where one is switched off.
        output_metrics: The same by output. In the marker, they are `metrics` of `outputs`.
        by_precision: All of it by precision, which takes precedence over that for all precisions.
        against: "model", "stored" or "both": whether with outputs that are computed from the
            reference model, with stored answers, or with both; None for --trt-against.
        drift: By what factor an error may exceed the one that is stored with the answers; None
            for no limit.
        invariants: The fields of `WantedInvariants`; empty for none. In the marker, they are
            keywords of their own.
        sweep: Whether the test also runs between the points of each profile. In the marker, it is
            "profile".
    """

    NAME: ClassVar[str] = "trt_consistency"

    tolerance: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: _Metrics = field(default_factory=dict)
    output_metrics: Mapping[str, _Metrics] = field(default_factory=dict)
    by_precision: Mapping[str, ConsistencyMarker] = field(default_factory=dict)
    against: str | None = None
    drift: float | None = None
    invariants: Mapping[str, int] = field(default_factory=dict)
    sweep: bool = False

    def at(self, precision: str) -> ConsistencyMarker:
        """Return the tolerances and metrics for one precision."""
        own = self.by_precision.get(precision)
        if own is None:
            return self
        return ConsistencyMarker(
            tolerance={**self.tolerance, **own.tolerance},
            outputs=_merged(self.outputs, own.outputs),
            metrics={**self.metrics, **own.metrics},
            output_metrics=_merged(self.output_metrics, own.output_metrics),
        )


def _merged(
    one: Mapping[str, Mapping[str, _T]], stronger: Mapping[str, Mapping[str, _T]]
) -> dict[str, dict[str, _T]]:
    """Return mappings by name, entry by entry."""
    names = dict.fromkeys([*one, *stronger])
    return {name: {**one.get(name, {}), **stronger.get(name, {})} for name in names}


@dataclass(frozen=True, slots=True)
class BenchmarkMarker:
    """Compare what `trt_benchmark(inputs)` measures with a baseline, limits and other engines.

    Attributes:
        limits: Limits by name, parsed; None where one is switched off.
        mode: How calls are timed on a GPU: "graph" (the default there), "enqueue" or "end_to_end",
            which is all there is on a CPU.
        batch: Units of work of one call; None for the inputs' own batch dimension.
        sweep: Whether the test also runs between the points of each profile. In the marker, it is
            "profile".
    """

    NAME: ClassVar[str] = "trt_benchmark"

    limits: Mapping[str, float | None] = field(default_factory=dict)
    mode: Mode | None = None
    batch: int | None = None
    sweep: bool = False


def parse_model(
    marks: Sequence[pytest.Mark],
    test_file: Path,
    model: NamedModel,
    additional: Collection[str] = (),
    backend: str = "auto",
) -> ModelMarker:
    """Return the `trt_model` markers of a test as one, for one of the models that they name.

    Markers of the test, its class and its module are merged: the closest one that gives a keyword
    decides it, so a test can change the precision without repeating the model. A marker that names
    another model discards the outer marker's settings, which would not fit it; keywords of outer
    markers without a model apply to every model. `per_model` replaces keywords of its own marker
    for one model. Everything is checked that needs no model file.

    Raises:
        ConfigurationError: A keyword is unknown, a value is invalid, or a file does not exist.
    """
    given: dict[str, Any] = {}
    for mark in model_marks(marks):
        given.update(keywords(mark, MODEL_KEYWORDS, "model", names=model.names))
    values = {name: value for name, value in given.items() if value is not None}
    values["id"], values["model"] = model.id, None
    if model.path is not None:
        values["model"] = _existing(model, test_file)
    return _model_marker(values, test_file, additional, backend)


def _model_marker(
    values: dict[str, Any], test_file: Path, additional: Collection[str], backend: str
) -> ModelMarker:
    if "reference" in values:
        values["reference"] = _existing(model_of(values["reference"], test_file), test_file)
    values.update(_reference_names(values))
    values["named"] = _precisions(values["precision"]) if "precision" in values else ()
    values["precision"] = values["named"] or ("fp32",)
    for name in ("builder_options", "input_ranges"):
        value = values.get(name, {})
        expect(isinstance(value, Mapping), ModelMarker.NAME, name, value, "a mapping")
    if "calibration" in values:
        values["calibration"] = calibration_path(values["calibration"], test_file)
    if "custom_ops" in values:
        values["custom_ops"] = parse_custom_ops(values["custom_ops"], test_file)
    if "plugin_libraries" in values:
        libraries = parse_plugin_libraries(values["plugin_libraries"], test_file)
        values["plugin_libraries"] = libraries
    seed = values.get("seed", 0)
    expect(type(seed) is int, ModelMarker.NAME, "seed", seed, "an integer")
    values["keep_fp32"] = parse_keep_fp32(values.get("keep_fp32", ()))
    for name in ("by_precision", "by_backend"):
        values[name] = _by_name(name, values.get(name, {}))
    _check_builder_options(values, additional, backend)
    check_keep_fp32(values)
    if "plan" in values:
        values["plan"] = parse_plan_files(values["plan"], test_file)
        check_with_plan(values)
    return ModelMarker(**values)


def _reference_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked keywords that name inputs and outputs of the reference."""
    names, only = values.get("reference_names", {}), values.get("reference_only", ())
    only = (only,) if isinstance(only, str) else only
    valid = isinstance(names, Mapping) and all(
        isinstance(name, str) for pair in names.items() for name in pair
    )
    expect(valid, ModelMarker.NAME, "reference_names", names, 'like {"logits": "output_0"}')
    valid = isinstance(only, list | tuple) and all(isinstance(name, str) for name in only)
    expect(valid, ModelMarker.NAME, "reference_only", only, 'like ("mask",)')
    if (names or only) and "reference" not in values:
        raise invalid(
            ModelMarker.NAME,
            "trt_model: reference_names and reference_only need reference=",
            "name the reference, or leave them out: the model itself has the same names.",
        )
    return {"reference_names": names, "reference_only": tuple(only)}


#: What `by_precision` and `by_backend` give of their own.
_BY_NAME = frozenset({"builder_options", "keep_fp32"})


def _by_name(name: str, value: object) -> dict[str, dict[str, Any]]:
    """Return what `by_precision` or `by_backend` gives: builder options, and what stays in FP32."""
    valid = isinstance(value, Mapping) and all(
        isinstance(own, Mapping)
        and own
        and own.keys() <= _BY_NAME
        and isinstance(own.get("builder_options", {}), Mapping)
        for own in value.values()
    )
    key = "fp16" if name == "by_precision" else "tensorrt"
    like = '{"builder_options": {...}, "keep_fp32": [...]}'
    expect(valid, ModelMarker.NAME, name, value, f'like {{"{key}": {like}}}, or with one of them')
    assert isinstance(value, Mapping)
    found = {key: dict(own) for key, own in value.items()}
    for own in found.values():
        if "keep_fp32" in own:
            own["keep_fp32"] = parse_keep_fp32(own["keep_fp32"])
    return found


def _check_builder_options(
    values: Mapping[str, Any], additional: Collection[str], under_test: str
) -> None:
    """Refuse options that do not exist, also those of backends that this run does not use.

    Only backends that plugins registered may have options that are not declared.
    """
    from pytest_trt.engine.builder_options import PRODUCTS, check_options

    declared = under_test not in additional
    if declared:
        check_options(values.get("builder_options", {}), ModelMarker.NAME)
    for precision, own in values["by_precision"].items():
        options = own.get("builder_options", {})
        where = f"{ModelMarker.NAME}, by_precision"
        _precisions((precision,), where=where)
        if declared:
            check_options(options, f"{where} {precision!r}", precision=precision)
    for backend, own in values["by_backend"].items():
        options = own.get("builder_options", {})
        where = f"{ModelMarker.NAME}, by_backend"
        if backend in PRODUCTS:
            check_options(options, f"{where} {backend!r}", backend=backend)
        elif backend not in additional:
            raise invalid(
                ModelMarker.NAME,
                f"{where}: unknown backend {backend!r}",
                known_names("backend", backend, [*PRODUCTS, *additional]),
            )


def parse_consistency(
    marks: Sequence[pytest.Mark], names: Collection[str] = ()
) -> ConsistencyMarker | None:
    """Return the closest `trt_consistency` marker of a test, or None; checked as far as it can be.

    Raises:
        ConfigurationError: Something in it is unknown or cannot be a tolerance.
    """
    mark = next((mark for mark in marks if mark.name == ConsistencyMarker.NAME), None)
    if mark is None:
        return None
    given = keywords(mark, consistency_keywords(), names=names)
    against = given.pop("against", None)
    expect(
        against in (None, "model", "stored", "both"),
        mark.name,
        "against",
        against,
        '"model", "stored" or "both"',
    )
    drift = _factor(mark.name, given.pop("drift", None))
    invariants, sweep = _invariants(mark.name, given), _sweep(mark.name, given)
    by_precision = given.pop("by_precision", {})
    _expect_mappings("by_precision", by_precision, "a mapping of precisions to tolerances")
    for precision in by_precision:
        _precisions((precision,), where=f"{mark.name}, by_precision")
    everywhere = _tolerances(given, mark.name)
    own = {
        precision: _tolerances(dict(given), f"{mark.name}, by_precision {precision!r}")
        for precision, given in by_precision.items()
    }
    return replace(
        everywhere,
        by_precision=own,
        against=against,
        drift=drift,
        invariants=invariants,
        sweep=sweep,
    )


def consistency_keywords() -> tuple[str, ...]:
    """Return what a `trt_consistency` marker takes, besides `per_model`."""
    from pytest_trt.accuracy.resolve import TOLERANCE_FIELDS

    own = ("metrics", "outputs", "by_precision", "against", "drift", *_INVARIANTS, "sweep")
    return (*TOLERANCE_FIELDS, *own)


#: Keywords of what has to hold whatever the reference is; of the last two, the least number.
_INVARIANTS = {"batch_invariant": 0, "deterministic": 2, "rebuilds": 1}


def _invariants(marker: str, given: dict[str, Any]) -> dict[str, int]:
    """Take the invariants out of keywords, and return those that are required."""
    found = {name: given.pop(name) for name in _INVARIANTS if name in given}
    for name, value in found.items():
        least = _INVARIANTS[name]
        if not least:
            expect(isinstance(value, bool), marker, name, value, "True or False")
        elif value is not None:
            counted = type(value) is int and value >= least
            expect(counted, marker, name, value, f"a whole number from {least} up")
    return {name: value for name, value in found.items() if value}


def _sweep(marker: str, given: dict[str, Any]) -> bool:
    """Take `sweep` out of keywords."""
    sweep = given.pop("sweep", None)
    expect(sweep in (None, "profile"), marker, "sweep", sweep, '"profile"')
    return sweep is not None


def _tolerances(given: dict[str, Any], where: str) -> ConsistencyMarker:
    """Return what holds for all precisions, or for one, checked without the model."""
    from pytest_trt.accuracy.resolve import parse_tolerance_fields

    outputs = given.pop("outputs", {})
    _expect_mappings("outputs", outputs, "a mapping of output names to tolerances")
    outputs = {name: dict(own) for name, own in outputs.items()}
    metrics = _metrics(given, where)
    output_metrics = {name: _metrics(own, f"{where}, {name!r}") for name, own in outputs.items()}
    parse_tolerance_fields(given, where=where)
    for name, tolerance in outputs.items():
        parse_tolerance_fields(tolerance, where=f"{where}, output {name!r}")
    judged = {name: own for name, own in output_metrics.items() if own}
    return ConsistencyMarker(
        tolerance=given, outputs=outputs, metrics=metrics, output_metrics=judged
    )


def _metrics(given: dict[str, Any], where: str) -> _Metrics:
    """Take the metrics out of keywords or of an output's entry, parsed."""
    if "metrics" not in given:
        return {}
    from pytest_trt.accuracy.metric_checks import parse_metrics

    return parse_metrics(given.pop("metrics"), where)


def _factor(marker: str, value: object) -> float | None:
    """Return the factor of drift="2x", or None without one."""
    if value is None:
        return None
    factor = parse_factor(value) or 0.0
    expect(1.0 <= factor < 1e6, marker, "drift", value, 'a factor of at least 1, such as "2x"')
    return factor


def _expect_mappings(name: str, value: object, expected: str) -> None:
    shaped = isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(own, Mapping) for key, own in value.items()
    )
    expect(shaped, ConsistencyMarker.NAME, name, value, expected)


def parse_benchmark(
    marks: Sequence[pytest.Mark], names: Collection[str] = ()
) -> BenchmarkMarker | None:
    """Return the `trt_benchmark` markers of a test as one, or None if there are none.

    They add up; the closest one that gives a keyword decides it.

    Raises:
        ConfigurationError: Something in one of them is unknown or cannot be a limit.
    """
    marks = [mark for mark in marks if mark.name == BenchmarkMarker.NAME]
    if not marks:
        return None
    from pytest_trt.statistics.limits import RENAMED, parse_limit_fields
    from pytest_trt.terms import MODES

    given: dict[str, Any] = {}
    for mark in reversed(marks):
        given.update(keywords(mark, (*benchmark_keywords(), *RENAMED), names=names))
    sweep = _sweep(BenchmarkMarker.NAME, given)
    mode, batch = given.pop("mode", None), given.pop("batch", None)
    expect(mode in (None, *MODES), BenchmarkMarker.NAME, "mode", mode, f"one of {', '.join(MODES)}")
    counted = batch is None or (type(batch) is int and batch > 0)
    expect(counted, BenchmarkMarker.NAME, "batch", batch, "a whole number above 0")
    limits = parse_limit_fields(given, where=BenchmarkMarker.NAME)
    return BenchmarkMarker(limits, mode, batch, sweep)


def benchmark_keywords() -> tuple[str, ...]:
    """Return what a `trt_benchmark` marker takes, besides `per_model` and former names."""
    from pytest_trt.statistics.limits import LIMIT_FIELDS

    return (*LIMIT_FIELDS, "mode", "batch", "sweep")


def check_names(marks: Sequence[pytest.Mark]) -> None:
    """Refuse a misspelt marker: it would check nothing.

    Raises:
        ConfigurationError: A marker begins with `trt_` and is unknown.
    """
    known = [ModelMarker.NAME, ConsistencyMarker.NAME, BenchmarkMarker.NAME]
    for mark in marks:
        if mark.name not in known:
            raise ConfigurationError(
                f"unknown marker {mark.name!r}",
                fix=known_names("marker", mark.name, known),
                code="TRT150",
                facts={"marker": mark.name},
            )


def _existing(model: NamedModel, test_file: Path) -> Path:
    """Return the path of a model, which has to be there."""
    given, path = model.given, model.path
    assert path is not None
    where = "correct the path, which is relative to the test file"
    if model.fixture:
        where = f"return the path of an ONNX file from the fixture {model.fixture}"
    try:
        mode = path.stat().st_mode  # Path.is_file has raised nothing since Python 3.14
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except OSError as error:  # such as a name that is too long
        raise ConfigurationError(
            f"the model {given[:80]!r} cannot be read: {error.strerror}",
            fix=f"{where}.",
            code="TRT156",
            facts={"model": given, "path": str(path)},
        ) from None
    if not stat.S_ISREG(mode):
        is_folder = stat.S_ISDIR(mode)
        what = "a folder" if is_folder else "no regular file" if mode else "missing"
        models = models_in(path if is_folder else path.parent, test_file.parent)
        fix = Remedy(f"{where}. Models there:" if models else f"{where}.", alternatives=models)
        if not model.fixture and (meant := _from_above(given, test_file.parent)):
            fix = Remedy(f"{where}. Did you mean {meant!r}?")
        raise ConfigurationError(
            f"the model {given} is {what}",
            fix=fix,
            code="TRT156",
            facts={"model": given, "path": str(path)},
        )
    return path


def _from_above(given: str, folder: Path) -> str:
    """Return a path that names a file from a folder above as from this one; empty if none does."""
    found = next((one / given for one in folder.parents if (one / given).is_file()), None)
    return Path(os.path.relpath(found, folder)).as_posix() if found else ""


def calibration_path(given: object, test_file: Path) -> Path:
    """Return the path of calibration data, which has to be there; it is read when it is needed.

    Raises:
        ConfigurationError: It is not a path, or missing.
    """
    what = "the path of a folder of .npz, .npy or .json files, or of one of them"
    expect(isinstance(given, str | os.PathLike), ModelMarker.NAME, "calibration", given, what)
    path = Path(os.path.normpath(test_file.parent / cast("str", given)))
    if not path.exists():
        raise ConfigurationError(
            f"the calibration data {str(given)[:80]} of calibration= does not exist",
            fix="correct the path, which is relative to the test file.",
            code="TRT225",
            facts={"path": str(path)},
        )
    return path


def same_file(one: Path, other: Path | None) -> bool:
    """Whether two paths name one file: a folder may be reached by a symbolic link."""
    return other is not None and (one == other or one.resolve() == other.resolve())


def _precisions(value: Any, where: str = ModelMarker.NAME) -> tuple[str, ...]:
    from pytest_trt.engine.spec import PRECISIONS

    precisions = (value,) if isinstance(value, str) else value
    valid = isinstance(precisions, tuple | list) and precisions
    unknown = [p for p in precisions if p not in PRECISIONS] if valid else [value]
    if unknown:
        raise invalid(
            ModelMarker.NAME,
            f"{where}: unknown precision {listed(tuple(unknown))}",
            f"use one or several of {', '.join(PRECISIONS)}.",
        )
    if len(set(precisions)) != len(precisions):
        raise invalid(
            ModelMarker.NAME,
            f"trt_model names a precision twice: {listed(tuple(precisions))}",
            "name each precision once.",
        )
    return tuple(precisions)
