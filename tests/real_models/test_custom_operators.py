"""Operators of onnxruntime-extensions, which ONNX Runtime does not have itself.

Several copies of its library in one process crash it once the package was imported there, so that
is imported in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import onnx
import pytest
from builders_fresh import fresh_job
from onnx import TensorProto, helper

from pytest_trt.benchmark.fresh import measure_fresh
from pytest_trt.onnx.file import load_model
from pytest_trt.onnx.libraries import Library
from pytest_trt.statistics.decide import Unavailable

PACKAGE = "onnxruntime-extensions"

OPERATORS = """
@pytest.mark.trt_model(MODEL, custom_ops=LIBRARIES, precision=PRECISIONS)
@pytest.mark.trt_consistency(rtol=0.05, atol=0.1)
def test_operators(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A product whose negative and positive parts are taken apart, and subtracted."""
    weights = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
            helper.make_node("NegPos", ["y"], ["n", "p"], "parts", domain="ai.onnx.contrib"),
            helper.make_node("Sub", ["p", "n"], ["z"], "size"),
        ],
        "parts",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def library(package_file: Callable[[str, str], Path], tmp_path: Path) -> Path:
    """A copy of the library with the operators."""
    name = f"_extensions_pydll{sysconfig.get_config_var('EXT_SUFFIX')}"
    return Path(shutil.copy(package_file(PACKAGE, name), tmp_path / "libops.so"))


def test_a_package_may_be_named(project, package_file, model: Path) -> None:
    package_file(PACKAGE, "_ortapi2.py")
    given = {"MODEL": model, "LIBRARIES": "onnxruntime_extensions", "PRECISIONS": "fp32"}
    # The package imports PyTorch where it can, which takes longer than all else.
    (project.path / "torch.py").write_text("raise ImportError")
    project.run_apart(OPERATORS, **given).assert_outcomes(passed=1)


def test_every_precision_and_the_reference_know_the_operators(
    project, model: Path, library: Path
) -> None:
    result = project.run(
        OPERATORS,
        "-Wignore::pytest_trt.PytestTrtWarning",  # int8 is calibrated on random inputs
        MODEL=model,
        LIBRARIES=[str(library)],
        PRECISIONS=("fp32", "fp16", "int8"),
    )
    result.assert_outcomes(passed=3, warnings=0)


def test_without_the_library_the_operator_is_named(project, model: Path) -> None:
    result = project.run(OPERATORS, MODEL=model, LIBRARIES=None, PRECISIONS=("fp32", "fp16"))
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "operator ai.onnx.contrib:NegPos is unknown to * (m.onnx, node 'parts') [[]TRT350]",
            'Fix: Name * ai.onnx.contrib: trt_model(custom_ops=[[]"onnxruntime_extensions"]) *',
        ]
    )


def test_a_wrong_result_of_an_operator_is_caught(project, model: Path, library: Path) -> None:
    other = model.with_name("other.onnx")
    proto = onnx.load(model)
    proto.graph.node[1].output[:] = ["p", "n"]
    onnx.save(proto, other)
    source = OPERATORS.replace("(MODEL", f"(MODEL, reference={str(model)!r}")
    result = project.run(source, MODEL=other, LIBRARIES=[str(library)], PRECISIONS="fp32")
    result.assert_outcomes(failed=1)


def test_a_changed_library_is_another_engine(project, model: Path, library: Path) -> None:
    def engine(libraries: Path) -> dict[str, object]:
        given = {"MODEL": model, "LIBRARIES": [str(libraries)], "PRECISIONS": "fp32"}
        project.run(OPERATORS, "--trt-report=report.json", **given).assert_outcomes(passed=1)
        report = json.loads((project.path / "report.json").read_text())
        return report["tests"][0]["results"][0]

    first, again = engine(library), engine(library)
    changed = library.with_name("later") / library.name
    changed.parent.mkdir()
    changed.write_bytes(library.read_bytes() + b"\0")  # the loader reads nothing behind its tables
    other = engine(changed)
    assert (again["cached"], other["cached"]) == (True, False)
    assert first["engine"] == again["engine"] != other["engine"]
    assert str(other["why_built"]).startswith("library libops.so ")


def test_an_unchanged_reference_is_computed_again_with_another_library(
    project, model: Path, library: Path
) -> None:
    source = """
    @pytest.mark.trt_model(MODEL, custom_ops=LIBRARIES)
    def test_reference(trt_reference, trt_inputs):
        trt_reference.run(trt_inputs)
    """
    stored = []
    for extra in (b"", b"", b"\0\0"):
        library.parent.joinpath(f"{len(stored)}").mkdir()
        copy = library.parent / f"{len(stored)}" / "libops.so"
        copy.write_bytes(library.read_bytes() + extra)
        project.run(dedent(source), MODEL=model, LIBRARIES=[str(copy)]).assert_outcomes(passed=1)
        stored.append(project.stored("*.outputs"))
    assert stored[0] == stored[1] < stored[2]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_file_is_no_library(project, model: Path, precision: str) -> None:
    text = model.with_name("libops.so")
    text.write_text("int main() {}\n")
    result = project.run(OPERATORS, MODEL=model, LIBRARIES=[str(text)], PRECISIONS=precision)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*ONNX Runtime * cannot load *libops.so, which is no library [[]TRT231]"]
    )


def test_a_fresh_process_knows_the_operators(model: Path, library: Path, tmp_path: Path) -> None:
    custom = replace(load_model(model), custom_ops=(Library.read(library),))
    job = fresh_job(custom, {"x": np.ones((2, 8), np.float32)}, tmp_path)
    assert measure_fresh(job, timeout_s=60).rounds.calls == 14
    with library.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Unavailable, match=r"libops\.so was replaced after it was hashed"):
        measure_fresh(job, timeout_s=60)
    without = replace(job, model=replace(job.model, custom_ops=()))
    with pytest.raises(Unavailable, match="cannot load"):
        measure_fresh(without, timeout_s=60)
