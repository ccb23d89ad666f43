"""Asks everything that there is to ask, all at once, and puts the findings together."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.doctor import machine as machines
from pytest_trt.doctor import modules
from pytest_trt.doctor.abilities import abilities
from pytest_trt.doctor.finding import Examination, Finding, Level
from pytest_trt.doctor.machine import MachineFacts, gpu_findings
from pytest_trt.doctor.modules import ModuleFacts
from pytest_trt.doctor.places import (
    baseline_findings,
    baselines_from_json,
    cache_findings,
    cache_from_json,
    unknown_place,
)
from pytest_trt.doctor.products import MODULES, product_findings
from pytest_trt.doctor.project import ProjectFacts, project_findings, unknown_project
from pytest_trt.doctor.requirements import Requirement, requirement_findings
from pytest_trt.engine.cache import DEFAULT_MAX_BYTES, default_cache_dir
from pytest_trt.workers.question import Answer, ask

#: Where baselines are kept where no project says it.
_BASELINES = "trt_baselines"

# Questions are named and not imported: each is answered by another process, and pytest itself,
# which the project is asked of, is for that process to import.
_MACHINE = "pytest_trt.doctor.machine:machine_facts_json"
_MODULE = "pytest_trt.doctor.modules:imported_facts"
_PROJECT = "pytest_trt.plugin.doctor_facts:project_facts"
_CACHE = "pytest_trt.doctor.places:look_at_cache"
_BASELINE = "pytest_trt.doctor.places:look_at_baselines"


def examine(
    required: Sequence[Requirement] = (),
    *,
    cache_dir: Path | None = None,
    baseline_dir: Path | None = None,
    timeout_s: float = 60.0,
) -> Examination:
    """Look at this machine and the project in the current folder; changes nothing, never raises.

    Args:
        required: What this machine is to be able to do.
        cache_dir: The engine cache; None for what the project says, else the user's.
        baseline_dir: The baselines; None for what the project says.
        timeout_s: Seconds that one question may take.
    """
    with ThreadPoolExecutor(len(MODULES) + 2) as pool:
        machine_asked = pool.submit(ask, _MACHINE, timeout_s=timeout_s)
        asked = {
            name: pool.submit(ask, _MODULE, timeout_s=timeout_s, module=name) for name in MODULES
        }
        project_asked = pool.submit(ask, _PROJECT, timeout_s=timeout_s)
        project = _project(project_asked.result())
        cache = cache_dir or Path(project.cache_dir or default_cache_dir())
        baselines = baseline_dir or Path(project.baseline_dir or _BASELINES)
        places = [
            pool.submit(ask, _CACHE, timeout_s=timeout_s, path=str(_absolute(cache))),
            pool.submit(ask, _BASELINE, timeout_s=timeout_s, path=str(_absolute(baselines))),
        ]
        machine = _machine(machine_asked.result())
        known = {name: _module(name, answer.result()) for name, answer in asked.items()}
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
    findings += requirement_findings(required, machine, findings, able)
    return Examination(tuple(findings), able)


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
        return machines.facts_from_json(answer.value)
    why = f"looking for GPUs {answer.problem}"
    return MachineFacts(DeviceProbe((), why), problem=why)


def _module(name: str, answer: Answer) -> ModuleFacts:
    if not answer.problem:
        return modules.facts_from_json(answer.value)
    return modules.installed_facts(name, answer.problem, timed_out=answer.timed_out)


def _project(answer: Answer) -> ProjectFacts:
    if answer.problem:
        return ProjectFacts(str(Path.cwd()), "", has_entry_point=False, starts=False)
    return ProjectFacts(**{**answer.value, "archs": tuple(answer.value.get("archs", ()))})


def _level(findings: Sequence[Finding], name: str) -> Level | None:
    return next((one.level for one in findings if one.name == name), None)


def _places(
    project: ProjectFacts, cache: Path, cached: Answer, baselines: Path, stored: Answer
) -> Iterator[Finding]:
    if cached.problem:
        yield unknown_place("cache", str(cache), cached.problem)
    else:
        facts = cache_from_json(cached.value)
        yield from cache_findings(facts, project.cache_max_bytes or DEFAULT_MAX_BYTES)
    if stored.problem:
        yield unknown_place("baselines", str(baselines), stored.problem)
    else:
        yield from baseline_findings(baselines_from_json(stored.value))
