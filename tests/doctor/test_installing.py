from __future__ import annotations

import pytest

from pytest_trt.doctor.installing import install_tensorrt, unserved

CU12, CU13 = "pip install 'pytest-trt[tensorrt-cu12]'", "pip install 'pytest-trt[tensorrt-cu13]'"
PASCAL = "pip install tensorrt==8.6.1 'cuda-bindings>=12.6,<13' nvidia-ml-py"
VOLTA = f"{CU12} 'tensorrt-cu12<10.5'"


@pytest.mark.parametrize(
    ("driver_cuda", "archs", "python", "line"),
    [
        (12020, ["sm90"], (3, 10), CU12),
        (13000, ["sm90"], (3, 14), CU13),
        (14010, ["sm120"], (3, 12), CU13),
        (13000, [], (3, 12), CU13),
        (0, ["sm86"], (3, 12), f"{CU12} (or tensorrt-cu13)"),
        (13000, ["sm70"], (3, 12), VOLTA),
        (13000, ["sm72"], (3, 12), VOLTA),
        (0, ["sm70"], (3, 12), VOLTA),
        (13000, ["sm70", "sm90"], (3, 12), VOLTA),
        (12020, ["sm61"], (3, 11), PASCAL),
    ],
)
def test_the_line_to_type_follows_driver_gpu_and_python(driver_cuda, archs, python, line) -> None:
    assert install_tensorrt(driver_cuda, archs, python) == line


@pytest.mark.parametrize(
    ("driver_cuda", "archs", "python", "first"),
    [
        (12020, ["sm52"], (3, 11), "use a GPU of compute capability 6.0"),
        (11080, ["sm86"], (3, 11), "update the NVIDIA driver to 525"),
        (13000, ["sm90"], (3, 15), "use Python 3.14 or older"),
        (13000, ["sm70"], (3, 13), "use Python 3.12 or older"),
        (12020, ["sm61"], (3, 12), "use Python 3.11 or older"),
    ],
)
def test_what_has_to_change_first_is_said(driver_cuda, archs, python, first) -> None:
    assert install_tensorrt(driver_cuda, archs, python).startswith(first)


@pytest.mark.parametrize(
    ("version", "arch", "said"),
    [
        ("8.6.1", "sm61", ""),
        ("10.0.1", "sm61", "has dropped sm61; the last one that serves it is 8.6"),
        ("9.1.0", "sm52", "has dropped sm52"),
        ("10.4.0.26", "sm70", ""),
        ("10.5.0", "sm70", "the last one that serves it is 10.4"),
        ("11.4.0.106", "sm72", "the last one that serves it is 10.4"),
        ("11.4.0.106", "sm75", ""),
        ("8.6.0", "sm90", ""),
        ("10.7.0", "sm120", "10.8 is the first that might"),
        ("10.8.0", "sm120", ""),
        ("8.6.1", "sm100", "does not know sm100 yet"),
        ("unknown", "sm120", ""),
    ],
)
def test_a_gpu_that_a_release_does_not_serve_is_said(version, arch, said) -> None:
    assert (said in unserved(version, arch)) if said else unserved(version, arch) == ""
