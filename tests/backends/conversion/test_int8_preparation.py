from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from pytest_trt.backends import conversion
from pytest_trt.backends.conversion.int8_preparation import prepare
from pytest_trt.onnx import graph
from pytest_trt.onnx.file import load_model


def images() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(5).standard_normal((4, 3, 16, 16)).astype(np.float32)}


def test_batch_normalisation_is_folded_and_values_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *"abmv"], ["y"]),
    ]
    statistics = [networks.constant(name, np.linspace(0.5, 2, 4)) for name in "abmv"]
    proto = networks.model(
        nodes,
        [networks.value("image", ["batch", 3, 16, 16])],
        [networks.value("y", ["batch", 4, 16, 16])],
        [networks.weights("w", 4, 3, 3, 3), *statistics],
    )
    model = networks.saved(proto, tmp_path / "m.onnx")
    prepared = prepare(graph.load(model.path), model.opset, tmp_path)
    assert load_model(prepared).op_types == {"Conv": 1}
    expected, actual = (
        onnxruntime.InferenceSession(path).run(None, images())[0] for path in (model.path, prepared)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_weights_beyond_one_file_stay_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = networks.saved(networks.conv_net(), tmp_path / "m.onnx")
    conversion.to_int8(model, [images()], tmp_path / "one.onnx")
    monkeypatch.setattr(graph, "INLINE_LIMIT_BYTES", 1000)
    conversion.to_int8(model, [images()], tmp_path / "two.onnx")
    assert (tmp_path / "two.onnx.data").exists()
    assert not (tmp_path / "one.onnx.data").exists()
    one, two = (onnx.load(tmp_path / name) for name in ("one.onnx", "two.onnx"))
    assert [node.op_type for node in one.graph.node] == [node.op_type for node in two.graph.node]
    first, second = (
        onnxruntime.InferenceSession(tmp_path / name).run(None, images())[0]
        for name in ("one.onnx", "two.onnx")
    )
    np.testing.assert_array_equal(first, second)


def test_quantisation_is_imported_without_sympy() -> None:
    code = """
        import sys
        sys.modules["sympy"] = None
        from pytest_trt.backends.conversion.int8_preparation import import_quantization
        assert callable(import_quantization().quantize_static)
        assert import_quantization() is sys.modules["onnxruntime.quantization"]
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_another_missing_module_is_told() -> None:
    code = (
        "import sys; sys.modules['onnxruntime.quantization.quantize'] = None\n"
        "from pytest_trt.backends.conversion.int8_preparation import import_quantization\n"
        "import_quantization()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "onnxruntime.quantization.quantize" in done.stderr.splitlines()[-1]
