"""JSON schemas, made from dataclasses and their docstrings: that of reports, and of other files."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, ForwardRef, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pytest_trt.report.entries import REPORT_SCHEMA, Report

_Schema: TypeAlias = dict[str, Any]

_SCALARS = {str: "string", int: "integer", bool: "boolean", type(None): "null", Path: "string"}

_NUMBER: _Schema = {
    "description": "A figure; NaN and infinities are text.",
    "anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}],
}


_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> _Schema:
    """Return the JSON schema of reports. Every field has a description."""
    return {
        "$schema": _DRAFT,
        "title": f"Report of pytest-trt, format {REPORT_SCHEMA}",
        **schema_of(Report),
    }


def schema_text() -> str:
    """Return the JSON schema of reports as text."""
    return json.dumps(report_schema(), indent=2) + "\n"


def stored_schema(title: str, cls: type, number: int) -> _Schema:
    """Return the JSON schema of files that hold a dataclass and the number of their format.

    Fields with a default may be left out, as in `records.from_data`.
    """
    found = _schema_of(cls, _Making(may_lack_defaults=True))
    numbered = {"schema": {"description": "Number of the format.", "const": number}}
    found["properties"] = {**numbered, **found["properties"], **numbered}
    found["required"] = ["schema", *found["required"]]
    return {"$schema": _DRAFT, "title": f"{title}, format {number}", **found}


def schema_of(cls: type) -> _Schema:
    """Return the JSON schema of a dataclass, with the dataclasses that it refers to in `$defs`."""
    return _schema_of(cls, _Making())


@dataclass(frozen=True, slots=True)
class _Making:
    """A schema while it is made.

    Attributes:
        may_lack_defaults: Whether fields with a default may be left out.
        definitions: The dataclasses that it refers to.
    """

    may_lack_defaults: bool = False
    definitions: dict[str, _Schema] = field(default_factory=lambda: {"number": _NUMBER})

    def requires(self, one: Field[Any]) -> bool:
        """Whether a field has to be there."""
        has_default = one.default is not MISSING or one.default_factory is not MISSING
        return not (self.may_lack_defaults and has_default)


def _schema_of(cls: type, making: _Making) -> _Schema:
    return {**_object(cls, making), "$defs": making.definitions}


def _object(cls: Any, making: _Making) -> _Schema:
    hints, described = get_type_hints(cls), attribute_docs(cls)
    return {
        "description": _summary(cls),
        "type": "object",
        "required": [one.name for one in fields(cls) if making.requires(one)],
        "properties": {
            one.name: {"description": described[one.name], **_of(hints[one.name], making)}
            for one in fields(cls)
        },
    }


def _of(hint: Any, making: _Making) -> _Schema:
    """Return the schema of a field's type, as `records.to_data` encodes it."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if hint is float:
        return {"$ref": "#/$defs/number"}
    # A recursive alias, which Python 3.10 leaves as text: whatever JSON can hold.
    if hint is Any or any(isinstance(one, ForwardRef | str) for one in (hint, *_nested(hint))):
        return {}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return _union([_of(one, making) for one in args])
    if origin is tuple and args[-1:] != (...,):
        return {"type": "array", "prefixItems": [_of(one, making) for one in args]}
    if origin in (tuple, list, Sequence):
        return {"type": "array", "items": _of(args[0], making)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(args[1], making)}
    return _reference(hint, making)


def _nested(hint: Any) -> Iterator[Any]:
    """Yield the types in the members of a union."""
    if get_origin(hint) in (Union, types.UnionType):
        for member in get_args(hint):
            yield from () if get_origin(member) is Literal else get_args(member)


def _union(schemas: list[_Schema]) -> _Schema:
    plain = [schema["type"] for schema in schemas if schema.keys() == {"type"}]
    return {"type": plain} if len(plain) == len(schemas) else {"anyOf": schemas}


def _reference(cls: Any, making: _Making) -> _Schema:
    name: str = cls.__name__
    if name not in making.definitions:
        making.definitions[name] = {}  # before its fields: they may refer to it
        if issubclass(cls, Enum):
            enum = [member.value for member in cls]
            making.definitions[name] = {"description": _summary(cls), "enum": enum}
        else:
            making.definitions[name] = _object(cls, making)
    return {"$ref": f"#/$defs/{name}"}


def _summary(cls: type) -> str:
    """Return a docstring up to its section of attributes, in one line."""
    text = inspect.getdoc(cls) or ""
    return " ".join(text.partition("\nAttributes:")[0].split())


def attribute_docs(cls: type) -> dict[str, str]:
    """Return what the docstring of a class has about each attribute, in one line each."""
    found: dict[str, list[str]] = {}
    name = ""
    section = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")[2].partition("\n\n")[0]
    for line in section.splitlines():
        words = line.strip()
        if not line[4:].startswith(" "):
            name, _, words = words.partition(": ")
        found.setdefault(name, []).append(words)
    return {name: " ".join(lines) for name, lines in found.items()}
