from __future__ import annotations

import json
from typing import Any

from builders_report import check_schema, document, reported
from jsonschema import Draft202012Validator

from pytest_trt.report.schema import attribute_docs, report_schema, schema_of, schema_text


def test_schema_is_valid_and_every_field_has_a_description() -> None:
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    for one in [schema, *schema["$defs"].values()]:
        for name, field in one.get("properties", {}).items():
            assert field["description"], name
        assert one["description"]


def test_text_is_the_schema() -> None:
    assert json.loads(schema_text()) == report_schema()


def test_empty_report_fits() -> None:
    check_schema(document({}))
    check_schema(document({"test_a": reported(), "test_b": None}, required=("sm86", "cpu")))


def test_types_say_what_is_valid() -> None:
    schema = report_schema()
    errors = Draft202012Validator(schema).iter_errors
    made: dict[str, Any] = document({"test_a": reported()})
    assert not list(errors(made))
    made["tests"][0]["status"] = "fine"
    made["tests"][0]["duration_s"] = "long"
    made["runs"][0]["exit_status"] = 0.5
    paths = sorted(".".join(map(str, error.path)) for error in errors(made))
    assert paths == ["runs.0.exit_status", "tests.0.duration_s", "tests.0.status"]


def test_facts_are_any_json_and_outcomes_are_listed() -> None:
    definitions = report_schema()["$defs"]
    facts = definitions["Diagnostic"]["properties"]["facts"]
    assert facts["additionalProperties"] == {}
    outcome = definitions["Test"]["properties"]["outcome"]
    assert outcome["anyOf"][0]["enum"] == ["passed", "failed", "skipped"]


def test_descriptions_are_the_docstrings() -> None:
    class Example:
        """An example.

        Attributes:
            first: One line: with a colon.
            second: One line
                and another.

        More of it.
        """

    assert attribute_docs(Example) == {
        "first": "One line: with a colon.",
        "second": "One line and another.",
    }
    assert schema_of is not None
