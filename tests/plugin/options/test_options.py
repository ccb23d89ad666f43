from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec

import pytest
from plugin.conftest import assert_usage_error

from pytest_trt.plugin.options.settings import Settings
from pytest_trt.plugin.options.table import OPTIONS

TIGHT_TEST = (
    '@pytest.mark.trt_model("models/linear.onnx", precision="fp16")\n'
    "@pytest.mark.trt_consistency({})\n"
    'def test_it(trt_session, images):\n    trt_session.run({{"image": images}})\n'
)


def test_every_setting_has_its_option() -> None:
    names = [field.name for field in fields(Settings)]
    assert [option.field for option in OPTIONS] == names[: len(OPTIONS)]


def test_every_flag_is_in_the_help_with_its_ini_twin(project) -> None:
    text = project.run("--help").stdout.str()
    for option in OPTIONS:
        assert option.ini_only or option.flag in text
        assert option.ini in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--trt-arch=smxx"], "*--trt-arch: *smxx*"),
        (["--trt-backend=torch"], "*--trt-backend: expected one of auto, tensorrt,*'torch'*"),
        (["--trt-cache-size=many"], "*expected a size above 0 such as 500MB or 20GB, got 'many'*"),
        (["--trt-cache-size=1e400"], "*expected a size above 0 such as 500MB*got '1e400'*"),
        (["--trt-cache-size=-5GB"], "*expected a size above 0 such as 500MB*got '-5GB'*"),
        (["--trt-cache-size=0"], "*expected a size above 0*"),
        (["--trt-threads=-1"], "*expected a whole number*"),
        (["--trt-build-timeout=-1"], "*--trt-build-timeout: expected a number of seconds (0 for*"),
        (
            ["--trt-build-timeout=soon"],
            "*--trt-build-timeout: expected a number of seconds (0 for*",
        ),
        (["--trt-build-timeout=inf"], "*--trt-build-timeout: expected a number of seconds (0 for*"),
        (["--trt-plugin-library=no.so"], "*--trt-plugin-library: expected the path of a library*"),
        (["-o", "trt_build_only=perhaps"], "*trt_build_only in the ini file: expected true or*"),
        (["--trt-cache-dir=test_it.py"], "*--trt-cache-dir: expected a folder, not a file*"),
        (["--trt-baseline-dir=test_it.py"], "*--trt-baseline-dir: expected a folder, *"),
        (["--trt-build-only", "--trt-update-new"], "*--trt-build-only runs none: use one of them*"),
        (["-o", "trt_tolerances=fp17: rtol=1 atol=1"], "*trt_tolerances*fp17*"),
        (["-o", "trt_tolerances=fp16: rtol=1"], "*trt_tolerances*rtol*atol*"),
        (["-o", "trt_limits=fp16: p98=3%"], "*trt_limits*unknown limit 'p98'*"),
        (["--trt-missing-baseline=ask"], "*expected one of fail, record, skip, got 'ask'*"),
        (["--trt-inconclusive=skip"], "*expected one of warn, fail*"),
        (["--trt-benchmark-time=0"], "*expected a number of seconds above 0*"),
        (["--trt-benchmark-time=long"], "*expected a number of seconds above 0, got 'long'*"),
        (["--trt-checks=all"], "*expected a whole number (0 counts the limits of the collected*"),
        (["--trt-baseline-runs=0"], "*expected a whole number from 1 to *, got '0'*"),
        (["--trt-calibrate-runs=1"], "*expected a whole number from 2 to 100, got '1'*"),
    ],
)
def test_value_that_cannot_be_understood_is_a_usage_error(project, args, message) -> None:
    project.test_file("def test_it():\n    pass\n")
    assert_usage_error(project.run(*args), f"ERROR: {message}")


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_backend_that_is_not_installed_is_a_usage_error(project) -> None:
    project.test_file(TIGHT_TEST.format(""))
    problem = "ERROR: --trt-backend tensorrt: the module tensorrt is not installed [[]TRT714]"
    assert_usage_error(project.run("--trt-backend=tensorrt", arch=None), problem)


def test_flag_wins_over_ini_and_ini_over_default(project) -> None:
    project.pytester.makeini("[pytest]\ntrt_build_only = true\n")
    project.test_file(TIGHT_TEST.format(""))
    project.run().assert_outcomes(skipped=1)
    project.pytester.makeini("[pytest]\ntrt_arch = smxx\n")
    project.run("--trt-arch=cpu").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "marker", "outcome"),
    [
        ("fp16: rtol=0 atol=1e-12", "", "failed"),
        ("fp32: rtol=0 atol=1e-12", "", "passed"),
        ("fp16: rtol=0 atol=1e-12", "rtol=1e-2, atol=1e-2", "passed"),
        ("fp16: rtol=1e-2 atol=1e-2", "rtol=0, atol=1e-12", "failed"),
        (
            "fp16: rtol=1e-2 atol=1e-2",
            'rtol=1e-2, atol=1e-2, outputs={"logits": {"rtol": 0, "atol": 1e-12}}',
            "failed",
        ),
    ],
)
def test_tolerance_of_output_wins_over_marker_over_ini_over_default(
    project, ini: str, marker: str, outcome: str
) -> None:
    project.pytester.makeini(f"[pytest]\ntrt_tolerances =\n    {ini}\n")
    project.test_file(TIGHT_TEST.format(marker))
    project.run().assert_outcomes(**{outcome: 1})


def test_threads_reach_the_embedded_backend(project) -> None:
    project.test_file(TIGHT_TEST.format(""))
    project.run("--trt-threads=1").assert_outcomes(passed=1)


TYPED = """
[tool.pytest]
trt_arch = ["cpu"]
trt_threads = 1
trt_cache_size = 1_000_000_000
trt_build_timeout = 60
trt_benchmark_time = 1.5
trt_build_only = true
trt_tolerances = ["fp16: rtol=1e-2 atol=1e-2"]
trt_report = ["r.json", "r.html"]
"""


@pytest.mark.skipif(pytest.version_tuple < (9, 2), reason="takes strings and lists only")
def test_toml_values_have_their_own_types(project) -> None:
    project.pytester.makepyprojecttoml(TYPED)
    project.test_file(TIGHT_TEST.format(""))
    project.run(arch=None).assert_outcomes(skipped=1)
    assert (project.path / "r.json").exists()


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="reads no [tool.pytest]")
def test_toml_value_of_a_wrong_type_is_a_usage_error(project) -> None:
    project.pytester.makepyprojecttoml("[tool.pytest]\ntrt_threads = [1]\n")
    project.test_file(TIGHT_TEST.format(""))
    assert_usage_error(project.run(), "ERROR: *trt_threads*")


def test_lists_of_the_older_toml_table_are_read(project) -> None:
    lists = '[tool.pytest.ini_options]\ntrt_arch = ["cpu"]\ntrt_report = ["r.json", "r.html"]\n'
    project.pytester.makepyprojecttoml(lists)
    project.test_file(TIGHT_TEST.format(""))
    project.run(arch=None).assert_outcomes(passed=1)
    assert (project.path / "r.html").exists()
