"""Facts of engines, as tests assert them and reports show them."""

from __future__ import annotations

import json

from builders import save_linear
from plugin.conftest import assert_shows


def test_precisions_of_an_engine_can_be_asserted(project) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16", "int8"),
                               profiles={"image": ((1, 8), (4, 8), (16, 8))})
        def test_it(trt_engine, trt_precision):
            facts = trt_engine.facts
            shares = {"fp32": facts.float_weights_pct, "fp16": facts.half_weights_pct,
                      "int8": facts.int8_weights_pct}
            assert shares[trt_precision] > 50
            assert facts.size_bytes > 0
            assert facts.unknown_layers_pct == 0
        """
    )
    project.run().assert_outcomes(passed=3)


def test_loading_and_first_inference_are_measured_when_they_happen(project) -> None:
    project.test_file(
        """
        pytestmark = pytest.mark.trt_model("models/linear.onnx")

        def test_before(trt_session):
            facts = trt_session.engine.facts
            assert facts.get("load_s") is None
            assert facts.get("first_inference_s") is None

        def test_during(trt_session, images):
            trt_session.run({"image": images})
            first = trt_session.engine.facts
            assert first.load_s > 0
            assert first.first_inference_s > 0
            trt_session.run({"image": images})
            assert trt_session.engine.facts == first

        def test_after(trt_engine):
            assert trt_engine.facts.load_s > 0
        """
    )
    project.run().assert_outcomes(passed=3)


def test_a_fact_that_is_not_reported_explains_itself_in_a_test(project) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx")
        def test_it(trt_engine):
            assert trt_engine.facts.device_memory_bytes < 1e9
        """
    )
    result = project.run()
    assert_shows(
        result, "*facts.device_memory_bytes is unknown: this engine does not*TRT330*", failed=1
    )


def test_fp16_engine_that_is_fp32_throughout_fails_by_itself(project) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", precision="fp16",
                               keep_fp32=["MatMul", "Add", "Softmax"])
        def test_it(trt_engine):
            pass
        """
    )
    for _ in range(2):  # built, then cached
        result = project.run()
        assert_shows(
            result,
            "linear.onnx was requested in fp16, but nothing in its engine is half: 3 of its*",
            "*- Shorten keep_fp32=[[]'Add', 'MatMul', 'Softmax']",
            errors=1,
        )


def test_fp16_engine_that_is_partly_fp32_passes(project) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", precision="fp16",
                               keep_fp32="MatMul")
        def test_it(trt_engine):
            assert 0 < trt_engine.facts.half_weights_pct < 50
        """
    )
    project.run().assert_outcomes(passed=1)


def test_facts_are_in_the_summary_of_a_verbose_run(project) -> None:
    shown = project.check(model='"models/linear.onnx", precision="fp16"', args=("-v",))
    shown.stdout.fnmatch_lines(
        [
            "facts linear.onnx fp16 cpu: weights 100% half; 6 layers, 100% half; *B; loaded in *s;"
            " first inference *s"
        ]
    )
    project.run().stdout.no_fnmatch_line("facts *")


def test_operators_that_are_left_in_fp32_are_listed(project) -> None:
    model = '"models/linear.onnx", precision=("fp32", "fp16"), keep_fp32=["Add", "Softmax"]'
    shown = project.check(model=model, args=("-v", "--trt-report=r.json"))
    shown.stdout.fnmatch_lines(["facts linear.onnx fp16 *; left in FP32: Add (1), Softmax (1); *"])
    shown.stdout.no_fnmatch_line("facts linear.onnx fp32 *left in FP32*")
    (half,) = [
        one
        for one in json.loads((project.path / "r.json").read_text())["engines"].values()
        if one["precision"] == "fp16"
    ]
    assert half["left_in_fp32"] == {"Add": 1, "Softmax": 1}


def test_facts_are_attached_to_the_report(project) -> None:
    project.pytester.makeconftest(
        project.pytester.path.joinpath("conftest.py").read_text()
        + """
import json
def pytest_runtest_logreport(report):
    if hasattr(report, "trt"):
        print("RECORD", json.dumps(report.trt["engines"][0]))
"""
    )
    shown = project.check(args=("-s",)).stdout
    (line,) = [line for line in shown.lines if "RECORD" in line]
    record = json.loads(line.partition("RECORD")[2])
    assert record["weights_pct"] == {"float": 100.0}
    assert record["layers"] == 2
    assert record["first_inference_s"] > 0


def test_cached_engine_has_its_facts_without_being_built(project) -> None:
    save_linear(project.path / "models" / "linear.onnx", seed=3)
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", precision="fp16")
        def test_it(trt_engine):
            assert trt_engine.facts.half_weights_pct == 100
            assert {"product", "shift"} <= {o for l in trt_engine.facts.layers for o in l.origins}
        """
    )
    for outcome in ("built *", "cached*"):
        result = project.run()
        assert_shows(result, f"linear.onnx  cpu fp16  {outcome}", passed=1)
