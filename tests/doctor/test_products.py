from __future__ import annotations

from pathlib import Path

import pytest
from builders_doctor import NO_GPU, machine, module, modules

from pytest_trt.doctor.finding import Finding, Level, remedy_text
from pytest_trt.doctor.products import MODULES, install_tensorrt, product_findings, unserved
from pytest_trt.extras import install_command

CU12, CU13 = install_command("tensorrt-cu12"), install_command("tensorrt-cu13")


def find(name: str, facts, host=NO_GPU, python=(3, 11)) -> Finding:
    (found,) = [f for f in product_findings(facts, host, python) if f.name == MODULES[name]]
    return found


def broken(name: str, problem: str, version: str = "10.9.0", **fields):
    return module(name, version, problem=problem, **fields)


def test_without_a_gpu_only_the_embedded_backend_is_there_and_nothing_is_wrong() -> None:
    found = list(product_findings(modules(), NO_GPU, (3, 11)))
    assert [(one.name, one.level) for one in found] == [
        ("ONNX Runtime", Level.OK),
        ("TensorRT", Level.NOTE),
        ("TensorRT-RTX", Level.NOTE),
    ]


def test_with_a_gpu_the_extra_for_its_driver_is_named() -> None:
    found = find("tensorrt", modules(), machine("sm90", driver_cuda=12080))
    assert (found.level, remedy_text(found.remedy)) == (
        Level.WARN,
        CU12,
    )
    found = find("tensorrt", modules(), machine("sm90", driver_cuda=13000))
    assert remedy_text(found.remedy) == CU13


def test_everything_installed_as_it_should_be_is_well() -> None:
    facts = modules(
        tensorrt=module("tensorrt", "10.16.1", cuda_lines=("cu13",)),
        tensorrt_rtx=module("tensorrt_rtx", "1.7.1", cuda_lines=("cu13",)),
        cuda=module("cuda.bindings.runtime", "13.0.1", runtime_cuda="13.0"),
    )
    found = list(product_findings(facts, machine(), (3, 11)))
    assert {one.level for one in found} == {Level.OK}
    assert [one.what for one in found][1:] == [
        "10.16.1, cu13",
        "1.7.1, cu13, builds for sm75 sm80 sm86 sm89 sm120 sm121",
        "13.0.1, CUDA runtime 13.0",
    ]


@pytest.mark.parametrize(
    ("problem", "fix"),
    [
        ("ImportError: libcudnn.so.8: cannot open", "pip install 'nvidia-cudnn-cu12<9'"),
        ("ImportError: libcublas.so.12: cannot open shared", "pip install nvidia-cublas-cu12"),
        ("OSError: libcudart.so.12: cannot open", "pip install nvidia-cuda-runtime-cu12"),
        ("ImportError: /lib/libm.so.6: version `GLIBC_2.28' not found", "a newer Linux"),
        ("ImportError: libstdc++.so.6: version `GLIBCXX_3.4.29' not found", "GLIBCXX_3.4.29"),
        ("ImportError: numpy.core.multiarray failed to import", "pip install 'numpy<2'"),
        ("ImportError: libcuda.so.1: cannot open shared object file", "NVIDIA driver"),
        (
            "ImportError: libnvinfer.so.10: cannot open shared object file",
            "pip install --force-reinstall --no-deps tensorrt==10.9.0",
        ),
        ("crashes Python (SIGSEGV), in a.py, line 1", "--force-reinstall"),
    ],
)
def test_an_import_that_fails_says_why_and_what_to_type(problem: str, fix: str) -> None:
    found = find("tensorrt", modules(tensorrt=broken("tensorrt", problem)), machine())
    assert (found.level, found.why) == (Level.ERROR, problem)
    assert fix in remedy_text(found.remedy)
    rtx = find("tensorrt_rtx", modules(tensorrt_rtx=broken("tensorrt_rtx", problem)), machine())
    assert (rtx.level, rtx.why) == (Level.WARN, problem)
    assert rtx.remedy
    # Without a GPU nothing would use it.
    found = find("tensorrt", modules(tensorrt=broken("tensorrt", problem)))
    assert found.level is Level.WARN


def test_an_import_that_takes_too_long_offers_a_longer_timeout() -> None:
    facts = broken("tensorrt", "gives no answer within 60 s", timed_out=True)
    assert "--timeout" in remedy_text(find("tensorrt", modules(tensorrt=facts), machine()).remedy)


def test_a_folder_that_hides_the_vendors_module_is_named(tmp_path: Path) -> None:
    location = str(tmp_path / "tensorrt" / "__init__.py")
    facts = broken("tensorrt", "ImportError: x", location=location, distributions={})
    assert remedy_text(find("tensorrt", modules(tensorrt=facts)).remedy).startswith(
        f"Rename or remove {location}"
    )


@pytest.mark.parametrize(
    ("arch", "version", "fix"),
    [
        ("sm70", "10.9.0", "'tensorrt-cu12>=10.0,<10.5'"),
        ("sm61", "10.0.1", "tensorrt==8.6.1"),
        ("sm120", "10.7.0", CU13),
        ("sm90", "8.5.3", CU13),
    ],
)
def test_a_release_that_does_not_serve_the_gpu_is_an_error(arch, version, fix) -> None:
    found = find("tensorrt", modules(tensorrt=version), machine(arch))
    assert found.level is Level.ERROR
    assert fix in remedy_text(found.remedy)


def test_a_wheel_for_another_cuda_than_the_drivers_is_an_error() -> None:
    facts = module("tensorrt", "10.16.1", cuda_lines=("cu13",))
    found = find("tensorrt", modules(tensorrt=facts), machine(driver_cuda=12080))
    assert found.level is Level.ERROR
    assert found.why == "it needs CUDA 13, but the driver supports 12.8"
    assert remedy_text(found.remedy).endswith(CU12)
    rtx = module("tensorrt_rtx", "1.7.0", cuda_lines=("cu13",))
    found = find("tensorrt_rtx", modules(tensorrt_rtx=rtx), machine(driver_cuda=12080))
    assert found.level is Level.WARN
    assert found.remedy.text.startswith("Update the NVIDIA driver (580 or newer for CUDA 13")
    older = module("tensorrt", "10.16.1", cuda_lines=("cu12",))
    assert find("tensorrt", modules(tensorrt=older), machine()).level is Level.OK


def test_two_cuda_lines_at_once_are_warned_of() -> None:
    facts = module("tensorrt_rtx", "1.7.1", cuda_lines=("cu12", "cu13"))
    found = find("tensorrt_rtx", modules(tensorrt_rtx=facts))
    assert found.level is Level.WARN
    assert "pip uninstall -y tensorrt-rtx-cu12 " in remedy_text(found.remedy)
    assert "pip install --force-reinstall 'tensorrt-rtx>=" in remedy_text(found.remedy)


def test_parts_of_different_versions_are_warned_of() -> None:
    parts = {"tensorrt_cu12": "10.9.0", "tensorrt_cu12_libs": "10.8.0"}
    facts = module("tensorrt", "10.9.0", distributions=parts)
    found = find("tensorrt", modules(tensorrt=facts))
    assert found.level is Level.WARN
    assert "tensorrt-cu12 10.9.0, tensorrt-cu12-libs 10.8.0" in found.why


def test_the_embedded_backend_that_cannot_be_imported_is_always_an_error() -> None:
    facts = broken("onnxruntime", "ImportError: no such symbol", "1.32.0")
    assert find("onnxruntime", modules(onnxruntime=facts)).level is Level.ERROR
    assert (
        remedy_text(find("onnxruntime", modules(onnxruntime="")).remedy)
        == "pip install onnxruntime"
    )


def test_an_onnx_runtime_that_computes_int8_wrongly_here_is_warned_of(
    tmp_path: Path, monkeypatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : amx_int8\n")
    monkeypatch.setattr("pytest_trt.engine.known_faults.CPUINFO", cpuinfo)
    old, new = (
        find("onnxruntime", modules(onnxruntime=module("onnxruntime", version)))
        for version in ("1.24.1", "1.25.0")
    )
    assert (old.level, new.level) == (Level.WARN, Level.OK)
    assert "AMX" in old.why
    assert "onnxruntime>=1.25" in remedy_text(old.remedy)


def test_two_builds_of_onnx_runtime_are_warned_of() -> None:
    both = {"onnxruntime": "1.32.0", "onnxruntime_gpu": "1.32.0"}
    facts = module("onnxruntime", "1.32.0", distributions=both)
    found = find("onnxruntime", modules(onnxruntime=facts))
    assert found.level is Level.WARN
    assert found.remedy.commands[0] == "pip uninstall -y onnxruntime onnxruntime-gpu"


@pytest.mark.parametrize(
    ("bindings", "tensorrt", "level"),
    [
        ("", "10.16.1", Level.ERROR),
        ("", "", Level.WARN),
        ("13.0.1", "10.16.1", Level.ERROR),
        ("12.9.0", "10.16.1", Level.OK),
    ],
)
def test_bindings_have_to_be_there_and_not_newer_than_the_driver(bindings, tensorrt, level) -> None:
    facts = modules(cuda=bindings, tensorrt=tensorrt)
    found = find("cuda.bindings.runtime", facts, machine(driver_cuda=12080))
    assert found.level is level
    assert bool(found.remedy) == bool(found.code) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("problem", "fix"),
    [
        ("ImportError: libcudart.so.12: cannot open", "pip install nvidia-cuda-runtime-cu12"),
        ("ImportError: no attribute 'x'", "pip install --force-reinstall --no-deps"),
    ],
)
def test_bindings_that_cannot_be_imported_are_repaired(problem: str, fix: str) -> None:
    name = "cuda.bindings.runtime"
    facts = modules(cuda=broken(name, problem, "12.9.0"), tensorrt="10.16.1")
    found = find(name, facts, machine(driver_cuda=12080))
    assert (found.level, found.why) == (Level.ERROR, problem)
    assert fix in remedy_text(found.remedy)


PASCAL = "pip install tensorrt==8.6.1 'cuda-bindings>=12.6,<13' nvidia-ml-py"
VOLTA = "pip install 'tensorrt-cu12>=10.0,<10.5' 'cuda-bindings>=12.6,<13' 'nvidia-ml-py>=12.535'"


@pytest.mark.parametrize(
    ("driver_cuda", "archs", "python", "line"),
    [
        (12020, ["sm90"], (3, 10), (CU12,)),
        (13000, ["sm90"], (3, 14), (CU13,)),
        (14010, ["sm120"], (3, 12), (CU13,)),
        (13000, [], (3, 12), (CU13,)),
        (0, ["sm86"], (3, 12), (f"{CU12}  # CUDA 12", f"{CU13}  # CUDA 13")),
        (13000, ["sm70"], (3, 12), (VOLTA,)),
        (13000, ["sm72"], (3, 12), (VOLTA,)),
        (0, ["sm70"], (3, 12), (VOLTA,)),
        (13000, ["sm70", "sm90"], (3, 12), (VOLTA,)),
        (12020, ["sm61"], (3, 11), (PASCAL,)),
    ],
)
def test_the_line_to_type_follows_driver_gpu_and_python(driver_cuda, archs, python, line) -> None:
    assert install_tensorrt(driver_cuda, archs, python).commands == line


@pytest.mark.parametrize(
    ("driver_cuda", "archs", "python", "first"),
    [
        (12020, ["sm52"], (3, 11), "Use a GPU of compute capability 6.0"),
        (11080, ["sm86"], (3, 11), "Update the NVIDIA driver to 525"),
        (13000, ["sm90"], (3, 15), "Use Python 3.14 or older"),
        (13000, ["sm70"], (3, 13), "Use Python 3.12 or older"),
        (12020, ["sm61"], (3, 12), "Use Python 3.11 or older"),
    ],
)
def test_what_has_to_change_first_is_reported(driver_cuda, archs, python, first) -> None:
    assert install_tensorrt(driver_cuda, archs, python).text.startswith(first)


@pytest.mark.parametrize(
    ("version", "arch", "message"),
    [
        ("8.6.1", "sm61", ""),
        ("10.0.1", "sm61", "has dropped sm61, which 8.6 was the last to support"),
        ("9.1.0", "sm52", "has dropped sm52"),
        ("10.4.0.26", "sm70", ""),
        ("10.5.0", "sm70", "which 10.4 was the last to support"),
        ("11.4.0.106", "sm72", "which 10.4 was the last to support"),
        ("11.4.0.106", "sm75", ""),
        ("8.6.0", "sm90", ""),
        ("10.7.0", "sm120", "10.8 is the first that may"),
        ("10.8.0", "sm120", ""),
        ("8.6.1", "sm100", "does not support sm100 yet"),
        ("unknown", "sm120", ""),
    ],
)
def test_a_gpu_that_a_release_does_not_support_is_reported(version, arch, message) -> None:
    assert (message in unserved(version, arch)) if message else unserved(version, arch) == ""
