"""A builder that has built a plan waits for the next job; nobody waits for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from backends.lifeline import Lifeline

from pytest_trt.backends.tensorrt.build_job import BuildJob
from pytest_trt.backends.tensorrt.build_process import build_in_child
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.workers.warm import warm_builder


@pytest.fixture
def process_of(job: Callable[..., BuildJob]) -> Callable[..., int]:
    """Build, and return the number of the process that did."""

    def build(*commands: str, **options: object) -> int:
        built = build_in_child(
            job("process", *commands, **options), timeout_s=60, progress=lambda text: None
        )
        (line,) = (line for line in built.log_tail if "process " in line)
        return int(line.split()[-1])

    return build


def test_plans_in_a_row_are_built_by_one_process(process_of) -> None:
    assert process_of(name="a") == process_of(name="b") == process_of(name="c")


def test_every_build_has_its_own_log(process_of, job) -> None:
    process_of("log the first")
    second = build_in_child(job("log the second"), timeout_s=60, progress=lambda text: None)
    assert not [line for line in second.log_tail if "first" in line]
    assert [line for line in second.log_tail if "the second" in line]


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", ["exit 3", "kill", "raise strange", "segfault"])
def test_after_a_failure_another_process_builds(process_of, command: str) -> None:
    first = process_of()
    with pytest.raises(EngineBuildError):
        process_of(command)
    assert process_of() != first


def test_another_environment_takes_another_process(process_of, monkeypatch, lifeline) -> None:
    lifeline.read_without_waiting()
    first = process_of(f"hold {lifeline.path}")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert process_of() != first
    lifeline.wait_until_let_go()


def test_another_device_takes_another_process(process_of, fake_cuda) -> None:
    assert process_of(device=0) != process_of(device=1)


def test_one_that_was_killed_while_it_waited_is_not_missed(process_of) -> None:
    first = process_of()
    os.kill(first, signal.SIGKILL)
    assert process_of() != first


def test_threads_that_build_at_once_leave_one_that_waits(process_of, tmp_path) -> None:
    lifelines = [Lifeline(tmp_path / f"lifeline {number}") for number in range(4)]
    for lifeline in lifelines:
        lifeline.read_without_waiting()
    with ThreadPoolExecutor(4) as pool:
        builds = [
            pool.submit(process_of, f"hold {lifeline.path}", name=f"engine{number}")
            for number, lifeline in enumerate(lifelines)
        ]
    assert len({build.result() for build in builds}) >= 1
    warm_builder.end()
    for lifeline in lifelines:
        lifeline.wait_until_let_go()


def test_another_thread_takes_another_process(process_of) -> None:
    """Linux ends a process with the thread that started it, in the middle of another's build."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(process_of, name="a").result()
        assert pool.submit(process_of, name="b").result() == first
        assert process_of(name="c") != first


def test_a_forked_process_leaves_the_builder_to_the_one_before(process_of) -> None:
    first = process_of(name="a")
    child = os.fork()
    if child == 0:
        warm_builder.end()
        os._exit(0 if warm_builder.take(None) is None else 1)  # type: ignore[arg-type]
    assert os.waitpid(child, 0)[1] == 0
    assert process_of(name="b") == first


def test_one_that_waits_can_be_ended(process_of, lifeline: Lifeline) -> None:
    lifeline.read_without_waiting()
    process_of(f"hold {lifeline.path}")
    warm_builder.end()
    lifeline.wait_until_let_go()
    warm_builder.end()


def test_one_that_is_given_no_job_ends_by_itself(process_of, lifeline: Lifeline) -> None:
    lifeline.read_without_waiting()
    process_of("impatient", f"hold {lifeline.path}")
    lifeline.wait_until_let_go()


SCRIPT = """
import json, os, signal, sys
from pytest_trt.backends.tensorrt.build_job import BuildJob
from pytest_trt.backends.tensorrt.build_process import build_in_child
build_in_child(BuildJob.from_data(json.loads(sys.argv[1])), timeout_s=0, progress=lambda text: None)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
os.kill(os.getpid(), signal.Signals[sys.argv[2]])
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_one_that_waits_ends_with_the_process_that_started_it(
    job, lifeline: Lifeline, end: str
) -> None:
    lifeline.read_without_waiting()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(job(f"hold {lifeline.path}").to_data()), end],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode < 0
    lifeline.wait_until_let_go()
