"""Metrics that judge outputs as a whole: parsed from a marker, applied to outputs, measured.

metrics = parse_metrics({"snr_db": ">= 40", "iou": (function, ">= 0.9")}, "marker")
checks = resolve_metrics(outputs, metrics, {"probs": {...}})
found = [check.measure(outputs, reference, inputs) for check in checks]
"""

from __future__ import annotations

import copy
import inspect
import math
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from pytest_trt.accuracy.metrics.builtin import (
    BUILT_IN_NAMES,
    BuiltIn,
    MetricFunction,
    built_in,
    built_in_of,
)
from pytest_trt.accuracy.metrics.detection import Detections
from pytest_trt.accuracy.metrics.signals import lost_samples_db
from pytest_trt.accuracy.resolve import is_exact_dtype
from pytest_trt.accuracy.result import COMPARISONS, MetricOutcome, Sign
from pytest_trt.accuracy.small_parts import small_parts, with_zeros
from pytest_trt.accuracy.tolerance import topk_can_fail
from pytest_trt.diagnostics import ConfigurationError, PytestTrtError
from pytest_trt.tensors.elements import element_of, is_tensor
from pytest_trt.tensors.spec import Tensors, TensorSpec
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    from pytest_trt.accuracy.tolerance import Tolerance

#: How inputs are handed to a metric: not at all, as its third argument, or by the name `inputs`.
_Inputs: TypeAlias = Literal["", "third", "named"]

#: Characters of an exception's message that a result retains.
_MOST_CHARS = 200

_LIMIT = re.compile(r"\s*(>=|<=|==|>|<)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class MetricCheck:
    """A metric with its limit, and the outputs that it judges.

    Attributes:
        name: The metric's name.
        function: Computes it.
        comparison: How its value has to compare with the bound.
        bound: What its value is compared with.
        inputs: How it takes the inputs.
        known: What is known of it; None for a function of the project.
        output: The one output that it judges, as an array; empty where it gets all by name.
    """

    name: str
    function: MetricFunction
    comparison: Sign
    bound: float
    inputs: _Inputs = ""
    known: BuiltIn | None = None
    output: str = ""

    @property
    def judges(self) -> tuple[str, ...] | None:
        """Names of the outputs that it judges; None for all."""
        if self.output:
            return (self.output,)
        return self.function.outputs if isinstance(self.function, Detections) else None

    def judges_output(self, name: str) -> bool:
        """Whether it judges an output."""
        return self.judges is None or name in self.judges

    def measure(
        self, outputs: Tensors, reference: Tensors, inputs: Tensors, *, trial: bool = False
    ) -> MetricOutcome:
        """Return the metric's value at one run, judged.

        Args:
            outputs: What the engine returned.
            reference: What is right.
            inputs: What the engine was given.
            trial: Whether to try outputs that do not depend on the inputs, too.
        """
        outcome = self._outcome(*self._value(outputs, reference, inputs))
        if self.known is None or not outcome.passed:
            return outcome
        if self.known.unit == "dB" and self.output and outcome.value is not None:
            # What the ratio would be if all samples were as bad as one of them.
            deficits = lost_samples_db(outputs[self.output], reference[self.output])
            lost = sum(not self._passes(outcome.value - one) for one in deficits)
            outcome = replace(outcome, lost_samples=lost)
        if not trial:
            return outcome
        hows: list[Callable[[np.ndarray, bool], np.ndarray]] = [_one_value, _first_sample]
        judged = (np.asarray(reference[name]) for name in self.judges or ())
        if any(next(small_parts(array), None) for array in judged):
            hows.append(_zeros)
        passes = {
            how: self._outcome(*self._value(self._made(reference, how), reference, inputs)).passed
            for how in hows
        }
        return replace(
            outcome,
            one_value=passes[_one_value],
            same_samples=passes[_first_sample],
            unseen=passes.get(_zeros, False),
        )

    def _made(
        self, reference: Tensors, how: Callable[[np.ndarray, bool], np.ndarray]
    ) -> dict[str, Any]:
        """Return the outputs that it judges, made of the reference's."""
        names = self.judges or ()
        return {name: how(np.asarray(reference[name]), not self.output) for name in names}

    def of_sketches(self, names: Sequence[str]) -> MetricOutcome:
        """Return the outcome of a run at which only sketches of these outputs are stored."""
        outputs = ", ".join(map(repr, names))
        found = self._outcome(None, f"only a sketch of {outputs} is stored")
        return replace(found, not_stored=True)

    def _given(self, values: Tensors) -> dict[str, Any]:
        """Return values of which no array can be written to: later checks get the same ones.

        Functions of the project get copies. Tensors that share an array's memory, such as those of
        torch.from_numpy, can be written to all the same, and so can lists.
        """
        if self.known is None:
            values = copy.deepcopy(dict(values))
        return {name: _read_only(value) for name, value in values.items()}

    def _outcome(self, value: float | None, problem: str) -> MetricOutcome:
        passed = value is not None and self._passes(value)
        return MetricOutcome(
            name=self.name,
            output=self.output,
            unit=self.known.unit if self.known else "",
            comparison=self.comparison,
            bound=self.bound,
            value=value,
            problem=problem,
            failed_runs=int(not passed),
        )

    def _passes(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.bound)

    def _value(
        self, outputs: Tensors, reference: Tensors, inputs: Tensors
    ) -> tuple[float | None, str]:
        """Return a value, or why there is none."""
        arguments: list[object] = [self._given(side) for side in (outputs, reference)]
        named = {"inputs": self._given(inputs)} if self.inputs == "named" else {}
        if self.output:
            missing = [self.output not in side for side in (outputs, reference)]
            if any(missing):
                return None, f"the {'output' if missing[0] else 'reference'} is missing"
            arguments = [
                self._given({self.output: side[self.output]})[self.output]
                for side in (outputs, reference)
            ]
        if self.inputs == "third":
            arguments.append(self._given(inputs))
        try:
            found = self.function(*arguments, **named)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # pytest.skip(), too: elements have been compared
            return None, _raised(error, self.function)
        return _number(found)


def _one_value(array: np.ndarray, is_nothing: bool) -> np.ndarray:
    """Return an array with one value in all elements: 0, which no detection has, or the mean."""
    value = array.dtype.type(0)
    if array.size and not is_nothing:
        wide = np.complex128 if array.dtype.kind == "c" else np.float64
        with np.errstate(all="ignore"):
            value = array.mean(dtype=wide).astype(array.dtype)
    return np.broadcast_to(np.asarray(value, array.dtype), array.shape)


def _first_sample(array: np.ndarray, _: bool) -> np.ndarray:
    """Return an array with the first row along axis 0 in all rows."""
    return np.broadcast_to(array[:1], array.shape) if array.ndim else array


def _zeros(array: np.ndarray, _: bool) -> np.ndarray:
    """Return an array with zeros in the parts that are small beside its others."""
    parts = next(small_parts(array), None)
    return array if parts is None else with_zeros(array, parts)


def _read_only(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    view = value.view()
    view.flags.writeable = False
    return view


def _raised(error: BaseException, function: MetricFunction) -> str:
    """Return an exception in a line, with the line of the metric's file that it came from."""
    if isinstance(error, PytestTrtError):
        return error.message
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename == file]
    where = f", line {frames[-1].lineno} of {frames[-1].name}" if frames else ""
    text = " ".join(str(error).split())[:_MOST_CHARS]
    return f"it raised {type(error).__name__}{f': {text}' if text else ''}{where}"


def _number(found: object) -> tuple[float | None, str]:
    """Return a metric's result as a float, or why it is none."""
    if isinstance(found, np.ndarray) and not found.ndim:
        found = found[()]
    if isinstance(found, bool | np.bool_) or not isinstance(found, Real):
        shape = getattr(found, "shape", None)
        of = f" of shape {list(shape)}" if isinstance(shape, tuple) else ""
        what = repr(found) if found is None or isinstance(found, bool | np.bool_) else ""
        return None, f"it returned {what or f'{type(found).__name__}{of}'}, not one real number"
    try:
        value = float(found)
    except OverflowError:
        return None, "it returned an integer beyond float64"
    return (None, "it returned NaN") if math.isnan(value) else (value, "")


def parse_metrics(given: object, where: str) -> dict[str, MetricCheck | None]:
    """Return the metrics of one level of a marker by name; None where one is switched off.

    Args:
        given: {name: limit} of metrics of this package, {name: (function, limit)} of others. A
            limit is a text: ">= 0.9".
        where: Where it is written, for messages.

    Raises:
        ConfigurationError: A name, a function or a limit is not valid, or the limit allows
            everything or nothing.
    """
    if not isinstance(given, Mapping):
        raise _invalid(f"{where}: metrics={given!r} is not a mapping", _EXAMPLE, "metrics")
    found: dict[str, MetricCheck | None] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name:
            raise _invalid(f"{where}: {name!r} is not the name of a metric", _EXAMPLE, str(name))
        found[name] = None if value is None else _parsed(name, value, where)
    return found


_EXAMPLE = 'write metrics={"snr_db": ">= 40"}, or {"iou": (function, ">= 0.9")}.'


def _parsed(name: str, value: object, where: str) -> MetricCheck:
    what = f"{where}: metric {name!r}"
    if isinstance(value, str):
        known = built_in(name)
        if known is None:
            others = known_names("metric", name, BUILT_IN_NAMES)
            raise _invalid(
                f"{what} is unknown", f"give your own as (function, limit); {others}", name
            )
        return _limited(MetricCheck(name, known.function, "==", 0.0, known=known), value, what)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise _invalid(f"{what}: {value!r} is no limit, nor a function and a limit", _EXAMPLE, name)
    function, limit = value
    if not callable(function):
        raise _invalid(f"{what}: {function!r} is not a function", _EXAMPLE, name)
    known = built_in_of(function)
    check = MetricCheck(name, function, "==", 0.0, _takes_inputs(function, what, name), known)
    return _limited(check, limit, what)


def _takes_inputs(function: MetricFunction, what: str, name: str) -> _Inputs:
    """Return how a function takes the inputs, by its signature.

    Raises:
        ConfigurationError: It cannot be called with outputs and reference, nor with inputs too.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise _invalid(
            f"{what}: the parameters of {function!r} are unknown",
            "wrap it: lambda outputs, reference: ...",
            name,
        ) from None

    def fits(*arguments: object, **named: object) -> bool:
        try:
            signature.bind(*arguments, **named)
        except TypeError:
            return False
        return True

    if "inputs" in signature.parameters and fits(None, None, inputs=None):
        return "named"
    if fits(None, None):
        return ""
    if fits(None, None, None):
        return "third"
    raise _invalid(
        f"{what}: its function takes {signature}",
        "let it take (outputs, reference) or (outputs, reference, inputs).",
        name,
    )


def _limited(check: MetricCheck, limit: object, what: str) -> MetricCheck:
    """Return a check with its limit.

    Raises:
        ConfigurationError: The limit is none, or would allow everything or nothing.
    """
    match = _LIMIT.fullmatch(limit) if isinstance(limit, str) else None
    comparison = cast(Sign, match[1] if match else "==")
    try:
        bound = float(match[2]) if match else math.nan
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise _invalid(
            f"{what}: {limit!r} is not a limit",
            f'write one of {", ".join(COMPARISONS)} and a finite number: ">= 0.9".',
            check.name,
        )
    if check.known is not None:
        _check_direction(check.known, comparison, bound, f"{what}: {limit!r}", check.name)
    return replace(check, comparison=comparison, bound=bound)


def _check_direction(known: BuiltIn, comparison: Sign, bound: float, what: str, name: str) -> None:
    """Refuse a limit that contradicts what is known of a metric."""
    from_below = comparison in (">", ">=")
    if comparison != "==" and from_below != known.larger_is_better:
        better, instead = ("larger", ">=") if known.larger_is_better else ("smaller", "<=")
        raise _invalid(
            f"{what} would fail the better engines: of {name}, {better} is better",
            f'write "{instead} {bound:g}".',
            name,
        )
    ends = f"{name} is from {known.least:g} to {known.most:g}"
    worst = known.least if known.larger_is_better else known.most
    # The strict comparisons exclude the worst value itself.
    if comparison in (">=", "<=") and bound == worst:
        raise _invalid(f"{what} could never fail: {ends}", "give a stricter limit.", name)
    best = known.most if known.larger_is_better else known.least
    if not known.least <= bound <= known.most or (comparison in "<>" and bound == best):
        raise _invalid(f"{what} is out of range: {ends}", "give a limit within it.", name)


def resolve_metrics(
    outputs: Sequence[TensorSpec],
    common: Mapping[str, MetricCheck | None],
    per_output: Mapping[str, Mapping[str, MetricCheck | None]],
) -> tuple[MetricCheck, ...]:
    """Return the metrics of a test for a model's outputs.

    A function for all outputs gets them by name, once a run. A named metric for all outputs judges
    each output that it fits: floating-point numbers, or for token metrics integers. An entry of an
    output replaces one for all of the same name.

    Raises:
        ConfigurationError: A metric fits no output, or not the one that it is given for.
    """
    own = (
        _for_output(check, spec)
        for spec in outputs
        for check in per_output.get(spec.name, {}).values()
        if check is not None
    )
    return (*_common(outputs, common, per_output), *own)


def _common(
    outputs: Sequence[TensorSpec],
    common: Mapping[str, MetricCheck | None],
    per_output: Mapping[str, Mapping[str, MetricCheck | None]],
) -> Iterator[MetricCheck]:
    names = [spec.name for spec in outputs]
    for check in filter(None, common.values()):
        if check.judges is not None or check.known is None:
            for name in set(check.judges or ()) - set(names):
                raise _invalid(
                    f"metric {check.name!r} names output {name!r}, which the model does not have",
                    known_names("output", name, names),
                    check.name,
                )
            yield check
            continue
        fitting = [spec for spec in outputs if _fits(check.known, spec)]
        if not fitting:
            what = "integers" if check.known.of == "tokens" else "floating-point numbers"
            raise _invalid(
                f"metric {check.name!r} fits no output: none is a tensor of {what}",
                "leave it out, or give it for one output: outputs={name: {'metrics': {...}}}.",
                check.name,
            )
        for spec in fitting:
            if check.name not in per_output.get(spec.name, {}):
                yield _of_output(check, spec)


def _fits(known: BuiltIn, spec: TensorSpec) -> bool:
    """Whether a metric for all outputs judges this one."""
    if known.of == "tokens":
        return is_tensor(spec.dtype) and spec.dtype.startswith(("int", "uint"))
    return is_tensor(spec.dtype) and not is_exact_dtype(element_of(spec.dtype))


def _for_output(check: MetricCheck, spec: TensorSpec) -> MetricCheck:
    known = check.known
    if isinstance(check.function, Detections):
        raise _invalid(
            f"metric {check.name!r} of output {spec.name!r} judges several outputs",
            "give it in metrics= of the marker, not of an output.",
            check.name,
        )
    if known is not None and (
        not is_tensor(spec.dtype)
        or spec.dtype == "string"
        or (known.of == "tokens" and not _fits(known, spec))
    ):
        raise _invalid(
            f"metric {check.name!r} does not apply to output {spec}",
            "leave it out there.",
            check.name,
        )
    return _of_output(check, spec)


def _of_output(check: MetricCheck, spec: TensorSpec) -> MetricCheck:
    """Return a metric that judges one output.

    Raises:
        ConfigurationError: It ranks so few elements that any two rankings agree as much.
    """
    axis = spec.shape[-1] if spec.shape else None
    last = axis if isinstance(axis, int) else 0
    k = check.known.ranked if check.known is not None else 0
    if 0 < k < last and check.comparison == ">=" and not topk_can_fail((k, check.bound), last):
        raise _invalid(
            f"metric {check.name!r} of output {spec} could never fail: any two rankings of "
            f"{last} elements share {2 * k - last} of the {k} largest",
            "give a smaller k or a larger limit.",
            check.name,
        )
    return replace(check, output=spec.name)


def check_judged(tolerances: Mapping[str, Tolerance], metrics: Collection[MetricCheck]) -> None:
    """Refuse outputs that nothing judges.

    Raises:
        ConfigurationError: An output has `elementwise=False`, and no metric.
    """
    for name, tolerance in tolerances.items():
        if tolerance.elementwise or tolerance.has_measure:
            continue
        if not any(check.judges_output(name) for check in metrics):
            raise ConfigurationError(
                f"output {name!r} has elementwise=False and no metric, so it could never fail",
                code="TRT141",
                facts={"metric": "", "output": name},
                fix=f"give it a metric, or compare it: outputs={{{name!r}: "
                "{'elementwise': True}}.",
            )


def _invalid(message: str, fix: str, name: str) -> ConfigurationError:
    return ConfigurationError(message, code="TRT141", facts={"metric": name}, fix=fix)
