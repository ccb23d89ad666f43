"""Element types, scalars and empty tensors, from the model's own specs to the verdict."""

from __future__ import annotations

from itertools import product

import builders_types as types
import onnx
import pytest
from plugin.conftest import assert_shows

SHAPES = ((3,), ())


def saved(project, name: str, proto: onnx.ModelProto) -> None:
    onnx.save(proto, project.path / "models" / name)


def test_types_are_accepted_and_returned(project) -> None:
    cases = {}
    for dtype, shape in product(types.TYPES, SHAPES):
        saved(project, f"{dtype}{len(shape)}.onnx", types.complement(dtype, shape))
        # Sizes and positions are computed in float32, so nothing is left for an fp16 engine.
        precisions = ("fp32",) if dtype in ("int32", "int64") else ("fp32", "fp16")
        wrapped = " % 256" if dtype == "uint8" else ""
        source = (
            f'@pytest.mark.trt_model("models/{dtype}{len(shape)}.onnx", precision={precisions})\n'
            "@pytest.mark.trt_consistency()\n"
            "def test_it(trt_session, trt_inputs):\n"
            "    x, y = trt_inputs['x'], trt_session.run(trt_inputs)['y']\n"
            f"    assert x.dtype == y.dtype == '{dtype}' and x.shape == y.shape == {shape}\n"
            f"    expected = (1 - x.astype(float)){wrapped}\n"
            "    np.testing.assert_allclose(y.astype(float), expected, atol=1e-2)\n"
        )
        cases[source] = len(precisions)
    for _ in range(2):  # the second one finds reference outputs that were kept
        project.ends(dict.fromkeys(cases, "")).assert_outcomes(passed=sum(cases.values()))


def test_a_wrong_value_of_any_type_fails(project) -> None:
    cases = {}
    for dtype, shape in product(types.TYPES, SHAPES):
        one, other = (f"{name}_{dtype}{len(shape)}.onnx" for name in ("same", "other"))
        saved(project, one, types.same(dtype, shape))
        saved(project, other, types.complement(dtype, shape))
        source = (
            f'@pytest.mark.trt_model("models/{one}", reference="models/{other}")\n'
            "@pytest.mark.trt_consistency()\n"
            "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
        )
        cases[source] = [f"y: *against {other} ({one}, fp32, cpu) *", "  * of * element* differ*"]
    project.refuses(cases, where="")


def test_types_that_numpy_lacks_go_in_and_come_out(project) -> None:
    for dtype in types.SMALL:
        saved(project, f"{dtype}.onnx", types.complement(dtype, (3,)))
    project.test_file(
        "def of(dtype):\n"
        "    return pytest.param(marks=pytest.mark.trt_model(f'models/{dtype}.onnx'))\n"
        f"@pytest.mark.parametrize((), [of(dtype) for dtype in {types.SMALL}])\n"
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n"
        "    from pytest_trt.tensors.elements import dtype_name\n"
        "    x, y = trt_inputs['x'], trt_session.run(trt_inputs)['y']\n"
        "    assert dtype_name(x.dtype) == dtype_name(y.dtype) == "
        "trt_session.engine.model.path.stem\n"
        "    wide = int if 'int' in dtype_name(x.dtype) else float  # small integers wrap\n"
        "    right = (1 - x.astype(wide)).astype(y.dtype)\n"
        "    np.testing.assert_array_equal(y.astype(float), right.astype(float))\n"
    )
    for _ in range(2):  # the second one finds stored reference outputs
        project.run().assert_outcomes(passed=len(types.SMALL))


def test_a_wrong_value_of_a_type_that_numpy_lacks_fails(project) -> None:
    for dtype in types.SMALL:
        saved(project, f"{dtype}.onnx", types.complement(dtype, (3,)))
        saved(project, f"twice_{dtype}.onnx", types.complement(dtype, (3,), one=2.0))
    project.test_file(
        "def of(dtype):\n"
        "    return pytest.param(marks=pytest.mark.trt_model(\n"
        "        f'models/{dtype}.onnx', reference=f'models/twice_{dtype}.onnx'))\n"
        f"@pytest.mark.parametrize((), [of(dtype) for dtype in {types.SMALL}])\n"
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    assert_shows(project.run(), "* of 3 elements (100%) differ*", failed=len(types.SMALL))


@pytest.mark.parametrize(
    ("shape", "profiles"),
    [
        ([2**31, 2**31, 2**31], ""),
        ([2**62], ""),
        (["n", 4], ', profiles={"x": ((1, 4), (1, 4), (2**40, 4))}'),
    ],
)
def test_inputs_beyond_the_memory_are_refused_at_collection_with_their_size(
    project, shape: list[int | str], profiles: str
) -> None:
    saved(project, "huge.onnx", types.same("float32", shape))
    project.test_file(
        f'@pytest.mark.trt_model("models/huge.onnx"{profiles})\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["collected 0 items / 1 error", "input x: float32[[]* would take * of memory *TRT226*"]
    )
    assert project.plans() == []


@pytest.mark.parametrize("dtype", ["float4e2m1", "float8e8m0"])
def test_scales_and_four_bit_floats_must_be_equal(project, dtype: str) -> None:
    pytest.importorskip("onnx", minversion="1.23")
    saved(project, "right.onnx", types.stored(dtype, [1, 2, 4]))
    saved(project, "wrong.onnx", types.stored(dtype, [1, 2, 2]))
    project.test_file(
        "@pytest.mark.trt_consistency()\n"
        "class TestIt:\n"
        '    @pytest.mark.trt_model("models/right.onnx")\n'
        "    def test_right(self, trt_session, trt_inputs):\n"
        "        c = trt_session.run(trt_inputs)['c']\n"
        "        assert c.astype(float).tolist() == [1, 2, 4]\n"
        '    @pytest.mark.trt_model("models/wrong.onnx", reference="models/right.onnx")\n'
        "    def test_wrong(self, trt_session, trt_inputs):\n"
        "        trt_session.run(trt_inputs)\n"
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["c: 1 of 3 elements differ *", "*equality is required (default for this type)"]
    )


def test_empty_tensors_are_accepted_and_returned_with_others(project) -> None:
    cases = {}
    for dtype in types.TYPES:
        saved(project, f"{dtype}.onnx", types.joined(dtype))
        source = (
            f'@pytest.mark.trt_model("models/{dtype}.onnx", profiles='
            '{"a": ((0, 3), (2, 3), (4, 3)), "b": ((1, 3), (1, 3), (1, 3))})\n'
            "@pytest.mark.trt_consistency()\n"
            "def test_it(trt_session, trt_inputs, trt_shape):\n"
            "    rows = {'min': 0, 'opt': 2, 'max': 4}[trt_shape]\n"
            "    outputs = trt_session.run(trt_inputs)\n"
            "    assert [outputs[name].shape[0] for name in ('y', 'a_again', 'b_again')] == "
            "[rows + 1, rows, 1]\n"
            f"    assert all(array.dtype == '{dtype}' for array in outputs.values())\n"
        )
        cases[source] = ""
    project.ends(cases).assert_outcomes(passed=3 * len(cases))


def test_outputs_that_are_all_empty_do_not_pass(project) -> None:
    saved(project, "m.onnx", types.same("float32", ["n", 3]))
    project.test_file(
        '@pytest.mark.trt_model("models/m.onnx", profiles={"x": (0, 3)})\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    result = project.run("--trt-arch=cpu")
    assert_shows(result, "nothing compared (m.onnx, fp32, cpu) ?TRT400]", failed=1)
