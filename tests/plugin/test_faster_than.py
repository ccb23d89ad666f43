"""`faster_than`: engines against others of the same run, with real engines of the embedded backend.

Nothing here depends on a time: the larger model takes many times as long, and the factors that are
required are far from what it is. What is close is tested with rounds that are data, in
tests/benchmark/test_pipeline.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from builders import save_linear
from builders_networks import model as network
from builders_networks import value, weights
from onnx import helper
from plugin.conftest import PROFILES, assert_shows

#: Classes of a model that takes many times as long as the usual one of four.
SLOW = 40_000


class Race:
    """A project with one test of speed and a second, much slower model."""

    def __init__(self, project) -> None:
        self.project = project
        save_linear(project.path / "models" / "slow.onnx", classes=SLOW)

    def write(
        self,
        marker: str,
        *,
        model: str = '"models/linear.onnx"',
        more: str = "",
        arguments: str = "trt_benchmark, images",
        body: str = 'trt_benchmark({"image": images})',
    ) -> None:
        self.project.test_file(
            f"@pytest.mark.trt_model({model}, {PROFILES})\n"
            f"@pytest.mark.trt_benchmark({marker})\n"
            f"{more}"
            f"def test_speed({arguments}):\n    {body}"
        )

    def run(self, *args: str) -> pytest.RunResult:
        # On one thread: other tests use the other cores.
        return self.project.run("--trt-threads=1", *args)

    def speedups(self) -> list[dict[str, object]]:
        report = json.loads((self.project.path / "report.json").read_text())
        speeds = [one["speed"] for test in report["tests"] for one in test["results"]]
        return [one for speed in speeds if speed for one in speed["speedups"]]

    @property
    def baselines(self) -> list[object]:
        return list(self.project.path.glob("trt_baselines/**/*.json"))


@pytest.fixture
def race(project) -> Race:
    return Race(project)


def test_engine_that_is_fast_enough_passes_and_needs_no_baseline(race, monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")  # a missing baseline would fail
    race.write('faster_than={"models/slow.onnx": "1.5x"}')
    result = race.run("--trt-report=report.json", "--junitxml=junit.xml")
    assert_shows(result, "speed  linear*cpu *p50 * ms *x slow.onnx (limit 1.5x) *passed", passed=1)
    assert race.baselines == []
    (one,) = race.speedups()
    assert (one["outcome"], one["factor"], one["mode"]) == ("passed", 1.5, "end_to_end")
    assert one["ran"].startswith("slow.onnx, fp32, cpu, ONNX Runtime ")
    assert "x models/slow.onnx (at least 1.5x)" in (race.project.path / "junit.xml").read_text()


def test_engine_that_is_not_fast_enough_fails_with_both_medians(race) -> None:
    race.write('faster_than={"models/linear.onnx": 1.5}', model='"models/slow.onnx"')
    result = race.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "0.*x as fast as models/linear.onnx, limit 1.5x (slow.onnx, fp32, cpu) [[]TRT517]",
            "  faster_than models/linear.onnx: failed, 0.*x (0.*x to *x), at least 1.5x; median "
            "latency * ms, of models/linear.onnx * ms",
            "    20 rounds of * calls, interleaved; end_to_end; models/linear.onnx is linear.onnx, "
            "fp32, cpu, ONNX Runtime *",
            "Fix: Make the engine faster, or lower faster_than= *",
        ]
    )


def test_each_precision_is_compared_except_the_opponent_itself(race) -> None:
    race.write(
        'faster_than={"fp32": 1000}', model='"models/linear.onnx", precision=("fp32", "int8")'
    )
    result = race.run("-rs")
    result.assert_outcomes(failed=1, skipped=1)
    reason = "faster_than names only fp32, which is the engine under test, so the test cannot fail"
    result.stdout.fnmatch_lines(
        [
            "*x as fast as fp32, limit 1,000x (linear.onnx, int8, cpu) *TRT517]",
            f"SKIPPED * {reason}",
        ]
    )


def test_opponent_itself_is_noted_where_other_limits_are_left(race) -> None:
    race.write('faster_than={"fp32": 1.5}, p50_ms=1e6')
    result = race.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*not compared with fp32, which is the engine under test*TRT519*"])


def test_outputs_are_checked_where_there_is_nothing_to_compare_speed_with(race) -> None:
    race.write(
        'faster_than={"fp32": 1.5}',
        model='"models/linear.onnx", precision=("fp32", "fp16")',
        more="@pytest.mark.trt_consistency\n",
        arguments="trt_benchmark, trt_session, images",
        body='trt_benchmark({"image": images}); trt_session.run({"image": images})',
    )
    result = race.run("-k", "fp32", "--trt-report=report.json")
    assert_shows(
        result, "speed *not measured", "*not compared with fp32, which is *TRT519*", passed=1
    )
    assert race.speedups() == []


def test_onnxruntime_is_its_optimised_fp32_engine(race) -> None:
    options = 'builder_options={"graph_optimization_level": "disabled"}'
    race.write('faster_than={"onnxruntime": 1000}', model=f'"models/linear.onnx", {options}')
    race.run("--trt-report=report.json").assert_outcomes(failed=1)
    (one,) = race.speedups()
    assert one["ran"].startswith("linear.onnx, fp32, cpu, ONNX Runtime ")
    # With the options that the opponent has, it is the same engine.
    race.write('faster_than={"onnxruntime": 1000}')
    race.run().assert_outcomes(skipped=1)


@pytest.mark.exhaustive
def test_models_of_a_mapping_are_opponents_and_per_model_sets_other_factors(race) -> None:
    models = '{"quick": "models/linear.onnx", "slow": "models/slow.onnx"}'
    race.write(
        'faster_than={"slow": 1.5}, per_model={"slow": {"faster_than": {"quick": 1.5}}}',
        model=models,
    )
    result = race.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["0.*x as fast as quick, limit 1.5x (slow.onnx, fp32, cpu)*TRT517]"]
    )


def test_ini_file_requires_factors_by_precision(race) -> None:
    race.project.pytester.makeini("[pytest]\ntrt_limits = int8: faster_than.fp32=1000")
    race.write("p50_ms=1e6", model='"models/linear.onnx", precision=("fp32", "int8")')
    result = race.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*x as fast as fp32, limit 1*000x (linear.onnx, int8, *TRT517]"])


def test_engines_of_opponents_are_built_ahead_and_are_no_results(race) -> None:
    race.write('faster_than={"fp32": 1.5}', model='"models/linear.onnx", precision="int8"')
    race.run("--trt-build-only", "--trt-report=report.json").assert_outcomes(skipped=1)
    assert len(race.project.plans()) == 2
    report = json.loads((race.project.path / "report.json").read_text())
    assert [one["precision"] for one in report["tests"][0]["results"]] == ["int8"]


def test_finished_plans_are_compared_with_each_other(race) -> None:
    folder = race.project.path / "dist"
    folder.mkdir()
    race.write("p50_ms=1e6", model='"models/linear.onnx", precision=("fp32", "int8")')
    race.run("--trt-build-only")
    for built in race.project.plans():
        precision = built.parent.name.split("-")[1]
        shutil.copy(built, folder / f"linear.{precision}.onnx")
    shutil.rmtree(race.project.cache)
    plans = 'plan="dist/{stem}.{precision}.onnx"'
    race.write(
        'faster_than={"fp32": 1000}', model=f'"models/linear.onnx", precision="int8", {plans}'
    )
    result = race.run("--trt-report=report.json")
    assert_shows(
        result, "*x as fast as fp32, limit 1,000x (linear.onnx, int8, cpu)*TRT517]", failed=1
    )
    assert race.project.plans() == []  # the opponent is the finished plan, too


def test_model_that_a_fixture_gives_is_compared_with_others_once_it_is_known(race) -> None:
    race.project.test_file(
        f"""
        @pytest.fixture
        def exported():
            return "models/linear.onnx"

        @pytest.mark.trt_model(fixture="exported", {PROFILES})
        @pytest.mark.trt_benchmark(faster_than={{"models/slow.onnx": 1.5}})
        def test_speed(trt_benchmark, images):
            trt_benchmark({{"image": images}})
        """
    )
    race.run().assert_outcomes(passed=1)
    save_other(race.project.path / "models" / "slow.onnx")
    result = race.run()
    assert_shows(result, "*models/slow.onnx, whose inputs differ*pixels float32*TRT150*", errors=1)


def save_other(path: Path) -> None:
    """Save a model whose input has another name."""
    matmul = helper.make_node("MatMul", ["pixels", "w"], ["logits"])
    inputs, outputs = [value("pixels", ["batch", 8])], [value("logits", ["batch", 4])]
    onnx.save(network([matmul], inputs, outputs, [weights("w", 8, 4)]), path)


def test_nothing_is_compared_where_nothing_is_timed(race) -> None:
    race.write('faster_than={"models/slow.onnx": 1.5}')
    race.run("--benchmark-disable").assert_outcomes(passed=1)
    assert len(race.project.plans()) == 1


NOT_COMPARED = [
    (
        'faster_than={"fp32": 1.5}',
        '"models/linear.onnx"',
        "faster_than names only fp32, which*TRT167",
    ),
    (
        'faster_than={"models/linear.onnx": 1.5}',
        '"models/linear.onnx", precision=("fp32", "fp16")',
        "faster_than names only models/linear.onnx, which is the engine under test*TRT167",
    ),
    ('faster_than={"fp4": 1.5}', '"models/linear.onnx"', "*'fp4', which is neither*TRT150"),
    (
        'faster_than={"models/none.onnx": 2}',
        '"models/linear.onnx"',
        "*none.onnx is missing*TRT156",
    ),
    (
        'faster_than={"models/other.onnx": 2}',
        '"models/linear.onnx"',
        "*whose inputs differ*TRT150",
    ),
    (
        'faster_than={"fp32": "fast"}',
        '"models/linear.onnx"',
        "*'fast', which is not a factor*TRT165",
    ),
]


def test_what_cannot_be_compared_is_refused_at_collection(race) -> None:
    save_other(race.project.path / "models" / "other.onnx")
    test = "def test_speed(trt_benchmark):\n    pass\n"
    race.project.refuses(
        {
            f"@pytest.mark.trt_model({model}, {PROFILES})\n"
            f"@pytest.mark.trt_benchmark({marker})\n{test}": f"*{message}*"
            for marker, model, message in NOT_COMPARED
        }
    )


def test_fixture_of_pytest_benchmark_has_nothing_to_interleave_with(race) -> None:
    pytest.importorskip("pytest_benchmark")
    race.project.light = ()
    race.write('faster_than={"fp32": 1.5}', arguments="benchmark", body="benchmark(sum, [])")
    assert_shows(race.run(), "*faster_than= has nothing to interleave it with*TRT153*", errors=1)


def test_each_opponent_is_one_limit_of_the_error_budget(race) -> None:
    race.write(
        'faster_than={"fp32": 1.5, "models/slow.onnx": 1.5}, p50_ms=1e6',
        model='"models/linear.onnx", precision=("fp32", "int8")',
        body="raise AssertionError(request.getfixturevalue('checks'))",
        arguments="trt_benchmark, request",
    )
    race.project.pytester.makeconftest(
        "import pytest\nfrom pytest_trt.plugin.benchmark import checks_of\n"
        "@pytest.fixture\ndef checks(request):\n    return checks_of(request.session)\n"
    )
    # fp32 has two limits, and int8 three.
    race.run().stdout.fnmatch_lines(["*AssertionError: 5"])


def test_selftest_proves_that_a_factor_can_fail(race) -> None:
    race.write('faster_than={"models/slow.onnx": 1.5}')
    result = race.run("--trt-selftest")
    result.stdout.fnmatch_lines(["*2 injections; checks by test: 1 effective, 0 ineffective*"])
