from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.engine import known_faults
from pytest_trt.engine.known_faults import known_fault


@pytest.fixture
def amx(tmp_path: Path, monkeypatch) -> Path:
    """What Linux reports of a CPU with AMX."""
    file = tmp_path / "cpuinfo"
    file.write_text("flags\t\t: fpu avx512_vnni amx_bf16 amx_tile amx_int8 flush_l1d\n")
    monkeypatch.setattr(known_faults, "CPUINFO", file)
    return file


@pytest.mark.parametrize(
    ("product", "version", "precision", "affected"),
    [
        ("ONNX Runtime", "1.22.0", "int8", True),
        ("ONNX Runtime", "1.24.1", "mixed", True),
        ("ONNX Runtime", "1.24.1", "fp16", False),
        ("ONNX Runtime", "1.25.0", "int8", False),
        ("ONNX Runtime", "2.0.0", "int8", False),
        ("ONNX Runtime", "unknown", "int8", False),
        ("TensorRT", "1.4.0", "int8", False),
    ],
)
def test_int8_before_1_25_on_amx_is_a_known_fault(
    amx, product: str, version: str, precision: str, affected: bool
) -> None:
    found = known_fault(product, version, precision)
    assert (found is not None) == affected
    if found is not None:
        assert f"(here {version})" in found.text
        assert "onnxruntime>=1.25" in found.remedy.commands[0]


def test_other_cpus_do_not_have_it(amx) -> None:
    amx.write_text("flags\t\t: fpu avx512_vnni amx_int80 amx_bf16\n")
    assert known_fault("ONNX Runtime", "1.22.0") is None
    amx.unlink()
    assert known_fault("ONNX Runtime", "1.22.0") is None
