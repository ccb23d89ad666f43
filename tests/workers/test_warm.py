"""A worker that waits for its next job, and is not ready for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.workers.process import Worker
from pytest_trt.workers.warm import WarmBuilder

SOURCE = """
import os, signal
from pytest_trt.workers.child import serve

RESTS = {"hang": signal.pause, "end": lambda: os._exit(3), "nothing": lambda: None}

def main():
    serve(lambda job, reporter: job, once=False, rest=RESTS["REST"])
"""


@pytest.mark.parametrize("rest", ["hang", "end", "nothing"])
def test_what_it_does_between_jobs_is_not_blamed_on_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    (tmp_path / f"rests_{rest}.py").write_text(SOURCE.replace('REST"', f'{rest}"'))
    monkeypatch.syspath_prepend(tmp_path)
    warm = WarmBuilder()
    _, first = warm.run(
        "it",
        lambda: Worker(f"rests_{rest}", task="rests"),
        "first",
        timeout_s=60,
        progress=lambda text: None,
    )
    assert first.result == "first"
    limit_s = 0.1 if rest == "hang" else 60
    second = warm.run_waiting("it", "second", timeout_s=limit_s, progress=lambda text: None)
    assert (second is None) == (rest != "nothing")
    assert second is None or second[1].result == "second"
    warm.end()
