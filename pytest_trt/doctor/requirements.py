"""What `--require` can request, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_trt.benchmark.host import HostLoad
from pytest_trt.diagnostics import ConfigurationError, Remedy
from pytest_trt.doctor.abilities import Ability
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.doctor.host import load_problem
from pytest_trt.doctor.machine import MachineFacts, speed_problem
from pytest_trt.doctor.products import MODULES
from pytest_trt.terms import parse_arch

#: What can be requested besides an architecture, and its meaning.
WORDS = {
    "gpu": "a usable GPU",
    "speed": "host not overloaded, no GPU shared or throttled",
    "tensorrt": "TensorRT builds and runs engines here",
    "tensorrt_rtx": "TensorRT-RTX builds engines here",
    "onnxruntime": "ONNX Runtime works on the CPU",
}

_NEEDS_GPU = Remedy("Run on a machine with an NVIDIA GPU, or do not require one.")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One request.

    Attributes:
        text: The request as typed.
        word: One of `WORDS`, or an architecture.
        builds_only: Whether engines for the architecture need not run here.
    """

    text: str
    word: str
    builds_only: bool = False


def parse_requirements(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """Return the requests; a text may contain several, separated by commas.

    Raises:
        ConfigurationError: One is neither one of `WORDS` nor an architecture; or empty, as of an
            unset variable.
    """
    parts = [part.strip().lower() for text in texts for part in text.split(",")]
    return tuple(_parse(part) for part in dict.fromkeys(parts))


def _parse(text: str) -> Requirement:
    if text in WORDS:
        return Requirement(text, text)
    if not text:
        raise ConfigurationError(
            "--require is empty, or a part of it: is a variable not set?",
            fix="Name what this machine must have, such as sm86.",
            code="TRT773",
            facts={"requirement": text},
        )
    arch, _, what = text.partition(":")
    try:
        if what in ("", "build"):
            return Requirement(text, parse_arch(arch), builds_only=what == "build")
    except ConfigurationError:
        pass
    raise ConfigurationError(
        f"--require {text}: unknown requirement",
        fix=Remedy(
            f"name {', '.join(WORDS)}, or an architecture.",
            alternatives=(
                "sm86 or cpu: its engines can be built and run here",
                "sm86:build: its engines can be built here",
            ),
        ),
        code="TRT773",
        facts={"requirement": text},
    )


def requirement_findings(
    required: Sequence[Requirement],
    machine: MachineFacts,
    found: Sequence[Finding],
    able: Sequence[Ability],
    load: HostLoad | None = None,
) -> tuple[Finding, ...]:
    """Return a finding for every request."""
    return tuple(_judge(one, machine, found, able, load) for one in required)


def _judge(
    required: Requirement,
    machine: MachineFacts,
    found: Sequence[Finding],
    able: Sequence[Ability],
    load: HostLoad | None,
) -> Finding:
    if required.word == "gpu":
        cause = next((one for one in found if one.section == "gpu" and one.name == "GPU"), None)
        return _finding(required, bool(machine.probe.gpus), WORDS["gpu"], cause)
    if required.word == "speed":
        return _speed(required, machine, load)
    if required.word in MODULES:
        cause = next(one for one in found if one.name == MODULES[required.word])
        if required.word == "tensorrt" and cause.level is Level.OK and not machine.probe.gpus:
            cause = next(one for one in found if one.name == "GPU")
        works = any(one.backend == required.word for one in able)
        return _finding(required, works, WORDS[required.word], cause)
    return _arch(required, machine, found, able)


def _finding(required: Requirement, holds: bool, what: str, cause: Finding | None) -> Finding:
    if holds:
        return Finding("required", required.text, Level.OK, what)
    assert cause is not None  # a GPU is found, or there is a finding of why not
    if cause.name == "GPU":
        return _unmet(required, "no usable GPU", cause.why, cause.remedy or _NEEDS_GPU, cause.code)
    why = ": ".join(filter(None, [f"{cause.name} {cause.what}", cause.why]))
    gpu = "an NVIDIA GPU and " if required.word == "tensorrt" else ""
    installed = Remedy(f"Run on a machine with {gpu}{cause.name} installed, or do not require it.")
    return _unmet(required, "not usable here", why, cause.remedy or installed, cause.code)


def _unmet(required: Requirement, what: str, why: str, remedy: Remedy, code: str = "") -> Finding:
    facts = {"requirement": required.text}
    return Finding(
        "required", required.text, Level.ERROR, what, why, remedy, code or "TRT772", facts
    )


def _speed(required: Requirement, machine: MachineFacts, load: HostLoad | None) -> Finding:
    if load is None:
        why = "the load of the host could not be measured"
        return _unmet(required, "unknown", why, Remedy("raise --timeout, and run it again."))
    problem = load_problem(load) or speed_problem(machine)
    if problem is not None:
        what = f"speed cannot be measured now: {problem.what}"
        return _unmet(required, what, problem.why, problem.remedy, problem.code)
    return Finding("required", required.text, Level.OK, WORDS["speed"])


def _arch(
    required: Requirement,
    machine: MachineFacts,
    found: Sequence[Finding],
    able: Sequence[Ability],
) -> Finding:
    ability = next((one for one in able if one.arch == required.word), None)
    verb = "built" if required.builds_only else "built and run"
    if ability and (ability.runs or (required.builds_only and ability.builds)):
        label = MODULES[ability.backend]
        option = f", with {ability.option}" if ability.option else ""
        what = f"engines can be {verb} by {label}{option}"
        return Finding("required", required.text, Level.OK, what)
    why = ability.why if ability else "the architecture is unknown, and no GPU here has it"
    remedy = Remedy(f"Run on a machine with an {required.word} GPU.")
    product = "ONNX Runtime" if required.word == "cpu" else "TensorRT"
    cause = next((one for one in found if one.name == product), None)
    is_here = required.word == "cpu" or machine.probe.first(required.word) is not None
    if cause and cause.remedy and is_here:
        remedy = cause.remedy
    elif required.builds_only:
        rtx = next((one for one in found if one.name == "TensorRT-RTX"), None)
        remedy = rtx.remedy if rtx and rtx.remedy else remedy
    what = f"engines cannot be {verb} here"
    if ability and ability.builds:
        what = "engines can be built here but not run"
    return _unmet(required, what, why, remedy)
