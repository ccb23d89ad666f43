"""A builder that dies or hangs is one failed test: the others run, and pytest lives.

The builder is a fake TensorRT-RTX on the search path, whose models are named after what it shall
do: `segfault.onnx`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from builders import save_linear
from plugin.conftest import assert_shows

FAKE = Path(__file__).parents[1] / "backends" / "fake_vendor.py"

TEST = """
@pytest.mark.trt_model("models/{0}.onnx")
class Test_{0}:
    def test_in_the_test(self, trt_build):
        assert trt_build().engine.plan.read_bytes() == b"plan of {0}"

    def test_in_a_fixture(self, trt_engine):
        assert trt_engine.plan.read_bytes() == b"plan of {0}"
"""


@pytest.fixture
def cross_build(project, save, monkeypatch: pytest.MonkeyPatch):
    """Run one test per model, each of which is built by the fake."""
    shutil.copy(FAKE, project.path / "tensorrt_rtx.py")
    monkeypatch.setenv("PYTHONPATH", str(project.path), prepend=":")

    def run(*models: str, args: tuple[str, ...] = ()) -> pytest.RunResult:
        for seed, model in enumerate(models):
            save(save_linear, f"{model}.onnx", batch=1, seed=seed)
        project.test_file("".join(TEST.format(model) for model in models))
        return project.run("--trt-arch=sm86", "-rf", *args, subprocess=True)

    return run


@pytest.mark.parametrize("args", [(), pytest.param(("-n", "1"), marks=pytest.mark.exhaustive)])
def test_a_crash_is_one_failed_test(cross_build, project, args: tuple[str, ...]) -> None:
    if args:
        pytest.importorskip("xdist")
    result = cross_build("segfault", "fine", "kill", args=args)
    assert_shows(result, "*TensorRT-RTX crashed (SIGSEGV)*", passed=2, failed=2, errors=2)
    result.stdout.fnmatch_lines(["*TensorRT-RTX was killed (SIGKILL)*"])
    assert len(list(project.cache.glob("v1/engines/*/engine.plan"))) == 1
    assert list(project.cache.glob("v1/building/*")) == []


@pytest.mark.exhaustive
def test_a_hang_ends_with_the_limit_of_the_option(cross_build) -> None:
    result = cross_build("hang", args=("--trt-build-timeout=0.5",))
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*building hang.onnx fp32 for sm86: TensorRT-RTX took longer than --trt-build-timeout*"]
    )
    result.stdout.fnmatch_lines(["Fix: Raise --trt-build-timeout*"])
