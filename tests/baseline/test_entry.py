from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders_baseline import save_baselines, stored, stored_run

from pytest_trt.baseline.entry import CALLS_NEEDED, FEWEST_CALLS, StoredNoise
from pytest_trt.baseline.file import read_baselines
from pytest_trt.diagnostics import BaselineError
from pytest_trt.files import LFS_POINTER
from pytest_trt.records import RecordError
from pytest_trt.statistics.rounds import FEWEST_CALLS as FEWEST_OF_ROUNDS
from pytest_trt.statistics.rounds import GROUP_CALLS

Change = Callable[[dict[str, Any]], object]


def broken(tmp_path: Path, change: Change) -> BaselineError:
    """Return the error of a file in which one entry was changed; the file is left unchanged."""
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.002, {"p50": 0.003})
    path = save_baselines(tmp_path, {"test_a": stored(noise=noise), "test_b": stored()})
    content = json.loads(path.read_text())
    change(content["tests"]["test_a"])
    text = json.dumps(content)
    path.write_text(text)
    with pytest.raises(BaselineError) as caught:
        read_baselines(path)
    assert str(path) in caught.value.message
    assert path.read_text() == text
    return caught.value


def rounds(change: Change) -> Change:
    return lambda entry: change(entry["runs"][0]["rounds"])


def in_microseconds(of_run: dict[str, Any]) -> None:
    for metric in ("p50", "p95", "p99"):
        of_run[metric] = [1e3 * value for value in of_run[metric]]


def run(change: Change) -> Change:
    return lambda entry: change(entry["runs"][0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rounds(lambda r: r.update(throughput=[])), "runs[0].rounds.throughput: empty"),
        (rounds(lambda r: r.pop("throughput")), "runs[0].rounds.throughput: missing"),
        (rounds(lambda r: r.pop("p99")), "runs[0].rounds.p99: missing"),
        (
            rounds(lambda r: r.update(p50="fast")),
            "runs[0].rounds.p50: expected a list, found 'fast'",
        ),
        (
            rounds(lambda r: r["p50"].__setitem__(3, None)),
            "runs[0].rounds.p50[3]: expected a number, found None",
        ),
        (
            rounds(lambda r: r["p50"].__setitem__(3, 0)),
            "runs[0].rounds.p50[3]: expected a positive number",
        ),
        (
            rounds(lambda r: r["p50"].__setitem__(0, float("nan"))),
            "runs[0].rounds.p50[0]: expected a finite number, found nan",
        ),
        (
            rounds(lambda r: r.update(p50=[1e3 * one for one in r["p50"]])),
            "runs[0].rounds.p95[0]: expected ",
        ),
        (
            rounds(lambda r: r["p99"].__setitem__(5, 0.1)),
            "runs[0].rounds.p99[5]: expected ",
        ),
        (
            lambda entry: (entry["spec"].update(batch="1"), rounds(in_microseconds)(entry)),
            "runs[0].rounds.p50: expected at most 1 ms, which fits 2000 items per second ",
        ),
        (
            rounds(lambda r: r["p50"].pop()),
            "runs[0].rounds: expected as many rounds of every metric, found 19 of p50",
        ),
        (rounds(lambda r: r.pop("p50")), "runs[0].rounds.p50: missing"),
        (rounds(lambda r: r.update(p999=[1.0])), "runs[0].rounds.p999: expected one of p50"),
        (
            lambda e: e.update(accepted={"p50": 0}),
            "accepted.p50: expected a positive number, found 0",
        ),
        (lambda e: e.update(accepted=[]), "accepted: expected an object, found []"),
        (run(lambda r: r.pop("rounds")), "runs[0].rounds: missing"),
        (run(lambda r: r.update(calls=4)), "runs[0].calls: expected 5 or more, found 4"),
        (run(lambda r: r.update(calls=True)), "runs[0].calls: expected int, found True"),
        (
            run(lambda r: r.update(recorded="yesterday")),
            "runs[0].recorded: expected a date and time with its zone, found 'yesterday'",
        ),
        (
            run(lambda r: r.update(recorded="2026-11-01")),
            "runs[0].recorded: expected a date and time",
        ),
        (run(lambda r: r.update(reason=None)), "runs[0].reason: expected str, found None"),
        (lambda e: e.update(runs=[]), "runs: empty"),
        (lambda e: e["runs"].append(7), "runs[1]: expected an object, found 7"),
        (
            lambda e: e.update(mode="fast"),
            "mode: expected one of graph, enqueue, end_to_end, found 'fast'",
        ),
        (lambda e: e.pop("spec"), "spec: missing"),
        (lambda e: e.update(engine=[]), "engine: expected an object, found []"),
        (
            lambda e: e["engine"].update(size_bytes="53 MB"),
            "engine.size_bytes: expected a count, found '53 MB'",
        ),
        (lambda e: e.update(layers={}), "layers: expected a list, found {}"),
        (
            lambda e: e.update(layers=[["Conv", "fp16"], "Relu"]),
            "layers[1]: expected a list, found 'Relu'",
        ),
        (
            lambda e: e.update(layers=[["Conv", "fp16"], ["Relu"]]),
            "layers[1]: expected a kind and a precision",
        ),
        (lambda e: e.update(model="x"), "model: unknown field"),
        (lambda e: e["noise"].pop("placement"), "noise.placement: missing"),
        (
            lambda e: e["noise"]["between_runs"].update(p50=-1),
            "noise.between_runs.p50: expected a positive number",
        ),
    ],
)
def test_broken_entry_is_an_error_that_names_test_and_field(tmp_path, change, said) -> None:
    error = broken(tmp_path, change)
    assert f"tests.test_a.{said}" in error.message
    assert error.diagnostic.code == "TRT602"


def test_git_lfs_pointer_is_downloaded_and_not_restored(tmp_path: Path) -> None:
    path = save_baselines(tmp_path, {"test_a": stored()})
    path.write_bytes(LFS_POINTER)
    with pytest.raises(BaselineError) as caught:
        read_baselines(path)
    assert "it is a Git LFS pointer" in str(caught.value)
    assert caught.value.diagnostic.remedy.commands == ("git lfs pull",)


def test_entry_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = save_baselines(tmp_path, {"test_a": stored()})
    content = json.loads(path.read_text())
    content["tests"]["test_a"] = 5
    path.write_text(json.dumps(content))
    with pytest.raises(BaselineError, match=r"tests\.test_a: expected an object, found 5"):
        read_baselines(path)


def test_the_printed_command_sets_a_broken_file_aside(tmp_path: Path) -> None:
    path = save_baselines(tmp_path / "a folder", {"test_a": stored()})
    path.write_text("{")
    with pytest.raises(BaselineError) as caught:
        read_baselines(path)
    move = caught.value.diagnostic.remedy.commands[0]
    subprocess.run(shlex.split(move), check=True)
    assert read_baselines(path) is None
    assert path.with_name(f"{path.name}.broken").read_text() == "{"


def test_short_rounds_need_no_tails(tmp_path: Path) -> None:
    full = stored_run().rounds
    short = stored_run(calls=7, rounds={m: full[m] for m in ("p50", "throughput")})
    path = save_baselines(tmp_path, {"test_a": stored(short)})
    assert read_baselines(path) is not None


def test_averages_of_another_timer_report_throughput_alone(tmp_path: Path) -> None:
    only = stored_run(rounds={"throughput": stored_run().rounds["throughput"]})
    timed = stored(only, spec={"timer": "pytest-benchmark, time.perf_counter"})
    assert read_baselines(save_baselines(tmp_path, {"test_a": timed})) is not None
    with pytest.raises(RecordError, match=r"runs\[0\].rounds.p50: missing"):
        stored(only)


def test_metrics_that_are_needed_are_those_that_rounds_have() -> None:
    assert (CALLS_NEEDED, FEWEST_CALLS) == (GROUP_CALLS, FEWEST_OF_ROUNDS)
