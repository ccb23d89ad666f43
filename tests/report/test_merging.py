from __future__ import annotations

from fnmatch import fnmatch

import pytest
from builders_report import check, check_schema, document, engine, reported, skipped

from pytest_trt.diagnostics import ReportError
from pytest_trt.report.coverage import is_covered, missing_verdicts
from pytest_trt.report.merging import merge_documents


def runs(**tests: dict) -> dict:
    return {f"{arch}.json": document(made, arch=arch) for arch, made in tests.items()}


def two(names=("test_a", "test_b")) -> dict:
    return {name: reported() for name in names}


def test_three_complete_runs_cover_what_is_required() -> None:
    merged = merge_documents(runs(sm86=two(), sm89=two(), sm120=two()), ("sm86", "sm89", "sm120"))
    check_schema(merged)
    assert is_covered(merged["coverage"])
    assert [test["run"] for test in merged["tests"]] == [0, 0, 1, 1, 2, 2]
    assert len(merged["runs"]) == 3


def test_incomplete_one_of_three_is_missing_by_name_and_with_its_reason() -> None:
    half = {"test_a": reported(), "test_b": skipped("out of memory")}
    merged = merge_documents(runs(sm86=two(), sm89=two(), sm120=half), ("sm86", "sm89", "sm120"))
    assert not is_covered(merged["coverage"])
    missing = missing_verdicts(merged["coverage"])
    assert missing.message.startswith("1 of 6 required verdicts are missing")
    assert missing.details == (
        "sm120: no verdict for 1 of 2 tests",
        "  test_it.py::test_b: skipped: out of memory",
    )


def test_file_that_one_run_skipped_and_another_tested_is_not_missing() -> None:
    files = {"skipped_files": {"test_it.py": "no torch"}, "skipped_model_files": ["test_it.py"]}
    empty = document({}, arch="sm89", **files)
    merged = merge_documents({**runs(sm86=two()), "sm89.json": empty}, ("sm86",))
    check_schema(merged)
    assert is_covered(merged["coverage"])
    merged = merge_documents({"sm89.json": empty}, ("sm89",))
    (missing,) = merged["coverage"]["missing"]
    assert missing["reason"] == "the whole file: no torch"


def test_architecture_that_nothing_was_run_for_is_one_line_and_not_a_list() -> None:
    coverage = merge_documents(runs(sm86=two()), ("sm86", "sm120"))["coverage"]
    missing = missing_verdicts(coverage)
    assert missing.details == ("sm120: no verdict for any of 2 tests (not tested)",)
    assert missing.remedy.commands == (
        "pytest --trt-arch=ARCH --trt-report=ARCH.json",
        "pytest-trt report merge sm86.json sm120.json --require-arch=sm86,sm120",
    )
    assert missing.remedy.alternatives == ()
    alone = missing_verdicts(merge_documents(runs(sm86=two()), ("sm120",))["coverage"])
    assert "a machine with an sm120 GPU (RTX 50 series, RTX PRO Blackwell)" in alone.remedy.text
    assert alone.remedy.commands == ("pytest --trt-arch=sm120 --trt-report=sm120.json",)
    alone = missing_verdicts(document(two(), required=("sm120",))["coverage"])
    assert alone.remedy.commands == ("pytest --trt-arch=sm120 --trt-require-arch=sm120",)


def test_tests_that_were_deselected_or_only_built_are_explained() -> None:
    tests = {"test_a": reported(engines=(engine(runs_here=False),)), "test_b": reported()}
    made = document(tests, required=("sm86",))
    made["tests"][0]["status"] = "skipped"
    made["tests"][1]["status"] = "deselected"
    for one in made["engines"].values():
        one["runs_here"] = False
    missing = missing_verdicts(merge_documents({"a": made}, ("sm86",))["coverage"])
    assert missing.remedy.alternatives == (
        "Tests were skipped: remove what skips them. A test with xfail(run=False) does not run "
        "either.",
        "Tests were deselected: run without -k, -m and --deselect, or merge the report of a run "
        "with them.",
        "Engines that were built but not run give no verdict.",
    )


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("inconclusive", "Tests with inconclusive speed: repeat them while nothing else runs*"),
        ("not measured", "Tests ran without a verdict: commit the baselines that were recorded*"),
        ("failed", "Tests ran, and their checks gave no verdict: correct what*"),
        ("deselected", "Tests were deselected: run without -k*"),
        ("not run", "The run ended before some tests: repeat it."),
        ("skipped", "Tests were skipped: remove what skips them.*"),
        ("error", "Correct what the errors of these tests name."),
    ],
)
def test_the_remedy_for_tests_of_this_machine_names_no_other_machine(status, remedy) -> None:
    made = document(two(), required=("sm86",))
    made["tests"][0].update(status=status, judged=False)
    found = missing_verdicts(merge_documents({"a": made}, ("sm86",))["coverage"])
    assert found.message.endswith("(--require-arch=sm86)")
    assert fnmatch(found.remedy.text, remedy)
    assert (found.remedy.commands, found.remedy.alternatives) == ((), ())


@pytest.mark.parametrize("compared", [False, True])
def test_an_engine_that_a_test_only_built_has_no_verdict(compared) -> None:
    """Such as that of a fixture that the first test of another architecture requests."""
    made = document({"test_a": reported(checks=[check()])})
    (result,) = results = made["tests"][0]["results"]
    results.append({**result, "arch": "sm120", "status": "passed" if compared else "not measured"})
    coverage = merge_documents({"a": made}, ("sm86", "sm120"))["coverage"]
    assert is_covered(coverage) is compared
    if not compared:
        assert missing_verdicts(coverage).details == (
            "sm120: no verdict for 1 of 1 tests",
            "  test_it.py::test_a: not measured: no check judged its engine of sm120",
        )


def test_many_errors_are_counted() -> None:
    made = document(two([f"test_{one}" for one in "abcde"]), required=("sm86",))
    for test in made["tests"][:4]:
        test.update(status="error", judged=False)
    found = missing_verdicts(merge_documents({"a": made}, ("sm86",))["coverage"])
    assert found.details == ("sm86: no verdict for 4 of 5 tests", "  4 tests with errors")


def test_a_run_that_ended_early_is_why_no_shard_tested_and_not_deselection() -> None:
    shards = {name: document(two()) for name in "ab"}
    for number, (shard, status) in enumerate(
        zip(shards.values(), ("not run", "deselected"), strict=True)
    ):
        shard["runs"][0]["id"] = str(number)
        shard["tests"][0].update(status=status, judged=False)
        shard["tests"].pop()
    for one in (shards, dict(reversed(shards.items()))):
        merged = merge_documents(one, ("sm86",))
        assert [test["status"] for test in merged["tests"]] == ["not run"]


def test_test_that_only_one_runner_collected_is_missing_on_the_other() -> None:
    merged = merge_documents(runs(sm86=two(), sm89=two(["test_a"])), ("sm86", "sm89"))
    assert merged["coverage"]["missing"] == [
        {
            "test": "test_it.py::test_b",
            "arch": "sm89",
            "status": None,
            "reason": "",
            "built_only": False,
        }
    ]


def test_verdict_takes_the_place_of_a_skip_whichever_comes_first() -> None:
    cross = document({"test_a": skipped("built, not run")}, id="laptop")
    real = document({"test_a": reported()}, id="gpu")
    for named in ({"a": cross, "b": real}, {"b": real, "a": cross}):
        (test,) = merge_documents(named, ("sm86",))["tests"]
        assert test["status"] == "passed"


def test_two_verdicts_on_one_architecture_are_refused() -> None:
    made = {name: document(two(["test_a"]), id=name) for name in ("a.json", "b.json")}
    with pytest.raises(ReportError, match=r"test_a has a verdict on sm86 in a\.json .* b\.json"):
        merge_documents(made)


def test_run_that_is_there_twice_is_refused() -> None:
    one = document(two())
    with pytest.raises(ReportError, match="are reports of the same run"):
        merge_documents({"a.json": one, "b.json": one})


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"commit": "d" * 40}, "commit is c+ in a and d+ in b"),
        ({"versions": {"pytest-trt": "2.0"}}, r"pytest-trt is 1\.0 in a and 2\.0 in b"),
    ],
)
def test_runs_of_different_things_are_refused_unless_it_is_meant(of, said) -> None:
    made = {"a": document(two()), "b": document(two(), arch="sm89", **of)}
    with pytest.raises(ReportError, match=said):
        merge_documents(made)
    assert len(merge_documents(made, mixed=True)["tests"]) == 4


def test_other_model_of_the_same_test_is_refused() -> None:
    made = {"a": document(two()), "b": document(two(), arch="sm89")}
    for one in made["b"]["engines"].values():
        one["model_digest"] = "other"
    made["b"]["engines"] = {"o" * 64: next(iter(made["b"]["engines"].values()))}
    for test in made["b"]["tests"]:
        test["results"][0]["engine"] = "o" * 64
    with pytest.raises(ReportError, match=r"model digits\.onnx of .*test_a is m+ in a and other"):
        merge_documents(made)


def test_run_without_a_commit_can_be_merged_with_any() -> None:
    made = {"a": document(two()), "b": document(two(), arch="sm89", commit=None)}
    assert len(merge_documents(made)["runs"]) == 2


def test_merged_reports_merge_again() -> None:
    first = merge_documents(runs(sm86=two(), sm89=two()))
    merged = merge_documents({"ab": first, **runs(sm120=two())}, ("sm86", "sm89", "sm120"))
    assert is_covered(merged["coverage"])
    assert [test["run"] for test in merged["tests"]] == [0, 0, 1, 1, 2, 2]


def test_nothing_collected_covers_nothing() -> None:
    merged = merge_documents({"a": document({})}, ("sm86",))
    assert not is_covered(merged["coverage"])
    assert "no test of a model" in missing_verdicts(merged["coverage"]).message


def test_inconclusive_and_not_measured_are_not_verdicts() -> None:
    made = document({"test_a": reported(), "test_b": reported()}, required=("sm86",))
    made["tests"][0]["status"] = "inconclusive"
    made["tests"][1]["status"] = "not measured"
    merged = merge_documents({"a": made}, ("sm86",))
    missing = [one["status"] for one in merged["coverage"]["missing"]]
    assert missing == ["inconclusive", "not measured"]


def test_test_that_failed_without_a_verdict_covers_nothing_and_gives_way_to_one() -> None:
    unjudged = document({"test_a": reported("failed", failed_by_checks=True)}, required=("sm86",))
    assert [one["status"] for one in unjudged["coverage"]["missing"]] == ["failed"]
    judged = document({"test_a": reported()}, id="2")
    for both in ({"a": unjudged, "b": judged}, {"b": judged, "a": unjudged}):
        (test,) = merge_documents(both, ())["tests"]
        assert test["status"] == "passed"
