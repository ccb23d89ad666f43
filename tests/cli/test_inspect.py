from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builders import save_linear
from click.testing import CliRunner

from pytest_trt.cli import commands


def call(file: Path) -> str:
    result = CliRunner().invoke(commands, ["inspect", str(file)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_model_is_shown_with_a_profile_to_start_from(tmp_path: Path) -> None:
    output = call(save_linear(tmp_path / "linear.onnx"))
    assert "image: float32[batch, 8]" in output
    assert "probs: float32[batch, 4]" in output
    assert "1 MatMul" in output
    assert 'profiles={"image": ((1, 8), ' in output


def test_model_of_fixed_shapes_needs_no_profile(tmp_path: Path) -> None:
    assert "profiles=" not in call(save_linear(tmp_path / "linear.onnx", batch=4))


def test_plan_is_shown_by_its_header(tmp_path: Path) -> None:
    plan = tmp_path / "engine.plan"
    header = b"ftrt" + (0).to_bytes(4, "little") + (1).to_bytes(8, "little")
    plan.write_bytes(header + (40).to_bytes(8, "little") + bytes([8, 6, 1, 6]) + bytes(12))
    output = call(plan)
    assert "TensorRT 8.6.1.6 plan" in output
    assert "no engine.json lies beside the plan" in output


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.onnx", b"plain text, no model", "is a text file"),
        ("model.onnx", b"", "is empty"),
        ("engine.plan", b"ftrt", "is truncated"),
        ("engine.plan", b"", "truncated"),
        ("none.onnx", None, "does not exist"),
    ],
)
def test_what_is_neither_is_an_error_on_standard_error(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", "from pytest_trt.cli import main; main()", "inspect", name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert "Fix: " in done.stderr
    assert "Traceback" not in done.stderr
