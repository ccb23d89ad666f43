"""Element types, scalars and empty tensors, from the model's own specs to the verdict."""

from __future__ import annotations

import builders_types as types
import onnx
import pytest

SHAPES = {"vector": (3,), "scalar": ()}


def saved(project, name: str, proto: onnx.ModelProto) -> None:
    onnx.save(proto, project.path / "models" / name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", types.TYPES)
def test_a_type_is_accepted_and_returned(project, dtype: str, shape: str) -> None:
    saved(project, "m.onnx", types.complement(dtype, SHAPES[shape]))
    project.test_file(
        '@pytest.mark.trt_model("models/m.onnx", precision=("fp32", "fp16"))\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n"
        "    x, y = trt_inputs['x'], trt_session.run(trt_inputs)['y']\n"
        f"    assert x.dtype == y.dtype == '{dtype}' and x.shape == y.shape == {SHAPES[shape]}\n"
        "    np.testing.assert_allclose(y.astype(float), 1 - x.astype(float), atol=1e-2)\n"
    )
    for _ in range(2):  # the second one finds reference outputs that were kept
        project.run("--trt-arch=cpu").assert_outcomes(passed=2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", types.TYPES)
def test_a_wrong_value_of_any_type_fails(project, dtype: str, shape: str) -> None:
    saved(project, "m.onnx", types.same(dtype, SHAPES[shape]))
    saved(project, "other.onnx", types.complement(dtype, SHAPES[shape]))
    project.test_file(
        '@pytest.mark.trt_model("models/m.onnx", reference="models/other.onnx")\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    result = project.run("--trt-arch=cpu")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["y: *against other.onnx (m.onnx, fp32, cpu) *", "  * of * element* differ*"]
    )


@pytest.mark.parametrize("dtype", types.TYPES)
def test_empty_tensors_are_accepted_and_returned_with_others(project, dtype: str) -> None:
    saved(project, "m.onnx", types.joined(dtype))
    project.test_file(
        '@pytest.mark.trt_model("models/m.onnx", profiles='
        '{"a": ((0, 3), (2, 3), (4, 3)), "b": ((1, 3), (1, 3), (1, 3))})\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs, trt_shape):\n"
        "    rows = {'min': 0, 'opt': 2, 'max': 4}[trt_shape]\n"
        "    outputs = trt_session.run(trt_inputs)\n"
        "    assert [outputs[name].shape[0] for name in ('y', 'a_again', 'b_again')] == "
        "[rows + 1, rows, 1]\n"
        f"    assert all(array.dtype == '{dtype}' for array in outputs.values())\n"
    )
    project.run("--trt-arch=cpu").assert_outcomes(passed=3)


def test_outputs_that_are_all_empty_do_not_pass(project) -> None:
    saved(project, "m.onnx", types.same("float32", ["n", 3]))
    project.test_file(
        '@pytest.mark.trt_model("models/m.onnx", profiles={"x": (0, 3)})\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    project.run("--trt-arch=cpu").assert_outcomes(failed=1)
