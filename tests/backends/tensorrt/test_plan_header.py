from __future__ import annotations

import json
import struct
from pathlib import Path

import builders_networks as networks
import pytest

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend
from pytest_trt.backends.tensorrt.plan_header import PlanHeader, parse_plan_header, read_plan_header
from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec, Target


def tensorrt_plan(body: bytes = b"layers", **fields: int) -> bytes:
    """A plan as TensorRT 8.6.1.6 starts it."""
    size_bytes = fields.get("size_bytes", 28 + len(body))
    layout = fields.get("layout", 0)
    return struct.pack("<4sIQQ4B", b"ftrt", layout, 1, size_bytes, 8, 6, 1, 6) + body


@pytest.fixture(scope="module")
def rtx_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan that TensorRT-RTX really built, for sm86."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    folder = tmp_path_factory.mktemp("rtx")
    model = networks.saved(networks.conv_net(batch=2), folder / "model.onnx")
    built = TensorRtRtxBackend(DeviceProbe((), "none")).build(
        BuildRequest(model, EngineSpec(), Target("sm86"), folder)
    )
    return folder / built.plan_name


def test_a_plan_of_tensorrt_reports_version_and_size() -> None:
    plan = tensorrt_plan()
    expected = PlanHeader("TensorRT", "8.6.1.6", len(plan), None)
    assert parse_plan_header(plan, len(plan)) == expected


def test_a_real_plan_of_tensorrt_rtx_reports_its_architectures(rtx_plan: Path) -> None:
    import tensorrt_rtx

    header = read_plan_header(rtx_plan)
    assert header.product == "TensorRT-RTX"
    assert header.version == tensorrt_rtx.__version__
    assert header.size_bytes == rtx_plan.stat().st_size
    assert header.archs == ("sm86",)


def test_a_truncated_real_plan_is_refused_with_both_sizes(rtx_plan: Path, tmp_path: Path) -> None:
    data = rtx_plan.read_bytes()
    (tmp_path / "cut.plan").write_bytes(data[:-1])
    with pytest.raises(
        EngineLoadError, match=rf"truncated: {len(data) - 1} bytes.* states {len(data)}"
    ):
        read_plan_header(tmp_path / "cut.plan")


def test_something_appended_is_noticed() -> None:
    plan = tensorrt_plan() + b"x"
    with pytest.raises(EngineLoadError, match=r"trailing bytes: 35 bytes.* states 34"):
        parse_plan_header(plan, len(plan))


@pytest.mark.parametrize("length", [0, 4, 27])
def test_less_than_a_header_is_truncated(length: int) -> None:
    with pytest.raises(EngineLoadError, match=rf"truncated: {length} bytes.* 28"):
        parse_plan_header(tensorrt_plan()[:length], length)


@pytest.mark.parametrize("data", [b"\x08\x08\x12\x07pytorch" + bytes(64), bytes(64)])
def test_a_foreign_file_is_refused_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(EngineLoadError, match="is not a plan") as caught:
        parse_plan_header(data, len(data))
    assert repr(data[:8]) in caught.value.message


def test_an_unknown_layout_is_refused() -> None:
    plan = tensorrt_plan(layout=3)
    with pytest.raises(EngineLoadError, match="is not a plan"):
        parse_plan_header(plan, len(plan))


def test_metadata_in_front_of_a_plan_is_skipped() -> None:
    metadata = json.dumps({"description": "detector", "stride": 32}).encode()
    plan = tensorrt_plan()
    file = len(metadata).to_bytes(4, "little", signed=True) + metadata + plan
    header = parse_plan_header(file, len(file))
    assert header.offset == 4 + len(metadata)
    assert header.size_bytes == len(plan)


def test_a_missing_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match=r"gone\.plan cannot be read"):
        read_plan_header(tmp_path / "gone.plan")
