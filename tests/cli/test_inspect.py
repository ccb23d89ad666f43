from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from builders import save_linear
from builders_cli import run_command
from click.testing import CliRunner
from onnx import TensorProto, helper

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.cli import commands
from pytest_trt.diagnostics import CacheError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model


def call(file: Path, *options: str) -> str:
    result = CliRunner().invoke(commands, ["inspect", str(file), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_model_is_shown_with_a_profile_to_start_from(tmp_path: Path) -> None:
    output = call(save_linear(tmp_path / "linear.onnx"))
    assert "image: float32[batch, 8]" in output
    assert "probs: float32[batch, 4]" in output
    assert "1 MatMul" in output
    assert 'profiles={"image": ((1, 8), ' in output


def test_sizes_of_dimensions_without_a_name_are_shown_as_guesses(tmp_path: Path) -> None:
    shapes = {"input": [None, None], "state": [2, None, 128]}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    nodes = [helper.make_node("Identity", [one], [f"{one}_"]) for one in shapes]
    outputs = [
        helper.make_tensor_value_info(f"{n}_", TensorProto.FLOAT, s) for n, s in shapes.items()
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs))
    onnx.save(model, tmp_path / "m.onnx")
    output = call(tmp_path / "m.onnx")
    assert '"state": ((2, 1, 128), ' in output  # the batch, as of the other input
    assert "sizes of dimensions without a name are guesses" in output
    assert "guesses" not in call(save_linear(tmp_path / "linear.onnx"))


def test_model_of_fixed_shapes_needs_no_profile(tmp_path: Path) -> None:
    assert "profiles=" not in call(save_linear(tmp_path / "linear.onnx", batch=4))


def test_plan_is_shown_by_its_header(tmp_path: Path) -> None:
    plan = tmp_path / "engine.plan"
    header = b"ftrt" + (0).to_bytes(4, "little") + (1).to_bytes(8, "little")
    plan.write_bytes(header + (40).to_bytes(8, "little") + bytes([8, 6, 1, 6]) + bytes(12))
    output = call(plan)
    assert "TensorRT 8.6.1.6 plan" in output
    assert "there is no engine.sealed next to the plan" in output


def cached(tmp_path: Path, precision: str) -> Path:
    """Build an engine into a cache, and return its plan."""
    backend = OnnxRuntimeBackend()
    engine = build_or_load(
        model=load_model(save_linear(tmp_path / "linear.onnx")),
        spec=EngineSpec(precision),
        target=backend.target("cpu"),
        backend=backend,
        cache=EngineCache(tmp_path / "cache"),
    )
    return engine.plan


def test_cached_plan_is_shown_with_its_precisions(tmp_path: Path) -> None:
    output = call(cached(tmp_path, "fp16"))
    assert "ONNX Runtime engine" in output
    assert "  weights   100% half\n" in output
    assert "  layers    6, 100% half\n" in output
    assert "  model     linear.onnx\n" in output
    assert "  precision: fp16\n" in output


def test_layers_are_listed_only_when_they_are_requested(tmp_path: Path) -> None:
    plan = cached(tmp_path, "fp16")
    rows = [line.split() for line in call(plan, "--layers").splitlines()]
    assert ["product", "MatMul", "half", "32", "half"] in rows
    assert "MatMul" not in call(plan)


def test_layers_of_a_plan_that_is_not_cached_are_an_error(tmp_path: Path) -> None:
    file = save_linear(tmp_path / "linear.onnx")
    result = CliRunner().invoke(commands, ["inspect", str(file), "--layers"])
    assert isinstance(result.exception, CacheError)
    assert result.exception.diagnostic.remedy.commands == ("pytest-trt cache list",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"plain text, no model", "is a text file"),
        ("model.onnx", b"", "is empty"),
        ("engine.plan", b"ftrt", "is truncated"),
        ("engine.plan", b"", "truncated"),
        ("none.onnx", None, "does not exist"),
    ],
)
def test_what_is_neither_is_an_error_on_standard_error(
    tmp_path: Path, monkeypatch, name: str, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run_command("inspect", name)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Fix: " in done.stderr
