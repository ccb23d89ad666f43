"""What the terminal is told at the end, and what remains of it for those who ask for less."""

from __future__ import annotations

import pytest

CHECK = """
@pytest.mark.trt_model("models/linear.onnx", profiles={{"image": ((1, 8), (4, 8), (4, 8))}}{more})
@pytest.mark.trt_consistency({tolerance})
{marker}
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
"""


def written(project, *, more: str = "", tolerance: str = "", marker: str = "") -> None:
    project.test_file(CHECK.format(more=more, tolerance=tolerance, marker=marker))


def damage(project) -> None:
    (plan,) = project.plans()
    plan.write_bytes(plan.read_bytes()[:-1])


@pytest.fixture
def mended(project):
    """A project whose one engine is damaged, so that a run has something to say."""
    written(project)
    project.run().assert_outcomes(passed=1)
    damage(project)
    return project


def test_quiet_run_keeps_what_must_be_known_and_drops_the_table(mended) -> None:
    result = mended.run("-q")
    result.stdout.fnmatch_lines(
        ["note  linear.onnx fp32 cpu: the cached engine was damaged, so it was rebuilt: *"]
    )
    result.stdout.no_fnmatch_line("*tolerance used*")
    result.stdout.no_fnmatch_line("*= trt =*")


def test_quiet_run_says_nothing_where_there_is_nothing_to_know(mended) -> None:
    mended.run()
    mended.run("-q").stdout.no_fnmatch_line("*linear.onnx*")


def test_quietest_run_says_nothing(mended) -> None:
    result = mended.run("-qq")
    result.stdout.no_fnmatch_line("*linear.onnx*")
    assert result.ret == 0


def test_quiet_run_says_which_baselines_it_wrote(project, monkeypatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx")\n'
        "@pytest.mark.trt_benchmark()\n"
        'def test_it(trt_benchmark, images):\n    trt_benchmark({"image": images})\n'
    )
    result = project.run("-q")
    result.stdout.fnmatch_lines(["wrote trt_baselines/*/test_it.json (1 baseline; commit *)"])
    result.stdout.no_fnmatch_line("speed *")


@pytest.mark.parametrize(
    ("tolerance", "counted"), [("rtol=0, atol=-0.0", "1 xfailed"), ("", "1 xpassed")]
)
def test_tests_that_are_expected_to_fail_are_counted_as_pytest_counts_them(
    project, tolerance: str, counted: str
) -> None:
    # Rounding to FP16 leaves no output of this model as it was.
    written(project, more=', precision="fp16"', tolerance=tolerance, marker="@pytest.mark.xfail")
    result = project.run("-o", "xfail_strict=false")
    result.stdout.fnmatch_lines([f"linear.onnx  cpu fp16 *  {counted}", f"*{counted} in *"])


@pytest.mark.parametrize("fixture", ["trt_session", "trt_build"])
def test_a_test_that_the_plugin_skips_is_named_by_its_own_line(project, fixture: str) -> None:
    run = "trt_session.run" if fixture == "trt_session" else "trt_build().run"
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx")\n'
        f"def test_it({fixture}, images):\n"
        f'    {run}({{"image": images}})\n'
    )
    result = project.run("--trt-build-only", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] test_it.py:3: --trt-build-only: built, not run"])
