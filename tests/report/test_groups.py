from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders_benchmark import benchmark_result
from builders_report import document, reported

from pytest_trt.accuracy.offer import allowing, offer_text
from pytest_trt.accuracy.subject import Subject
from pytest_trt.benchmark.commands import update_command
from pytest_trt.benchmark.messages import not_updated
from pytest_trt.codes import CODES, Code
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.report import groups
from pytest_trt.report.groups import Group, group_lines, groups_of
from pytest_trt.report.merging import merge_documents

#: Codes of these tests, so that none depends on how the registry groups its own.
REGISTRY = {
    "TRT3": Code("not built", "", "", ("operator",)),
    "TRT4": Code("outputs differ", "", "", ("model", "precision"), "used"),
    "TRT5": Code("slower", "", "", ("model",), "change"),
}


@pytest.fixture(autouse=True)
def _codes(monkeypatch) -> None:
    monkeypatch.setattr(groups, "CODES", {f"{code}01": e for code, e in REGISTRY.items()})


def off(used: float | str, model: str = "digits.onnx", fix: str = "look") -> Diagnostic:
    facts: dict[str, Any] = {"model": model, "precision": "fp16", "used": used}
    return Diagnostic("TRT401", f"logits: {used}x over tolerance", facts, ("row",), Remedy(fix))


def slower(test: str, change: float = 0.3) -> Diagnostic:
    remedy = Remedy("Accept it if it is intended.", (update_command([test]), "git commit"))
    return Diagnostic(
        "TRT501", f"P99 {change:+.0%}", {"model": "m.onnx", "change": change}, remedy=remedy
    )


def unbuilt(operator: str = "Swirl") -> Diagnostic:
    return Diagnostic("TRT301", f"{operator} is unsupported", {"operator": operator})


def of(*found: Diagnostic) -> list[Group]:
    return groups_of((f"test_{place}", [one]) for place, one in enumerate(found))


def test_test_without_diagnostics_is_in_no_group() -> None:
    assert groups_of([("test_a", ()), ("test_b", ())]) == []


def test_notes_and_warnings_are_not_reasons_for_a_failure() -> None:
    note = Diagnostic("TRT401", "it is seeded", severity="note")
    assert groups_of([("test_a", [note])]) == []


def test_diagnostics_that_agree_in_the_facts_of_their_code_are_one_group() -> None:
    (group,) = of(off(3.0), off(518.0, fix="compare"), off(4.0))
    assert group == Group(
        "TRT401", "outputs differ", "logits: 518.0x over tolerance", Remedy("compare"), (1, 0, 2)
    )


@pytest.mark.parametrize(
    "other", [off(4.0, model="other.onnx"), unbuilt(), slower("a")], ids=lambda one: one.code
)
def test_other_facts_or_another_code_make_another_group(other: Diagnostic) -> None:
    assert len(of(off(3.0), other)) == 2


def offering(used: float, offer: dict[str, Any] | None) -> Diagnostic:
    """Return a failure whose remedy offers a tolerance in a command and in an alternative."""
    subject = Subject(model="digits.onnx", precision="fp16")
    facts: dict[str, Any] = {"model": subject.model, "precision": subject.precision}
    remedy = Remedy("Set:")
    if offer:
        remedy = Remedy("Set:", (offer_text(offer, subject),), (allowing(offer, subject),))
    return Diagnostic(
        "TRT401", f"logits: {used}x over", {**facts, "used": used, "offer": offer}, (), remedy
    )


def test_the_tolerance_that_a_group_offers_is_one_under_which_all_its_tests_pass() -> None:
    (group,) = of(
        offering(2.0, {"a": {"rtol": 0.01, "atol": 0.5}, "b": {"rtol": 0.0, "atol": 1.0}}),
        offering(3.0, {"a": {"rtol": 0.03, "atol": 0.1}}),
    )
    text = 'outputs={"a": {"rtol": 0.03, "atol": 0.5}, "b": {"rtol": 0.0, "atol": 1.0}}'
    assert group.remedy.commands == (text,)
    assert group.remedy.alternatives == (f"If it is accurate enough on real data: {text}",)


@pytest.mark.parametrize("other", [None, {"a": {"rtol": 0.01, "atol": 0.5, "nan": "match"}}])
def test_tolerances_that_do_not_go_together_are_not_merged(other: dict[str, Any] | None) -> None:
    worst = offering(3.0, {"a": {"rtol": 0.03, "atol": 0.1}})
    (group,) = of(worst, offering(2.0, other))
    assert group.remedy == worst.remedy


def test_the_tolerance_of_another_precision_is_not_merged() -> None:
    worst = offering(3.0, {"a": {"rtol": 0.03, "atol": 0.1}})
    other = offering(2.0, {"a": {"rtol": 0.5, "atol": 0.5}})
    other = replace(other, code="TRT301", facts={**other.facts, "precision": "int8"})
    (group,) = of(replace(worst, code="TRT301"), other)
    assert group.remedy == worst.remedy


def test_infinite_is_the_worst() -> None:
    (group,) = of(off(518.0), off("inf"))
    assert group.tests == (1, 0)


def test_first_of_those_that_are_equally_bad_is_the_worst() -> None:
    (group,) = of(unbuilt(), unbuilt())
    assert group.tests == (0, 1)


def test_accuracy_comes_before_speed_and_anything_else_before_both() -> None:
    assert [group.code for group in of(slower("a"), off(3.0), unbuilt())] == [
        "TRT301",
        "TRT401",
        "TRT501",
    ]


def test_failure_with_two_reasons_is_in_two_groups() -> None:
    found = groups_of([("test_a", [off(3.0), slower("test_a")]), ("test_b", [off(2.0)])])
    assert [group.tests for group in found] == [(0, 1), (0,)]


def test_a_reason_hides_no_other_one_of_the_same_module() -> None:
    nothing = Diagnostic("TRT301", "compared nothing", {"operator": None})
    found = groups_of([("test_a", [nothing]), ("test_b", [off(5243.0)])])
    assert [group.message for group in found] == [
        "compared nothing",
        "logits: 5243.0x over tolerance",
    ]


def test_one_command_updates_the_baselines_of_all_tests() -> None:
    names = ["f.py::test_a", "f.py::test_b"]
    (group,) = groups_of((name, [slower(name)]) for name in names)
    assert group.remedy.commands == (update_command(names), "git commit")


def test_lines_name_few_tests_and_commands_have_their_own_lines() -> None:
    found = of(unbuilt(), unbuilt(), unbuilt(), off(2.0), off(3.0), slower("test_5"))
    assert list(group_lines(found, [f"test_{n}" for n in range(6)])) == [
        "3 tests: Swirl is unsupported [TRT301]",
        "  test_0, test_1 and 1 more",
        "worst of 2 tests: logits: 3.0x over tolerance [TRT401]",
        "  test_4 and 1 more",
        "  Fix: Look",
        "P99 +30% [TRT501]",
        "  test_5",
        "  Fix: Accept it if it is intended.",
        f"      {update_command(['test_5'])}",
        "      git commit",
    ]


def test_lines_take_a_screen_at_most_and_count_the_rest() -> None:
    found = of(*(unbuilt(f"Swirl{n}") for n in range(100)))
    lines = list(group_lines(found, [f"test_{n}" for n in range(100)]))
    assert len(lines) == 41
    assert lines[-1] == "and 80 more reasons, each with its test above"


def test_sentences_are_wrapped_and_commands_are_not() -> None:
    command = update_command(["f.py::test_with_a_rather_long_name"])
    one = Diagnostic("TRT301", "word " * 20, remedy=Remedy("more " * 20, (command,)))
    lines = list(group_lines(of(one), ["test_0"], width=40))
    assert [line for line in lines if len(line) > 40] == [f"      {command}"]


def test_report_has_the_groups_of_all_its_runs() -> None:
    tests = {
        "test_a": reported("failed", diagnostics=(off(3.0),)),
        "test_b": reported(),
    }
    one = document(tests, arch="sm86")
    worse = {**tests, "test_a": reported("failed", diagnostics=(off(9.0),))}
    other = document(worse, arch="sm120")
    merged = merge_documents({"a.json": one, "b.json": other}, ("sm86",))
    (group,) = merged["groups"]
    assert [merged["tests"][place]["arch"] for place in group["tests"]] == ["sm120", "sm86"]
    assert group["code"] == "TRT401"


def test_code_of_another_version_is_a_separate_group() -> None:
    (group,) = of(Diagnostic("TRT999", "a new problem"))
    assert (group.title, group.message) == ("", "a new problem")
    assert "TRT999" not in CODES


def test_updates_that_an_overloaded_host_refused_are_one_group(monkeypatch) -> None:
    monkeypatch.setattr(groups, "CODES", CODES)
    found = [
        (f"test_it.py::test_{number}", [not_updated(benchmark_result(), why, host=True)])
        for number, why in enumerate(("threads waited 1.2x", "threads waited 1.7x"))
    ]
    (group,) = groups_of(found)
    assert group.tests == (0, 1)
