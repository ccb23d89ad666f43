"""What `--require` can ask for, and whether this machine has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.doctor.abilities import Ability
from pytest_trt.doctor.finding import Finding, Level
from pytest_trt.doctor.machine import MachineFacts, disturbance
from pytest_trt.doctor.products import IF_WANTED, MODULES
from pytest_trt.terms import parse_arch

#: What can be asked for beside an architecture, and what that means.
WORDS = {
    "gpu": "a GPU that can be used",
    "speed": "every GPU is at rest and not held back, so that speed can be measured",
    "tensorrt": "TensorRT builds and runs engines here",
    "tensorrt_rtx": "TensorRT-RTX builds engines here",
    "onnxruntime": "the embedded backend works",
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that is asked for.

    Attributes:
        text: How it was asked for.
        word: One of `WORDS`, or an architecture.
        builds_only: Whether engines for the architecture need not run here.
    """

    text: str
    word: str
    builds_only: bool = False


def parse_requirements(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """Return what is asked for; several things may stand in one text, parted by commas.

    Raises:
        ConfigurationError: One is neither of `WORDS` nor an architecture.
    """
    parts = [part.strip().lower() for text in texts for part in text.split(",") if part.strip()]
    return tuple(_parse(part) for part in dict.fromkeys(parts))


def _parse(text: str) -> Requirement:
    if text in WORDS:
        return Requirement(text, text)
    arch, _, what = text.partition(":")
    try:
        if what in ("", "build"):
            return Requirement(text, parse_arch(arch), builds_only=what == "build")
    except ConfigurationError:
        pass
    raise ConfigurationError(
        f"--require {text}: there is no such thing to ask for.",
        fix=f"name {', '.join(WORDS)}, an architecture whose engines are to be built and run here "
        "(sm86, cpu), or one that they are only to be built for (sm86:build).",
    )


def requirement_findings(
    required: Sequence[Requirement],
    machine: MachineFacts,
    found: Sequence[Finding],
    able: Sequence[Ability],
) -> tuple[Finding, ...]:
    """Return a finding for everything that is asked for.

    Args:
        required: What is.
        machine: The GPUs and their driver.
        found: What was found so far, to tell causes from.
        able: What can be tested here.
    """
    return tuple(_judge(one, machine, found, able) for one in required)


def _judge(
    asked: Requirement, machine: MachineFacts, found: Sequence[Finding], able: Sequence[Ability]
) -> Finding:
    if asked.word == "gpu":
        cause = next((one for one in found if one.section == "gpu" and one.name == "GPU"), None)
        return _finding(asked, bool(machine.probe.gpus), "there is one", cause, "there is none")
    if asked.word == "speed":
        return _speed(asked, machine)
    if asked.word in MODULES:
        cause = next(one for one in found if one.name == MODULES[asked.word])
        if asked.word == "tensorrt" and cause.level is Level.OK and not machine.probe.gpus:
            cause = next(one for one in found if one.name == "GPU")
        works = any(one.backend == asked.word for one in able)
        return _finding(asked, works, WORDS[asked.word], cause, "it cannot work here")
    return _arch(asked, found, able)


def _finding(
    asked: Requirement, holds: bool, what: str, cause: Finding | None, otherwise: str
) -> Finding:
    if holds:
        return Finding("required", asked.text, Level.OK, what)
    if cause is None:
        return Finding("required", asked.text, Level.ERROR, otherwise)
    told = ": ".join(filter(None, [f"{cause.name} {cause.what}", cause.why]))
    fix = cause.fix or "run on a machine that has it, or do not require it."
    return Finding("required", asked.text, Level.ERROR, otherwise, told, fix)


def _speed(asked: Requirement, machine: MachineFacts) -> Finding:
    told = []
    for gpu in machine.probe.gpus:
        state = machine.states.get(gpu.uuid)
        problem = disturbance(state) if state else "nothing tells how it is doing"
        told += [f"GPU {gpu.index}: {problem}"] if problem else []
    if told:
        return Finding(
            "required",
            asked.text,
            Level.ERROR,
            "speed cannot be measured now",
            "; ".join(told),
            "let the GPU cool, end what runs on it, or wait; `nvidia-smi` says more.",
        )
    what = "every GPU is at rest" if machine.probe.gpus else "no GPU that could be held back"
    return Finding("required", asked.text, Level.OK, what)


def _arch(asked: Requirement, found: Sequence[Finding], able: Sequence[Ability]) -> Finding:
    ability = next((one for one in able if one.arch == asked.word), None)
    verb = "built" if asked.builds_only else "built and run"
    if ability and (ability.runs or (asked.builds_only and ability.builds)):
        label = MODULES[ability.backend]
        option = f", with {ability.option}" if ability.option else ""
        what = f"engines can be {verb} by {label}{option}"
        return Finding("required", asked.text, Level.OK, what)
    why = ability.why if ability else "no GPU is known by that architecture, and none is here"
    fix = f"run on a machine with an {asked.word} GPU."
    backend = "ONNX Runtime" if asked.word == "cpu" else "TensorRT"
    cause = next((one for one in found if one.name == backend), None)
    has_gpu = any(one.section == "gpu" and f"({asked.word})" in one.what for one in found)
    if cause and cause.fix and (has_gpu or asked.word == "cpu"):
        fix = cause.fix
    elif asked.builds_only:
        rtx = next((one for one in found if one.name == "TensorRT-RTX"), None)
        fix = rtx.fix.removesuffix(f" {IF_WANTED}") if rtx and rtx.fix else fix
    return Finding("required", asked.text, Level.ERROR, f"engines cannot be {verb} here", why, fix)
