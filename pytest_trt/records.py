"""Dataclasses to JSON-simple data and back; every error names the field by its path.

    data = to_data(entry)               # dicts, lists, str, int, float, bool, None: for json.dumps
    entry = from_data(Entry, data)      # RecordError: runs[0].calls: expected int, found 'a'

The types of the fields say what is valid: str, int, float, bool, None, Path, enums, Literal,
unions, tuple[T, ...], tuple[A, B], list[T], frozenset[T], Sequence[T], Mapping[K, V], other
dataclasses, and Any for what is passed through. They are resolved at run time, so they must be
imported outside of TYPE_CHECKING. A field without a default is required; an unknown one is an
error. What types cannot say, a class checks in `__post_init__`:

    if self.calls < 1:
        raise RecordError(f"expected 1 or more, found {self.calls}", "calls")

JSON has no infinity: floats that are not finite are written as text, "inf", and read again.

Not msgspec: its import takes longer than those of dataclasses, typing and json together, its
errors leave out keys of mappings, and it ignores unknown fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    ForwardRef,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

_T = TypeVar("_T")
_Decoder = Callable[[Any], Any]

#: How many characters of an unexpected value an error shows.
_SHOWN = 40

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class RecordError(ValueError):
    """Data that does not fit its type.

    Args:
        problem: What was expected and what was found.
        path: Field names, keys and indices that lead to it.
    """

    def __init__(self, problem: str, *path: str | int) -> None:
        where = path_text(path)
        super().__init__(f"{where}: {problem}" if where else problem)
        self.problem, self.path = problem, path

    def within(self, step: str | int) -> RecordError:
        """Return the same error one level further out."""
        return RecordError(self.problem, step, *self.path)


def path_text(path: Sequence[str | int]) -> str:
    """Return a path as it is written: `tests["test_a[fp16]"].runs[0].calls`."""
    text = ""
    for step in path:
        if isinstance(step, str) and step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def to_data(value: object) -> Any:
    """Return JSON-simple data of a dataclass, or of anything that fields may hold."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if is_dataclass(value):
        return {field.name: to_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(to_data(key)): to_data(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(to_data(item) for item in value)
    if isinstance(value, Collection):
        return [to_data(item) for item in value]
    return str(value)


def from_data(cls: type[_T], data: object) -> _T:
    """Return the dataclass that `to_data` made this data from.

    Raises:
        RecordError: The data does not fit; the error names the field.
    """
    hint: Any = cls
    value: _T = _decoder(hint)(data)
    return value


def _refuse(expected: str, data: object) -> NoReturn:
    shown = repr(data)
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    raise RecordError(f"expected {expected}, found {shown}")


@cache
def _decoder(hint: Any) -> _Decoder:
    """Return the function that makes a value of a type from data."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hint is Any or hint is object or isinstance(hint, ForwardRef | str):  # recursive aliases
        return lambda data: data
    if origin is Literal:
        return _one_of({value: value for value in args})
    if origin in (Union, UnionType):
        return _union(args)
    if origin is tuple and args[-1:] != (...,):
        return _fixed_tuple(args)
    if origin in _SEQUENCES:
        return _sequence(_SEQUENCES[origin], args[0])
    if origin in (dict, Mapping):
        return _mapping(*args)
    if is_dataclass(hint):
        return _dataclass(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _one_of({member.value: member for member in hint})
    raise TypeError(f"records hold no {hint!r}")


_SEQUENCES: Mapping[Any, _Decoder] = {
    tuple: tuple,
    list: list,
    frozenset: frozenset,
    Sequence: tuple,
    Collection: tuple,
}


def _exactly(kind: type) -> _Decoder:
    def decode(data: Any) -> Any:
        return data if type(data) is kind else _refuse(kind.__name__, data)

    return decode


def _number(data: Any) -> float:
    if isinstance(data, str) and data in _NON_FINITE:
        return _NON_FINITE[data]
    if isinstance(data, bool) or not isinstance(data, int | float):
        _refuse("a number", data)
    try:
        return float(data)
    except OverflowError:
        _refuse("a number", data)


def _null(data: Any) -> None:
    if data is not None:
        _refuse("null", data)


def _path(data: Any) -> Path:
    return Path(data) if isinstance(data, str) else _refuse("a path", data)


_SCALARS: Mapping[Any, _Decoder] = {
    str: _exactly(str),
    int: _exactly(int),
    bool: _exactly(bool),
    float: _number,
    NoneType: _null,
    Path: _path,
}


def _one_of(values: Mapping[Any, Any]) -> _Decoder:
    def decode(data: Any) -> Any:
        if isinstance(data, str | int) and data in values:
            return values[data]
        _refuse(f"one of {', '.join(map(str, values))}", data)

    return decode


def _union(args: tuple[Any, ...]) -> _Decoder:
    decoders = {arg: _decoder(arg) for arg in args if arg is not NoneType}

    def decode(data: Any) -> Any:
        if data is None and NoneType in args:
            return None
        if type(data) in decoders or len(decoders) == 1:
            return decoders.get(type(data), next(iter(decoders.values())))(data)
        problems = []
        for decoder in decoders.values():
            try:
                return decoder(data)
            except RecordError as error:
                problems.append(error)
        # The alternative that came furthest is most likely the one that was meant.
        raise max(problems, key=lambda error: len(error.path))

    return decode


def _fixed_tuple(args: tuple[Any, ...]) -> _Decoder:
    decoders = [_decoder(arg) for arg in args]

    def decode(data: Any) -> Any:
        if not isinstance(data, list | tuple) or len(data) != len(decoders):
            _refuse(f"a list of {len(decoders)}", data)
        return tuple(
            _at(index, decoder, item)
            for index, (decoder, item) in enumerate(zip(decoders, data, strict=True))
        )

    return decode


def _sequence(make: _Decoder, item_hint: Any) -> _Decoder:
    decoder = _decoder(item_hint)

    def decode(data: Any) -> Any:
        if not isinstance(data, list | tuple):
            _refuse("a list", data)
        return make(_at(index, decoder, item) for index, item in enumerate(data))

    return decode


def _mapping(key_hint: Any, value_hint: Any) -> _Decoder:
    of_key, of_value = _decoder(key_hint), _decoder(value_hint)

    def decode(data: Any) -> Any:
        if not isinstance(data, Mapping):
            _refuse("an object", data)
        return {_at(key, of_key, key): _at(key, of_value, item) for key, item in data.items()}

    return decode


def _dataclass(cls: Any) -> _Decoder:
    @cache
    def decoders() -> dict[str, _Decoder]:  # on first use: classes may refer to each other
        hints = get_type_hints(cls)
        return {field.name: _decoder(hints[field.name]) for field in fields(cls) if field.init}

    required = [
        field.name
        for field in fields(cls)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]

    def decode(data: Any) -> Any:
        if not isinstance(data, Mapping):
            _refuse("an object", data)
        for name in required:
            if name not in data:
                raise RecordError("missing", name)
        for name in data:
            if name not in decoders():
                raise RecordError("unknown field", name)
        values = {name: _at(name, decoders()[name], item) for name, item in data.items()}
        try:
            return cls(**values)
        except RecordError:
            raise
        except ValueError as error:
            raise RecordError(str(error)) from error

    return decode


def _at(step: str | int, decoder: _Decoder, data: Any) -> Any:
    try:
        return decoder(data)
    except RecordError as error:
        raise error.within(step) from None
