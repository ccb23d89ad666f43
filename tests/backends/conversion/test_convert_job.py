"""Conversions in the child process give what they give here."""

from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import pytest
from builders import images, save_linear

from pytest_trt.backends.conversion.convert_job import convert_isolated
from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, OptionValue, Target
from pytest_trt.onnx.file import load_model

SAMPLES = ({"image": images(4)}, {"image": images(2)})


@pytest.mark.parametrize(
    ("precision", "options", "kept"),
    [("fp16", {}, ("Softmax",)), ("int8", {"per_channel": False}, ())],
)
def test_a_conversion_in_the_child_process_writes_the_same_file(
    precision: str, options: dict[str, OptionValue], kept: tuple[str, ...], tmp_path: Path
) -> None:
    model = load_model(save_linear(tmp_path / "linear.onnx"))
    here, there = tmp_path / "here.onnx", tmp_path / "plan" / "there.onnx"
    there.parent.mkdir()
    if precision == "fp16":
        expected = to_narrow(model, here, FLOAT16, keep_fp32=kept)
    else:
        expected = to_int8(model, SAMPLES, here, options=options)
    steps: list[str] = []
    request = BuildRequest(
        model,
        EngineSpec(precision, keep_fp32=kept),
        Target("sm86"),
        there.parent,
        SAMPLES,
        steps.append,
    )
    assert convert_isolated(request, precision, there, options, timeout_s=60) == expected
    assert there.read_bytes() == here.read_bytes()
    assert list(there.parent.iterdir()) == [there]
    assert f"converting linear.onnx to {precision}" in steps


def test_a_refused_conversion_is_the_same_error(tmp_path: Path) -> None:
    proto = networks.model(
        [networks.onnx.helper.make_node("Not", ["x"], ["y"])],
        [networks.value("x", [2], 9)],
        [networks.value("y", [2], 9)],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    request = BuildRequest(model, EngineSpec("fp16"), Target("sm86"), tmp_path)
    with pytest.raises(EngineBuildError, match="no float32 values to convert") as caught:
        convert_isolated(request, "fp16", tmp_path / "out.onnx", {}, timeout_s=60)
    assert caught.value.diagnostic.code == "TRT355"
