"""Finished plans: what another job built is tested as it is, and what does not fit is refused."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import pytest
from builders import save_linear
from plugin.conftest import PROFILES, assert_shows

from pytest_trt.hashing import digest_file

DIST = 'plan="dist/{stem}.{precision}.{arch}.plan"'

SAME_ANSWERS = """
    @pytest.mark.trt_model("models/linear.onnx", {keywords})
    @pytest.mark.trt_consistency
    def test_same(trt_session, images):
        trt_session.run({{"image": images}})
"""


@pytest.fixture
def ship(project):
    """Build engines and copy their plans to dist/, as a build job of the project's own does."""

    def built(*precisions: str, name: str = "{stem}.{precision}.{arch}.plan") -> list[Path]:
        project.test_file(
            f"""
            @pytest.mark.trt_model("models/linear.onnx", precision={precisions!r}, {PROFILES})
            def test_built(trt_engine):
                pass
            """
        )
        project.run().assert_outcomes(passed=len(precisions))
        found = []
        (project.path / "dist").mkdir(exist_ok=True)
        for plan in project.plans():
            precision = plan.parent.name.split("-")[1]
            text = name.format(stem="linear", precision=precision, arch="cpu")
            found.append(shutil.copy(plan, project.path / "dist" / text))
        shutil.rmtree(project.cache)
        return found

    return built


def same_answers(project, keywords: str, *args: str):
    project.test_file(SAME_ANSWERS.format(keywords=keywords))
    return project.run(*args)


def test_plan_of_each_combination_is_tested_and_nothing_is_built(project, ship) -> None:
    ship("fp32", "fp16")
    result = same_answers(project, f'precision=("fp32", "fp16"), {DIST}', "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["linear.onnx*fp*finished plan*", "facts*plan dist/linear.fp32.cpu.plan, digest*"]
    )
    assert not project.plans()


def test_wrong_plan_fails(project, ship) -> None:
    save_linear(project.path / "models" / "linear.onnx", nudge=5.0)
    ship("fp32")
    save_linear(project.path / "models" / "linear.onnx")
    result = same_answers(project, DIST)
    assert_shows(result, "*TRT401*", failed=1)
    result.stdout.fnmatch_lines(["*dist/linear.fp32.cpu.plan may have been built from another *"])
    result.stdout.no_fnmatch_line("*builder_options*")


def test_fp32_plan_under_the_name_of_another_precision_fails(project, ship) -> None:
    plans = {plan.name.split(".")[1]: plan for plan in map(Path, ship("fp32", "fp16", "bf16"))}
    both = f'precision=("fp16", "bf16"), {DIST}'
    same_answers(project, both).assert_outcomes(passed=2)
    for name in ("fp16", "bf16"):
        shutil.copy(plans["fp32"], plans[name])
    result = same_answers(project, both)
    assert_shows(result, "*requested in fp16, but nothing in its engine is half*TRT326]", errors=2)


def test_int8_plan_under_the_name_of_fp32_fails(project, ship) -> None:
    (plan,) = map(Path, ship("int8"))
    plan.rename(plan.with_name(plan.name.replace("int8", "fp32")))
    result = same_answers(project, DIST)
    result.assert_outcomes(errors=1)
    message = "*is tested as fp32, but has layers or weights in int8*TRT326*"
    result.stdout.fnmatch_lines([message])


def test_missing_plan_of_one_combination_fails_that_test_and_names_the_file(project, ship) -> None:
    ship("fp32")
    result = same_answers(project, f'precision=("fp32", "fp16"), {DIST}')
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*there is no plan dist/linear.fp16.cpu.plan*TRT325*", "*- linear.fp32.cpu.plan"]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            struct.pack("<4sIQQ4B", b"ftrt", 0, 2, 28, 10, 3, 0, 26),
            "*is for TensorRT 10.3.0.26, but ONNX Runtime * is tested*TRT321*",
            id="of TensorRT",
        ),
        pytest.param(b"not a model", "*is not a whole ONNX file*TRT322*", id="no plan"),
    ],
)
def test_file_that_is_no_plan_of_the_backend_is_refused(project, ship, content, message) -> None:
    (plan,) = ship("fp32")
    plan.write_bytes(content)
    result = same_answers(project, DIST)
    assert_shows(result, message, errors=1)
    result.stdout.no_fnmatch_line("*cache clear*")


def test_plan_with_other_outputs_than_the_model_is_refused(project, ship) -> None:
    ship("fp32")
    model = project.path / "models" / "linear.onnx"
    model.write_bytes(model.read_bytes().replace(b"probs", b"other"))
    result = same_answers(project, DIST)
    assert_shows(result, "*does not fit the test of linear.onnx*other*TRT326*", errors=1)


NOT_MEANT = [
    ('plan="{stm}.plan"', "*unknown placeholder {stm}*"),
    ('plan="{stem.plan"', "*plan=*expected '}'*"),
    ('plan="{}.plan"', "*unknown placeholder {}*"),
    ("plan=3", "*invalid plan=3*"),
    ('plan="a.plan", precision=("fp32", "fp16")', "*names one file for * fp32 * and for*"),
    (
        'plan="a.plan", builder_options={"graph_optimization_level": "basic"}',
        "*nothing is built, so builder options have no effect: 'graph_optimization_level'*",
    ),
    (
        'plan="a.plan", by_backend={"tensorrt": {"builder_options": {"refit": True}}}',
        "*builder options have no effect: 'refit'*",
    ),
]


def test_marker_that_cannot_be_meant_is_refused_at_collection(project) -> None:
    project.refuses(
        {SAME_ANSWERS.format(keywords=keywords): message for keywords, message in NOT_MEANT}
    )


def test_models_that_share_a_file_are_refused_and_per_model_gives_them_others(
    project, ship
) -> None:
    (plan,) = ship("fp32")
    save_linear(project.path / "models" / "second.onnx")
    shutil.copy(plan, project.path / "second.plan")
    models = '["models/linear.onnx", "models/second.onnx"]'
    source = SAME_ANSWERS.replace('"models/linear.onnx"', models)
    plain = 'plan="dist/linear.fp32.cpu.plan"'
    project.test_file(source.format(keywords=plain))
    project.run().stdout.fnmatch_lines(["*names one file for linear.onnx * and for second.onnx *"])
    own = '{"models/second.onnx": {"plan": "second.plan"}}'
    project.test_file(source.format(keywords=f"{plain}, per_model={own}"))
    project.run().assert_outcomes(passed=2)


def test_limit_on_the_build_is_refused_and_limits_on_the_plan_hold(project, ship) -> None:
    (plan,) = ship("fp32")
    speed = """
        @pytest.mark.trt_model("models/linear.onnx", {plan})
        @pytest.mark.trt_benchmark({limits})
        def test_speed(trt_benchmark, images):
            trt_benchmark({{"image": images}})
    """
    project.test_file(speed.format(plan=DIST, limits="build_s=10"))
    project.run().stdout.fnmatch_lines(["*build_s= limits a build*"])
    for size, outcome in (plan.stat().st_size, "passed"), (plan.stat().st_size - 1, "failed"):
        project.test_file(speed.format(plan=DIST, limits=f"plan_size_bytes={size}"))
        project.run().assert_outcomes(**{outcome: 1})


def test_other_engines_than_the_named_plan_do_not_count(project, ship) -> None:
    ship("fp32")
    source = """
        @pytest.mark.trt_model("models/linear.onnx", {keywords})
        @pytest.mark.trt_consistency
        def test_same(trt_engines, images):
            trt_engines("models/linear.onnx", {given}).run({{"image": images}})
    """
    project.test_file(source.format(keywords=DIST, given=DIST))
    project.run().assert_outcomes(passed=1)
    for keywords, given in ((DIST, ""), ("", DIST)):
        project.test_file(source.format(keywords=keywords, given=given))
        result = project.run()
        assert_shows(result, "*the test ran linear.onnx fp32 with other plan=*TRT160*", failed=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('trt_build(profiles={"image": (4, 8)})', "*profiles= cannot change a finished plan*"),
        ('trt_build(precision="fp16")', "*is of precision fp32, and fp16 was requested*"),
    ],
)
def test_factory_cannot_change_a_plan(project, ship, call: str, message: str) -> None:
    ship("fp32")
    project.test_file(
        f"""
        @pytest.mark.trt_model("models/linear.onnx", plan="dist/linear.fp32.cpu.plan")
        def test_built(trt_build):
            {call}
        """
    )
    assert_shows(project.run(), message, failed=1)


def test_calibration_of_a_plan_is_refused_and_none_is_needed(project, ship) -> None:
    ship("int8")
    project.test_file(
        SAME_ANSWERS.replace("consistency", "consistency(rtol=0, atol=3)").format(
            keywords=f'precision="int8", {DIST}'
        )
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*TRT170*")
    project.test_file(
        f"""
        def test_shared(trt_engines):
            trt_engines("models/linear.onnx", precision="int8", calibration=[], {DIST})
        """
    )
    project.run().stdout.fnmatch_lines(["*calibration= has no effect on a finished plan*"])


def test_build_only_checks_that_the_plan_is_there(project, ship) -> None:
    (plan,) = ship("fp32")
    same_answers(project, DIST, "--trt-build-only").assert_outcomes(skipped=1)
    plan.unlink()
    same_answers(project, DIST, "--trt-build-only").assert_outcomes(errors=1)


def test_model_of_a_fixture_gives_the_stem(project, ship) -> None:
    ship("fp32")
    source = f"""
        @pytest.fixture
        def exported(pytestconfig):
            return pytestconfig.rootpath / "models" / "linear.onnx"

        @pytest.mark.trt_model(fixture="exported", {DIST})
        @pytest.mark.trt_consistency
        def test_same(trt_session, images):
            trt_session.run({{"image": images}})
    """
    project.test_file(source)
    project.run().assert_outcomes(passed=1)
    shutil.rmtree(project.path / "dist")
    assert_shows(project.run(), "*there is no plan *linear.fp32.cpu.plan*", errors=1)


def test_plan_that_is_replaced_between_tests_is_read_again(project, ship) -> None:
    (plan,) = ship("fp32")
    project.test_file(
        f"""
        import pathlib

        pytestmark = [pytest.mark.trt_model("models/linear.onnx", {DIST}),
                      pytest.mark.trt_consistency]

        def test_first(trt_session, images):
            trt_session.run({{"image": images}})
            pathlib.Path({str(plan)!r}).write_bytes(b"other")

        def test_second(trt_session, images):
            trt_session.run({{"image": images}})
        """
    )
    assert_shows(project.run(), "*is not a whole ONNX file*", passed=1, errors=1)


@pytest.mark.exhaustive
def test_speed_of_a_plan_is_measured_also_in_fresh_processes(project, ship) -> None:
    (plan,) = ship("fp32")
    project.test_file(
        f"""
        @pytest.mark.trt_model("models/linear.onnx", {DIST})
        @pytest.mark.trt_benchmark
        def test_speed(trt_benchmark, images):
            trt_benchmark({{"image": images}})
        """
    )
    project.run("--trt-baseline-runs=2", "--trt-threads=1").assert_outcomes(passed=1)
    (stored,) = json.loads(next(project.path.glob("trt_baselines/*/*.json")).read_text())[
        "tests"
    ].values()
    assert len(stored["runs"]) == 2
    assert digest_file(plan).digest.startswith(stored["engine"]["plan"])


def test_plan_for_another_machine_is_checked_and_not_run(project) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    numbers = (*map(int, re.findall(r"\d+", trt.__version__)), 0, 0)[:4]
    (project.path / "dist").mkdir()
    for arch in ("sm86", "sm89"):  # both headers are for sm86, the second bit
        head = struct.pack("<4sIQQ4B4sQ", b"vtrt", 0, 2, 40, *numbers, b"vtrt", 1 << 2)
        (project.path / "dist" / f"linear.fp32.{arch}.plan").write_bytes(head)
    project.test_file(SAME_ANSWERS.format(keywords=DIST))
    result = project.run("--trt-backend=tensorrt_rtx", "-rs", arch="sm86,sm89")
    result.assert_outcomes(skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*linear.fp32.sm89.plan is for sm86, but sm89 is tested*TRT323*"])
    result.stdout.fnmatch_lines(["*the plan for sm86 was not run: *"])
