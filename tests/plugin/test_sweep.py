"""`sweep="profile"`: a test runs between the points of each profile, too."""

from __future__ import annotations

import json

import pytest
from plugin.conftest import assert_shows

TEST = """
@pytest.mark.trt_model("models/linear.onnx", {profiles})
@pytest.mark.{marker}
def test_it({fixture}, trt_inputs):
    {call}
"""

CONSISTENCY = ("trt_session", 'print("ran", *trt_session.run(trt_inputs)["probs"].shape)')
SPEED = ("trt_benchmark", "trt_benchmark(trt_inputs)")
PROFILES = 'profiles={"image": ((1, 8), (8, 8), (40, 8))}'


def write(project, marker: str, profiles: str = PROFILES) -> None:
    fixture, call = SPEED if "benchmark" in marker else CONSISTENCY
    project.test_file(TEST.format(marker=marker, profiles=profiles, fixture=fixture, call=call))


def ids(result: pytest.RunResult) -> list[str]:
    return [line.partition("[")[2][:-1] for line in result.outlines if "::test_it[" in line]


def test_a_test_runs_between_min_opt_and_max(project) -> None:
    write(project, 'trt_consistency(sweep="profile")')
    result = project.run("-s")
    result.assert_outcomes(passed=7)
    rows = [int(line.split()[1]) for line in result.outlines if line.startswith("ran ")]
    rows += [int(line.split("ran ")[1].split()[0]) for line in result.outlines if " ran " in line]
    rows += [int(line[len(".ran ") :].split()[0]) for line in result.outlines if ".ran " in line]
    assert sorted(set(rows)) == [1, 3, 8, 18, 31, 33, 40]


def test_without_a_sweep_it_runs_at_three_points(project) -> None:
    write(project, "trt_consistency")
    assert ids(project.run("--collect-only", "-q")) == ["min", "opt", "max"]


def test_each_profile_is_swept(project) -> None:
    profiles = (
        'profiles=[{"image": ((1, 8), (2, 8), (4, 8))}, {"image": ((8, 8), (8, 8), (64, 8))}]'
    )
    write(project, 'trt_consistency(sweep="profile")', profiles)
    # Of the first, the points between are those that are there; of the second, multiples of 8.
    assert ids(project.run("--collect-only", "-q")) == [
        *("0-min", "0-opt", "0-high", "0-max"),
        *("1-opt", "1-high", "1-pow2_plus", "1-max"),
    ]


def test_each_point_of_a_benchmark_has_a_baseline(project) -> None:
    project.pytester.makeini("[pytest]\n")
    write(project, 'trt_benchmark(sweep="profile")')
    project.run("--trt-update-new", "-k", "low or pow2_plus").assert_outcomes(passed=2)
    (stored,) = (project.path / "trt_baselines").rglob("test_it.json")
    tests = json.loads(stored.read_text())["tests"]
    assert [name.partition("[")[2] for name in sorted(tests)] == ["low]", "pow2_plus]"]


@pytest.mark.parametrize(
    ("profiles", "argument", "more", "message"),
    [
        (PROFILES, "images", "", "*the test uses neither trt_inputs nor trt_shape*TRT178*"),
        ("", "images, trt_shape", "", "*no profile of the model has more than one shape*TRT178*"),
        (
            PROFILES,
            "images, trt_shape",
            '@pytest.mark.parametrize("trt_shape", ["opt"])',
            "*the test is parametrised with trt_shape*TRT178*",
        ),
    ],
)
def test_a_sweep_that_would_not_happen_is_refused(
    project, profiles, argument, more, message
) -> None:
    project.test_file(
        f"""
        @pytest.mark.trt_model("models/linear.onnx", {profiles})
        @pytest.mark.trt_consistency(sweep="profile")
        {more}
        def test_it(trt_session, {argument}):
            trt_session.run({{"image": images}})
        """
    )
    assert_shows(project.run(), message, errors=1)
