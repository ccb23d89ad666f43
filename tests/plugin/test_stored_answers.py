"""`trt_consistency(against="stored")`: answers recorded, compared, refused, accepted and lost."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import save_linear
from builders_processes import git as run_git
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from plugin.conftest import assert_shows, text

from pytest_trt.cli import commands
from pytest_trt.codes import CODES
from pytest_trt.files import LFS_POINTER

#: Tests of two precisions that run two sets of inputs.
TEST = """
@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))
@pytest.mark.trt_consistency(against="{against}"{tight})
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
    trt_session.run({{"image": images[:2]{plus}}})
"""

#: One test of a module that two branches extend.
MERGED = """
@pytest.mark.trt_model("models/linear.onnx", precision="fp32")
@pytest.mark.trt_consistency(against="stored")
def test_{name}(trt_session, images):
    trt_session.run({{"image": images[:{rows}]}})

"""


REASON = "--trt-update-reason=trained"


@pytest.fixture
def answers(project) -> Path:
    """The JSON file of the test module's answers."""
    project.pytester.makeini("[pytest]\n")
    return project.path / "trt_baselines" / "answers" / "test_it.json"


@pytest.fixture
def write(project) -> Callable[..., None]:
    """Write the test."""

    def written(against: str = "stored", plus: str = "", *, tight: bool = False) -> None:
        tolerance = ", rtol=0, atol=1e-6" * tight  # too tight for fp16
        project.test_file(TEST.format(against=against, plus=plus, tight=tolerance))

    return written


@pytest.fixture
def recorded(project, answers, write) -> Path:
    """Answers that a first run has recorded."""
    write()
    project.run("--trt-update-new").assert_outcomes(passed=2)
    return answers


def noisy(project, sigma: float = 0.5) -> None:
    save_linear(project.path / "models" / "linear.onnx", nudge=10 * sigma)


def save_sequence(project, factor: float) -> None:
    """Write x -> s, a list of one tensor: x times a factor."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["item"]),
        helper.make_node("SequenceConstruct", ["item"], ["s"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sequence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([factor], np.float32), "factor")],
    )
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(proto, project.path / "models" / "sequence.onnx")


def save_outputs(project, name: str = "y", factor: float = 2.0, then: str = "Identity") -> None:
    """Write x [100, 3] -> z [100, 3], its values, and another output: these times a factor."""
    more = {"to": TensorProto.FLOAT16} if then == "Cast" else {}
    kind, shape = more.get("to", TensorProto.FLOAT), [3, 100] if then == "Transpose" else [100, 3]
    nodes = [
        helper.make_node("Identity", ["x"], ["z"]),
        helper.make_node("Mul", ["x", "factor"], ["product"]),
        helper.make_node(then, ["product"], [name], **more),
    ]
    graph = helper.make_graph(
        nodes,
        "outputs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [100, 3])],
        [
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [100, 3]),
            helper.make_tensor_value_info(name, kind, shape),
        ],
        [numpy_helper.from_array(np.array([factor], np.float32), "factor")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, project.path / "models" / "outputs.onnx")


@pytest.fixture
def of_outputs(project, answers) -> Path:
    """Answers of that model."""
    project.test_file(
        """
        @pytest.mark.trt_model("models/outputs.onnx")
        @pytest.mark.trt_consistency(against="stored")
        def test_it(trt_session):
            trt_session.run({"x": np.arange(300, dtype=np.float32).reshape(100, 3)})
        """
    )
    save_outputs(project)
    project.run("--trt-update-new").assert_outcomes(passed=1)
    return answers


def accept(project, which: str, status: int = 0) -> Result:
    args = ("baseline", f"--cache-dir={project.cache}", "accept", which, "--reason=noise")
    accepted = CliRunner().invoke(commands, args)
    assert accepted.exit_code == status, accepted.output
    return accepted


def test_answers_of_another_model_than_that_of_the_run_are_not_accepted(
    project, recorded, monkeypatch
) -> None:
    """As after a change of the branch."""
    monkeypatch.chdir(project.path)
    model, before = project.path / "models" / "linear.onnx", recorded.read_bytes()
    own = model.read_bytes()
    noisy(project)
    retrained = model.read_bytes()
    project.run().assert_outcomes(failed=2)
    model.write_bytes(own)
    refused = accept(project, "--failed", status=1)
    assert "models/linear.onnx has changed since that run" in refused.output
    assert recorded.read_bytes() == before
    model.write_bytes(retrained)
    accept(project, "--failed")
    assert recorded.read_bytes() != before
    project.run().assert_outcomes(passed=2)


def test_one_entry_is_recorded_for_all_precisions(project, recorded) -> None:
    entry = json.loads(recorded.read_text())["tests"]["test_it"]
    assert len(entry["answers"]) == 2
    assert entry["answers"][0]["outputs"]["probs"]["stored"] == "all"
    before = recorded.read_bytes(), recorded.with_suffix(".npz").read_bytes()
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)
    assert before == (recorded.read_bytes(), recorded.with_suffix(".npz").read_bytes())


def test_reports_name_tests_whose_answers_were_recorded(
    project, write, answers, monkeypatch
) -> None:
    report, summary = project.path / "r.json", project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("COLUMNS", "160")  # narrower tables shorten reasons
    why = "its answers were recorded as a new baseline, nothing stored to compare with"

    def shown() -> tuple[str, str, set[str]]:
        summary.unlink(missing_ok=True)
        project.run(f"--trt-report={report}", "--trt-missing-baseline=record").assert_outcomes(
            passed=2
        )
        table = CliRunner().invoke(commands, ["report", "show", str(report)]).output
        reasons = {test["reason"] for test in json.loads(report.read_text())["tests"]}
        return " ".join(table.split()), summary.read_text(), reasons

    write("both")
    table, markdown, reasons = shown()
    assert reasons == {why}
    assert markdown.count(f"not measured: `{why}`") == 2
    assert table.count("its answers were recorded") == 2
    table, markdown, reasons = shown()
    assert reasons == {""}
    assert "recorded as a new baseline" not in table + markdown


@pytest.mark.parametrize("against", ["stored", "both"])
def test_a_test_whose_answers_are_recorded_has_no_verdict(
    project, write, answers, monkeypatch, against
) -> None:
    monkeypatch.chdir(project.path)
    needed = ("--trt-require-arch=cpu", "--trt-missing-baseline=record")
    write(against)
    result = project.run(*needed)
    result.stdout.fnmatch_lines(
        [
            "2 of 2 required verdicts are missing*TRT930*",
            "*not measured: its answers were recorded*",
        ]
    )
    assert result.ret == 1
    assert project.run(*needed, "--trt-report=old.json").ret == 0
    # As where the folder was lost in a merge, and CI is not recognised.
    shutil.rmtree(answers.parents[0])
    assert project.run(needed[1], "--trt-report=new.json").ret == 0
    compared = CliRunner().invoke(
        commands, ["report", "compare", "old.json", "new.json", "--exit-code"]
    )
    assert compared.exit_code == 1
    assert "passed -> not measured" in compared.output


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def with_markers(path: Path) -> None:
    text = path.read_text()
    path.write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n")


def with_unknown_field(path: Path) -> None:
    path.write_text(path.read_text().replace('"errors"', '"mistakes"'))


@pytest.mark.parametrize("damage", [truncated, with_markers, with_unknown_field])
@pytest.mark.parametrize("update", [False, True])
def test_a_broken_file_fails_its_tests_for_one_reason(
    project, recorded, damage, monkeypatch, *, update: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    damage(recorded)
    before = recorded.read_bytes()
    report = project.path / "r.json"
    given = ["--trt-update", "--trt-update-reason=why"] if update else []
    result = project.run(f"--trt-report={report}", *given)
    result.assert_outcomes(failed=2)
    printed = result.stdout.str()
    assert "Traceback" not in printed
    assert printed.count("invalid baseline file trt_baselines/answers/test_it.json") == 5
    result.stdout.fnmatch_lines(["*trt: what to do*", "2 tests: invalid baseline file *TRT602*"])
    for test in json.loads(report.read_text())["tests"]:
        assert test["reason"].startswith("invalid baseline file")
    assert recorded.read_bytes() == before


@pytest.mark.parametrize("against", ["stored", "both"])
def test_a_changed_model_fails_and_is_named_as_the_cause(project, recorded, write, against) -> None:
    write(against)
    noisy(project)
    result = project.run()
    result.assert_outcomes(failed=2)
    assert text(result).count("the model's own answers changed") >= 2
    assert "TRT416" in text(result)


def test_the_command_updates_the_failed_tests_alone(project, answers) -> None:
    for name in ("a", "b", "c"):
        save_linear(project.path / "models" / f"{name}.onnx")
    (project.path / "models" / "linear.onnx").unlink()
    source = TEST.format(against="stored", plus="", tight="").replace("linear", "*")
    project.test_file(source.replace('"fp32", "fp16"', '"fp32"').replace(",)", ")"))
    recorded = project.run()
    assert "  3 tests: first answers to 2 sets of inputs" in recorded.outlines
    save_linear(project.path / "models" / "b.onnx", nudge=5)
    failed = project.run()
    failed.assert_outcomes(passed=2, failed=1)
    (command,) = {line.strip(" E") for line in failed.outlines if "--trt-update-reason" in line}
    assert command.startswith("pytest 'test_it.py::test_it[models/b.onnx]' --trt-update ")
    before = json.loads(answers.read_text())["tests"]
    done = project.run(*shlex.split(command.replace("...", "trained again"))[1:])
    done.assert_outcomes(passed=1)
    assert "  test_it[models/b.onnx]: replaced answers to 2 sets of inputs" in done.outlines
    after = json.loads(answers.read_text())["tests"]
    assert [name for name in after if after[name] != before[name]] == ["test_it[models/b.onnx]"]


def test_a_changed_model_passes_where_only_itself_is_asked(project, recorded, write) -> None:
    write("model")
    noisy(project)
    project.run().assert_outcomes(passed=2)


def test_an_engine_that_differs_is_not_called_a_changed_model(project, recorded, write) -> None:
    write(tight=True)
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    assert "against the stored answers" in text(result)
    assert "the engine differs" in text(result)
    assert "answers changed" not in text(result)


def test_other_inputs_are_not_comparable(project, recorded, write) -> None:
    write(plus=" + 1")
    result = project.run("--trt-missing-baseline=record")
    result.assert_outcomes(failed=2)
    assert "are for different inputs" in text(result)
    assert "TRT671" in text(result)
    causes, update = (text(result).index(one) for one in ("preprocessing", "--trt-update "))
    assert causes < update
    assert "preprocessing" in CODES["TRT671"].action


def test_the_update_repeats_the_options_that_decide_what_is_stored(project, recorded) -> None:
    project.test_file(TEST.replace('against="{against}"{tight}', "").format(plus=""))
    noisy(project)
    result = project.run("--trt-against=both")
    updates = [line for line in result.outlines if "--trt-update " in line]
    assert len(updates) == 4  # of each failure, and below "what to do"
    for line in updates:
        assert {"--trt-arch=cpu", "--trt-against=both"} <= {*line.split()}


def test_inputs_that_do_not_run_any_more_fail(project, recorded) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx")
        @pytest.mark.trt_consistency(against="stored")
        def test_it(trt_session, images):
            trt_session.run({"image": images})
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "1 of 2 stored answers of test_it were not compared" in text(result)


def test_without_answers_the_test_fails_where_recording_is_off(project, answers, write) -> None:
    write()
    result = project.run("--trt-missing-baseline=fail")
    result.assert_outcomes(failed=2)
    assert "no stored answers of test_it" in text(result)
    assert not answers.exists()


def test_what_is_recorded_is_compared_with_the_model(project, answers, write) -> None:
    write(tight=True)
    project.run("--trt-update-new").assert_outcomes(passed=1, failed=1)
    project.run("-kfp16", "--trt-update").assert_outcomes(failed=1)


def test_an_update_needs_a_reason_where_answers_changed(project, recorded) -> None:
    before = recorded.read_bytes()
    noisy(project)
    result = project.run("--trt-update")
    result.assert_outcomes(failed=2)
    assert "TRT675" in text(result)
    assert recorded.read_bytes() == before
    project.run("--trt-update", "--trt-update-reason=trained again").assert_outcomes(passed=2)
    assert json.loads(recorded.read_text())["tests"]["test_it"]["reason"] == "trained again"
    project.run().assert_outcomes(passed=2)


def test_an_update_needs_a_reason_without_elementwise_too(project, recorded, write) -> None:
    project.test_file(
        TEST.format(against="stored", plus="", tight=", elementwise=False, top1=0.01")
    )
    noisy(project)
    result = project.run("--trt-update")
    result.assert_outcomes(failed=2)
    assert "TRT675" in text(result)


def test_an_update_that_drops_inputs_needs_a_reason(project, recorded, write) -> None:
    before = recorded.read_bytes()
    write(plus=" + 1")
    result = project.run("--trt-update")
    result.assert_outcomes(failed=2)
    assert "the inputs of 1 of 2 did not run; they were not replaced [TRT675]" in text(result)
    assert recorded.read_bytes() == before
    project.run("--trt-update", "--trt-update-reason=new data").assert_outcomes(passed=2)
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)


def test_an_update_of_a_sequence_needs_a_reason(project, answers) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/sequence.onnx")
        @pytest.mark.trt_consistency(against="stored")
        def test_it(trt_session):
            trt_session.run({"x": np.ones((2, 3), np.float32)})
        """
    )
    save_sequence(project, 1.0)
    project.run("--trt-update-new").assert_outcomes(passed=1)
    save_sequence(project, 2.0)
    result = project.run("--trt-update")
    result.assert_outcomes(failed=1)
    assert "the answers of test_it changed: s[0]: it differs by up to 1" in text(result)
    project.run("--trt-update", "--trt-update-reason=twice").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"name": "w"}, "outputs z, y, now z, w"),
        ({"then": "Cast"}, "y: dtype float32 -> float16"),
        ({"then": "Transpose"}, "y: shape [100, 3] -> [3, 100]"),
        ({"factor": 3.0}, "y: it differs by up to 299"),
    ],
)
def test_an_update_of_another_output_needs_a_reason(project, of_outputs, change, how) -> None:
    before = of_outputs.read_bytes()
    save_outputs(project, **change)
    result = project.run("--trt-update")
    result.assert_outcomes(failed=1)
    assert f"the answers of test_it changed: {how}; they were not replaced [TRT675]" in text(result)
    assert of_outputs.read_bytes() == before


def test_an_update_within_the_tolerance_of_fp32_needs_none(project, of_outputs) -> None:
    before = of_outputs.read_bytes()
    save_outputs(project, factor=2.000001)
    result = project.run("--trt-update")
    result.assert_outcomes(passed=1)
    assert "replaced answers to 1 set of inputs" in text(result)
    assert of_outputs.read_bytes() != before


def test_an_update_of_a_sketch_needs_a_reason_whatever_differs(project, of_outputs) -> None:
    of_outputs.unlink()
    project.run("--trt-update-new", "--trt-answers-size=400").assert_outcomes(passed=1)
    save_outputs(project, factor=2.000001)
    result = project.run("--trt-update", "--trt-answers-size=400")
    result.assert_outcomes(failed=1)
    assert "y: it is stored as a sketch, which differs; they were not replaced" in text(result)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"all"', '"sketch"'), ("[100, 3]", "[300]"), ('"float32"', '"bfloat16"')],
)
def test_numbers_that_do_not_fit_their_description_are_never_compared(
    project, of_outputs, old, new
) -> None:
    of_outputs.write_text(of_outputs.read_text().replace(old, new))
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "test_it.json: output 'z': it" in text(result)
    result = project.run("--trt-update-new")
    assert "the stored numbers are missing, damaged or not as described" in text(result)
    project.run("--trt-update-new", "--trt-update-reason=again").assert_outcomes(passed=1)
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=1)


def test_a_test_that_skips_after_a_run_replaces_nothing(project, recorded, write) -> None:
    before = recorded.read_bytes()
    source = project.path / "test_it.py"
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:-1], "    pytest.skip('no second input')"]))
    result = project.run("--trt-update", "--trt-update-reason=again")
    result.assert_outcomes(skipped=2)
    assert "not recorded: test_it.py::test_it[fp16]: the test was skipped" in text(result)
    assert recorded.read_bytes() == before


def test_an_update_of_the_same_answers_writes_nothing(project, recorded) -> None:
    before = recorded.read_bytes()
    assert project.run("--trt-update").ret == 0
    assert recorded.read_bytes() == before


def test_a_test_that_fails_records_nothing(project, answers) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx")
        @pytest.mark.trt_consistency(against="stored")
        def test_it(trt_session, images):
            trt_session.run({"image": images})
            assert False
        """
    )
    project.run("--trt-update-new").assert_outcomes(failed=1)
    assert not answers.exists()


@pytest.mark.usefixtures("engines_of_other_tests")
@pytest.mark.exhaustive
def test_workers_record_together(project, answers, write) -> None:
    write()
    project.run("-n2", "--trt-update-new").assert_outcomes(passed=2)
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)


def test_large_outputs_are_sketches(project, recorded) -> None:
    recorded.unlink()
    project.run("--trt-update-new", "--trt-answers-size=8").assert_outcomes(passed=2)
    outputs = json.loads(recorded.read_text())["tests"]["test_it"]["answers"][0]["outputs"]
    assert outputs["probs"]["stored"] == "sketch"
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)
    noisy(project)
    result = project.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([f"FAILED *fp{n}] - the model's own answers*" for n in (32, 16)])


def sketched(project, answers, limits: str) -> pytest.RunResult:
    """Run a test of outputs of 1,200 elements of which sketches are stored."""
    project.test_file(
        f"""
        PROFILES = {{"image": ((1, 8), (9, 8), (300, 8))}}
        @pytest.mark.trt_model("models/linear.onnx", profiles=PROFILES)
        @pytest.mark.trt_consistency(against="stored", {limits})
        def test_it(trt_session):
            trt_session.run({{"image": np.ones((300, 8), np.float32)}})
        """
    )
    project.run("--trt-update-new", "--trt-answers-size=1KB").assert_outcomes(passed=1)
    return project.run()


def test_what_a_sketch_may_miss_is_noted_once_with_v(project, answers) -> None:
    result = sketched(project, answers, "")
    result.assert_outcomes(passed=1)
    assert "TRT678" not in text(result)
    (note,) = [line for line in project.run("-v").outlines if "TRT678" in line]
    assert "models/linear.onnx: logits and 1 other output compared with a sketch" in note
    for limits, noted in (("", False), ('drift="2x"', True)):
        sketched(project, answers, limits)
        project.run("--trt-report=r.json")
        shown = (project.path / "r.json").read_text()
        assert ("drift= compares the largest error of the sample" in shown) == noted


@pytest.mark.parametrize("answers_grow", [False, True])
def test_a_replaced_model_within_its_tolerances_is_noted_once(
    project, recorded, write, monkeypatch, answers_grow
) -> None:
    write(tight=False)
    if answers_grow:
        content = json.loads(recorded.read_text())
        content["tests"]["test_it"]["errors"] = {"cpu fp32": {"logits": 0.0}}
        recorded.write_text(json.dumps(content))
    save_linear(project.path / "models" / "linear.onnx", nudge=1e-4)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    result = project.run("--trt-report=r.json")
    result.assert_outcomes(passed=2)
    (line,) = [line for line in result.outlines if "TRT418" in line]
    assert "2 tests: models/linear.onnx changed since its answers were stored" in line
    grown = [line for line in result.outlines if "TRT417" in line]
    if answers_grow:
        assert "models/linear.onnx: the error of logits on cpu fp32 grew from 0 to" in grown[0]
    for shown in (
        (project.path / "summary.md").read_text(),
        CliRunner().invoke(commands, ["report", "show", str(project.path / "r.json")]).output,
    ):
        assert "TRT418" in shown
        assert ("TRT417" in shown) == bool(grown)


def test_a_replaced_model_whose_inputs_have_no_answers_is_not_claimed_to_be_within_tolerances(
    project, recorded, write
) -> None:
    write(plus=" + 1")
    save_linear(project.path / "models" / "linear.onnx", nudge=0.5)
    result = project.run()
    result.assert_outcomes(failed=2)
    assert "TRT671" in text(result)
    assert "TRT418" not in text(result)


def test_what_is_missing_is_recorded_without_speed_of_this_machine(project, write) -> None:
    write()
    result = project.run("--trt-missing-baseline=fail")
    command = 'pytest test_it.py -m "not trt_benchmark" --trt-arch=cpu --trt-update-new'
    assert f"    {command}" in result.outlines
    project.run(*shlex.split(command)[1:]).assert_outcomes(passed=2)


def test_the_command_for_other_inputs_names_every_test(project, recorded, write) -> None:
    write(plus=" + 1")
    result = project.run()
    result.assert_outcomes(failed=2)
    assert "`pytest 'test_it.py::test_it[fp32]' 'test_it.py::test_it[fp16]' --trt" in text(result)


def test_what_a_sketch_cannot_show_is_refused_with_the_size_that_suffices(project, answers) -> None:
    result = sketched(project, answers, 'metrics={"max_abs": "<= 0.1"}')
    result.assert_outcomes(failed=1)
    assert "TRT679" in text(result)
    assert "answers changed" not in text(result)
    (command,) = {line for line in result.outlines if "--trt-answers-size=" in line}
    project.run(*shlex.split(command.replace("...", "whole"))[1:]).assert_outcomes(passed=1)
    result = project.run("--trt-missing-baseline=fail")
    result.assert_outcomes(passed=1)
    assert "TRT67" not in text(result)


class TestDrift:
    """Errors that grew within the tolerance: a note, and with drift= a failure."""

    @pytest.fixture
    def grown(self, project, recorded) -> Path:
        """Answers whose stored error of fp16 is a tenth of what it is."""
        content = json.loads(recorded.read_text())
        errors = content["tests"]["test_it"]["errors"]
        assert errors.keys() == {"cpu fp32", "cpu fp16"}
        assert errors["cpu fp16"]["logits"] > 0
        errors["cpu fp16"] = {name: value / 10 for name, value in errors["cpu fp16"].items()}
        recorded.write_text(json.dumps(content))
        return recorded

    def test_it_is_noted(self, project, grown) -> None:
        result = project.run()
        result.assert_outcomes(passed=2)
        assert "the error of logits on cpu fp16 grew 10x" in text(result)

    def test_it_fails_where_it_is_limited(self, project, grown, write) -> None:
        write('both", drift="5x')
        result = project.run()
        result.assert_outcomes(passed=1, failed=1)
        assert "TRT417" in text(result)
        write('both", drift="20x')
        project.run().assert_outcomes(passed=2)

    def test_the_same_error_has_not_grown(self, project, recorded, write) -> None:
        write('both", drift="1x')
        project.run().assert_outcomes(passed=2)

    def test_an_update_stores_the_new_level(self, project, grown, write) -> None:
        write('both", drift="5x')
        project.run("--trt-update").assert_outcomes(passed=2)
        project.run().assert_outcomes(passed=2)

    def test_reports_hold_the_accepted_level_and_its_reason(self, project, grown) -> None:
        def accepted() -> dict:
            project.run("--trt-report=report.json").assert_outcomes(passed=2)
            results = json.loads((project.path / "report.json").read_text())["tests"]
            return {one["precision"]: one["results"][0]["accepted"] for one in results}["fp16"]

        before = accepted()
        project.run("--trt-update", "--trt-update-reason=TensorRT 10.16")
        now = accepted()
        assert now["reason"] == "TensorRT 10.16" != before["reason"]
        levels = [one["errors"]["logits"] for one in (before, now)]
        assert levels[1] == pytest.approx(10 * levels[0])

    def test_what_is_accepted_has_the_errors_against_the_new_answers(
        self, project, recorded, write
    ) -> None:
        noisy(project)
        project.run().assert_outcomes(failed=2)
        accept(project, "--failed")
        errors = json.loads(recorded.read_text())["tests"]["test_it"]["errors"]
        assert errors.keys() == {"cpu fp32", "cpu fp16"}
        # Of the engine alone: the model changed by far more.
        assert 0 < errors["cpu fp16"]["logits"] < 0.05
        write('stored", drift="2x')
        project.run().assert_outcomes(passed=2)

    @pytest.mark.parametrize("how", ["typed", "accepted"])
    def test_new_answers_have_the_errors_of_all_precisions_where_one_failed(
        self, project, recorded, write, how
    ) -> None:
        save_linear(project.path / "models" / "linear.onnx", nudge=0.005)
        failed = project.run("--trt-missing-baseline=fail")
        failed.assert_outcomes(passed=1, failed=1)
        if how == "accepted":
            accept(project, "--failed")
        else:
            command = next(line for line in failed.outlines if line.startswith("    pytest"))
            again = project.run(*shlex.split(command.replace("...", "trained again"))[1:])
            again.assert_outcomes(passed=2)
        errors = json.loads(recorded.read_text())["tests"]["test_it"]["errors"]
        assert errors.keys() == {"cpu fp32", "cpu fp16"}
        write('stored", drift="2x')
        project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)

    @pytest.mark.parametrize("against", ["stored", "both"])
    def test_what_is_accepted_after_an_upgrade_keeps_the_errors(
        self, project, recorded, write, against
    ) -> None:
        content = json.loads(recorded.read_text())
        entry = content["tests"]["test_it"]
        errors = entry["errors"] | {"sm86 fp16": {"logits": 0.01}}
        entry |= {"producer": "ONNX Runtime 1.0.0", "errors": errors}
        recorded.write_text(json.dumps(content))
        write(against)
        project.run().assert_outcomes(passed=2)
        # Nothing but answers of "both" is computed again, so "stored" leaves nothing to accept.
        done = accept(project, "--all", status=int(against == "stored"))
        stored = json.loads(recorded.read_text())["tests"]["test_it"]
        assert stored["errors"] == errors
        assert ("1.0.0" in stored["producer"]) == (against == "stored")
        assert ("answers to 2 sets of inputs unchanged; now" in done.output) == (against == "both")
        assert "replaced" not in done.output

    @pytest.mark.parametrize("update", [True, False])
    def test_errors_against_other_answers_are_removed_and_named(
        self, project, recorded, update
    ) -> None:
        content = json.loads(recorded.read_text())
        content["tests"]["test_it"]["errors"]["sm86 fp16"] = {"logits": 0.01}
        recorded.write_text(json.dumps(content))
        noisy(project)
        if update:
            output = text(project.run("--trt-update", "--trt-update-reason=noise"))
        else:
            project.run().assert_outcomes(failed=2)
            output = accept(project, "--failed").output
        assert "replaced answers to 2 sets of inputs; errors of cpu" in output
        assert "errors of sm86 fp16 removed" in output
        assert "the .npz beside it" in output
        assert "sm86 fp16" not in recorded.read_text()

    def test_of_an_engine_without_a_level_it_fails_or_is_recorded(
        self, project, recorded, write
    ) -> None:
        content = json.loads(recorded.read_text())
        del content["tests"]["test_it"]["errors"]["cpu fp16"]
        recorded.write_text(json.dumps(content))
        write('both", drift="5x')
        result = project.run("--trt-missing-baseline=fail")
        result.assert_outcomes(passed=1, failed=1)
        assert "no errors of cpu fp16 are stored" in text(result)
        project.run("--trt-update-new").assert_outcomes(passed=2)
        project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)

    def test_accepted_errors_store_their_reason(self, project, recorded) -> None:
        content = json.loads(recorded.read_text())
        content["tests"]["test_it"]["errors"]["cpu fp16"]["probs"] = 1e-9
        recorded.write_text(json.dumps(content))
        result = project.run("--trt-update", "--trt-update-reason=a new runtime")
        result.assert_outcomes(passed=2)
        assert "errors of cpu fp16 changed: probs 1e-09 -> 0.0" in text(result)
        entry = json.loads(recorded.read_text())["tests"]["test_it"]
        assert entry["reason"] == "a new runtime"
        assert entry["errors"]["cpu fp16"]["probs"] > 1e-9

    @pytest.mark.parametrize(
        "against",
        ['model", drift="2x', 'both", drift="fast', 'both", elementwise=False, top1=1, drift="2x'],
    )
    def test_a_limit_without_a_level_is_refused(self, project, answers, write, against) -> None:
        write(against)
        result = project.run()
        result.assert_outcomes(errors=1)
        assert "drift=" in text(result)


@pytest.mark.parametrize("damage", ["missing", "byte", "swapped", "empty"])
def test_damaged_numbers_fail_with_what_to_do(project, recorded, damage) -> None:
    file = recorded.with_suffix(".npz")
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "byte":
        place = content.index(b"NUMPY") + 150
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damage == "swapped":
        np.savez(file, other=np.zeros(3))
    else:
        file.write_bytes(b"")
    result = project.run()
    result.assert_outcomes(failed=2)
    assert "TRT673" in text(result)
    result.stdout.fnmatch_lines(
        [
            "Fix: Record again what is missing or damaged:",
            "    pytest --trt-update-new",
            "*Restore both files from a commit in which they belong together:*",
        ]
    )


@pytest.mark.parametrize("option", ["--trt-update", "--trt-update-new"])
def test_missing_numbers_are_recorded_again(project, recorded, option) -> None:
    """After a merge, the JSON file names the tests of both sides, and the arrays are of one."""
    numbers = recorded.with_suffix(".npz")
    before = recorded.read_bytes(), numbers.read_bytes()
    with zipfile.ZipFile(numbers) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(numbers, "w") as archive:
        archive.writestr(*members.popitem())
    result = project.run(option)
    result.assert_outcomes(passed=2)
    assert "unchanged, their numbers recorded again" in text(result)
    assert before == (recorded.read_bytes(), numbers.read_bytes())
    assert "recorded again" not in text(project.run(option))


def test_the_command_for_a_merge_that_conflicts_in_the_numbers_alone_works(
    project, answers, monkeypatch
) -> None:
    monkeypatch.chdir(project.path)
    git = partial(run_git, project.path)

    def tests_of(*names: str) -> None:
        text = "".join(MERGED.format(name=name, rows=ord(name) - ord("a") + 1) for name in names)
        project.test_file(text)

    def record(*names: str) -> None:
        tests_of(*names)
        project.run("--trt-update-new").assert_outcomes(passed=len(names))
        git("add", "--all", "test_it.py", "trt_baselines")
        git("commit", "-qm", names[-1])

    git("init", "-q", "-b", "main")
    record("b")
    git("checkout", "-qb", "theirs")
    record("b", "c")
    git("checkout", "-q", "main")
    record("a", "b")
    git("merge", "theirs", status=1)
    tests_of("a", "b", "c")
    assert b"<<<" not in answers.read_bytes()
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    assert "[TRT673]" in text(result)
    (command,) = [line for line in result.outlines if line.startswith(("    pytest", "    git"))]
    program, *options = shlex.split(command)
    assert program == "pytest"
    project.run(*options).assert_outcomes(passed=3)
    git("commit", "-qam", "merged")
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=3)


@pytest.mark.parametrize("option", ["--trt-update", "--trt-update-new"])
def test_other_numbers_in_the_place_of_missing_ones_need_a_reason(
    project, recorded, option
) -> None:
    numbers = recorded.with_suffix(".npz")
    before = numbers.read_bytes()
    numbers.unlink()
    noisy(project)
    result = project.run(option)
    result.assert_outcomes(failed=2)
    assert "TRT675" in text(result)
    assert not numbers.exists()
    done = project.run(option, "--trt-update-reason=trained again")
    done.assert_outcomes(passed=2)
    assert "replaced answers to 2 sets of inputs" in text(done)
    assert numbers.read_bytes() != before
    project.run("--trt-missing-baseline=fail").assert_outcomes(passed=2)


@pytest.mark.parametrize("args", ["--trt-update-new", "--trt-update", f"--trt-update {REASON}"])
@pytest.mark.parametrize("change", [None, noisy])
def test_a_pointer_to_numbers_is_never_replaced(project, recorded, args: str, change) -> None:
    numbers = recorded.with_suffix(".npz")
    numbers.write_bytes(LFS_POINTER + b"/v1")
    if change is not None:
        change(project)
    result = project.run(*args.split())
    result.assert_outcomes(failed=2)
    assert "TRT674" in text(result)
    assert "pytest_trt/plugin" not in text(result)
    assert numbers.read_bytes().startswith(LFS_POINTER)


def test_a_full_disk_fails_what_was_to_be_recorded_and_no_other_test(project, answers) -> None:
    project.test_file(
        """
        import resource

        @pytest.fixture
        def fill():
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        @pytest.mark.trt_model("models/linear.onnx")
        @pytest.mark.trt_consistency(against="stored")
        def test_it(trt_session, images, fill):
            trt_session.run({"image": images})
            fill()
        """
    )
    result = project.run("--trt-update-new")
    line = "*/last_runs/*.answers cannot be written: File too large [[]TRT604]"
    assert_shows(result, line, "Fix: *or name another with --trt-cache-dir.", failed=1)
    assert not answers.exists()
    source = project.path / "test_it.py"
    source.write_text(source.read_text().replace("    fill()", ""))
    project.run("--trt-update-new").assert_outcomes(passed=1)
    source.write_text(source.read_text() + "    fill()\n")
    save_linear(project.path / "models" / "linear.onnx", nudge=1e-6)  # others may be accepted
    project.run().assert_outcomes(passed=1)


def test_a_merge_conflict_fails_with_what_to_do(project, recorded) -> None:
    recorded.write_text("<<<<<<< HEAD\n" + recorded.read_text())
    result = project.run()
    result.assert_outcomes(failed=2)
    assert "merge conflict markers" in text(result)


def test_a_test_compares_one_model(project, recorded, save) -> None:
    save(save_linear, "other.onnx", seed=1)
    project.test_file(
        """
        @pytest.mark.trt_consistency(against="stored")
        def test_it(trt_engines, images):
            trt_engines("models/linear.onnx").run({"image": images})
            trt_engines("models/other.onnx").run({"image": images})
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "those of one model" in text(result)


def test_the_option_and_the_marker_are_checked(project, answers, write) -> None:
    write("history")
    assert "invalid against='history'" in text(project.run())
    assert project.run("--trt-against=history").ret == pytest.ExitCode.USAGE_ERROR
    project.check(args=("--trt-against=stored", "--trt-update-new")).assert_outcomes(passed=1)
    assert answers.exists()


#: Tests whose references differ, and the names under which their answers are stored.
REFERENCES = {
    "its own parameters": (
        '@pytest.fixture(params=["a", "fp16"])\ndef trt_reference(trt_reference, request):',
        "request.param",
        "def test_it(trt_session, trt_reference):",
        {"test_it[a-fp32]", "test_it[fp16-fp32]", "test_it[a-fp16]", "test_it[fp16-fp16]"},
    ),
    "the precision": (
        "@pytest.fixture\ndef trt_reference(trt_reference, trt_precision):",
        "trt_precision",
        "def test_it(trt_session):",
        {"test_it[fp32]", "test_it[fp16]"},
    ),
    "the engine": (
        "@pytest.fixture\ndef other(trt_engine):\n    return trt_engine.spec.precision\n"
        "@pytest.fixture\ndef trt_reference(trt_reference, other):",
        "other",
        "def test_it(trt_session):",
        {"test_it[cpu-fp32]", "test_it[cpu-fp16]"},
    ),
    "parameters of the test": (
        "@pytest.fixture\ndef trt_reference(trt_reference, one, two):",
        "one + two",
        '@pytest.mark.parametrize("one", ["a", "fp16"])\n'
        '@pytest.mark.parametrize("two", ["a", "fp16"])\ndef test_it(trt_session, one, two):',
        {"test_it[a-a]", "test_it[a-fp16]", "test_it[fp16-a]", "test_it[fp16-fp16]"},
    ),
    "nothing": (
        "@pytest.fixture\ndef trt_reference(trt_reference):",
        '""',
        "def test_it(trt_session):",
        {"test_it"},
    ),
}


@pytest.mark.parametrize("of", REFERENCES)
def test_references_that_differ_have_answers_of_their_own(project, answers, of) -> None:
    fixture, value, test, names = REFERENCES[of]
    # One precision where an id of the test looks like it, or else two.
    precision = '"fp16"' if of == "parameters of the test" else '("fp32", "fp16")'
    project.test_file(
        "from zlib import crc32\n"
        f"{fixture}\n"
        f"    off = np.float32(crc32(({value}).encode()) % 97 * 1e-3)\n"
        "    run = trt_reference.run\n"
        "    return lambda inputs: {name: one + off for name, one in run(inputs).items()}\n"
        f'@pytest.mark.trt_model("models/linear.onnx", precision={precision})\n'
        '@pytest.mark.trt_consistency(against="stored", rtol=0, atol=0.2)\n'
        f'{test}\n    trt_session.run({{"image": np.ones((2, 8), np.float32)}})\n'
    )
    for options in ("--trt-update-new",), ("--trt-missing-baseline=fail",):
        result = project.run(*options)
        assert result.parseoutcomes().keys() == {"passed"}
    stored = json.loads(answers.read_text())["tests"]
    assert stored.keys() == names


def test_accepting_answers_names_the_precision_whose_own_check_failed(project) -> None:
    source = """
    @pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))
    @pytest.mark.trt_consistency(
        against="both", by_precision={{"fp16": {{"rtol": 0, "atol": {atol}}}}}
    )
    def test_it(trt_session, images):
        trt_session.run({{"image": images}})
    """
    project.test_file(source.format(atol=0.1))
    project.run("--trt-missing-baseline=record").assert_outcomes(passed=2)
    save_linear(project.path / "models" / "linear.onnx", seed=1)
    project.test_file(source.format(atol=1e-9))
    project.run().assert_outcomes(failed=2)
    output = accept(project, "--failed", status=1).output
    assert "test_it[fp16] is not accepted: its engine does not agree with its model" in output
    assert "accepted 1 of 2 results, refused 1" in output
