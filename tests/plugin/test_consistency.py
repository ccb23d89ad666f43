from __future__ import annotations

import xml.etree.ElementTree as ET
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import builders_networks as networks
import builders_types as types
import numpy as np
import onnx
import onnxruntime
import pytest
from builders import save_batch_dependent, save_linear, save_overflowing
from onnx import helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic
from plugin.conftest import RUNS, assert_shows, checked

TIGHT = "rtol=0, atol=1e-12"


def test_a_check_fails_its_test_and_nothing_hides_it(project) -> None:
    half = {"model": '"models/linear.onnx", precision="fp16"', "consistency": TIGHT}
    skip, xfail = 'pytest.skip("not today")', "@pytest.mark.xfail(strict={})\n"
    no_engine = checked().partition("def ")[0] + "def test_it():\n    pass\n"
    cases = {
        checked(): "",
        checked(f"{RUNS}\nassert 1 == 2", **half): [
            "*assert 1 == 2*",
            "*trt consistency*",
            "*(linear.onnx, fp16, cpu)*",
        ],
        checked(f"{RUNS}\n{skip}", **half): "*over tolerance*TRT401]",
        checked(f"{RUNS}\n{skip}"): "",
        checked(skip): "",
        checked('trt_session.run({"image": images[:0]})'): "nothing compared (*TRT400]",
        checked("pass"): ["trt_consistency compared nothing*", "Fix: *"],
        no_engine: "*requested no engine*",
        no_engine.replace(
            "test_it()", "test_it(trt_engine)"
        ): "*the test never called trt_session.run*",
        "@pytest.mark.xfail(raises=AssertionError, strict=True)\n" + checked(**half): "",
        xfail.format(True) + checked(**half): "",
        xfail.format(False) + checked(**half): "",
        xfail.format(True) + checked(): "*XPASS(strict)*",
    }
    project.ends(cases).assert_outcomes(passed=1, failed=7, skipped=2, xfailed=3)


def test_outputs_that_are_swapped_missing_or_of_another_shape_fail(project, save) -> None:
    save(save_linear, "swapped.onnx", swapped=True)
    save(save_linear, "wide.onnx", classes=5)
    short = onnx.load(save(save_linear, "short.onnx"))
    del short.graph.output[1]
    onnx.save(short, project.path / "models" / "short.onnx")
    expected = {
        "swapped": "*'logits' and 'probs' hold each other's values*",
        "wide": "*shape*",
        "short": "*probs*missing*",
    }
    model = '"models/{}.onnx", reference="models/linear.onnx"'
    cases = {checked(model=model.format(name)): line for name, line in expected.items()}
    project.refuses(cases, where="")


def test_perturbed_weight_fails_and_every_output_is_reported(project, save) -> None:
    save(save_linear, "perturbed.onnx", nudge=0.5)
    result = project.check(model='"models/perturbed.onnx", reference="models/linear.onnx"')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "probs: *x over tolerance against linear.onnx (perturbed.onnx, fp32, cpu)*TRT415*",
            "  * of 16 elements * differ by more than *",
            "  logits: *x over tolerance (* of 16 elements)",
            # Two models differ, and the engine computes its own.
            "Fix: The engine agrees with models/perturbed.onnx, which differs from "
            "models/linear.onnx in weight weight of product (by up to *% of its largest value). "
            "Restore the model, unless the change is intended:",
            "    git log -- models/perturbed.onnx",
            "    git checkout COMMIT -- models/perturbed.onnx",
            "  - If it is intended, make it the reference: "
            "`cp models/perturbed.onnx models/linear.onnx`",
        ]
    )


def first_line(result: pytest.RunResult, pattern: str) -> str:
    return next(line for line in result.outlines if fnmatch(line, pattern))


def quantised(model: onnx.ModelProto, path: Path) -> None:
    """Quantise by operators that take floats and integers (MatMulInteger)."""
    quantize_dynamic(model, path)


def rounded(model: onnx.ModelProto, path: Path, *, step: float) -> None:
    """Store the weight as integers, and nothing else (DequantizeLinear)."""
    weight = model.graph.initializer[0]
    whole = np.round(numpy_helper.to_array(weight) / step).astype(np.int8)
    scale = np.array(step, np.float32)
    model.graph.initializer.extend(
        [numpy_helper.from_array(whole, "whole"), numpy_helper.from_array(scale, "step")]
    )
    node = helper.make_node("DequantizeLinear", ["whole", "step"], [weight.name], name="rounded")
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, node)
    onnx.save(model, path)


def halved(model: onnx.ModelProto, path: Path) -> None:
    """Store the weight in half precision."""
    weight = model.graph.initializer[0]
    half = numpy_helper.to_array(weight).astype(np.float16)
    model.graph.initializer.append(numpy_helper.from_array(half, "half"))
    node = helper.make_node("Cast", ["half"], [weight.name], to=onnx.TensorProto.FLOAT)
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, node)
    onnx.save(model, path)


#: ONNX Runtime's further fusions quantise what DequantizeLinear gives anew, and so differ from it.
CONVERTED = (
    '"models/small.onnx", reference="models/linear.onnx", '
    'builder_options={"graph_optimization_level": "basic"}'
)


@pytest.mark.parametrize("convert", [quantised, partial(rounded, step=1 / 16), halved])
def test_model_that_loses_a_little_by_conversion_is_offered_a_tolerance(project, convert) -> None:
    path = project.path / "models" / "linear.onnx"
    convert(onnx.load(path), path.with_name("small.onnx"))
    result = project.check(model=CONVERTED, consistency="rtol=1e-5, atol=1e-5")
    result.assert_outcomes(failed=1)
    advice = "  - If it is accurate enough on real data: outputs=*"
    result.stdout.fnmatch_lines(["Fix: The engine agrees *Convert it again*", advice])
    offered = first_line(result, advice).partition("data: ")[2]
    project.check(model=CONVERTED, consistency=offered).assert_outcomes(passed=1)


def test_model_that_is_ruined_by_conversion_is_offered_none(project) -> None:
    path = project.path / "models" / "linear.onnx"
    rounded(onnx.load(path), path.with_name("small.onnx"), step=100.0)
    result = project.check(model=CONVERTED)
    assert_shows(result, "Fix: The engine agrees *Convert it again*", failed=1)
    result.stdout.no_fnmatch_line("*outputs=*")


OVERFLOWING = '"models/overflowing.onnx", precision="fp16"'


def test_fp16_overflow_is_found_as_not_finite(project, save) -> None:
    save(save_overflowing, "overflowing.onnx")
    result = project.check('trt_session.run({"image": 4 + np.abs(images)})', model=OVERFLOWING)
    result.assert_outcomes(failed=1)
    # The summary draws a bar that is full, not one of 0%.
    result.stdout.fnmatch_lines(["*NaN*", "overflowing.onnx *>999x*1 failed"])


def test_overflow_repeats_the_builds_note_on_constants(project, save) -> None:
    save(save_linear, "large.onnx", nudge=1e6)
    model = 'precision="fp16", reference="models/linear.onnx"'
    assert_shows(
        project.check(model=f'"models/large.onnx", {model}'),
        "* against linear.onnx (large.onnx, fp16, cpu)*",
        "  at build time: constant *became 65504 in float16*",
        "  the engine does not agree with its own model in FP32 either",
        "Fix: FP16 overflows above 65504*",
        failed=1,
    )


def test_operators_that_stay_fp32_are_named_once_for_several_precisions(project) -> None:
    kept = 'keep_fp32=["MatMul"]'
    alone = project.check(model=f'"models/linear.onnx", precision="fp32", {kept}')
    assert_shows(alone, "*keep_fp32 has no effect where precision is fp32*TRT361*", errors=1)
    several = project.check(model=f'"models/linear.onnx", precision=("fp32", "fp16"), {kept}')
    several.assert_outcomes(passed=2)


def test_what_one_build_is_given_is_not_thinned_out(project) -> None:
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))\n'
        "def test_it(trt_build):\n"
        '    trt_build(precision="fp32", keep_fp32="MatMul")\n'
    )
    assert_shows(project.run(), "*keep_fp32 has no effect on a fp32 engine*", failed=2)


def test_same_model_passes_where_nothing_overflows(project, save) -> None:
    save(save_overflowing, "overflowing.onnx")
    result = project.check(
        'trt_session.run({"image": 0.1 * images})',
        model=OVERFLOWING,
        consistency="rtol=0.1, atol=0.1",
    )
    result.assert_outcomes(passed=1)


BATCHES = """for batch in (1, 8):
    trt_session.run({"image": np.ones((batch, 8), np.float32)})"""


@pytest.mark.parametrize(("error", "outcome"), [(0.0, "passed"), (0.5, "failed")])
def test_batch_8_wrong_and_batch_1_right_fails(project, save, error: float, outcome: str) -> None:
    save(save_batch_dependent, "right.onnx", error=0.0)
    save(save_batch_dependent, "tried.onnx", error=error)
    result = project.check(BATCHES, model='"models/tried.onnx", reference="models/right.onnx"')
    result.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        result.stdout.fnmatch_lines(
            ["*run 2 of 2 at test_it.py:*[[]8, 8[]]*", "*1 of 2 runs of this engine failed"]
        )


def test_engine_of_a_factory_is_compared_too(project) -> None:
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx")\n'
        f"@pytest.mark.trt_consistency({TIGHT})\n"
        "def test_it(trt_build, images):\n"
        '    trt_build(precision="fp32").run({"image": images})\n'
        '    trt_build(precision="fp16").run({"image": images})'
    )
    result = project.run()
    assert_shows(result, "*(linear.onnx, fp16, cpu)*", "*run 2 of 2 at test_it.py:7*", failed=1)


def test_worst_run_is_reported_in_full_and_the_others_in_a_line(project) -> None:
    result = project.check(
        'for scale in (1, 100, 10):\n    trt_session.run({"image": scale * images})',
        model='"models/linear.onnx", precision="fp16"',
        consistency="rtol=0, atol=1e-4",
    )
    assert_shows(
        result,
        "  run 2 of 3 at test_it.py:7,*",
        "  run 3 at test_it.py:7,*x over tolerance",
        "  run 1 at test_it.py:7,*over tolerance",
        "  3 of 3 runs of this engine failed",
        "Fix: *",
        failed=1,
    )
    # Where CI is set, pytest repeats failures whole in its short summary.
    reported = result.stdout.str().partition("= trt =")[0]
    assert reported.count("Fix: ") == 1


TWO_FAILING = (
    'pytestmark = [pytest.mark.trt_model("models/linear.onnx", precision="fp16"),\n'
    f"    pytest.mark.trt_consistency({TIGHT})]\n"
    'def test_one(trt_session, images):\n    trt_session.run({"image": images})\n'
    'def test_two(trt_session, images):\n    trt_session.run({"image": images})\n'
)


def test_exitfirst_stops_at_a_failing_check(project) -> None:
    project.test_file(TWO_FAILING)
    project.run("-x").assert_outcomes(failed=1)


def test_junit_counts_a_failing_check_as_a_failed_test(project) -> None:
    project.test_file(TWO_FAILING)
    project.run("--junitxml=junit.xml")
    suite = ET.parse(project.path / "junit.xml").getroot()[0]
    assert suite.attrib["failures"] == "2"
    assert suite.attrib["errors"] == "0"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "logits" in (failure.text or "")


@pytest.mark.usefixtures("engines_of_other_tests")
@pytest.mark.exhaustive
def test_xdist_workers_report_verdicts_and_records(project) -> None:
    pytest.importorskip("xdist")
    project.test_file(TWO_FAILING + "def test_three(trt_engine):\n    pass\n")
    assert_shows(project.run("-n", "2"), "*= trt =*", "linear.onnx*fp16*3 failed*", failed=3)


@pytest.mark.exhaustive
def test_pdb_is_entered_on_a_failing_check(project) -> None:
    pexpect = pytest.importorskip("pexpect")
    project.test_file(TWO_FAILING)
    child = project.pytester.spawn_pytest(
        f"--pdb --trt-cache-dir={project.cache} test_it.py::test_one"
    )
    child.expect("Pdb")
    child.sendline("p sorted(locals())")
    child.expect(r"\['images', 'trt_session'\]")  # at the line that ran the engine
    child.sendline("quit")
    child.expect(pexpect.EOF)  # reads what it writes: it would wait for that otherwise


def test_int8_is_calibrated_on_the_projects_own_data_where_it_gives_some(project) -> None:
    body = (
        '@pytest.mark.trt_model("models/linear.onnx", precision="int8",'
        ' profiles={"image": ((1, 8), (4, 8), (16, 8))})\n'
        "@pytest.mark.trt_consistency(rtol=0.05, atol=0.2)\n"
        'def test_it(trt_session, images):\n    trt_session.run({"image": images})\n'
    )
    project.test_file(body)
    assert_shows(project.run(), "note: an engine was calibrated on random inputs*", failed=1)
    project.test_file(
        "@pytest.fixture\ndef trt_calibration(images):\n    return [{'image': images}]\n" + body
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*calibrated on random inputs*")


WRONG_CALIBRATION = [
    ("{'image': images}", "*must return a list*dict*"),
    ("None", "*must return a list*None*"),
    ("[]", "*"),
    ("[{'picture': images}]", "*sample 0*picture*"),
    ("[{'image': images}, {'image': images.astype(np.float64)}]", "*sample 1*float64*"),
    ("[{'image': images * np.nan}]", "*sample 0*NaN*"),
    ("'no/such/folder'", "*calibration data no/such/folder does not exist*"),
    ("({'image': images / n} for n in (1, 0j, 'a'))", "*raised*"),
]


def test_calibration_inputs_that_do_not_fit_are_reported_before_anything_is_built(project) -> None:
    mark = '@pytest.mark.trt_model("models/linear.onnx", precision="int8")'
    test = f"{mark}\ndef test_it(trt_engine):\n    pass\n"
    fixture = "@pytest.fixture\ndef trt_calibration(images):\n    return"
    project.refuses(
        {
            f"{fixture} {returned}\n{test}": [message, "Fix: *"]
            for returned, message in WRONG_CALIBRATION
        },
        where="ERROR at setup of ",
    )
    assert project.plans() == []


def test_calibration_may_be_a_folder_or_a_generator_that_tests_share(project) -> None:
    project.test_file(
        "@pytest.fixture(scope='session')\ndef made():\n"
        "    return ({'image': np.full((4, 8), n, 'f4')} for n in range(30))\n"
        "@pytest.fixture\n"
        "def trt_calibration(kind, made, tmp_path):\n"
        "    if kind == 'generator':\n"
        "        return made\n"
        "    for n in range(30):\n"
        "        np.savez(tmp_path / f'{n:02}.npz', image=np.full((4, 8), n, 'f4'))\n"
        "    return tmp_path\n"
        '@pytest.mark.trt_model("models/linear.onnx", precision="int8")\n'
        "@pytest.mark.parametrize('kind', ['generator', 'folder'])\n"
        "def test_it(trt_engine, kind):\n"
        "    assert trt_engine.facts.calibration.inputs['image'].max == 29\n"
        "test_again = test_it\n"
    )
    project.run().assert_outcomes(passed=4)
    assert len(project.plans()) == 1  # the same samples


def test_seeded_calibration_gets_a_note_even_when_the_test_passes(project) -> None:
    model = '"models/linear.onnx", precision="int8", profiles={"image": ((1, 8), (4, 8), (16, 8))}'
    result = project.check(model=model, consistency="rtol=10, atol=10")
    assert_shows(result, "*test_it.py:*PytestTrtWarning: an engine was calibrated on*", passed=1)


def test_warning_of_several_models_is_shown_once(project) -> None:
    for name in ("second", "third"):
        (project.path / "models" / f"{name}.onnx").write_bytes(
            (project.path / "models" / "linear.onnx").read_bytes()
        )
    project.test_file(
        'PROFILES = {"image": ((1, 8), (4, 8), (16, 8))}\n'
        '@pytest.mark.parametrize("model", [\n'
        "    pytest.param(name, marks=pytest.mark.trt_model(\n"
        '        f"models/{name}.onnx", precision="int8", profiles=PROFILES))\n'
        '    for name in ("linear", "second", "third")])\n'
        "def test_it(model, trt_engine):\n    pass\n"
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    shown = [
        line for line in result.outlines if "an engine was calibrated on random inputs" in line
    ]
    assert len(shown) == 1


def test_dynamic_model_without_profiles_gets_a_note(project) -> None:
    result = project.check()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["note  linear.onnx has dynamic inputs (image) without profiles=*"])
    with_profiles = '"models/linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))}'
    project.check(model=with_profiles).stdout.no_fnmatch_line("*no profiles=*")


@pytest.mark.usefixtures("engines_of_other_tests")
@pytest.mark.exhaustive
def test_workers_say_what_was_tested_in_the_summary(project) -> None:
    pytest.importorskip("xdist")
    project.test_file(TWO_FAILING)
    result = project.run("-n", "1", "--trt-arch=cpu")
    result.stdout.fnmatch_lines(["*= trt =*", "ONNX Runtime * for cpu (*"])


BY_PRECISION = """
@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))
@pytest.mark.trt_consistency(rtol=1e-5, atol=1e-6{more})
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
"""


@pytest.mark.parametrize(
    ("more", "failed"),
    [
        ("", {"fp16"}),
        (', by_precision={"fp16": {"rtol": 0.1, "atol": 0.1}}', set()),
        (', by_precision={"fp32": {"rtol": 0.1, "atol": 0.1}}', {"fp16"}),
        # A word for one output wins over any for all, and that for one precision over both.
        (
            ', by_precision={"fp16": {"rtol": 0.1, "atol": 0.1}},'
            ' outputs={"logits": {"rtol": 1e-5, "atol": 1e-6}}',
            {"fp16"},
        ),
        (
            ', by_precision={"fp16": {"rtol": 0.1, "atol": 0.1,'
            ' "outputs": {"logits": {"rtol": 0.1, "atol": 0.1}}}},'
            ' outputs={"logits": {"rtol": 1e-5, "atol": 1e-6}}',
            set(),
        ),
    ],
)
def test_marker_has_tolerances_by_precision(project, more: str, failed: set[str]) -> None:
    project.test_file(BY_PRECISION.format(more=more))
    result = project.run("-v")
    result.assert_outcomes(failed=len(failed), passed=2 - len(failed))
    for precision in ("fp32", "fp16"):
        outcome = "FAILED" if precision in failed else "PASSED"
        result.stdout.fnmatch_lines([f"*::test_it?{precision}] {outcome}*"])


def test_what_is_offered_is_for_the_precision_that_failed_and_then_passes(project) -> None:
    project.test_file(BY_PRECISION.format(more=""))
    failed = project.run()
    offered = first_line(failed, "    by_precision=*").strip()
    assert offered.startswith('by_precision={"fp16": {"outputs": {"')
    project.test_file(BY_PRECISION.format(more=f", {offered}"))
    project.run().assert_outcomes(passed=2)


OWN_REFERENCE = """
class Reference:
    def __init__(self, session):
        self.session = session

    def run(self, inputs):
        return {name: array + OFFSET for name, array in self.session.run(inputs).items()}

@pytest.fixture
def trt_reference(trt_reference):
    return RETURNED

@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency()
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""


@pytest.mark.parametrize(("offset", "outcome"), [("0", "passed"), ("1", "failed")])
def test_reference_of_a_project_is_what_is_compared_with(project, offset, outcome) -> None:
    own = OWN_REFERENCE.replace("RETURNED", "Reference(trt_reference)")
    project.test_file(own.replace("OFFSET", offset))
    result = project.run()
    result.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        result.stdout.fnmatch_lines(
            [
                "*x over tolerance against trt_reference (linear.onnx, fp32, cpu) *TRT415*",
                "Fix: The engine agrees with models/linear.onnx in FP32, so the outputs of "
                "trt_reference differ from the model's. *",
            ]
        )


@pytest.mark.skipif(
    onnxruntime.__version__.startswith("1.21."),
    reason="ONNX Runtime 1.21 crashes the process that loads the engine of block-quantised weights",
)
@pytest.mark.parametrize(
    ("reference", "advice", "command"),
    [
        ("return trt_reference", "*A graph optimisation causes it: the first run that*", True),
        ("return Shifted(trt_reference)", "Most of the difference*the outputs of trt_*", False),
    ],
)
def test_a_level_of_graph_optimisation_is_advised_only_if_it_helps(
    project, reference: str, advice: str, command: bool
) -> None:
    """ONNX Runtime fuses block-quantised weights into an operator that quantises inputs too."""
    onnx.save(types.block_quantised(), project.path / "models" / "int4.onnx")
    project.test_file(
        "class Shifted:\n"
        "    def __init__(self, session):\n        self.session = session\n"
        "    def run(self, inputs):\n"
        "        return {name: array + 1 for name, array in self.session.run(inputs).items()}\n"
        "@pytest.fixture\n"
        f"def trt_reference(trt_reference):\n    {reference}\n"
        '@pytest.mark.trt_model("models/int4.onnx")\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session):\n"
        "    for seed in range(3):\n"
        "        x = np.random.default_rng(seed).standard_normal((2, 64))\n"
        "        trt_session.run({'x': x.astype(np.float32)})\n"
    )
    result = project.run()
    assert_shows(result, f"Fix: {advice}", failed=1)
    line = '    trt_model(builder_options={"graph_optimization_level": "basic"})'
    # On CI, pytest's short summary repeats the message.
    assert (line in result.outlines) == command


def save_square(path: Path, scale: float) -> None:
    """Write |x @ W|, by way of a square that FP16 cannot hold; scale: of the product itself."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Mul", ["h", "h"], ["square"], name="square"),
        helper.make_node("Sqrt", ["square"], ["y"], name="root"),
    ]
    weights = networks.constant("w", scale * np.eye(4))
    rows = [networks.value(name, ["n", 4]) for name in "xy"]
    onnx.save(networks.model(nodes, rows[:1], rows[1:], [weights]), path)


@pytest.mark.parametrize(("scale", "helps"), [(1000.0, True), (1e6, False)])
def test_what_to_keep_is_advised_only_if_it_helps(project, scale: float, helps: bool) -> None:
    save_square(project.path / "models" / "square.onnx", scale)
    body = 'trt_session.run({"x": np.ones((2, 4), np.float32)})'
    given = '"models/square.onnx", precision="fp16"'
    result = project.check(body, model=given)
    result.assert_outcomes(failed=1)
    kept = 'keep_fp32=["Mul", "Sqrt"]'
    shown = f"    trt_model({kept})" in result.outlines
    assert shown is helps
    words = "also fails with only matrix products in FP16"
    words = "passes with these operators in FP32:" if helps else words
    result.stdout.fnmatch_lines([f"Fix: FP16 overflows * {words}*"])
    project.check(body, model=f"{given}, {kept}").assert_outcomes(
        **{"passed" if helps else "failed": 1}
    )


def noisy(path: Path) -> None:
    """Write x -> x plus random numbers."""
    proto = networks.model(
        [
            helper.make_node("RandomNormalLike", ["image"], ["noise"]),
            helper.make_node("Add", ["image", "noise"], ["y"]),
        ],
        [networks.value("image", ["batch", 8])],
        [networks.value("y", ["batch", 8])],
    )
    onnx.save(proto, path)


def test_a_model_that_draws_random_numbers_is_named_before_anything_is_compared(project) -> None:
    noisy(project.path / "models" / "noise.onnx")
    for _ in range(2):  # nothing of the first run may be a reference of the second
        result = project.check(model='"models/noise.onnx"', consistency="rtol=9, atol=99")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*noise.onnx draws random numbers (RandomNormalLike)*TRT230*"])
        result.stdout.no_fnmatch_line("*over tolerance*")


def test_an_error_of_the_plugin_is_shown_without_the_decorators_of_its_test(project) -> None:
    noisy(project.path / "models" / "noise.onnx")
    result = project.check(model='"models/noise.onnx"', consistency="rtol=9, atol=99")
    result.stdout.fnmatch_lines(["test_it.py:*: in test_it", "E   *draws random numbers*"])
    result.stdout.no_fnmatch_line("*pytest.mark*")
