from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders_baseline import save_baselines, stored, stored_run

from pytest_trt.baseline.checks import CALLS_OF_METRIC, MODES
from pytest_trt.baseline.entry import StoredNoise
from pytest_trt.baseline.file import read_baselines
from pytest_trt.diagnostics import BaselineError
from pytest_trt.statistics.rounds import GROUP_CALLS
from pytest_trt.terms import METRICS
from pytest_trt.terms import MODES as KNOWN_MODES

Change = Callable[[dict[str, Any]], object]


def broken(tmp_path: Path, change: Change) -> BaselineError:
    """What is said of a file of which one entry was changed; the file itself stays as it is."""
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


def run(change: Change) -> Change:
    return lambda entry: change(entry["runs"][0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rounds(lambda r: r.update(throughput=[])), "runs[0].rounds.throughput is empty"),
        (rounds(lambda r: r.pop("throughput")), "runs[0].rounds.throughput is missing"),
        (rounds(lambda r: r.pop("p99")), "runs[0].rounds.p99 is missing"),
        (rounds(lambda r: r.update(p50="fast")), "runs[0].rounds.p50 is 'fast', not a list"),
        (rounds(lambda r: r["p50"].__setitem__(3, None)), "rounds.p50[3] is None, not a positive"),
        (rounds(lambda r: r["p50"].__setitem__(3, 0)), "rounds.p50[3] is 0, not a positive number"),
        (rounds(lambda r: r["p50"].__setitem__(0, float("nan"))), "rounds.p50[0] is nan, not a"),
        (rounds(lambda r: r["p50"].pop()), "rounds have different numbers of rounds: 19 of p50"),
        (rounds(lambda r: r.update(p999=[1.0])), "rounds.p999 is none of p50"),
        (lambda e: e.update(accepted={"p50": 0}), "accepted.p50 is 0, not a positive number"),
        (lambda e: e.update(accepted=[]), "accepted is [], not an object"),
        (run(lambda r: r.pop("rounds")), "runs[0].rounds is missing"),
        (run(lambda r: r.update(calls=0)), "runs[0].calls is 0, not 1 or more"),
        (run(lambda r: r.update(calls=True)), "runs[0].calls is True, not a whole number"),
        (run(lambda r: r.update(recorded="yesterday")), "runs[0].recorded is 'yesterday', not a"),
        (run(lambda r: r.update(recorded="2026-11-01")), "not a date and time with its zone"),
        (run(lambda r: r.update(reason=None)), "runs[0].reason is None, not a text"),
        (lambda e: e.update(runs=[]), "runs is empty"),
        (lambda e: e["runs"].append(7), "runs[1] is not an object"),
        (lambda e: e.update(mode="fast"), "mode is 'fast', not one of graph, enqueue, end_to_end"),
        (lambda e: e.pop("spec"), "spec is missing"),
        (lambda e: e.update(engine=[]), "engine is [], not an object"),
        (lambda e: e["engine"].update(size_bytes="53 MB"), "engine.size_bytes is '53 MB', not a"),
        (lambda e: e.update(layers={}), "layers is {}, not a list"),
        (lambda e: e.update(layers=[["Conv", "fp16"], "Relu"]), "layers[1] is 'Relu', not a list"),
        (lambda e: e["noise"].pop("placement"), "noise.placement is missing"),
        (lambda e: e["noise"]["between_runs"].update(p50=-1), "noise.between_runs.p50 is -1, not"),
    ],
)
def test_broken_entry_is_an_error_that_names_test_and_field(tmp_path, change, said) -> None:
    error = broken(tmp_path, change)
    assert "of the test 'test_a', " in error.message
    assert said in error.message


def test_entry_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = save_baselines(tmp_path, {"test_a": stored()})
    content = json.loads(path.read_text())
    content["tests"]["test_a"] = 5
    path.write_text(json.dumps(content))
    with pytest.raises(BaselineError, match="of the test 'test_a', its content is not an object"):
        read_baselines(path)


def test_what_is_said_to_type_sets_a_broken_file_aside(tmp_path: Path) -> None:
    path = save_baselines(tmp_path / "a folder", {"test_a": stored()})
    path.write_text("{")
    with pytest.raises(BaselineError) as caught:
        read_baselines(path)
    move = next(part for part in caught.value.fix.split("`") if part.startswith("mv "))
    subprocess.run(shlex.split(move), check=True)
    assert read_baselines(path) is None
    assert path.with_name(f"{path.name}.broken").read_text() == "{"


def test_short_rounds_need_no_tails(tmp_path: Path) -> None:
    full = stored_run().rounds
    short = stored_run(calls=7, rounds={m: full[m] for m in ("p50", "throughput")})
    path = save_baselines(tmp_path, {"test_a": stored(short)})
    assert read_baselines(path) is not None


def test_averages_of_another_timer_tell_throughput_alone(tmp_path: Path) -> None:
    only = stored_run(rounds={"throughput": stored_run().rounds["throughput"]})
    timed = stored(only, spec={"timer": "pytest-benchmark, time.perf_counter"})
    assert read_baselines(save_baselines(tmp_path, {"test_a": timed})) is not None
    with pytest.raises(BaselineError, match=r"runs\[0\].rounds.p50 is missing"):
        read_baselines(save_baselines(tmp_path, {"test_a": stored(only)}))


def test_metrics_and_modes_are_those_that_are_decided_on() -> None:
    assert set(CALLS_OF_METRIC) == set(METRICS)
    assert {m: n for m, n in CALLS_OF_METRIC.items() if n > 1} == GROUP_CALLS
    assert MODES == KNOWN_MODES
