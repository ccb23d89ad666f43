from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_trt.backends.tensorrt.product import cuda_lines


@pytest.mark.parametrize(
    ("installed", "lines"),
    [
        ((), ()),
        (("tensorrt",), ()),
        (("tensorrt-cu12", "tensorrt_cu12_libs"), ("cu12",)),
        (("tensorrt_cu12_bindings", "tensorrt_cu13_libs"), ("cu12", "cu13")),
        (("tensorrt_rtx_cu13",), ()),
    ],
)
def test_cuda_lines_are_those_of_the_installed_wheels(
    installed: tuple[str, ...], lines: tuple[str, ...], tmp_path: Path, monkeypatch
) -> None:
    for name in installed:
        folder = tmp_path / f"{name.replace('-', '_')}-10.9.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 10.9.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    cuda_lines.cache_clear()
    try:
        assert cuda_lines("tensorrt") == lines
    finally:
        cuda_lines.cache_clear()
