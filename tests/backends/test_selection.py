from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.selection import (
    AdditionalBackend,
    make_backend,
    register_backend,
    select,
)
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
def test_backend_follows_from_the_request_and_the_machine(given, chosen) -> None:
    assert choose(**given) == [chosen]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            {"probe": H200, "installed": BOTH, "archs": ("sm86",)},
            r"--trt-arch sm86, but the GPU of this machine is NVIDIA H200 \(sm90\)"
            r"[\s\S]*A10[\s\S]*--trt-arch sm90[\s\S]*--trt-backend tensorrt_rtx",
            id="another GPU",
        ),
        pytest.param(
            {"archs": ("sm86",)},
            r"neither an sm86 GPU[\s\S]*\(A10, [\s\S]*without a verdict[\s\S]*'tensorrt-rtx>=",
            id="neither GPU nor RTX",
        ),
        pytest.param(
            {"archs": ("sm68",)},
            r"an sm68 GPU \(unknown; known architectures: sm70, ",
            id="mistyped architecture",
        ),
        pytest.param(
            {"installed": ("tensorrt_rtx",), "archs": ("sm90",)},
            "does not build for sm90; it builds for sm75",
            id="RTX has no such target",
        ),
        pytest.param(
            {"installed": BOTH, "archs": ("sm86",), "backend": "tensorrt"},
            "TensorRT builds only for a GPU of this machine",
            id="TensorRT without the GPU",
        ),
        pytest.param(
            {"probe": A10, "archs": ("sm86",)}, "TensorRT is not installed", id="GPU, no TensorRT"
        ),
        pytest.param(
            {"installed": BOTH, "backend": "tensorrt"}, "no NVIDIA GPU", id="backend without GPU"
        ),
        pytest.param(
            {"installed": BOTH, "backend": "tensorrt_rtx"},
            r"no NVIDIA GPU[\s\S]*[Nn]ame an architecture to cross-build for \(--trt-arch sm86\)",
            id="RTX without GPU",
        ),
        pytest.param(
            {"probe": H200, "installed": BOTH, "backend": "tensorrt_rtx"},
            "sm90",
            id="RTX on a GPU that it lacks",
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
def test_what_cannot_be_tested_is_an_error_with_a_way_out(given, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        choose(**given)


@pytest.mark.parametrize(
    ("given", "chosen", "why"),
    [
        ({"probe": TWO}, "sm86", "found NVIDIA A10 as GPU 0"),
        ({"probe": TWO, "archs": ("sm90",)}, "sm90", "found NVIDIA H200 as GPU 1"),
        (
            {"probe": TWO.only("1")},
            "sm90",
            "found NVIDIA H200 as GPU 1, chosen with --trt-device",
        ),
        (
            {"probe": TWO.only("GPU-sm9"), "archs": ("sm90",)},
            "sm90",
            "found NVIDIA H200 as GPU 1, chosen with --trt-device",
        ),
        ({"probe": H200}, "sm90", "found NVIDIA H200"),
        (
            {"probe": H200.only("0")},
            "sm90",
            "found NVIDIA H200, chosen with --trt-device",
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
    ("given", "message"),
    [
        pytest.param(
            {"probe": TWO.only("1"), "archs": ("sm86",)},
            r"--trt-arch sm86, but --trt-device 1 is NVIDIA H200 \(sm90\)"
            r"[\s\S]*--trt-device 0, which is NVIDIA A10 \(sm86\)[\s\S]*--trt-arch sm90",
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
def test_chosen_gpu_that_cannot_be_tested_is_an_error(given, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        choose(**{"installed": BOTH, **given})


def test_backend_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(BackendUnavailableError, match="pip install 'tensorrt-rtx>="):
        choose(backend="tensorrt_rtx")


class Remote:
    """A backend of a plugin."""

    def __init__(self, settings) -> None:
        self.settings = settings


def registered(*archs: str) -> dict[str, AdditionalBackend]:
    registry: dict[str, AdditionalBackend] = {}
    register_backend(registry, "remote", Remote, lambda probe: archs)
    return registry


def choose_remote(registry, archs=(), backend="remote"):
    chosen = select(
        archs=archs, backend=backend, probe=A10, installed=lambda name: True, additional=registry
    )
    return [(selection.arch, selection.backend) for selection in chosen]


def test_additional_backend_is_used_only_if_it_is_requested() -> None:
    registry = registered("sm87", "cpu")
    assert choose_remote(registry) == [("sm87", "remote")]
    assert choose_remote(registry, archs=("cpu", "sm87")) == [("cpu", "remote"), ("sm87", "remote")]
    assert choose_remote(registry, backend="auto") == [("sm86", "tensorrt")]


def test_additional_backend_gets_the_settings() -> None:
    backend = make_backend("remote", probe=A10, threads=3, additional=registered("cpu"))
    assert isinstance(backend, Remote)
    assert (backend.settings.probe, backend.settings.threads) == (A10, 3)


def test_architecture_that_an_additional_backend_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(ConfigurationError, match="remote supports sm87 on this machine"):
        choose_remote(registered("sm87"), archs=("sm86",))


def test_additional_backend_that_cannot_be_used_is_an_error() -> None:
    with pytest.raises(BackendUnavailableError, match="cannot be used on this machine"):
        choose_remote(registered())


@pytest.mark.parametrize("name", ["auto", "tensorrt", "remote", "two words", ""])
def test_a_name_that_is_taken_or_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="already registered"):
        register_backend(registered("cpu"), name, Remote, lambda probe: ("cpu",))
