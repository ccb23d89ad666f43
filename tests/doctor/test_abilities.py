from __future__ import annotations

from builders_doctor import NO_GPU, machine, module, modules

from pytest_trt.doctor.abilities import Ability, abilities
from pytest_trt.doctor.machine import MachineFacts


def able(host: MachineFacts = NO_GPU, refused=(), **installed) -> dict[str, Ability]:
    found = abilities(host.probe, modules(**installed), refused)
    return {one.arch: one for one in found}


def test_without_gpu_and_vendor_the_cpu_is_all() -> None:
    found = able()
    assert [arch for arch, one in found.items() if one.runs] == ["cpu"]
    assert [arch for arch, one in found.items() if one.builds] == ["cpu"]
    assert "sm120" in found


def test_rtx_cross_builds_for_what_this_release_supports() -> None:
    found = able(tensorrt_rtx="1.7.1")
    builds = [arch for arch, one in found.items() if one.builds]
    assert builds == ["cpu", "sm75", "sm80", "sm86", "sm89", "sm120", "sm121"]
    assert not found["sm86"].runs
    assert found["sm86"].backend == "tensorrt_rtx"
    older = module("tensorrt_rtx", "1.4.0", archs=("sm75", "sm80", "sm86", "sm89", "sm120"))
    assert not able(tensorrt_rtx=older)["sm121"].builds


def test_the_gpu_at_hand_is_built_for_and_run_on() -> None:
    found = able(machine("sm90"), tensorrt="10.9.0")
    assert (found["sm90"].builds, found["sm90"].runs) == (True, True)
    assert found["sm90"].backend == "tensorrt"
    assert not found["sm86"].builds


def test_with_a_gpu_other_architectures_are_cross_built_on_request() -> None:
    found = able(machine("sm90"), tensorrt="10.9.0", tensorrt_rtx="1.7.1")
    assert found["sm90"].option == ""
    assert (found["sm86"].backend, found["sm86"].runs) == ("tensorrt_rtx", False)
    assert found["sm86"].option == "--trt-backend=tensorrt_rtx"


def test_a_gpu_without_tensorrt_is_not_run_on() -> None:
    found = able(machine("sm90"))["sm90"]
    assert (found.builds, found.runs) == (False, False)
    assert "TensorRT is not installed" in found.why


def test_what_does_not_fit_the_machine_does_not_count() -> None:
    assert able(machine("sm70"), tensorrt="10.9.0")["sm70"].runs
    assert not able(machine("sm70"), {"tensorrt"}, tensorrt="10.9.0")["sm70"].runs


def test_what_cannot_be_imported_does_not_count() -> None:
    broken = module("tensorrt", "10.9.0", problem="ImportError: x")
    found = able(machine("sm90"), tensorrt=broken)["sm90"]
    assert not found.builds
    assert "installed TensorRT cannot be used" in found.why
    assert not able(onnxruntime=module("onnxruntime", "1.32.0", problem="x"))["cpu"].builds


def test_an_unknown_architecture_is_listed_where_its_gpu_is_present() -> None:
    assert able(machine("sm133"), tensorrt="12.0.0")["sm133"].runs
