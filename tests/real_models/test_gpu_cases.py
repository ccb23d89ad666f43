"""What GPUs are asked of these models is complete, and holds here as far as it goes."""

from __future__ import annotations

from pathlib import Path

import package_cases
import pytest
from package_cases import CASES


@pytest.fixture
def run(pytester: pytest.Pytester, package_file):
    def run(name: str, precision: str, *args: str) -> pytest.RunResult:
        case = CASES[name]
        files = [package_file(case.package, file) for file in case.files]
        package_cases.lay_out(case, precision, files, pytester.path)
        options = ["--trt-arch=cpu", f"--trt-cache-dir={pytester.path}", "-pno:cacheprovider"]
        return pytester.runpytest_inprocess(*options, *args)

    return run


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_the_tests_that_it_says(run, name: str) -> None:
    case = CASES[name]
    result = run(name, next(iter(case.precisions)), "--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"{case.tests} test* collected in *"])


# The others run on the CPU beside this file.
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["silero_sequence", "silero_fixed"])
def test_cases_that_only_gpus_have_pass_on_the_embedded_backend(
    run, name: str, precision: str
) -> None:
    run(name, precision).assert_outcomes(passed=CASES[name].tests)


def test_every_file_of_a_case_has_its_own_name() -> None:
    # They are carried to a GPU machine in one folder for each package.
    names = {(case.package, Path(file).name) for case in CASES.values() for file in case.files}
    files = {(case.package, file) for case in CASES.values() for file in case.files}
    assert len(names) == len(files)
