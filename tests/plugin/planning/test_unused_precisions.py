"""Entries of `by_precision` for precisions that no test with the marker runs."""

from __future__ import annotations

import pytest

MODEL = '@pytest.mark.trt_model("models/linear.onnx"{})\n'
LIMITS = '@pytest.mark.trt_consistency(by_precision={"int8": {"rtol": 0.1, "atol": 0.1}})\n'
OPTIONS = 'by_precision={"fp16": {"builder_options": {"graph_optimization_level": "basic"}}}'
TEST = "def test_it(trt_session, images):\n    trt_session.run({'image': images})\n"
FP16 = MODEL.format(', precision="fp16"')

UNUSED = [
    (
        MODEL.format("") + LIMITS + TEST,
        "trt_consistency names int8, which its tests do not run: they run fp32",
    ),
    (FP16 + LIMITS + TEST, "trt_consistency names int8, which its tests do not run: they run fp16"),
    (
        MODEL.format(f', precision=("fp32",), {OPTIONS}') + TEST,
        "trt_model names fp16, which its tests do not run: they run fp32",
    ),
    (
        f'pytestmark = pytest.mark.trt_model("models/linear.onnx", {OPTIONS})\n{TEST}',
        "trt_model names fp16, which its tests do not run: they run fp32",
    ),
    (
        f"class TestIt:\n    {FP16}    {LIMITS}"
        "    def test_it(self, trt_session, images):\n        trt_session.run({'image': images})\n",
        "trt_consistency names int8, which its tests do not run: they run fp16",
    ),
]

#: The entry is used here, by another test or on another machine.
USED = [
    FP16.replace('"fp16"', '("fp16", "int8")') + LIMITS + TEST,
    f"LIMITS = {LIMITS.removeprefix('@')}{FP16}@LIMITS\n{TEST}",
    f"TABLE = {{'int8': {{'rtol': 0.1, 'atol': 0.1}}}}\n{FP16}"
    f"@pytest.mark.trt_consistency(by_precision=TABLE)\n{TEST}",
    f"HERE = 'fp16'\n{FP16.replace(chr(34) + 'fp16' + chr(34), 'HERE')}{LIMITS}{TEST}",
    FP16 + LIMITS + "def test_it(trt_build):\n    trt_build(precision='int8').run({})\n",
    FP16
    + LIMITS
    + "@pytest.mark.parametrize('trt_precision', ['fp16', 'fp32'])\n"
    + TEST.replace("images)", "images, trt_precision)", 1),
    f'pytestmark = pytest.mark.trt_model("models/linear.onnx", {OPTIONS})\n{TEST}'
    f"class TestOther:\n    {FP16}    def test_it(self, trt_engine):\n        pass\n",
    f'pytestmark = pytest.mark.trt_model("models/linear.onnx", {OPTIONS})\n{TEST}'
    "@pytest.mark.trt_model(precision='fp16')\ndef test_other(trt_engine):\n    pass\n",
    MODEL.format(f", {OPTIONS}")
    + "@pytest.mark.trt_benchmark(faster_than={'fp16': '1.5x'}, p99=None, throughput=None)\n"
    "def test_it(trt_benchmark, images):\n    pass\n",
    "class Base:\n"
    f"    {LIMITS}    def test_it(self, trt_session, images):\n        pass\n"
    f"{FP16}class TestHalf(Base):\n    pass\n"
    f"{FP16.replace('fp16', 'int8')}class TestInt(Base):\n    pass\n",
]


@pytest.mark.parametrize(("source", "warned"), UNUSED)
def test_entry_that_no_test_uses_is_warned_of(project, source: str, warned: str) -> None:
    project.test_file(source)
    result = project.run("--collect-only")
    result.stdout.fnmatch_lines([f"*test_it.py:*: *by_precision of {warned} *TRT185*", "*Fix: *"])
    assert result.ret == 0
    strict = project.run("-Werror::pytest_trt.PytestTrtWarning")
    strict.assert_outcomes(errors=1)
    strict.stdout.fnmatch_lines([f"*by_precision of {warned} *TRT185*"])


@pytest.mark.parametrize("source", USED)
def test_entry_that_some_test_may_use_is_not(project, source: str) -> None:
    project.test_file(source)
    result = project.run("--collect-only", "-Werror::pytest_trt.PytestTrtWarning")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_it*"])
    result.stdout.no_fnmatch_line("*TRT185*")
