from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import builders_planted as planted
import numpy as np
import onnx
import pytest
from plugin.conftest import Project, assert_shows

TESTS = """
import numpy as np
import pytest

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)

@pytest.mark.parametrize("text", ["../../a b;$HOME `id`"])
@pytest.mark.trt_model("overflow.onnx", precision="fp16")
@pytest.mark.trt_consistency(rtol=1e-2, atol=1e-2)
def test_it(trt_session, text):
    trt_session.run({"x": X / 1e6})
    trt_session.run({"x": X})
"""


def repeat(bundle: Path, *args: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(bundle / "repro.py"), *args],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def failing(project: Project) -> Project:
    onnx.save(planted.plant(planted.network(), "overflow")[0], project.path / "overflow.onnx")
    project.test_file(TESTS)
    return project


def test_a_bundle_repeats_the_worst_run_without_pytest(failing: Project) -> None:
    result = failing.run("--trt-repro=out of it")
    assert_shows(result, "the run can be repeated without pytest (* kB) *TRT455*", failed=1)
    result.stdout.fnmatch_lines(["    python 'out of it/*/repro.py'"])
    (bundle,) = (failing.path / "out of it").iterdir()
    assert set(bundle.name) <= {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"}
    with np.load(bundle / "inputs.npz") as inputs:
        assert inputs["arr_0"].max() > 1  # the second run
    status, text = repeat(bundle)
    assert (status, text.splitlines()[-1]) == (1, "it reproduces"), text
    assert "8 are not finite" in text
    assert "relative error not finite" in text
    # The model itself, in FP32, is what a repaired engine would be.
    status, text = repeat(bundle, "--engine", str(bundle / "model" / "overflow.onnx"))
    assert (status, text.splitlines()[-1]) == (0, "it does not reproduce"), text
    (bundle / "engine.onnx").write_bytes(b"damaged")
    status, text = repeat(bundle)
    assert (status, "cannot be run" in text) == (2, True), text


def test_a_bundle_that_exists_is_not_overwritten(failing: Project) -> None:
    failing.run("--trt-repro=out")
    (first,) = (failing.path / "out").iterdir()
    (first / "notes.txt").write_text("mine")
    failing.run("--trt-repro=out")
    assert sorted(one.name for one in (failing.path / "out").iterdir()) == [
        first.name,
        f"{first.name}-2",
    ]
    assert (first / "notes.txt").read_text() == "mine"
    about = json.loads((first / "versions.json").read_text())
    assert about["outputs"]["scores"]["rtol"] == 0.01


def test_an_output_that_npz_files_cannot_hold_is_named(failing: Project) -> None:
    proto = onnx.load(failing.path / "overflow.onnx")
    make = onnx.helper.make_node
    proto.graph.node.append(make("ArgMax", ["scores"], ["at"], axis=1, keepdims=0))
    proto.graph.node.append(make("Gather", ["names", "at"], ["label"]))
    names = onnx.helper.make_tensor("names", onnx.TensorProto.STRING, [4], list("abcd"))
    proto.graph.initializer.append(names)
    text = onnx.helper.make_tensor_value_info("label", onnx.TensorProto.STRING, [None])
    proto.graph.output.append(text)
    onnx.save(proto, failing.path / "overflow.onnx")
    result = failing.run("--trt-repro=out", "--trt-localize=never")
    assert_shows(
        result,
        "no bundle was written for --trt-repro: 'label' is text, which its .npz files *TRT456*",
        failed=1,
    )


def test_a_folder_that_cannot_be_made_is_named(failing: Project) -> None:
    (failing.path / "out").write_text("")
    result = failing.run("--trt-repro=out")
    assert_shows(result, "no bundle was written for --trt-repro: *out: *TRT456*", failed=1)


def test_a_bundle_that_cannot_be_completed_is_removed(failing: Project) -> None:
    gone = TESTS.replace('{"x": X})\n', '{"x": X})\n    import os; os.remove("overflow.onnx")\n')
    failing.test_file(gone)
    result = failing.run("--trt-repro=out", "--trt-localize=never")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no bundle was written for --trt-repro: *overflow.onnx: No such*"])
    assert [*(failing.path / "out").iterdir()] == []
