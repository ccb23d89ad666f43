from __future__ import annotations

import pytest
from plugin.conftest import assert_shows, assert_usage_error

from pytest_trt.backends.devices import probe as probe_module
from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.engine.spec import Target
from pytest_trt.plugin import run as run_module

A10 = Gpu("NVIDIA A10", "sm86", "GPU-aaa1", 72, 24 << 30, "580.1", mig=False)
H200 = Gpu("NVIDIA H200", "sm90", "GPU-bbb2", 132, 140 << 30, "580.1", mig=False, index=1)

TEST = (
    '@pytest.mark.trt_model("models/linear.onnx")\n'
    "def test_it(trt_session, trt_arch, images):\n"
    '    trt_session.run({"image": images})\n'
    "    print('ran for', trt_arch)\n"
)


class Backend(OnnxRuntimeBackend):
    """Stands for TensorRT on the GPUs that it is given."""

    name = "tensorrt"

    def __init__(self, probe: DeviceProbe) -> None:
        super().__init__(threads=1)
        self.probe = probe

    def target(self, arch: str) -> Target:
        gpu = self.probe.first(arch)
        return Target(arch, {"gpu": gpu.name} if gpu else {})

    def cannot_run(self, target: Target) -> None:
        return None


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an A10 and an H200, as inner runs see it."""
    probe = DeviceProbe((A10, H200), "")
    monkeypatch.setattr(probe_module, "probe_devices", lambda: probe)
    monkeypatch.setattr(run_module, "is_installed", lambda name: name == "tensorrt")
    monkeypatch.setattr(
        run_module,
        "make_backend",
        lambda name, probe, **_: (
            Backend(probe) if name == "tensorrt" else OnnxRuntimeBackend(threads=1)
        ),
    )


@pytest.mark.parametrize(
    ("device", "header"),
    [
        (None, "for sm86 (NVIDIA A10) - found NVIDIA A10 as GPU 0"),
        ("GPU-b", "for sm90 (NVIDIA H200) - found NVIDIA H200 as GPU 1, chosen with *"),
    ],
)
def test_the_chosen_gpu_is_tested_and_the_header_names_it(
    project, two_gpus, device: str | None, header: str
) -> None:
    project.test_file(TEST)
    result = project.run(*([f"--trt-device={device}"] if device else []), arch=None)
    assert_shows(result, f"trt: * {header}", passed=1)


def test_ini_names_the_gpu_and_the_flag_wins(project, two_gpus) -> None:
    project.test_file(TEST)
    project.pytester.makeini("[pytest]\ntrt_device = 1\n")
    project.run("-s", arch=None).stdout.fnmatch_lines(["*ran for sm90*"])
    project.run("-s", "--trt-device=0", arch=None).stdout.fnmatch_lines(["*ran for sm86*"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--trt-device=2"],
            "*--trt-device 2: no such GPU; this machine has 0 NVIDIA A10 (sm86) GPU-aaa1, "
            "1 NVIDIA H200 (sm90) GPU-bbb2 *",
        ),
        (["--trt-device=first"], "*--trt-device: expected a CUDA index*got 'first'*"),
    ],
)
def test_gpu_that_cannot_be_tested_is_a_usage_error(project, two_gpus, args, message: str) -> None:
    project.test_file(TEST)
    assert_usage_error(project.run(*args, arch=None), f"ERROR: {message}")


@pytest.mark.parametrize("args", [("--trt-arch=cpu",), ("--trt-backend=onnxruntime",)])
def test_what_is_tested_on_the_cpu_needs_no_gpu(project, two_gpus, args) -> None:
    project.test_file(TEST)
    project.run("--trt-device=7", *args, arch=None).assert_outcomes(passed=1)
