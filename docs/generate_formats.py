"""Pages and JSON schemas of the files that others may read, from the types that write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from generate_text import formatted

from pytest_trt.baseline.answers import AnswerFile
from pytest_trt.baseline.file import BaselineFile
from pytest_trt.baseline.metrics import MetricsFile
from pytest_trt.cli.doctor import schema_text as doctor_schema_text
from pytest_trt.engine.manifest import MANIFEST_SCHEMA, Manifest
from pytest_trt.report.entries import REPORT_SCHEMA
from pytest_trt.report.schema import report_schema, stored_schema


class Format(NamedTuple):
    """A format: its page and schema are named by its stem."""

    stem: str
    title: str
    where: str
    schema: Mapping[str, Any]


FORMATS = (
    Format(
        "report",
        f"Reports, format {REPORT_SCHEMA}",
        "`pytest --trt-report=report.json` writes it, and `pytest-trt report schema` prints its"
        " schema. See [reports](../../how-to/reports.md).",
        report_schema(),
    ),
    Format(
        "speed-baseline",
        f"Baselines of speed, format {BaselineFile.SCHEMA}",
        "`trt_baselines/TARGET/MODULE.json`, one file for each target and test module. See"
        " [baselines](../../how-to/baselines.md).",
        stored_schema("Baselines of speed", BaselineFile, BaselineFile.SCHEMA),
    ),
    Format(
        "task-metrics",
        f"Task metrics, format {MetricsFile.SCHEMA}",
        "`trt_baselines/metrics-ARCH/MODULE.json`: what tests recorded with"
        " [`trt_metrics`](../fixtures.md#trt_metrics).",
        stored_schema("Task metrics", MetricsFile, MetricsFile.SCHEMA),
    ),
    Format(
        "answers",
        f"Stored answers, format {AnswerFile.SCHEMA}",
        "`trt_baselines/answers/MODULE.json`, with the arrays in `MODULE.npz` next to it. A member"
        " of the `.npz` is named by the digest of its arrays. See"
        " [stored answers](../../how-to/stored-answers.md).",
        stored_schema("Stored answers", AnswerFile, AnswerFile.SCHEMA),
    ),
    Format(
        "manifest",
        f"Manifests of exported plans, format {MANIFEST_SCHEMA}",
        "`PLAN.json` next to a plan; `pytest-trt export` writes it, `pytest-trt verify` reads it."
        " See [finished plans](../../how-to/plans.md).",
        stored_schema("Manifest of an exported plan", Manifest, MANIFEST_SCHEMA),
    ),
    Format(
        "findings",
        "Findings of the doctor, format 1",
        "`pytest-trt doctor --json` prints it, and `pytest-trt doctor --json-schema` its schema.",
        json.loads(doctor_schema_text()),
    ),
)


def schema_file(one: Format) -> str:
    """Return the text of a format's JSON schema."""
    return json.dumps(one.schema, indent=2) + "\n"


def format_page(one: Format) -> str:
    """Return the page of a format: a table for each object in it."""
    lines = [f"# {one.title}", "", one.where, ""]
    lines += [f"JSON schema: [{one.stem}.schema.json]({one.stem}.schema.json).", ""]
    lines += ["## The file", "", *_table(one.schema), *_inner(one.schema)]
    for name, schema in one.schema.get("$defs", {}).items():
        if "properties" in schema or "enum" in schema:
            lines += ["", f"## {name}", "", formatted(schema["description"], "../../")]
            lines += ["", *(_table(schema) if "properties" in schema else _values(schema))]
    return "\n".join(lines).rstrip() + "\n"


def _values(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "Values: " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."


def _table(schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    yield from ("| field | type | meaning |", "|---|---|---|")
    for name, field in schema["properties"].items():
        kind = _kind(field) + ("" if name in required else ", optional")
        meaning = formatted(field.get("description", ""), "../../").replace("|", r"\|")
        yield f"| `{name}` | {kind} | {meaning} |"


def _inner(schema: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield tables of the objects that fields hold without a name for their type."""
    for name, field in schema["properties"].items():
        one = field.get("items", field)
        if "properties" in one:
            yield from ("", f"## `{above}{name}`", "", *_table(one))
            yield from _inner(one, f"{above}{name}.")


_NAMES = {"array": "list", "string": "text"}


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "number" if name == "number" else f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    kinds = schema.get("type", "any")
    if kinds == "array" and "items" in schema:
        return f"list of {_kind(schema['items'])}"
    if kinds == "array" and "prefixItems" in schema:
        return f"list: {', '.join(map(_kind, schema['prefixItems']))}"
    names = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_NAMES.get(name, name) for name in names)
