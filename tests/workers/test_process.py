"""What a worker's parent learns of a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_trt.workers.process import Worker

SOURCE = """
from pathlib import Path
from pytest_trt.workers.child import serve

def main():
    serve(wait)

def wait(fifo, reporter):
    reporter.progress("waiting")
    return Path(fifo).read_text()
"""


def test_result_of_a_child_that_ends_while_elapsed_time_is_reported_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waiting.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reported: list[str] = []

    def let_it_end(text: str) -> None:
        reported.append(text)
        if reported[-2:-1] == ["waiting"]:
            fifo.write_text("result")
            while worker.is_alive:
                os.sched_yield()

    with Worker("waiting", task="waits") as worker:
        reply = worker.run(str(fifo), timeout_s=60, progress=let_it_end)
    assert (reply.is_done, reply.result) == (True, "result")
