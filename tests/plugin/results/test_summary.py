"""The summary and the section on what to do, and what remains of them with less verbosity."""

from __future__ import annotations

import pytest
from plugin.conftest import assert_shows

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
    assert "linear.onnx" not in mended.run("-qq").stdout.str()
    damage(mended)
    result = mended.run("-q")
    result.stdout.fnmatch_lines(
        ["note  linear.onnx fp32 cpu: the cached engine was damaged, so it was rebuilt: *"]
    )
    result.stdout.no_fnmatch_line("*tolerance used*")
    result.stdout.no_fnmatch_line("*= trt =*")
    mended.run("-q").stdout.no_fnmatch_line("*linear.onnx*")  # nothing is to know any more


def test_quiet_run_says_which_baselines_it_wrote(project) -> None:
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
    assert_shows(
        result, "SKIPPED [[]1[]] test_it.py:3: --trt-build-only: engine built, not run", skipped=1
    )
    assert len(project.plans()) == 1


MARKED = """
pytestmark = [
    pytest.mark.trt_model("models/linear.onnx", precision="fp16", profiles={
        "image": ((1, 8), (4, 8), (4, 8))}),
    pytest.mark.trt_consistency(rtol=0, atol=1e-9),
]
"""


def test_many_tests_that_fail_for_one_reason_are_one_group(project) -> None:
    project.test_file(
        MARKED + "@pytest.mark.parametrize('scale', range(1, 21))\n"
        "def test_wrong(trt_session, images, scale):\n"
        "    trt_session.run({'image': images * scale})\n"
    )
    result = project.run()
    result.assert_outcomes(failed=20)
    lines = result.outlines
    start = next(i for i, line in enumerate(lines) if "= trt: what to do =" in line)
    assert lines[start + 1].startswith("worst of 20 tests: ")
    assert " and 19 more" in lines[start + 2]
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith("=="))
    assert end - start < 15


@pytest.mark.exhaustive
def test_thousand_failing_runs_of_one_test_show_the_worst_ten(project) -> None:
    project.test_file(
        MARKED + "def test_wrong(trt_session, images):\n"
        "    for scale in range(1, 1001):\n"
        "        trt_session.run({'image': images * scale})\n"
    )
    result = project.run()
    assert_shows(result, "*over tolerance*TRT401*", failed=1)
    start = next(i for i, line in enumerate(result.outlines) if "= FAILURES =" in line)
    end = next(i for i, line in enumerate(result.outlines) if i > start and "= trt =" in line)
    assert end - start < 30


def test_junit_has_the_code_in_message_and_property(project) -> None:
    written(project, more=", precision='fp16'", tolerance="rtol=0, atol=1e-9")
    project.run("--junitxml=j.xml").assert_outcomes(failed=1)
    text = (project.path / "j.xml").read_text(encoding="utf-8")
    assert '<property name="trt_code" value="TRT401"' in text
    assert "[TRT401]" in text.partition('message="')[2].partition('"')[0]
