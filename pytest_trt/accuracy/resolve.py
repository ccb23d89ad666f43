"""Which tolerance applies to an output: its own > the marker's > the ini table's > a default."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import cast

from pytest_trt.accuracy.tolerance import (
    DEFAULT_TOLERANCES,
    STEP_BY_DTYPE,
    Tolerance,
    field_that_cannot_fail,
    invalid_tolerance,
)
from pytest_trt.diagnostics import ConfigurationError, in_context
from pytest_trt.ini_tables import rows_of
from pytest_trt.tensors.elements import element_of
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.units import plain_number

#: Fields that a marker, an entry of its `outputs`, or an ini line may set.
TOLERANCE_FIELDS = tuple(
    field.name for field in dataclasses.fields(Tolerance) if field.name != "origin"
)

#: numpy's "str" and "object" are what arrays of ONNX's "string" are.
#: Between neighbours of float4e2m1 and float8e8m0 is as much as half of a value and more, so no
#: tolerance of one step would test anything.
_EXACT_DTYPES = ("int", "uint", "bool", "str", "object", "String", "float4", "float8e8m0")

#: Types of outputs whose values no numpy array holds.
_INCOMPARABLE = ("sparse_tensor", "opaque")


def parse_tolerance_fields(mapping: Mapping[str, object], where: str) -> dict[str, object]:
    """Return the validated fields of one level; the model's outputs need not be known.

    Args:
        mapping: Fields of `Tolerance` by name; a list for `topk` becomes a tuple.
        where: Where it is written, for messages: "marker trt_consistency on test_x".

    Raises:
        ConfigurationError: An unknown field, a value out of range, or one of rtol and atol alone.
    """
    fields = {name: plain_number(value) for name, value in mapping.items()}
    for name in fields:
        if name not in TOLERANCE_FIELDS:
            raise invalid_tolerance(
                f"{where}: unknown field {name!r} of a tolerance",
                _choices(name, TOLERANCE_FIELDS),
                field=name,
            )
    if isinstance(fields.get("topk"), list | tuple):
        fields["topk"] = tuple(map(plain_number, cast("Sequence[object]", fields["topk"])))
    try:
        # Another level may give the measure that makes max_mismatch_pct=100 a check.
        level = {"rtol": 0.0, "atol": 0.0, **fields}
        _build(level if level.get("cosine") is not None else {**level, "cosine": 1.0})
    except ConfigurationError as error:
        raise in_context(error, where) from error
    _check_pair(fields, where)
    return fields


def parse_tolerance_lines(lines: Iterable[str], where: str) -> dict[str, dict[str, object]]:
    """Return the ini table by precision, from lines such as ``fp16: rtol=2e-2 atol=1e-2``.

    A `topk` is written ``topk=5:0.9``. Lines that are empty or start with # are skipped.

    Raises:
        ConfigurationError: A line without a known precision, or with a field that is not valid, or
            a precision or a field that is given twice.
    """
    table: dict[str, dict[str, object]] = {}
    for precision, words, here in rows_of(lines, where, kind="field", code="TRT140"):
        _check_precision(precision, here)
        table[precision] = parse_tolerance_fields(
            dict(_parse_word(one, here) for one in words), here
        )
    return table


def resolve_tolerances(
    outputs: Sequence[TensorSpec],
    *,
    precision: str,
    marker: Mapping[str, object],
    per_output: Mapping[str, Mapping[str, object]],
    ini: Mapping[str, Mapping[str, object]],
) -> dict[str, Tolerance]:
    """Return the tolerance of every output.

    Each field comes from the first level that gives it: the output's own entry, the marker, the ini
    table's row for this precision, the default. rtol and atol count as one field. Outputs of
    integers, booleans, strings, float4e2m1 and float8e8m0 are compared exactly unless their own
    entry says otherwise, or the marker compares no elements. The items of a sequence, map or
    optional have the tolerance of its output.

    Args:
        outputs: The model's outputs.
        precision: The engine's precision, a key of `DEFAULT_TOLERANCES`.
        marker: Fields given on the marker for all outputs.
        per_output: Fields given on the marker by output name.
        ini: Fields given in the ini table by precision.

    Raises:
        ConfigurationError: An unknown output, field or precision, a value that is not valid, or an
            output of a type that cannot be compared.
    """
    _check_precision(precision, "tolerances")
    names = [spec.name for spec in outputs]
    for name in per_output:
        if name not in names:
            raise invalid_tolerance(
                f"a tolerance is given for output {name!r}, which the model does not have",
                _choices(name, names),
                field=name,
            )
    for row in ini:
        _check_precision(row, "ini trt_tolerances")
    common = [
        ("set on the marker", parse_tolerance_fields(marker, "marker")),
        (
            "set in the ini file",
            parse_tolerance_fields(ini.get(precision, {}), f"ini trt_tolerances, {precision}"),
        ),
    ]
    resolved = {}
    for spec in outputs:
        _require_comparable(spec)
        element = element_of(spec.dtype)
        where = f"output {spec.name!r} on the marker"
        fields = parse_tolerance_fields(per_output.get(spec.name, {}), where)
        own = (f"set on the marker for output {spec.name!r}", fields)
        levels = [own, *(map(_for_exact, common) if is_exact_dtype(element) else common)]
        try:
            resolved[spec.name] = _layered(levels, default_tolerance(precision, element))
        except ConfigurationError as error:
            raise in_context(error, f"output {spec.name!r}") from error
        _require_a_check(spec, element, resolved[spec.name])
    return resolved


def _for_exact(level: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """Return what of a level for all outputs holds for those that are compared exactly."""
    where, fields = level
    return where, {name: fields[name] for name in ("elementwise",) if name in fields}


def _require_a_check(spec: TensorSpec, element: str, tolerance: Tolerance) -> None:
    """Refuse a field that cannot fail on an output, as far as its type and shape show it."""
    last = spec.shape[-1] if spec.shape else None
    found = field_that_cannot_fail(tolerance, element, last if isinstance(last, int) else None)
    if found is None:
        return
    field, why = found
    only = f"set {field} only for other outputs, with outputs={{name: {{...}}}}."
    larger = f"give a smaller k or a larger share, or {only}"
    fix = {"atol": "give a smaller atol.", "topk": larger}.get(field, only)
    raise invalid_tolerance(
        f"output {spec}: {field} {why}, so it could never fail",
        fix,
        field=field,
    )


def _require_comparable(spec: TensorSpec) -> None:
    if spec.dtype.startswith(_INCOMPARABLE):
        raise ConfigurationError(
            f"output {spec} cannot be compared: pytest-trt compares tensors, and sequences, maps "
            "and optionals of them",
            code="TRT209",
            facts=spec.facts,
            fix="Make it a dense tensor in the model, or remove it from the outputs.",
        )


#: Of outputs whose type leaves no room for rounding.
EXACT = Tolerance(rtol=0.0, atol=0.0, origin="default for this type")


def is_exact_dtype(dtype: str) -> bool:
    """Whether outputs of this element type, by numpy's name, are compared exactly by default."""
    return dtype.startswith(_EXACT_DTYPES)


@lru_cache(maxsize=64)
def default_tolerance(precision: str, dtype: str) -> Tolerance:
    """Return what is allowed where nothing is given.

    Args:
        precision: A key of `DEFAULT_TOLERANCES`.
        dtype: The output's element type, by numpy's name.

    Raises:
        ConfigurationError: The precision is unknown.
    """
    _check_precision(precision, "tolerances")
    if is_exact_dtype(dtype):
        return EXACT
    default = DEFAULT_TOLERANCES[precision]
    step = STEP_BY_DTYPE.get(dtype, 0.0)
    if step <= default.rtol:
        return default
    return dataclasses.replace(
        default, rtol=step, origin=f"{default.origin}, widened to one step of {dtype}"
    )


def _layered(levels: Sequence[tuple[str, Mapping[str, object]]], default: Tolerance) -> Tolerance:
    """Merge levels, strongest first, over a default."""
    fields = {name: getattr(default, name) for name in ("origin", *TOLERANCE_FIELDS)}
    for where, level in reversed(levels):
        fields.update(level)
        if "rtol" in level:
            fields["origin"] = where
    return _build(fields)


def _build(fields: Mapping[str, object]) -> Tolerance:
    # The constructor checks every value at run time, so the unchecked types end here.
    return Tolerance(**fields)  # type: ignore[arg-type]


def _check_pair(fields: Mapping[str, object], where: str) -> None:
    given = [name for name in ("rtol", "atol") if name in fields]
    if len(given) != 1:
        return
    (name,) = given
    other = "atol" if name == "rtol" else "rtol"
    raise invalid_tolerance(
        f"{where}: {name}={fields[name]!r} is given without {other}, and the default {other} "
        "would silently be added to it",
        f"Give both; {other}=0 switches that part off.",
        field=name,
    )


def _check_precision(precision: str, where: str) -> None:
    if precision not in DEFAULT_TOLERANCES:
        raise invalid_tolerance(
            f"{where}: unknown precision {precision!r}",
            _choices(precision, DEFAULT_TOLERANCES),
            field=precision,
        )


def _parse_word(word: str, where: str) -> tuple[str, object]:
    name, equals, text = word.partition("=")
    try:
        if not equals:
            raise ValueError(word)
        if name == "nan":
            return name, text
        if name == "topk":
            k, _, share = text.partition(":")
            return name, (int(k), float(share))
        return name, float(text)
    except ValueError:
        raise invalid_tolerance(
            f"{where}: {word!r} is not of the form field=value",
            "Write it as rtol=1e-2, nan=match or topk=5:0.9.",
            field=name,
        ) from None


def _choices(given: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
