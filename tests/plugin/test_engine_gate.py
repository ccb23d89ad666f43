"""Limits of the engine itself, with real engines of the embedded backend."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders_facts import made_of
from builders_networks import conv_net, saved
from onnx import ModelProto
from plugin.conftest import assert_shows
from plugin.test_benchmark import times
from quiet_host import BUSY, OVERLOADED

from pytest_trt.engine.facts import Layer
from pytest_trt.engine.layer_changes import layer_rows


def source(limits: str) -> str:
    """Return the source of a test of speed."""
    return (
        '@pytest.mark.trt_model("models/conv.onnx")\n'
        f"@pytest.mark.trt_benchmark({limits})\n"
        "def test_it(trt_benchmark, trt_inputs):\n    trt_benchmark(trt_inputs)\n"
    )


class Gate:
    """A project with one benchmark whose limits are of the engine alone."""

    def __init__(self, project: Any) -> None:
        self.project = project
        self.save(conv_net(batch=2))

    def run(self, limits: str, *args: str) -> pytest.RunResult:
        self.project.test_file(source(limits).replace("test_it", "test_speed"))
        if "p50" not in limits:  # nothing is judged by its rounds
            args = ("--trt-benchmark-time=0.1", *args)
        return self.project.run(*args)

    @property
    def file(self) -> Path:
        (file,) = self.project.path.glob("trt_baselines/*/*.json")
        return file

    def rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change what is stored of the one test."""
        content = json.loads(self.file.read_text())
        (entry,) = content["tests"].values()
        change(entry)
        self.file.write_text(json.dumps(content))

    def save(self, model: ModelProto) -> None:
        """Let this be the model under test."""
        saved(model, self.project.path / "models" / "conv.onnx")


@pytest.fixture
def gate(project) -> Gate:
    return Gate(project)


FIGURES = [
    ("plan_size_bytes=10_000_000", "passed"),
    ("plan_size_bytes=10", "failed"),
    ("max_layers=50", "passed"),
    ("max_layers=1", "failed"),
    ("build_s=600", "passed"),
    ("build_s=1e-9", "failed"),
    ("cold_start_s=600", "passed"),
    ("cold_start_s=1e-9", "failed"),
]


def test_figure_needs_no_baseline(gate, monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")
    cases: dict[str, Sequence[str]] = {}
    for limit, outcome in FIGURES:
        name = limit.partition("=")[0]
        failed = [
            "* exceeds the limit of * (conv.onnx, fp32, cpu) *",
            f"Fix: Make *er, or raise {name}= (trt_benchmark marker or *",
        ]
        cases[source(limit)] = failed if outcome == "failed" else ()
    result = gate.project.ends(cases, "--trt-benchmark-time=0.1")
    assert_shows(result, *(["speed * failed"] * 4), passed=4, failed=4)
    assert not list(gate.project.path.glob("trt_baselines"))


def test_cold_start_on_a_busy_host_is_inconclusive(gate) -> None:
    gate.project.host.load = OVERLOADED
    result = gate.run("cold_start_s=1e-9")
    assert_shows(result, "*cold_start_s is inconclusive: *TRT507*", f"*{BUSY}*", passed=1)
    result = gate.run("cold_start_s=1e-9", "--trt-inconclusive=fail")
    assert_shows(
        result, "cold_start_s is inconclusive: *", "Fix: Run again when the host is idle*", failed=1
    )


def test_exact_limits_fail_on_a_busy_host_too(gate) -> None:
    gate.project.host.load = OVERLOADED
    assert_shows(gate.run("max_layers=1"), "layers 5 exceeds the limit of 1 *TRT504]", failed=1)


@pytest.mark.exhaustive
def test_growth_is_compared_with_the_baseline(gate) -> None:
    gate.run('plan_size="5%"').assert_outcomes(passed=1)
    gate.run('plan_size="5%"').assert_outcomes(passed=1)
    gate.save(conv_net(batch=2, channels=32))
    assert_shows(
        gate.run('plan_size="5%"'),
        "plan size +*% over the baseline, limit 5% (conv.onnx, fp32, cpu) *",
        "  * bytes, * bytes more than the baseline's * bytes",
        "*plan size: failed, * bytes, baseline * bytes, limit +5%",
        "Fix: *accept it on the baseline's machine*",
        "    pytest test_it.py::test_speed --trt-update *",
        "speed  conv.onnx fp32 cpu  plan size * kB  +*% (limit 5%)  failed",
        failed=1,
    )
    gate.run('plan_size="5%"', "--trt-update").assert_outcomes(failed=1)
    accepted = ("--trt-update", "--trt-update-reason=twice the channels")
    gate.run('plan_size="5%"', *accepted).assert_outcomes(passed=1)
    gate.run('plan_size="5%"').assert_outcomes(passed=1)


def test_fusion_that_was_lost_is_named(gate) -> None:
    gate.run('layers="0%"').assert_outcomes(passed=1)

    def fuse(entry: dict[str, Any]) -> None:
        """Store an engine in which two of the layers were one."""
        first, second, *others = [row for row in entry["layers"] if row[2:]]
        entry["layers"] = [["Fused", first[1], *first[2:], *second[2:]], *others]
        entry["engine"]["layers"] -= 1

    gate.rewrite(fuse)
    assert_shows(
        gate.run('layers="0%"'),
        "layers +*% over the baseline, limit 0%*",
        "  *, 1 more than the baseline's *",
        "  layers since the baseline:",
        "    split: * + * -> 2 layers: * | *",
        failed=1,
    )


@pytest.mark.exhaustive
def test_regression_of_speed_names_the_layers_that_changed(gate) -> None:
    gate.run('p50="5%"').assert_outcomes(passed=1)

    def quicker(entry: dict[str, Any]) -> None:
        entry["engine"]["key"] = "0" * 64  # another engine, which is gone
        next(row for row in entry["layers"] if row[2:])[1] = "half"
        times(entry, 0.25)

    gate.rewrite(quicker)
    result = gate.run('p50="5%"')
    assert_shows(
        result, "P50 +*% over the baseline, limit *", "    precision: *, half -> float", failed=1
    )


def test_layers_come_from_the_cache_if_the_baseline_has_none(gate) -> None:
    gate.run('plan_size="5%"')
    gate.rewrite(lambda entry: entry.pop("layers"))
    larger = conv_net(batch=2, channels=32)
    larger.graph.node[0].name = "another"
    gate.save(larger)
    result = gate.run('plan_size="5%"')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["  layers since the baseline:", "    added: another *", "    removed: conv* (float)"]
    )


def test_engine_that_does_not_report_a_figure_is_inconclusive(gate) -> None:
    result = gate.run("device_memory_bytes=10, max_layers=50")
    assert_shows(result, "*device_memory_bytes is not measured: *", "*this engine *", passed=1)
    result = gate.run("device_memory_bytes=10", "--trt-inconclusive=fail")
    assert_shows(result, "device_memory_bytes is not measured*", "Fix: Switch*", failed=1)


def test_baseline_without_a_figure_that_is_limited_is_not_comparable(gate) -> None:
    gate.run('layers="0%"')
    gate.rewrite(lambda entry: entry["engine"].pop("layers"))
    gate.run('plan_size="5%"').assert_outcomes(passed=1)
    result = gate.run('layers="0%"')
    assert_shows(result, "*it lacks the figure that layers limits (layers)*TRT661*", failed=1)
    gate.run('layers="0%"', "--trt-update").assert_outcomes(passed=1)
    gate.run('layers="0%"').assert_outcomes(passed=1)


def test_exact_limits_in_the_ini_file_give_way_to_the_marker(gate) -> None:
    gate.project.pytester.makeini("[pytest]\ntrt_limits =\n    fp32: max_layers=1\n")
    assert_shows(gate.run(""), "layers 5 exceeds the limit of 1 *TRT504]", failed=1)
    gate.run("max_layers=50").assert_outcomes(passed=1)
    gate.run('max_layers="off", p50="90%"').assert_outcomes(passed=1)


def test_baseline_has_a_line_for_each_layer(gate) -> None:
    gate.run('layers="0%"')
    lines = gate.file.read_text().splitlines()
    start = lines.index('      "layers": [')
    rows = [json.loads(line.rstrip(",")) for line in lines[start + 1 : lines.index("      ],")]]
    (entry,) = json.loads(gate.file.read_text())["tests"].values()
    assert rows == entry["layers"]
    assert len(rows) == entry["engine"]["layers"]


def test_rows_are_of_layers_and_not_of_their_names() -> None:
    layer = Layer("__myl_7", "gemm", None, ("a", "b"))
    assert layer_rows([layer, replace(layer, name="x")]) == (("gemm", "", "a", "b"),) * 2
    assert layer_rows(None) == ()


def test_engine_of_too_many_layers_to_be_reviewed_stores_none() -> None:
    layers = made_of(("half", {})).layers or ()
    assert len(layer_rows(layers * 200)) == 200
    assert layer_rows(layers * 201) == ()
    nodes = tuple(f"n{number}" for number in range(1001))
    assert layer_rows([replace(layers[0], origins=nodes)]) == ()
