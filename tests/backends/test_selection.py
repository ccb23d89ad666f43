from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.selection import select
from pytest_trt.diagnostics import BackendUnavailableError, ConfigurationError

NO_GPU = DeviceProbe((), "no NVIDIA driver")


def gpu(arch: str, name: str) -> DeviceProbe:
    return DeviceProbe((Gpu(name, arch, f"GPU-{arch}", 72, 2**34, "580.1", mig=False),), "")


A10, H200 = gpu("sm86", "NVIDIA A10"), gpu("sm90", "NVIDIA H200")
BOTH = ("tensorrt", "tensorrt_rtx")
TWO = DeviceProbe((A10.gpus[0], replace(H200.gpus[0], index=1)), "")


def choose(probe=NO_GPU, installed=(), archs=(), backend="auto"):
    chosen = select(
        archs=archs, backend=backend, probe=probe, installed=lambda name: name in installed
    )
    return [(selection.arch, selection.backend) for selection in chosen]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, ("cpu", "onnxruntime")),
        ({"installed": BOTH}, ("cpu", "onnxruntime")),
        ({"probe": A10, "installed": BOTH}, ("sm86", "tensorrt")),
        ({"probe": A10, "installed": ("tensorrt_rtx",)}, ("sm86", "tensorrt_rtx")),
        ({"probe": A10}, ("cpu", "onnxruntime")),
        ({"probe": H200, "installed": ("tensorrt_rtx",)}, ("cpu", "onnxruntime")),
        ({"probe": A10, "installed": BOTH, "backend": "onnxruntime"}, ("cpu", "onnxruntime")),
        ({"probe": A10, "installed": BOTH, "archs": ("cpu",)}, ("cpu", "onnxruntime")),
        ({"probe": A10, "installed": BOTH, "archs": ("sm86",)}, ("sm86", "tensorrt")),
        (
            {"probe": A10, "installed": BOTH, "archs": ("sm86",), "backend": "tensorrt_rtx"},
            ("sm86", "tensorrt_rtx"),
        ),
        ({"installed": BOTH, "archs": ("sm86",)}, ("sm86", "tensorrt_rtx")),
        (
            {"probe": H200, "installed": BOTH, "archs": ("sm86",), "backend": "tensorrt_rtx"},
            ("sm86", "tensorrt_rtx"),
        ),
    ],
)
def test_backend_follows_from_what_is_asked_and_at_hand(given, chosen) -> None:
    assert choose(**given) == [chosen]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            {"probe": H200, "installed": BOTH, "archs": ("sm86",)},
            r"--trt-arch sm86, but the GPU of this machine is NVIDIA H200 \(sm90\)"
            r"[\s\S]*A10[\s\S]*--trt-arch sm90[\s\S]*--trt-backend tensorrt_rtx",
            id="another GPU",
        ),
        pytest.param(
            {"archs": ("sm86",)},
            r"neither an sm86 GPU[\s\S]*\(A10, [\s\S]*gives no verdict[\s\S]*\[rtx\]",
            id="neither GPU nor RTX",
        ),
        pytest.param(
            {"archs": ("sm68",)},
            r"an sm68 GPU \(if there is such a thing: known are sm70, ",
            id="mistyped architecture",
        ),
        pytest.param(
            {"installed": ("tensorrt_rtx",), "archs": ("sm90",)},
            "does not build for sm90; it builds for sm75",
            id="RTX has no such target",
        ),
        pytest.param(
            {"installed": BOTH, "archs": ("sm86",), "backend": "tensorrt"},
            "TensorRT builds for the GPU at hand only",
            id="TensorRT without the GPU",
        ),
        pytest.param(
            {"probe": A10, "archs": ("sm86",)}, "TensorRT is not installed", id="GPU, no TensorRT"
        ),
        pytest.param(
            {"installed": BOTH, "backend": "tensorrt"}, "no NVIDIA GPU", id="backend without GPU"
        ),
        pytest.param(
            {"archs": ("sm86",), "backend": "onnxruntime"}, "is the CPU backend", id="ORT on a GPU"
        ),
        pytest.param(
            {"installed": BOTH, "archs": ("cpu",), "backend": "tensorrt"},
            "has no CPU engines",
            id="TensorRT on the CPU",
        ),
    ],
)
def test_what_cannot_be_tested_is_an_error_with_a_way_out(given, said) -> None:
    with pytest.raises(ConfigurationError, match=said):
        choose(**given)


@pytest.mark.parametrize(
    ("given", "chosen", "why"),
    [
        ({"probe": TWO}, "sm86", "NVIDIA A10 is at hand as GPU 0"),
        ({"probe": TWO, "archs": ("sm90",)}, "sm90", "NVIDIA H200 is at hand as GPU 1"),
        (
            {"probe": TWO.only("1")},
            "sm90",
            "NVIDIA H200 is at hand as GPU 1, asked for with --trt-device",
        ),
        (
            {"probe": TWO.only("GPU-sm9"), "archs": ("sm90",)},
            "sm90",
            "NVIDIA H200 is at hand as GPU 1, asked for with --trt-device",
        ),
        ({"probe": H200}, "sm90", "NVIDIA H200 is at hand"),
        (
            {"probe": H200.only("0")},
            "sm90",
            "NVIDIA H200 is at hand, asked for with --trt-device",
        ),
    ],
)
def test_one_of_several_gpus_is_tested_and_the_reason_numbers_it(given, chosen, why) -> None:
    (selection,) = select(
        archs=given.get("archs", ()),
        backend="auto",
        probe=given["probe"],
        installed=lambda name: name == "tensorrt",
    )
    assert (selection.arch, selection.backend, selection.why) == (chosen, "tensorrt", why)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            {"probe": TWO.only("1"), "archs": ("sm86",)},
            r"--trt-arch sm86, but --trt-device 1 is NVIDIA H200 \(sm90\)"
            r"[\s\S]*--trt-device 0 is NVIDIA A10 \(sm86\)[\s\S]*--trt-arch sm90",
            id="another GPU has it",
        ),
        pytest.param(
            {"probe": H200.only("0"), "archs": ("sm86",)},
            r"--trt-device 0 is NVIDIA H200 \(sm90\)[\s\S]*machine with an sm86 GPU",
            id="no GPU has it",
        ),
        pytest.param(
            {"probe": H200.only("0"), "archs": ("sm86",), "backend": "tensorrt_rtx"},
            "--trt-device 0 is NVIDIA H200",
            id="cross-building",
        ),
        pytest.param(
            {"probe": H200.only("0"), "installed": ()},
            "NVIDIA H200 .* is to be tested, but TensorRT is not installed",
            id="not on the CPU instead",
        ),
    ],
)
def test_chosen_gpu_that_cannot_be_tested_is_an_error(given, said) -> None:
    with pytest.raises(ConfigurationError, match=said):
        choose(**{"installed": BOTH, **given})


def test_backend_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(BackendUnavailableError, match=r"pip install 'pytest-trt\[rtx\]'"):
        choose(backend="tensorrt_rtx")
