"""Commands that run a test: `tune` and `suggest tolerance`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders import save_linear
from builders_cli import run_command
from builders_sensitive import save_large_constant

from pytest_trt.engine.cache import EngineCache

TEST = """
import numpy as np
import pytest

@pytest.mark.trt_model("linear.onnx", precision="fp16")
@pytest.mark.trt_consistency(rtol=0.0, atol=0.0)
def test_it(trt_session):
    trt_session.run({"image": np.random.default_rng(0).normal(size=(4, 8)).astype("float32")})

def test_without_an_engine():
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_linear(tmp_path / "linear.onnx")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (tmp_path / "test_own.py").write_text(TEST)
    return tmp_path


def command(*args: str):
    return run_command(*args, "--trt-arch=cpu", "--trt-cache-dir=cache")


def test_proposed_tolerances_are_written_and_pass_afterwards(folder: Path) -> None:
    done = command("suggest", "tolerance", "test_own.py", "--write")
    assert done.returncode == 0, done.stderr
    assert "--- test_own.py" in done.stdout
    assert done.stdout.splitlines()[-1] == "wrote test_own.py"
    written = (folder / "test_own.py").read_text()
    assert 'outputs={"logits": {"rtol": ' in "".join(written.split("\n        "))
    (folder / "test_written.py").write_text(written)  # this process has imported the other one
    again = command("tune", "test_written.py", "--precision=fp16", "--json")
    assert again.returncode == 0, again.stderr
    (found,) = json.loads(again.stdout)
    assert found["search"]["outcome"] == "passes"


def test_what_the_last_run_measured_and_its_report_stay(folder: Path) -> None:
    with (folder / "pytest.ini").open("a") as ini:
        ini.write("trt_report = report.json\ntrt_against = both\n")
    options = ("--trt-arch=cpu", "--trt-cache-dir=cache", "-pno:cacheprovider")
    pytest_run = [sys.executable, "-m", "pytest", "test_own.py", *options]
    assert subprocess.run(pytest_run, check=False, capture_output=True).returncode == 1
    last_runs = EngineCache(folder / "cache").last_runs
    before = {path: path.read_bytes() for path in (folder / "report.json", *last_runs.iterdir())}
    assert len(before) >= 3
    assert command("suggest", "tolerance", "test_own.py::test_it").returncode == 0
    assert {path: path.read_bytes() for path in before} == before


def test_nothing_is_written_unless_it_is_asked_for(folder: Path) -> None:
    done = command("suggest", "tolerance", "test_own.py::test_it", "--json", "--margin=3")
    (found,) = json.loads(done.stdout)
    assert [one["output"] for one in found["outputs"]] == ["logits", "probs"]
    assert (folder / "test_own.py").read_text() == TEST


def test_proposals_for_a_marker_that_cannot_be_edited_are_shown_to_be_typed(folder: Path) -> None:
    source = TEST.replace("@pytest.mark.trt_consistency(rtol=0.0, atol=0.0)", "@MARK").replace(
        "@pytest.mark.trt_model",
        'MARK = pytest.mark.trt_consistency(metrics={"snr_db": ">= 1"})\n\n@pytest.mark.trt_model',
    )
    (folder / "test_mark.py").write_text(source)
    done = command("suggest", "tolerance", "test_mark.py::test_it")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^  snr_db of logits, fp16: >= \S+ \(now >= 1; worst of 1 run: \S+\)$", done.stdout, re.M
    )
    *_, refused, arguments = done.stdout.splitlines()
    assert refused == (
        "The marker of test_mark.py::test_it was not edited: trt_consistency is not written at the "
        "test, its class or its module. Its arguments:"
    )
    (folder / "test_typed.py").write_text(
        source.replace("@MARK", f"@pytest.mark.{arguments.strip()}")
    )
    again = command("tune", "test_typed.py", "--precision=fp16")
    assert "passes already" in again.stdout


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("tune", "test_own.py", "--precision=int8"), "ran no int8 engine"),
        (("tune", "test_none.py", "--precision=fp16"), "Fix: Correct what pytest reports above"),
        (("suggest", "tolerance", "test_own.py::test_without_an_engine"), "ran no engine"),
    ],
)
def test_a_run_without_an_engine_to_measure_is_an_error(folder: Path, args, message: str) -> None:
    done = command(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "[TRT450]" in done.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("args", [("suggest", "tolerance"), ("tune", "--precision=fp16")])
def test_runs_of_a_test_that_failed_halfway_show_nothing(folder: Path, args) -> None:
    (folder / "test_half.py").write_text(TEST.replace("def test_w", "    assert 0\n\ndef test_w"))
    both = command(*args, "test_half.py", "test_own.py")
    assert both.returncode == 1, both.stderr
    assert "test_half.py::test_it" in both.stderr.splitlines()[-1]
    assert both.stderr.splitlines()[-1].endswith("failed: assert 0")
    assert "test_own.py::test_it" in both.stdout
    assert "test_half.py" not in both.stdout
    alone = command(*args, "test_half.py")
    assert alone.returncode == 2
    assert "assert 0 [TRT450]" in alone.stderr


def test_what_has_to_stay_in_fp32_is_shown_as_the_argument_to_type(folder: Path) -> None:
    save_large_constant(folder / "linear.onnx")
    source = TEST.replace("rtol=0.0, atol=0.0", "rtol=0.02, atol=0.02")
    (folder / "test_tuned.py").write_text(source)
    tuned = command("tune", "test_tuned.py", "--precision=fp16", "--no-trade-off", "--html=t.html")
    assert tuned.returncode == 0, tuned.stderr
    *_, advice, argument, wrote = map(str.strip, tuned.stdout.splitlines())
    assert (advice, wrote) == ("Fix: give trt_model this argument:", "wrote t.html")
    (folder / "test_kept.py").write_text(source.replace('"fp16"', f'"fp16", {argument}'))
    kept = command("tune", "test_kept.py", "--precision=fp16")
    assert "passes already" in kept.stdout


def test_data_that_cannot_be_read_proposes_nothing(folder: Path) -> None:
    (folder / "data.npz").write_text("text")
    done = command("suggest", "tolerance", "test_own.py", "--data=data.npz")
    assert done.returncode == 2
    assert "the data data.npz cannot be read" in done.stderr
    assert not done.stdout


def test_a_time_limit_of_nothing_is_refused(folder: Path) -> None:
    done = command("tune", "test_own.py", "--precision=int8", "--timeout=0")
    assert done.returncode == 2
    assert "--timeout" in done.stderr
