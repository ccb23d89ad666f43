"""Invariants of `trt_consistency`: each finds what it is for, and nothing else does."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from builders import save_linear
from builders_invariants import save_mixing, save_plain, save_random
from plugin.conftest import PROFILES, checked, text

#: A test without invariants, and one with each.
SUITE = """
pytestmark = pytest.mark.trt_model({model})

@pytest.mark.trt_consistency
def test_plain(trt_session, images):
    trt_session.run({{"image": images}})

@pytest.mark.trt_consistency(batch_invariant=True)
def test_batch_invariant(trt_session, images):
    trt_session.run({{"image": images}})

@pytest.mark.trt_consistency(deterministic=3)
def test_deterministic(trt_session, images):
    trt_session.run({{"image": images}})

@pytest.mark.trt_consistency(rebuilds=2)
def test_rebuilds(trt_session, images):
    trt_session.run({{"image": images}})
"""

#: A backend whose third build of a model differs from the others.
BACKEND = """
import onnx
import pytest_trt
from onnx import numpy_helper
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend

builds = []

class Fickle(OnnxRuntimeBackend):
    name = "fickle"

    def build(self, request):
        result = super().build(request)
        builds.append(request.model.path.name)
        if len(builds) == 3:
            plan = request.directory / result.plan_name
            model = onnx.load(plan)
            weight = next(one for one in model.graph.initializer if len(one.dims) == 2)
            changed = numpy_helper.to_array(weight) + 0.5
            weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
            onnx.save(model, plan)
        return result

def pytest_trt_backends(config):
    def factory(settings):
        return Fickle(threads=1)
    return {"fickle": pytest_trt.AdditionalBackend(factory, probe=lambda gpus: ("cpu",))}
"""


def accuracy_of(project) -> dict:
    report = json.loads((project.path / "report.json").read_text())
    return report["tests"][0]["results"][0]["accuracy"]


def fails_only(result: pytest.RunResult, test: str, code: str) -> str:
    result.assert_outcomes(passed=3, failed=1)
    found = text(result)
    assert f"{code}" in found
    assert f"{test} " in found.partition("short test summary")[2]
    return found


def test_a_sound_engine_has_all_of_them(project) -> None:
    project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))
        @pytest.mark.trt_consistency(batch_invariant=True, deterministic=2, rebuilds=1)
        def test_it(trt_session, images):
            trt_session.run({"image": images})
            trt_session.run({"image": images[:1]})
        """
    )
    project.run("--trt-report=report.json", "--junitxml=junit.xml").assert_outcomes(passed=2)
    accuracy = accuracy_of(project)
    batch, repeated, rebuilt = accuracy["invariants"]
    # Four samples alone, three repeated, two orders; of a batch of one, it is repeated.
    assert batch["runs"] == 4 + 3 + 2 + 1
    assert (batch["verdict"], batch["failed_runs"]) == ("passed", 0)
    assert 0 <= batch["used"] < 1
    assert (repeated["name"], repeated["runs"], repeated["used"]) == ("deterministic", 2, None)
    assert (rebuilt["name"], rebuilt["runs"]) == ("rebuilds", 2)
    assert rebuilt["worst"] == "rebuild 1 of 1"
    # They are no runs of the test.
    assert accuracy["runs"] == 2
    properties = ET.parse(project.path / "junit.xml").iter("property")
    found = [one.get("value") for one in properties if one.get("name") == "trt_invariant"]
    assert found[1] == "deterministic: passed, 2 runs"
    assert len(found) == 6


def test_a_graph_that_mixes_rows_is_found_by_batch_invariant_alone(project, save) -> None:
    save(save_mixing, "mixing.onnx")
    project.test_file(SUITE.format(model=f'"models/mixing.onnx", {PROFILES}'))
    found = fails_only(project.run(), "test_batch_invariant", "TRT435")
    assert "outputs depend on the batch: samples alone: y: " in found
    assert "samples that differ: 0, 1, 2, 3 of 4" in found
    assert "the FP32 reference depends on the batch as well: the model mixes samples" in found


def test_a_random_operator_is_found_by_deterministic_alone(project, save) -> None:
    save(save_random, "random.onnx")
    save(save_plain, "plain.onnx")
    project.test_file(SUITE.format(model='"models/random.onnx", reference="models/plain.onnx"'))
    found = fails_only(project.run(), "test_deterministic", "TRT436")
    assert "of 3 with the same inputs differs in y: " in found
    assert "The model draws random numbers (RandomNormalLike)" in found


def test_a_rebuild_that_differs_is_found_by_rebuilds_alone_and_named(project) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + BACKEND)
    project.test_file(SUITE.format(model='"models/linear.onnx"'))
    result = project.run("--trt-backend=fickle")
    found = fails_only(result, "test_rebuilds", "TRT437")
    assert "rebuild 2 of 2: logits: " in found


def test_shared_engines_calibrated_ones_and_threads_are_checked_too(project) -> None:
    project.test_file(
        f"""
        import threading

        @pytest.fixture(scope="module")
        def shared(trt_engines):
            return trt_engines("models/linear.onnx", {PROFILES}, precision="int8")

        pytestmark = [
            pytest.mark.trt_model("models/linear.onnx", {PROFILES}, precision="int8"),
            pytest.mark.trt_consistency(
                batch_invariant=True, deterministic=2, rebuilds=2, rtol=0.5, atol=2.0
            ),
        ]

        def test_shared(shared, images):
            shared.run({{"image": images}})

        def test_calibrated(trt_session, images):
            trt_session.run({{"image": images}})

        def test_threads(trt_session, images):
            run = threading.Thread(target=trt_session.run, args=({{"image": images}},))
            run.start()
            run.join()
        """
    )
    project.run("--trt-report=report.json").assert_outcomes(passed=3)
    report = json.loads((project.path / "report.json").read_text())
    for test in report["tests"]:
        found = test["results"][0]["accuracy"]["invariants"]
        assert [one["runs"] for one in found] == [4 + 3 + 2, 1, 2], test["id"]


def test_rebuilds_are_compared_with_stored_answers_where_the_test_is(project) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + BACKEND)
    project.pytester.makeini("[pytest]\n")
    args = ("--trt-backend=fickle", "--trt-update-new")
    project.check(consistency='against="stored"', args=args).assert_outcomes(passed=1)
    stored = 'against="stored", rebuilds=3'
    result = project.check(consistency=stored, args=args[:1])
    result.assert_outcomes(failed=1)
    assert "rebuild 3 of 3: logits: " in text(result)


@pytest.mark.parametrize(
    ("given", "noted"), [("trt_inputs", False), ("{'image': images[:1]}", True)]
)
def test_a_run_of_one_sample_is_noted_unless_other_shapes_run_too(project, given, noted) -> None:
    project.test_file(
        f"""
        @pytest.mark.trt_model("models/linear.onnx", profiles={{"image": ((1, 8), (2, 8), (4, 8))}})
        @pytest.mark.trt_consistency(batch_invariant=True)
        def test_it(trt_session, images{", trt_inputs" * (not noted)}):
            trt_session.run({given})
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1 if noted else 3)
    assert ("no run had samples that differ" in text(result)) == noted


def test_a_batch_is_varied_as_far_as_the_profiles_allow(project) -> None:
    profiles = 'profiles={"image": ((2, 8), (4, 8), (4, 8))}'
    result = project.check(
        model=f'"models/linear.onnx", {profiles}',
        consistency="batch_invariant=True",
        args=("--trt-report=report.json",),
    )
    result.assert_outcomes(passed=1)
    (batch,) = accuracy_of(project)["invariants"]
    assert "no batch below 2" in batch["restriction"]
    assert "TRT179" in text(result)
    assert batch["runs"] == 4 + 3 + 2


def test_what_cannot_be_varied_or_built_again_is_refused(project, save) -> None:
    save(save_linear, "fixed.onnx", batch=4)
    fixed, profile = '"models/fixed.onnx"', 'profiles={"image": (1, 8)}'
    batch = {"consistency": "batch_invariant=True"}
    project.refuses(
        {
            checked(model=fixed, **batch): (
                "*axis 0 of the inputs has to be a batch of any size, and none of them is*TRT178*"
            ),
            checked(model=f'"models/linear.onnx", {profile}', **batch): (
                "*every profile fixes the batch at 1*TRT178*"
            ),
            checked(model='"models/linear.onnx", plan="linear.plan"', consistency="rebuilds=1"): (
                "*rebuilds= builds engines of linear.onnx again*TRT178*"
            ),
        }
    )


def test_inputs_of_which_nothing_can_be_varied_fail(project) -> None:
    profiles = 'profiles=[{"image": (1, 8)}, {"image": ((2, 8), (4, 8), (4, 8))}]'
    result = project.check(
        'trt_session.run({"image": images[:0]})',
        model='"models/linear.onnx"',
        consistency="batch_invariant=True, elementwise=False, cosine=0.9",
    )
    result.assert_outcomes(failed=1)
    assert "batch_invariant compared nothing" in text(result)
    result = project.check(
        model=f'"models/linear.onnx", {profiles}', consistency="batch_invariant=True"
    )
    result.assert_outcomes(passed=1)


CHECKING_NOTHING = [
    ("batch_invariant=1", "*invalid batch_invariant=1*"),
    ("deterministic=1", "*invalid deterministic=1*"),
    ("rebuilds=0", "*invalid rebuilds=0*"),
    ('sweep="all"', "*invalid sweep='all'*"),
]


def test_values_that_check_nothing_are_refused(project) -> None:
    project.refuses({checked(consistency=one): expected for one, expected in CHECKING_NOTHING})


def test_the_self_test_proves_each_of_them(project) -> None:
    project.check(consistency="batch_invariant=True, deterministic=2, rebuilds=1")
    plain = project.run("--trt-selftest")
    plain.assert_outcomes(passed=1)
    with_invariants = int(text(plain).partition(" injections")[0].rpartition(" ")[2])
    project.check()
    without = text(project.run("--trt-selftest"))
    assert with_invariants == 3 + int(without.partition(" injections")[0].rpartition(" ")[2])


def test_an_invariant_that_cannot_fail_is_ineffective(project) -> None:
    project.check(consistency="batch_invariant=True, rtol=0, atol=1e9")
    result = project.run("--trt-selftest")
    result.assert_outcomes(failed=1)
    assert "batch_invariant passed with other outputs in further runs" in text(result)
