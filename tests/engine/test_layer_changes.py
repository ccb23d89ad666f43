from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from builders_networks import conv_net, saved
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.backends.tensorrt.inspection import inspected_layers
from pytest_trt.engine.facts import CONVERSION, Layer
from pytest_trt.engine.layer_changes import (
    Change,
    layer_changes,
    layer_kinds,
    layer_rows,
    shortened,
)
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec

INSPECTIONS = Path(__file__).parents[1] / "backends" / "tensorrt" / "inspections"


def layer(*nodes: str, kind: str = "conv", precision: str | None = "half", name: str = "") -> Layer:
    return Layer(name or " + ".join(nodes), kind, precision, nodes)


REFORMAT = Layer("Reformatting CopyNode for x", "Reformat", CONVERSION)


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        (
            [layer("conv1", "relu1")],
            [layer("conv1"), layer("relu1", kind="pointwise")],
            ["split: conv1 + relu1 -> 2 layers: conv1 | relu1"],
        ),
        (
            [layer("conv1", "relu1")],
            [layer("conv1"), layer("relu1", precision="float")],
            ["split: conv1 + relu1 -> 2 layers: conv1 | relu1 (half -> half, float)"],
        ),
        (
            [layer("conv1"), layer("relu1")],
            [layer("conv1", "relu1")],
            ["fused: 2 layers: conv1 | relu1 -> conv1 + relu1"],
        ),
        ([layer("a")], [layer("a", precision="float")], ["precision: a, half -> float"]),
        ([layer("a")], [layer("a", kind="gemm")], ["kind: a, conv -> gemm"]),
        (
            [layer("a")],
            [layer("a", kind="gemm", precision="float")],
            ["kind: a, conv -> gemm (half -> float)"],
        ),
        ([], [layer("a")], ["added: a (half)"]),
        ([layer("a")], [], ["removed: a (half)"]),
        (
            [layer("a", "b"), layer("c", "d")],
            [layer("a"), layer("b", "c", "d")],
            ["regrouped: a + b | c + d -> a | b + c + d"],
        ),
        ([layer("a", "b")], [layer("a")], ["regrouped: a + b -> a"]),
        (
            [REFORMAT],
            [REFORMAT, layer("a"), REFORMAT, REFORMAT],
            ["added: a (half)", "added: 2 x Reformat without a node of the model"],
        ),
        ([REFORMAT], [], ["removed: 1 x Reformat without a node of the model"]),
        (
            [layer("a", "b", "c", "d", "e", "f")],
            [layer("a", "b", "c", "d", "e"), layer("f")],
            ["split: a + b + c + d + 2 more -> 2 layers: a + b + c + d + 1 more | f"],
        ),
    ],
)
def test_change_is_named_by_its_nodes(before, after, reported: list[str]) -> None:
    assert list(map(str, layer_changes(before, after))) == reported


def test_names_order_and_unknown_precisions_are_not_changes() -> None:
    before = [layer("a"), layer("b", precision=None), REFORMAT]
    after = [replace(REFORMAT, name="another"), layer("b"), layer("a", name="__myl_7")]
    assert layer_changes(before, after) == ()


def test_gravest_change_comes_first_and_omitted_ones_are_counted() -> None:
    before = [layer("gone"), layer("a"), layer("conv", "relu"), layer("x"), layer("y")]
    after = [layer("new"), layer("a", precision="float"), layer("conv"), layer("relu"),
             layer("x", "y")]  # fmt: skip
    changes = layer_changes(before, after)
    assert [one.change.value for one in changes] == [
        "split", "precision", "added", "fused", "removed",
    ]  # fmt: skip
    assert shortened(changes, 5) == tuple(map(str, changes))
    assert shortened(changes, 2) == (str(changes[0]), str(changes[1]), "and 3 more")


LAYERS = st.lists(
    st.builds(
        Layer,
        name=st.sampled_from(["l1", "l2"]),
        kind=st.sampled_from(["conv", "gemm"]),
        precision=st.sampled_from(["half", "float", None]),
        origins=st.lists(st.sampled_from("abcdef"), max_size=3, unique=True).map(tuple),
    ),
    max_size=8,
)


@given(LAYERS, st.randoms(use_true_random=False))
def test_same_layers_in_any_order_are_not_a_change(layers: list[Layer], random) -> None:
    assert layer_changes(layers, random.sample(layers, len(layers))) == ()


@given(LAYERS, LAYERS)
def test_no_layer_is_reported_twice_and_each_removed_one_is_reported(before, after) -> None:
    changes = layer_changes(before, after)
    for side, layers in (("before", before), ("after", after)):
        reported = Counter(id(one) for change in changes for one in getattr(change, side))
        assert set(reported.values()) <= {1}
        assert set(reported) <= {id(one) for one in layers}
    known = {node for one in after for node in one.origins}
    gone = [one for one in before if one.origins and not known & set(one.origins)]
    in_removals = [one for c in changes if c.change is Change.REMOVED for one in c.before]
    # Layers that share a node with one that is still there belong to its change.
    assert all(any(one is reported for c in changes for reported in c.before) for one in gone)
    assert {id(one) for one in in_removals if one.origins} <= {id(one) for one in gone}


@given(LAYERS, LAYERS)
def test_reversed_comparison_reports_the_opposite_changes(before, after) -> None:
    opposite = {
        Change.SPLIT: Change.FUSED,
        Change.FUSED: Change.SPLIT,
        Change.ADDED: Change.REMOVED,
        Change.REMOVED: Change.ADDED,
    }
    there = Counter(one.change for one in layer_changes(before, after))
    back = Counter(opposite.get(one.change, one.change) for one in layer_changes(after, before))
    assert there == back


def inspected(name: str) -> tuple[Layer, ...]:
    found = inspected_layers(json.loads((INSPECTIONS / f"{name}.json").read_text()))
    assert found is not None
    return found


def test_fusion_that_tensorrt_8_6_lost_is_named() -> None:
    before = inspected("tensorrt_8.6_static_fp16")
    fused = next(one for one in before if len(one.origins) == 2)
    apart = [replace(fused, origins=(node,)) for node in fused.origins]
    after = [*apart, *(one for one in before if one is not fused)]
    assert list(map(str, layer_changes(before, after))) == [
        "split: /conv1/Conv + /relu1/Relu -> 2 layers: /conv1/Conv | /relu1/Relu"
    ]


@pytest.mark.parametrize("name", [path.stem for path in sorted(INSPECTIONS.glob("*.json"))])
def test_recorded_engines_have_not_changed_from_themselves(name: str) -> None:
    assert layer_changes(inspected(name), inspected(name)) == ()


def test_precision_that_tensorrt_10_changed_is_named() -> None:
    before = inspected("tensorrt_10_mixed")
    after = [replace(one, precision="float") if one.precision == "int8" else one for one in before]
    (change,) = layer_changes(before, after)
    assert str(change) == (
        "precision: /conv1/weight_quantizer/QuantizeLinear + /conv1/Conv, int8 -> float"
    )


def built(tmp_path: Path, precision: str, name: str, *keep_fp32: str) -> tuple[Layer, ...]:
    """Return the layers of a real engine of the embedded backend."""
    network = saved(conv_net(), tmp_path / "conv.onnx")
    folder = tmp_path / name
    folder.mkdir()
    backend = OnnxRuntimeBackend()
    spec = EngineSpec(precision, keep_fp32=keep_fp32)
    return backend.build(BuildRequest(network, spec, backend.target("cpu"), folder)).layers or ()


def test_real_engines_of_one_model_differ_by_what_their_specs_say(tmp_path) -> None:
    half, same = (built(tmp_path, "fp16", name) for name in ("half", "same"))
    assert layer_changes(half, same) == ()
    mixed = layer_changes(half, built(tmp_path, "fp16", "mixed", "Conv"))
    reported = [str(one) for one in mixed if one.change is Change.PRECISION]
    assert reported
    assert all(text.endswith("half -> float") for text in reported)


def test_fusions_that_onnx_runtime_makes_only_in_fp32_are_named(tmp_path) -> None:
    changes = layer_changes(built(tmp_path, "fp32", "float"), built(tmp_path, "fp16", "half"))
    kinds = [str(one) for one in changes if one.change is Change.KIND]
    assert any("FusedConv -> Conv" in text for text in kinds)


def test_reports_hold_more_layers_than_baselines_and_the_kinds_of_any_number() -> None:
    layers = [Layer(f"l{n}", "Conv", "half", (f"n{n}",)) for n in range(1001)]
    sizes = {n: len(layer_rows(layers[:n])) for n in (200, 201)}
    assert sizes == {200: 200, 201: 0}
    sizes = {n: len(layer_rows(layers[:n], reported=True)) for n in (1000, 1001)}
    assert sizes == {1000: 1000, 1001: 0}
    assert layer_kinds(layers) == {"Conv (half)": 1001}
