"""Dataclasses to JSON-simple data and back; every error names the field by its path.

    data = to_data(entry)               # dicts, lists, str, int, float, bool, None: for json.dumps
    entry = from_data(Entry, data)      # RecordError: runs[0].calls: expected int, found 'a'
    entry = from_data(Entry, parse_json(text))  # the same of a file, whatever stands in it

The types of the fields say what is valid: str, int, float, bool, None, Path, enums, Literal,
unions, tuple[T, ...], tuple[A, B], list[T], frozenset[T], Sequence[T], Mapping[K, V], other
dataclasses, and Any for what is passed through. They are resolved at run time, so they must be
imported outside of TYPE_CHECKING. A field without a default is required; an unknown one is an
error. What types cannot say, a class checks in `__post_init__`:

    if self.calls < 1:
        raise RecordError(f"expected 1 or more, found {self.calls}", "calls")

JSON has no infinity: floats that are not finite are written as text, "inf", and read again. An
infinity or NaN as a number, which Python's reader lets through, is an error, and so is an integer
of more than 64 bits.

Not msgspec: its import takes longer than those of dataclasses, typing and json together, its
errors leave out keys of mappings, and it ignores unknown fields.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
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
)

from pytest_trt.diagnostics import PytestTrtError

_T = TypeVar("_T")
_Decoder = Callable[[Any], Any]
_Encoder = Callable[[Any], Any]

#: How many characters of an unexpected value an error shows, and of a key in a path.
_SHOWN, _SHOWN_STEP = 40, 100

#: Integers beyond this are damage: nothing that is stored has so many bytes or calls.
_LARGEST = 2**63 - 1

#: Levels of data whose type says nothing about them, such as facts of a diagnostic.
_LEVELS = 20

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
        long = isinstance(step, str) and len(step) > _SHOWN_STEP
        if isinstance(step, str) and step.isidentifier() and not long:
            text += f".{step}" if text else step
        elif isinstance(step, str) and long:
            text += f'[{json.dumps(step[: _SHOWN_STEP - 3])[:-1]}..."]'
        else:
            text += f"[{json.dumps(step)}]"
    return text


def to_data(value: object) -> Any:
    """Return JSON-simple data of a dataclass, or of anything that fields may hold."""
    kind: Any = type(value)
    return _encoder(kind)(value)


@cache
def _encoder(kind: type) -> _Encoder:
    """Return the function that makes data of a value of a type."""
    if is_dataclass(kind):
        names = [field.name for field in fields(kind)]
        return lambda value: {name: to_data(getattr(value, name)) for name in names}
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, str | int | NoneType):
        return lambda value: value
    if issubclass(kind, float):
        return lambda value: value if math.isfinite(value) else str(value)
    if issubclass(kind, Mapping):
        return lambda value: {str(to_data(key)): to_data(item) for key, item in value.items()}
    if issubclass(kind, AbstractSet):
        return lambda value: sorted(map(to_data, value))
    if issubclass(kind, Collection):
        return lambda value: list(map(to_data, value))
    return str


def from_data(cls: type[_T], data: object, *, ignore_unknown: bool = False) -> _T:
    """Return the dataclass that `to_data` made this data from.

    Args:
        cls: The dataclass.
        data: The data.
        ignore_unknown: Whether fields that the classes do not have are ignored.

    Raises:
        RecordError: The data does not fit; the error names the field.
    """
    hint: Any = cls
    value: _T = _decoder(hint, ignore_unknown)(data)
    return value


def parse_json(text: str | bytes) -> Any:
    """Return the data in a text of JSON.

    Raises:
        RecordError: It is not JSON in UTF-8, an object has a field twice, or it is nested too
            deeply.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text, object_pairs_hook=_object
        )
    except RecordError:
        raise
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        raise RecordError(
            f"expected UTF-8, found the byte 0x{found:02x} at position {error.start}"
        ) from error
    except ValueError as error:  # among them an integer of more digits than Python converts
        raise RecordError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise RecordError("not JSON of ours: it is nested too deeply") from error


def schema_of(data: object) -> int:
    """Return the number of a file's format.

    Raises:
        RecordError: It has none.
    """
    if not isinstance(data, Mapping):
        _refuse("an object", data)
    if "schema" not in data:
        raise RecordError("missing", "schema")
    found: int = at("schema", _integer, data["schema"])
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise RecordError("the field is there twice", counts.most_common(1)[0][0])
    return found


def _refuse(expected: str, data: object) -> NoReturn:
    raise RecordError(f"expected {expected}, found {_shown(data)}")


def _shown(data: object) -> str:
    import reprlib  # only errors need it

    short = reprlib.Repr()
    short.maxlevel, short.maxstring = 3, 10 * _SHOWN
    shown = repr(data) if isinstance(data, int) else short.repr(data)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."


@cache
def _decoder(hint: Any, ignore_unknown: bool) -> _Decoder:
    """Return the function that makes a value of a type from data."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hint is Any or hint is object or isinstance(hint, ForwardRef | str):  # recursive aliases
        return _anything
    if origin is Literal:
        return _one_of({value: value for value in args})
    if is_dataclass(hint):
        return _dataclass(hint, ignore_unknown)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _one_of({member.value: member for member in hint})
    decoders = {arg: _decoder(arg, ignore_unknown) for arg in args if arg is not ...}
    if origin in (Union, UnionType):
        return _union(decoders)
    if origin is tuple and args[-1:] != (...,):
        return _fixed_tuple([decoders[arg] for arg in args])
    if origin in _SEQUENCES:
        return _sequence(_SEQUENCES[origin], decoders[args[0]])
    if origin in (dict, Mapping):
        return _mapping(*(decoders[arg] for arg in args))
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


def _integer(data: Any) -> int:
    if type(data) is not int:
        _refuse("int", data)
    return data if -_LARGEST <= data <= _LARGEST else _refuse("an integer of 64 bits", data)


def _number(data: Any) -> float:
    if isinstance(data, str) and data in _NON_FINITE:
        return _NON_FINITE[data]
    if isinstance(data, bool) or not isinstance(data, int | float):
        _refuse("a number", data)
    try:
        found = float(data)
    except OverflowError:
        _refuse("a number", data)
    return found if math.isfinite(found) else _refuse("a finite number", data)


def _path(data: Any) -> Path:
    return Path(data) if isinstance(data, str) and "\0" not in data else _refuse("a path", data)


def _anything(data: Any, levels: int = _LEVELS) -> Any:
    """Return data as it is, if it can be written and shown again."""
    if not levels:
        _refuse(f"at most {_LEVELS} levels", data)
    if isinstance(data, Mapping):
        for key, item in data.items():
            at(key, lambda item: _anything(item, levels - 1), item)
    elif isinstance(data, list | tuple):
        for index, item in enumerate(data):
            at(index, lambda item: _anything(item, levels - 1), item)
    elif type(data) is int:
        return _integer(data)
    elif type(data) is float:
        return _number(data)
    return data


_SCALARS: Mapping[Any, _Decoder] = {
    str: _exactly(str),
    int: _integer,
    bool: _exactly(bool),
    float: _number,
    NoneType: _exactly(NoneType),
    Path: _path,
}


def _one_of(values: Mapping[Any, Any]) -> _Decoder:
    def decode(data: Any) -> Any:
        if isinstance(data, str | int) and data in values:
            return values[data]
        _refuse(f"one of {', '.join(map(str, values))}", data)

    return decode


def _union(of: Mapping[Any, _Decoder]) -> _Decoder:
    decoders = {arg: decoder for arg, decoder in of.items() if arg is not NoneType}

    def decode(data: Any) -> Any:
        if data is None and NoneType in of:
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


def _fixed_tuple(decoders: Sequence[_Decoder]) -> _Decoder:
    def decode(data: Any) -> Any:
        if not isinstance(data, list | tuple) or len(data) != len(decoders):
            _refuse(f"a list of {len(decoders)}", data)
        return tuple(
            at(index, decoder, item)
            for index, (decoder, item) in enumerate(zip(decoders, data, strict=True))
        )

    return decode


def _sequence(make: _Decoder, decoder: _Decoder) -> _Decoder:
    def decode(data: Any) -> Any:
        if not isinstance(data, list | tuple):
            _refuse("a list", data)
        found: list[Any] = []
        try:
            for item in data:
                found.append(decoder(item))
        except RecordError as error:
            raise error.within(len(found)) from None
        return make(found)

    return decode


def _mapping(of_key: _Decoder, of_value: _Decoder) -> _Decoder:
    def decode(data: Any) -> Any:
        if not isinstance(data, Mapping):
            _refuse("an object", data)
        found, key = {}, ""
        try:
            for key, item in data.items():
                found[of_key(key)] = of_value(item)
        except RecordError as error:
            raise error.within(key) from None
        return found

    return decode


def _dataclass(cls: Any, ignore_unknown: bool) -> _Decoder:
    @cache
    def decoders() -> dict[str, _Decoder]:  # on first use: classes may refer to each other
        return {name: _decoder(hint, ignore_unknown) for name, hint in _hints(cls).items()}

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
        values, name, known = {}, "", decoders()
        try:
            for name, item in data.items():
                if name in known:
                    values[name] = known[name](item)
                elif not ignore_unknown:
                    raise RecordError("unknown field")
        except RecordError as error:
            raise error.within(name) from None
        return _made(cls, values)

    return decode


def _hints(cls: Any) -> dict[str, Any]:
    """Return the types of the fields that a class is made with, as `typing.get_type_hints` does.

    That evaluates each that is text, as after `from __future__ import annotations`, by itself,
    which takes three times as long.
    """
    hints: dict[str, Any] = {}
    for base in filter(is_dataclass, reversed(cls.__mro__)):
        own = {one.name: one.type for one in fields(base) if one.name in base.__annotations__}
        texts = {name: kind for name, kind in own.items() if isinstance(kind, str)}
        types = eval(f"[{', '.join(texts.values())}]", vars(sys.modules[base.__module__]))
        hints |= {**own, **dict(zip(texts, types, strict=True))}
    return {one.name: hints[one.name] for one in fields(cls) if one.init}


def _made(cls: Any, values: Mapping[str, Any]) -> Any:
    try:
        return cls(**values)
    except RecordError:
        raise
    except PytestTrtError as error:
        raise RecordError(error.message) from error
    except (ValueError, ArithmeticError) as error:  # such as a sum beyond float64
        raise RecordError(str(error)) from error


def at(step: str | int, decoder: _Decoder, data: Any) -> Any:
    """Return what a decoder makes of data; an error names the step to it, a key or an index."""
    try:
        return decoder(data)
    except RecordError as error:
        raise error.within(step) from None
