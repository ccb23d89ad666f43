"""Collects all facts in parallel, and the findings that follow from them."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.benchmark.host import HostLoad
from pytest_trt.doctor import modules
from pytest_trt.doctor.abilities import abilities
from pytest_trt.doctor.finding import Examination, Finding, Level
from pytest_trt.doctor.machine import MachineFacts, gpu_findings
from pytest_trt.doctor.modules import ModuleFacts
from pytest_trt.doctor.places import (
    BaselineFacts,
    CacheFacts,
    baseline_findings,
    cache_findings,
    unknown_place,
)
from pytest_trt.doctor.products import MODULES, product_findings
from pytest_trt.doctor.project import ProjectFacts, project_findings, unknown_project
from pytest_trt.doctor.requirements import Requirement, requirement_findings
from pytest_trt.engine.cache import DEFAULT_MAX_BYTES, default_cache_dir
from pytest_trt.records import from_data
from pytest_trt.workers.question import Answer, ask

#: The folder of baselines without a project.
_BASELINES = "trt_baselines"

# By name, not imported: child processes call them, and import what that needs, such as pytest.
_MACHINE = "pytest_trt.doctor.machine:machine_facts_data"
_MODULE = "pytest_trt.doctor.modules:imported_facts"
_PROJECT = "pytest_trt.plugin.inspection:project_facts"
_CACHE = "pytest_trt.doctor.places:look_at_cache"
_BASELINE = "pytest_trt.doctor.places:look_at_baselines"
_HOST = "pytest_trt.doctor.host:host_load_data"


def examine(
    required: Sequence[Requirement] = (),
    *,
    cache_dir: Path | None = None,
    baseline_dir: Path | None = None,
    timeout_s: float = 60.0,
    question: Callable[..., Answer] = ask,
) -> Examination:
    """Examine this machine and the project in the current folder; changes nothing, never raises.

    Args:
        required: What this machine must be able to do.
        cache_dir: The engine cache; None for that of the project, or else of the user.
        baseline_dir: The baselines; None for those of the project.
        timeout_s: Time limit of each examination in seconds.
        question: Calls a function by its name in a child process; a test passes a fake.
    """
    with ThreadPoolExecutor(len(MODULES) + 2) as pool:
        machine_asked = pool.submit(question, _MACHINE, timeout_s=timeout_s)
        answers = {
            name: pool.submit(question, _MODULE, timeout_s=timeout_s, module=name)
            for name in MODULES
        }
        project_asked = pool.submit(question, _PROJECT, timeout_s=timeout_s)
        project = _project(project_asked.result())
        cache = cache_dir or Path(project.cache_dir or default_cache_dir())
        baselines = baseline_dir or Path(project.baseline_dir or _BASELINES)
        places = [
            pool.submit(question, _CACHE, timeout_s=timeout_s, path=str(_absolute(cache))),
            pool.submit(question, _BASELINE, timeout_s=timeout_s, path=str(_absolute(baselines))),
        ]
        machine = _machine(machine_asked.result())
        known = {name: _module(name, answer.result()) for name, answer in answers.items()}
        cached, stored = (place.result() for place in places)
    findings = [_python(), *gpu_findings(machine), *product_findings(known, machine)]
    unfit = {name for name in MODULES if _level(findings, MODULES[name]) is Level.ERROR}
    able = abilities(machine.probe, known, unfit)
    if project_asked.result().problem:
        findings.append(unknown_project(project_asked.result().problem))
    else:
        usable = {name for name, facts in known.items() if facts.works} - unfit
        broken = [MODULES[name] for name in MODULES if known[name].found and name not in usable]
        findings += project_findings(project, machine.probe, usable.__contains__, broken)
    findings += _places(project, cache, cached, baselines, stored)
    # Last, so that no other examination is part of the load.
    load = _load(required, timeout_s, question)
    findings += requirement_findings(required, machine, findings, able, load)
    return Examination(tuple(findings), able)


def _load(
    required: Sequence[Requirement], timeout_s: float, question: Callable[..., Answer]
) -> HostLoad | None:
    if not any(one.word == "speed" for one in required):
        return None
    answer = question(_HOST, timeout_s=timeout_s)
    return None if answer.problem else from_data(HostLoad, answer.value)


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _python() -> Finding:
    libc = " ".join(platform.libc_ver())
    system = ", ".join(filter(None, [f"{platform.system()} {platform.machine()}", libc]))
    return Finding(
        "machine",
        "Python",
        Level.OK,
        f"{platform.python_version()} on {system}, {os.cpu_count()} CPUs",
    )


def _machine(answer: Answer) -> MachineFacts:
    if not answer.problem:
        return from_data(MachineFacts, answer.value)
    why = f"looking for GPUs {answer.problem}"
    return MachineFacts(DeviceProbe((), why), problem=why)


def _module(name: str, answer: Answer) -> ModuleFacts:
    if not answer.problem:
        return from_data(ModuleFacts, answer.value)
    return modules.installed_facts(name, answer.problem, timed_out=answer.timed_out)


def _project(answer: Answer) -> ProjectFacts:
    if answer.problem:
        return ProjectFacts(str(Path.cwd()), "", has_entry_point=False, starts=False)
    return from_data(ProjectFacts, answer.value)


def _level(findings: Sequence[Finding], name: str) -> Level | None:
    return next((one.level for one in findings if one.name == name), None)


def _places(
    project: ProjectFacts, cache: Path, cached: Answer, baselines: Path, stored: Answer
) -> Iterator[Finding]:
    if cached.problem:
        yield unknown_place("cache", str(cache), cached.problem)
    else:
        facts = from_data(CacheFacts, cached.value)
        yield from cache_findings(facts, project.cache_max_bytes or DEFAULT_MAX_BYTES)
    if stored.problem:
        yield unknown_place("baselines", str(baselines), stored.problem)
    else:
        yield from baseline_findings(from_data(BaselineFacts, stored.value))
