"""Colours of what the plugin adds to pytest's output: as pytest decides them."""

from __future__ import annotations

import re
import sys

import pytest
from builders import save_linear
from builders_cli import in_pipe, on_terminal

_COLOUR = re.compile(r"\x1b\[[\d;]*m")

TESTS = """
import pytest

@pytest.mark.trt_model("linear.onnx", precision="fp16", profiles={"image": (2, 8)})
@pytest.mark.trt_consistency(rtol=0, atol=1e-9)
def test_answers(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


@pytest.mark.exhaustive
def test_no_color_and_force_color_are_obeyed(pytester: pytest.Pytester) -> None:
    save_linear(pytester.path / "linear.onnx")
    pytester.makepyfile(TESTS)
    pytester.makeini("[pytest]\ntrt_cache_dir = cache\n")
    line = [sys.executable, "-m", "pytest", "-pno:cacheprovider", "--trt-arch=cpu"]
    plain = on_terminal(line, NO_COLOR="1")
    assert "[TRT401]" in plain
    assert not _COLOUR.search(plain)
    assert _COLOUR.search(in_pipe(line, FORCE_COLOR="1"))
