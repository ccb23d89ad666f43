"""Collecting facts: nothing here starts a process."""

from __future__ import annotations

from typing import Any

import pytest
from builders_doctor import NO_GPU, module

from pytest_trt.benchmark.host import HostLoad
from pytest_trt.doctor.examine import examine
from pytest_trt.doctor.finding import Examination, Level
from pytest_trt.doctor.requirements import parse_requirements
from pytest_trt.records import to_data
from pytest_trt.workers.question import Answer

BUSY = HostLoad(elapsed_s=1.5, waited_s=1.2, others_s=2.8, cores=2)
IDLE = HostLoad(elapsed_s=1.5, cores=2)


class Questions:
    """Answers by the name of the called function; the others time out."""

    def __init__(self, load: Answer) -> None:
        self.names: list[str] = []
        self._load = load

    def __call__(self, name: str, *, timeout_s: float, **arguments: Any) -> Answer:
        self.names.append(name)
        if name == "pytest_trt.doctor.host:host_load_data":
            return self._load
        if name == "pytest_trt.doctor.machine:machine_facts_data":
            return Answer(to_data(NO_GPU))
        if name == "pytest_trt.doctor.modules:imported_facts":
            version = "1.32.0" if arguments["module"] == "onnxruntime" else ""
            return Answer(to_data(module(arguments["module"], version)))
        return Answer(problem="gives no answer within 60 s", timed_out=True)


def examined(load: Answer, *required: str) -> tuple[Examination, Questions]:
    questions = Questions(load)
    return examine(parse_requirements(required), question=questions), questions


@pytest.mark.parametrize(
    ("load", "level", "code"),
    [
        (Answer(to_data(IDLE)), Level.OK, ""),
        (Answer(to_data(BUSY)), Level.ERROR, "TRT740"),
        (Answer(problem="crashes Python (SIGSEGV)"), Level.ERROR, "TRT772"),
    ],
    ids=["idle", "overloaded", "unknown"],
)
def test_speed_on_a_machine_without_a_gpu_depends_on_the_host(load, level, code) -> None:
    examination, questions = examined(load, "speed")
    (found,) = [one for one in examination.findings if one.name == "speed"]
    assert (found.level, found.code) == (level, code)
    # After all others, so that they are not part of the load.
    assert questions.names[-1] == "pytest_trt.doctor.host:host_load_data"


def test_the_load_is_measured_only_if_speed_is_required() -> None:
    _, questions = examined(Answer(to_data(BUSY)), "cpu")
    assert "pytest_trt.doctor.host:host_load_data" not in questions.names


def test_what_gives_no_answer_is_a_finding() -> None:
    examination, _ = examined(Answer(to_data(IDLE)))
    errors = {one.name: one.code for one in examination.findings if one.level is Level.ERROR}
    assert errors == {"plugin": "TRT770", "cache": "TRT760", "baselines": "TRT760"}
    assert examination.exit_status == 1
