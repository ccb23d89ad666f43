from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import quiet_host
from builders import images, save_linear
from builders_cli import run_command
from builders_model import model_proto, save, value
from onnx import TensorProto, helper

from pytest_trt.benchmark import sampling


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sampling, "ON_CPU", quiet_host.SOON)
    monkeypatch.chdir(tmp_path)
    save_linear(tmp_path / "linear.onnx")
    return tmp_path


def suggest(*args: str):
    given = ("--arch=cpu", "--cache-dir=cache", "--time=0.05")
    return run_command("suggest", "precision", "linear.onnx", *given, *args)


def save_operator(name: str, dtype: int) -> None:
    operator = "Log" if dtype == TensorProto.FLOAT else "Identity"
    sides = [[value(one, ["rows"], dtype)] for one in "xy"]
    node = helper.make_node(operator, ["x"], ["y"])
    save(model_proto([node], inputs=sides[0], outputs=sides[1]), Path(name))


def test_precisions_are_shown_and_written(folder: Path) -> None:
    np.savez(folder / "data.npz", image=images(), labels=np.zeros(3))
    (folder / "own.py").write_text(
        "def hits(outputs, arrays):\n    return arrays[0]['labels'].sum()"
    )
    done = suggest(
        *("--data=data.npz", "--precision=fp32", "--precision=fp16", "--metric=own:hits"),
        *("--html=p.html", "--markdown=p.md", "--builder-option=graph_optimization_level=basic"),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["precision", "rel."]
    assert "hits" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["fp32", "fp16"]
    assert "data: data.npz, 1 sample" in lines
    assert "builder options: graph_optimization_level=basic" in lines
    assert "is the fastest precision within tolerance" in done.stdout
    assert "<svg" in (folder / "p.html").read_text()
    assert "| P50 |" in (folder / "p.md").read_text()


def test_json_has_every_figure_and_status_1_says_that_none_is_accurate(folder: Path) -> None:
    args = ("--shape=image:2x8", "--precision=fp16", "--rtol=0", "--atol=1e-9", "--json")
    done = suggest(*args)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["source"] == "seeded inputs, which are not representative"
    (one,) = found["precisions"]
    assert one["passed"] is False
    assert one["p50_ms"] > 0


def test_dynamic_input_needs_a_shape(folder: Path) -> None:
    done = suggest()
    assert done.returncode == 2
    assert "--shape image:8x8" in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--shape=image",), "expected NAME:1x3x224x224"),
        (("--shape=imag:2x8",), "Did you mean 'image'?"),
        (("--shape=image:2x8", "--data=."), "--shape is for seeded inputs"),
        (("--time=nan",), "nan is not a finite number"),
        (("--time=0",), "'--time': 0.0 is not in the range"),
        (("--threads=-1",), "-1 is not in the range"),
        (("--backend=onnx",), "'onnx' is not one of 'auto', 'tensorrt'"),
        (("--builder-option=fast=1",), "unknown builder option 'fast'"),
        (("--builder-option=graph_optimization_level=3",), "graph_optimization_level"),
        (("--builder-option=block_size=six",), "block_size='six' is not a whole number"),
        (("--builder-option=per_channel=often",), "per_channel='often' is not True or False"),
        (("--metric=nowhere:f",), "No module named 'nowhere'"),
        (("--metric=json:nothing",), "json has no function 'nothing'"),
    ],
)
def test_what_cannot_be_used_is_refused(folder: Path, args: tuple[str, ...], says: str) -> None:
    done = suggest(*args)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("value", ["True", "true"])
def test_numbers_and_truth_values_of_builder_options_are_understood(folder: Path, value) -> None:
    options = (f"--builder-option=per_channel={value}", "--builder-option=block_size=64")
    done = suggest("--shape=image:2x8", "--precision=fp16", *options)
    assert done.returncode == 0, done.stderr
    assert "builder options: per_channel=True, block_size=64" in done.stdout.splitlines()


def test_inputs_that_cannot_be_generated_are_given_with_data(folder: Path) -> None:
    save_operator("text.onnx", TensorProto.STRING)
    done = run_command("suggest", "precision", "text.onnx", "--shape=x:2", "--cache-dir=cache")
    assert done.returncode == 2
    assert "Fix: Give real inputs with --data" in done.stderr


def test_without_elements_nothing_is_judged(folder: Path) -> None:
    done = suggest("--shape=image:0x8", "--precision=fp32")
    assert done.returncode == 1
    assert "fp32: nothing was compared: the outputs have no elements" in done.stdout
    assert "linear.onnx: nothing could be measured" in done.stdout


def test_fp32_that_is_not_finite_is_named(folder: Path) -> None:
    save_operator("log.onnx", TensorProto.FLOAT)
    np.savez(folder / "data.npz", x=np.float32([-1, 1]))
    args = ("log.onnx", "--data=data.npz", "--precision=fp32", "--time=0.05", "--cache-dir=cache")
    done = run_command("suggest", "precision", *args)
    assert done.returncode == 1
    assert "FP32 itself gives values that are not finite" in done.stdout


def test_metric_that_fails_is_shown_with_its_place(folder: Path) -> None:
    (folder / "failing.py").write_text("def hits(outputs, arrays):\n    return arrays[0]['label']")
    done = suggest("--precision=fp32", "--metric=failing:hits", "--shape=image:8x8")
    assert done.returncode == 2
    assert "--metric failing:hits: KeyError: 'label' (" in done.stderr
    assert "failing.py:2)" in done.stderr
