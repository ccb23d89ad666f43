from __future__ import annotations

from dataclasses import replace

import pytest
from builders_doctor import NO_GPU, machine, modules, state

from pytest_trt.backends.devices.state import clock_reasons
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.doctor.abilities import abilities
from pytest_trt.doctor.finding import Finding, Level, remedy_text
from pytest_trt.doctor.machine import MachineFacts, gpu_findings
from pytest_trt.doctor.products import product_findings
from pytest_trt.doctor.requirements import parse_requirements, requirement_findings

#: A host at rest, and one whose cores others use.
IDLE_HOST = HostLoad(elapsed_s=1.5, waited_s=0.001, others_s=0.1, cores=2)
BUSY_HOST = HostLoad(elapsed_s=1.5, waited_s=1.2, others_s=2.8, cores=2)


def judge(
    text: str, host: MachineFacts = NO_GPU, load: HostLoad | None = IDLE_HOST, **installed
) -> Finding:
    facts = modules(**installed)
    found = [*gpu_findings(host), *product_findings(facts, host, (3, 11))]
    able = abilities(host.probe, facts)
    (finding,) = requirement_findings(parse_requirements([text]), host, found, able, load)
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
    assert (found.level, found.name, remedy_text(found.remedy)) == (Level.OK, text, "")


@pytest.mark.parametrize(
    ("text", "host", "installed", "why", "fix"),
    [
        ("gpu", NO_GPU, {}, "libcuda.so.1 not found", "Run on a machine with an NVIDIA GPU"),
        ("speed", THROTTLED, {}, "GPU 0: it is throttled", "Let the GPU cool"),
        ("speed", machine(states={}), {}, "its state is unknown", "wait"),
        ("tensorrt", machine(), {}, "TensorRT not installed", "pip install 'tensorrt-cu13>="),
        ("tensorrt", NO_GPU, FULL, "libcuda.so.1 not found", "Run on a machine"),
        ("tensorrt_rtx", NO_GPU, {}, "not installed", "pip install 'tensorrt-rtx>="),
        ("onnxruntime", NO_GPU, {"onnxruntime": ""}, "not installed", "pip install onnxruntime"),
        ("cpu", NO_GPU, {"onnxruntime": ""}, "cannot be imported", "pip install onnxruntime"),
        ("sm90", machine("sm90"), {}, "is not installed", "pip install 'tensorrt-cu13>="),
        ("sm86", machine("sm90"), FULL, "no such GPU to run", "a machine with an sm86 GPU"),
        ("sm86:build", NO_GPU, {}, "no such GPU", "pip install 'tensorrt-rtx>="),
        ("sm90:build", NO_GPU, FULL, "no such GPU", "a machine with an sm90 GPU"),
        ("sm133", NO_GPU, FULL, "the architecture is unknown", "a machine with an sm133 GPU"),
    ],
)
def test_what_it_has_not_is_an_error_with_cause_and_cure(text, host, installed, why, fix) -> None:
    found = judge(text, host, **installed)
    assert found.level is Level.ERROR
    assert why in found.why
    assert fix in remedy_text(found.remedy)


def test_several_requirements_are_parsed_and_each_once() -> None:
    asked = parse_requirements(["gpu, sm86:build", "cpu", "GPU"])
    assert [one.text for one in asked] == ["gpu", "sm86:build", "cpu"]
    assert [one.builds_only for one in asked] == [False, True, False]


@pytest.mark.parametrize("text", ["", " ", ",", "cpu,"])
def test_a_requirement_without_a_name_is_not_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--require is empty"):
        parse_requirements([text])


@pytest.mark.parametrize("text", ["everything", "sm86:run", "tensorrt:build", "sm", ":build"])
def test_unknown_requirements_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)--require .*Fix: Name gpu, speed"):
        parse_requirements([text])


@pytest.mark.parametrize(
    ("load", "host", "code", "why"),
    [
        (BUSY_HOST, NO_GPU, "TRT740", "threads waited 0.80x their run time for a CPU core"),
        (replace(BUSY_HOST, waited_s=0.0), NO_GPU, "TRT740", "other processes used 1.9 of 2 cores"),
        (replace(IDLE_HOST, stolen_s=1.5), NO_GPU, "TRT740", "the hypervisor took 1.0 of 2 cores"),
        (replace(IDLE_HOST, cores=1), NO_GPU, "TRT742", "may use 1, and a benchmark needs 2"),
        (IDLE_HOST, THROTTLED, "TRT741", "GPU 0: it is throttled"),
        (IDLE_HOST, machine(states={}), "TRT743", "its state is unknown"),
        (None, NO_GPU, "TRT772", "the load of the host could not be measured"),
    ],
    ids=["waiting", "others", "hypervisor", "one core", "throttled GPU", "silent GPU", "no load"],
)
def test_speed_requires_what_a_benchmark_needs(load, host, code, why) -> None:
    found = judge("speed", host, load)
    assert (found.level, found.code) == (Level.ERROR, code)
    assert why in found.why
    assert found.remedy
