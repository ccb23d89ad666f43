"""Which values become float16, and that every valid model stays one: loaded, run and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from builders_float16 import FLOAT, HALF
from onnx import numpy_helper

from pytest_trt.backends.conversion.converting import unoptimised
from pytest_trt.backends.conversion.narrow import to_narrow
from pytest_trt.backends.conversion.narrow_types import FLOAT16
from pytest_trt.backends.conversion.rounding import round_file
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.onnx import graph as surgery
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors

OPSETS = '<ir_version: 8, opset_import: ["" : 18]>'


def parsed(text: str, path: Path) -> OnnxModel:
    """Return a model written in ONNX's text form; the header may be left out."""
    header = "" if text.lstrip().startswith("<") else OPSETS
    proto = onnx.parser.parse_model(header + text)
    for node in proto.graph.node:  # onnx 1.16 parses no empty name of an output
        node.output[:] = [name.replace("left_out", "") for name in node.output]
    onnx.save(proto, path)
    return load_model(path)


def inputs_of(model: OnnxModel) -> Tensors:
    shapes = {
        spec.name: tuple(d if isinstance(d, int) else 3 for d in spec.shape or ())
        for spec in model.inputs
    }
    return seeded_inputs(model, shapes)


def converted(model: OnnxModel, *kept: str) -> Path:
    output = model.path.with_name("half.onnx")
    to_narrow(model, output, FLOAT16, keep_fp32=kept)
    return output


def assert_computes_the_same(model: OnnxModel, half: Path) -> None:
    """Compare both forms of the engine, for GPUs and rounded for CPUs, with the model."""
    inputs = dict(inputs_of(model))
    expected = unoptimised(model.path).run(None, inputs)
    for _ in range(2):
        found = load_model(half)
        assert (found.inputs, found.outputs) == (model.inputs, model.outputs)
        for ours, theirs in zip(unoptimised(half).run(None, inputs), expected, strict=True):
            assert np.asarray(ours).dtype == np.asarray(theirs).dtype
            np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-2)
        round_file(half)


def casts_to_half(path: Path) -> int:
    return sum(
        node.op_type == "Cast" and node.attribute[0].i == HALF
        for scope in surgery.walk_graphs(onnx.load(path).graph)
        for node in scope.node
    )


#: Operators with a parameter that must be float32, and values that no node of their graph makes.
MODELS = {
    "a mean that is float32": """
        g (float[2, 4] x) => (float[2, 4] y, float[2, 1] mean)
        <float[4] scale = {1.0, 2.0, 1.0, 0.5}>
        { y, mean = LayerNormalization <axis = -1> (x, scale) }""",
    "a window, typed by an attribute": """
        g (float[8] x) => (float[8] y)
        <int64 size = {8}> { w = HannWindow (size)  y = Mul (x, w) }""",
    "a function of float32 constants": """
        g (float[2, 3, 4, 4] x) => (float[2, 3, 4, 4] y)
        { n = MeanVarianceNormalization (x)  y = Add (n, x) }""",
    "scales that are float32": """
        g (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y)
        <float[4] scales = {1.0, 1.0, 2.0, 2.0}> { y = Resize <mode = "nearest"> (x, , scales) }""",
    "scales of a quantised operator": """
        g (float[1, 2] x) => (float[1, 2] y)
        <float s = {0.1}, uint8 z = {8}, uint8[2, 2] w = {1, 9, 3, 4}>
        {
            q = QuantizeLinear (x, s, z)
            m = QLinearMatMul (q, s, z, w, s, z, s, z)
            d = DequantizeLinear (m, s, z)
            y = Add (d, x)
        }""",
    "a sequence": """
        g (float[4, 3] x) => (float[4, 3] y)
        {
            parts = SplitToSequence <axis = 0> (x)
            whole = ConcatFromSequence <axis = 0> (parts)
            y = Add (whole, x)
        }""",
    "a sequence that a loop carries": """
        g (float[3] x, int64 n) => (float[m] y)
        <bool go = {1}>
        {
            empty = SequenceEmpty <dtype = 1> ()
            all = Loop (n, go, empty) <body = b (int64 i, bool c, seq(float[k]) s)
                => (bool d, seq(float[k]) t)
                { d = Identity (c)  twice = Add (x, x)  t = SequenceInsert (s, twice) }>
            extended = SequenceInsert (all, x)
            y = ConcatFromSequence <axis = 0> (extended)
        }""",
    "an output that is an input": """
        g (float[2, 2] x) => (float[2, 2] y, float[2, 2] x)
        <float[2, 2] w = {1.0, 2.0, 3.0, 4.0}> { y = MatMul (x, w) }""",
    "an output that is a constant": """
        g (float[2, 2] x) => (float[2, 2] w, float[2, 2] y)
        <float[2, 2] w = {1.0, 2.0, 3.0, 4.0}> { y = MatMul (x, w) }""",
    "an output that other nodes read": """
        g (float[2] x) => (float[2] a, float[2] y) { a = Exp (x)  y = Add (a, x) }""",
    "branches that pass on values from outside": """
        g (float[2] x, bool c) => (float[2] y)
        <float[2] w = {1.0, 2.0}>
        {
            e = Exp (x)
            z = If (c) <
                then_branch = t () => (float[2] a) { a = Identity (e) },
                else_branch = f () => (float[2] w2) <float[2] w2 = {3.0, 4.0}> { unused = Neg (w) }>
            y = Mul (z, x)
        }""",
    "a scan": """
        g (float[2] s, float[3, 2] x) => (float[2] last, float[3, 2] all)
        {
            last, all = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] v)
                => (float[2] sum, float[2] out) { sum = Add (a, v)  out = Mul (sum, v) }> (s, x)
        }""",
    "a range and a comparison": """
        g (float[n] x) => (float[n] y)
        <float zero = {0.0}, float one = {1.0}, int64 axis = {0}>
        {
            s = Shape (x)
            n = Squeeze (s)
            f = Cast <to = 1> (n)
            r = Range (zero, f, one)
            before = Less (r, f)
            m = Cast <to = 1> (before)
            y = Mul (x, m)
        }""",
    "an optional that is a tensor": """
        g (float[2] x) => (float[2] y)
        { e = Exp (x)  o = OptionalGetElement (e)  h = OptionalHasElement (o)
          f = Cast <to = 1> (h)  y = Mul (o, f) }""",
    "a cast like another value": """
        g (int64[2] i, float[2] x) => (float[2] y) { c = CastLike (i, x)  y = Add (c, x) }""",
    "a float32 constant in float64 arithmetic": """
        g (float[2] x) => (float[2] y)
        <double[2] w = {1.0, 2.0}>
        { d = Cast <to = 11> (x)  p = Mul (d, w)  f = Cast <to = 1> (p)  y = Add (f, x) }""",
    "an input that is left out": """
        g (float[2] x) => (float[2] y)
        <float most = {0.5}> { e = Exp (x)  y = Clip (e, , most) }""",
    "an output that is left out": """
        g (float[3, 1, 2] x) => (float[1, 1, 2] y)
        <float[1, 8, 2] w = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3,
            0.2, 0.1}, float[1, 8, 2] r = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.7, 0.6,
            0.5, 0.4, 0.3, 0.2, 0.1}> { left_out, y = LSTM <hidden_size = 2> (x, w, r) }""",
    "zeros of a shape, without a value": """
        g (float[2] x) => (float[2] y)
        { s = Shape (x)  z = ConstantOfShape (s)  e = Exp (x)  y = Add (e, z) }""",
    "no default opset for its casts": """
        <ir_version: 8, opset_import: ["ai.onnx.ml" : 3, "com.microsoft" : 1]>
        g (float[2, 2] x) => (float[2, 2] y)
        {
            s = ai.onnx.ml.Scaler <offset = [0.5], scale = [2.0]> (x)
            y = com.microsoft.Gelu (s)
        }""",
}


@pytest.mark.parametrize("name", MODELS)
def test_a_valid_model_stays_valid(name: str, tmp_path: Path) -> None:
    model = parsed(MODELS[name], tmp_path / "m.onnx")
    half = converted(model)
    assert casts_to_half(half)
    assert_computes_the_same(model, half)


ROUND_UP = """
    g (float[1, 1, l] x) => (float[1, 1, m] y)
    <int64[1] last = {2}, float two = {2.0}, int64[1] one = {1}, float[1, 1, 1] kernel = {1.0}>
    {
        shape = Shape (x)
        length = Gather <axis = 0> (shape, last)
        real = Cast <to = 1> (length)
        doubled = Mul (real, two)
        whole = Floor (doubled)
        size = Cast <to = 7> (whole)
        sizes = Concat <axis = 0> (one, one, size)
        c = Conv (x, kernel)
        y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
            nearest_mode = "floor"> (c, , , sizes)
    }"""


@pytest.mark.parametrize("length", [2048, 2049, 3001])
def test_a_size_computed_in_float32_stays_exact(length: int, tmp_path: Path) -> None:
    half = converted(parsed(ROUND_UP, tmp_path / "m.onnx"))
    x = np.ones((1, 1, length), np.float32)
    (y,) = unoptimised(half).run(None, {"x": x})
    assert y.shape == (1, 1, 2 * length)
    assert {t.data_type for t in onnx.load(half).graph.initializer if t.name == "kernel"} == {HALF}


INDICES = """
    g (int64[4] i, float[4, 1] x) => (float[4, 1] y, float[4] p)
    <float two = {2.0}, int64[1] axes = {1}, float[1, 4] w = {1.0, 2.0, 3.0, 4.0}>
    { f = Cast <to = 1> (i)  p = Mul (f, two)  q = MatMul (x, w)  r = Add (q, p)
      y = ReduceMean (r, axes) }"""


def test_what_kept_nodes_pass_on_is_exact(tmp_path: Path) -> None:
    model = parsed(INDICES, tmp_path / "m.onnx")
    inputs = {"i": np.array([2049, 4097, 8193, 16385]), "x": np.zeros((4, 1), np.float32)}
    for kept, exact in ((("Cast", "Mul"), True), ((), False)):
        half = converted(model, *kept)
        round_file(half)
        _, p = unoptimised(half).run(None, inputs)
        assert np.array_equal(p, 2 * inputs["i"]) == exact


def test_positions_are_compared_with_lengths_exactly(tmp_path: Path) -> None:
    text = """
        g (int64[4] at, int64[4] limit, float[4] x) => (float[4] y)
        { a = Cast <to = 1> (at)  b = Cast <to = 1> (limit)  before = Less (a, b)
          zero = Sub (x, x)  y = Where (before, x, zero) }"""
    half = converted(parsed(text, tmp_path / "m.onnx"))
    at = np.array([2048, 2049, 4098, 1])
    x = np.ones(4, np.float32)
    (y,) = unoptimised(half).run(None, {"at": at, "limit": at + np.array([1, 1, 1, 0]), "x": x})
    assert y.tolist() == [1, 1, 1, 0]


def test_a_constant_that_float32_nodes_read_too_is_stored_in_both_types(tmp_path: Path) -> None:
    text = """
        g (float[2, 2] x) => (float[2, 2] y)
        <float[2, 2] w = {0.3, 0.1, 70000.0, 0.7}>
        { a = MatMul (x, w)  b = CumSum (w, zero)  c = Mul (b, small)  y = Add (a, c) }"""
    text = text.replace(
        "<float[2, 2] w", "<int64 zero = {0}, float small = {0.0001}, float[2, 2] w"
    )
    model = parsed(text, tmp_path / "m.onnx")
    stored = {t.name: t for t in onnx.load(converted(model)).graph.initializer}
    assert stored["w"].data_type == FLOAT
    half = numpy_helper.to_array(stored["w_float16"])
    assert half.dtype == np.float16
    assert half[1, 0] == 65504  # clamped, as a finite weight should stay finite


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (int64[2] x) => (int64[2] y) { y = Add (x, x) }", "no float32 values"),
        ("g (float[2] x) => (float[2] y) <int64 a = {0}> { y = CumSum (x, a) }", "no operator"),
        (
            "g (float[a,b,c,d] x) => (float[a,b,c,d] y) { y = MeanVarianceNormalization (x) }",
            "no operator",
        ),
        ("g (float[2] x) => (int64[1] y) { y = Shape (x) }", "no operator"),
        ("g (float[2] x) => (double[2] y) { y = Cast <to = 11> (x) }", "no operator"),
    ],
)
def test_a_model_that_float16_does_not_change_is_refused(
    text: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineBuildError, match=reason) as got:
        converted(parsed(text, tmp_path / "m.onnx"))
    assert got.value.diagnostic.code == "TRT355"


def test_a_float16_model_without_weights_is_an_fp16_engine(tmp_path: Path) -> None:
    text = "g (float16[2] x) => (float16[2] y) { a = Exp (x)  y = Add (a, x) }"
    model = parsed(text, tmp_path / "m.onnx")
    done = to_narrow(model, tmp_path / "half.onnx", FLOAT16)
    assert done.notes == (
        "the model is float16 already (3 of 3 floating-point values), so it was not converted",
    )


def test_an_operator_that_nobody_declares_stays_float32_and_is_noted(tmp_path: Path) -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        g (float[2] x) => (float[2] y) { a = Exp (x)  s = mine.Swirl (a)  y = Add (s, x) }"""
    model = parsed(text, tmp_path / "m.onnx")
    done = to_narrow(model, tmp_path / "half.onnx", FLOAT16)
    assert done.notes == (
        "operator Swirl stays float32: ONNX and ONNX Runtime do not declare its types",
    )
    nodes = {node.op_type: node for node in onnx.load(tmp_path / "half.onnx").graph.node}
    assert nodes["Swirl"].input[0] == "a_float32"


def test_a_value_that_shares_its_name_with_what_a_cast_would_be_called(tmp_path: Path) -> None:
    text = """
        g (float[2] x) => (float[2] y)
        { x_float16 = Exp (x)  x_float16_cast = Neg (x_float16)  y = Add (x_float16_cast, x) }"""
    model = parsed(text, tmp_path / "m.onnx")
    assert_computes_the_same(model, converted(model))
