from __future__ import annotations

import pytest
from builders_doctor import NO_GPU, machine, modules, state

from pytest_trt.backends.devices.state import clock_reasons
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.doctor.abilities import abilities
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.doctor.machine import MachineFacts, gpu_findings
from pytest_trt.doctor.products import product_findings
from pytest_trt.doctor.requirements import parse_requirements, requirement_findings


def judge(text: str, host: MachineFacts = NO_GPU, **installed) -> Finding:
    facts = modules(**installed)
    found = [*gpu_findings(host), *product_findings(facts, host, (3, 11))]
    able = abilities(host.probe, facts)
    (finding,) = requirement_findings(parse_requirements([text]), host, found, able)
    return finding


THROTTLED = machine(states={"GPU-0": state(*clock_reasons(0x40))})
FULL = {"tensorrt": "10.9.0", "tensorrt_rtx": "1.7.1", "cuda": "12.9"}


@pytest.mark.parametrize(
    ("text", "host", "installed"),
    [
        ("gpu", machine(), {}),
        ("speed", machine(), {}),
        ("speed", NO_GPU, {}),
        ("tensorrt", machine(), FULL),
        ("tensorrt_rtx", NO_GPU, FULL),
        ("onnxruntime", NO_GPU, {}),
        ("cpu", NO_GPU, {}),
        ("sm90", machine("sm90"), FULL),
        ("9.0", machine("sm90"), FULL),
        ("sm86:build", NO_GPU, FULL),
        ("sm90:build", machine("sm90"), FULL),
        ("sm86:build", machine("sm90"), FULL),
    ],
)
def test_what_this_machine_has_is_well(text, host, installed) -> None:
    found = judge(text, host, **installed)
    assert (found.level, found.name, found.fix) == (Level.OK, text, "")


@pytest.mark.parametrize(
    ("text", "host", "installed", "why", "fix"),
    [
        ("gpu", NO_GPU, {}, "libcuda.so.1 not found", "run on a machine that has it"),
        ("speed", THROTTLED, {}, "GPU 0: it is held back", "let the GPU cool"),
        ("speed", machine(states={}), {}, "nothing tells", "wait"),
        ("tensorrt", machine(), {}, "TensorRT not installed", "[tensorrt-cu13]"),
        ("tensorrt", NO_GPU, FULL, "libcuda.so.1 not found", "run on a machine"),
        ("tensorrt_rtx", NO_GPU, {}, "not installed", "pip install 'pytest-trt[rtx]'"),
        ("onnxruntime", NO_GPU, {"onnxruntime": ""}, "not installed", "pip install onnxruntime"),
        ("cpu", NO_GPU, {"onnxruntime": ""}, "cannot be imported", "pip install onnxruntime"),
        ("sm90", machine("sm90"), {}, "is not installed", "[tensorrt-cu13]"),
        ("sm86", machine("sm90"), FULL, "no such GPU here", "a machine with an sm86 GPU"),
        ("sm86:build", NO_GPU, {}, "no such GPU", "pip install 'pytest-trt[rtx]'"),
        ("sm90:build", NO_GPU, FULL, "no such GPU", "a machine with an sm90 GPU"),
        ("sm133", NO_GPU, FULL, "no GPU is known by that", "a machine with an sm133 GPU"),
    ],
)
def test_what_it_has_not_is_an_error_with_cause_and_cure(text, host, installed, why, fix) -> None:
    found = judge(text, host, **installed)
    assert found.level is Level.ERROR
    assert why in found.why
    assert fix in found.fix


def test_several_things_are_asked_for_at_once_and_each_once() -> None:
    asked = parse_requirements(["gpu, sm86:build", "cpu", "GPU"])
    assert [one.text for one in asked] == ["gpu", "sm86:build", "cpu"]
    assert [one.builds_only for one in asked] == [False, True, False]


@pytest.mark.parametrize("text", ["everything", "sm86:run", "tensorrt:build", "sm", ":build"])
def test_what_cannot_be_asked_for_is_refused_with_what_can(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)--require .*Fix: name gpu, speed"):
        parse_requirements([text])
