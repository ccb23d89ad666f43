from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import builders_planted as planted
import numpy as np
import pytest
from builders_networks import constant, conv_net, model, value
from builders_planted import network
from onnx import ModelProto, NodeProto, helper, numpy_helper

from pytest_trt.diagnostics import Diagnostic, EngineBuildError, Remedy
from pytest_trt.engine.known_faults import KnownFault
from pytest_trt.precision import localize as localizing
from pytest_trt.precision.explain import About, Fp32Trial, explain, with_one_fix
from pytest_trt.precision.localize import Localization, localize
from pytest_trt.tensors.spec import Tensors

ZERO = np.zeros(1, np.int64)
INPUTS = {"x": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}


def found_in(kind: str, folder: Path) -> tuple[str, Localization]:
    right = network()
    faulty, layer = planted.plant(right, kind)
    if kind in planted.OTHER_MODEL:
        case = planted.case_of_models(right, faulty, INPUTS, folder)
    else:
        case = planted.case_of_engine(faulty, INPUTS, folder)
    return layer, localize(case, timeout_s=60)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("channel", "constant w2 differs in 54 of 324 elements"),
        ("overflow", "overflow: values reach "),
        ("underflow", "underflow: values up to "),
    ],
)
def test_names_the_layer_of_a_planted_fault_and_its_cause(
    tmp_path: Path, kind: str, cause: str
) -> None:
    layer, found = found_in(kind, tmp_path)
    assert found.first is not None
    assert found.first.node == layer
    assert cause in found.first.cause
    assert found.share > 0.9
    assert found.is_complete
    assert found.layers[0].tensor == found.first.tensor


def _other_operator(node: NodeProto) -> None:
    node.op_type = "Sigmoid"


def _dilated(node: NodeProto) -> None:
    node.attribute[0].ints[:] = [2] * 4
    node.attribute.append(helper.make_attribute("dilations", [2, 2]))


def _other_input(node: NodeProto) -> None:
    node.input[0] = "r2"


@pytest.mark.parametrize(
    ("layer", "change", "cause"),
    [
        ("relu2", _other_operator, "the reference computes it by Relu, this model by Sigmoid"),
        ("conv1", _dilated, "attribute dilations: not set in the reference, [2, 2] here"),
        ("skip", _other_input, "it reads r2, and r1 in the reference"),
    ],
)
def test_names_what_an_export_changed_in_a_layer(
    layer: str, change: Callable[[NodeProto], None], cause: str, tmp_path: Path
) -> None:
    right, other = network(), network()
    change(next(one for one in other.graph.node if one.name == layer))
    first = localize(planted.case_of_models(right, other, INPUTS, tmp_path), timeout_s=60).first
    assert first is not None
    assert (first.node, first.cause) == (layer, cause)


@pytest.mark.parametrize(
    ("stored", "cause"),
    [(1e6, "clamped constant: c reaches 1e+06"), (1e-9, "clamped constant: c is at most 1e-09")],
)
def test_names_a_constant_that_float16_does_not_hold(
    stored: float, cause: str, tmp_path: Path
) -> None:
    back = min(1 / stored, 6e4)
    proto = model(
        [
            helper.make_node("Add", ["x", "nothing"], ["a"], name="zero"),
            helper.make_node("Mul", ["a", "c"], ["b"], name="scale"),
            helper.make_node("Mul", ["b", "back"], ["y"], name="back"),
        ],
        [value("x", [2, 8])],
        [value("y", [2, 8])],
        [constant("nothing", 0.0), constant("c", stored), constant("back", back)],
    )
    inputs = {"x": INPUTS["x"].reshape(-1, 8)[:2]}
    first = localize(planted.case_of_engine(proto, inputs, tmp_path), timeout_s=60).first
    assert first is not None
    assert first.node == "scale"
    assert first.cause.startswith(cause)


def test_a_known_fault_of_the_backend_comes_before_keep_fp32(tmp_path: Path) -> None:
    _, found = found_in("channel", tmp_path)
    fault = KnownFault("this version computes INT8 incorrectly", Remedy("Upgrade:", ("pip x",)))
    about = About("m.onnx", "m.onnx", "int8", "cpu", fault=fault)
    trial = Fp32Trial(("n1",), error=0.0, passed=1)
    shown = explain(found, about, trial)
    assert shown.details[0] == f"likely cause: {fault.text}"
    assert shown.remedy.commands == ("pip x",)
    assert "If that is no option: The check passes" in shown.remedy.alternatives[0]
    assert 'keep_fp32=["n1"]' in shown.remedy.alternatives[0]
    assert explain(found, replace(about, fault=None), trial).remedy.commands == (
        'keep_fp32=["n1"]',
    )


def test_advice_shows_what_was_tried_and_how_to_write_it(tmp_path: Path) -> None:
    _, found = found_in("channel", tmp_path)
    about = About("m.onnx", "m.onnx", "int8", "cpu")

    def fix(trial: Fp32Trial, **more: object) -> Remedy:
        return explain(found, replace(about, **more), trial).remedy

    for tried, runs, words in (
        (4, 4, "The check passes with"),
        (3, 4, "3 of 4 runs were tried, and pass,"),
    ):
        trial = Fp32Trial(("n1",), error=0.0, passed=tried, tried=tried, runs=runs)
        assert fix(trial).text.startswith(words)
    some = fix(Fp32Trial(("n1",), error=0.0, passed=1, tried=4, runs=4)).text
    assert some.startswith("This argument of trt_model lowers the error of the worst run's outputs")
    assert "; 1 of 4 runs that were tried pass:" in some
    trial = Fp32Trial(("n1",), error=0.0, passed=1)
    assert fix(trial, several=True).commands == ('by_precision={"int8": {"keep_fp32": ["n1"]}}',)
    added = fix(trial, keep_fp32=("Mul",))
    assert added.commands == ('keep_fp32=["Mul", "n1"]',)
    assert "in place of the present one" in added.text


def test_a_failure_has_one_fix(tmp_path: Path) -> None:
    _, found = found_in("channel", tmp_path)
    about = About("m.onnx", "m.onnx", "fp16", "cpu")
    facts = {"path": "m.onnx", "precision": "fp16", "kind": "mismatch"}
    tuned = Remedy("Keeping some layers in FP32 may help:", ("pytest-trt tune TEST",))
    failure = Diagnostic("TRT401", "y: 9x over tolerance", facts, remedy=tuned)
    note = explain(found, about, Fp32Trial(("n1",), error=0.0, passed=1))
    first, second = with_one_fix([failure], [note])
    assert (first.remedy.commands, second.remedy) == (('keep_fp32=["n1"]',), Remedy())
    some = explain(found, about, Fp32Trial(("n1",), error=0.0, passed=1, tried=2, runs=2))
    assert with_one_fix([failure], [some]) == [failure, some]
    tried = replace(failure, facts={**facts, "passing": 'keep_fp32=["Mul"]'})
    first, second = with_one_fix([tried], [some])
    assert (first, second.remedy) == (tried, Remedy())
    accept = Remedy("Accept the new answers:", ("pytest --trt-update",))
    changed = replace(failure, code="TRT416", remedy=accept)
    first, second, _ = with_one_fix([changed, failure], [note])
    assert (first, second.remedy.commands) == (changed, ('keep_fp32=["n1"]',))


@pytest.mark.parametrize("seed", range(3))
def test_a_layer_that_makes_half_of_the_error_is_to_blame(seed: int, tmp_path: Path) -> None:
    """An earlier one that makes nearly half was named, with the verdict that none is to blame."""
    image = (
        np.random.default_rng(seed).standard_normal((2, 3, 16, 16))
        if seed
        else np.ones((2, 3, 16, 16))
    )
    case = planted.case_of_engine(conv_net(), {"image": image.astype(np.float32)}, tmp_path)
    found = localize(case, timeout_s=60)
    assert found.first is not None
    most = max(one.carried or 0.0 for one in found.layers)
    if most >= 0.5 * found.total:
        assert found.share >= 0.5
    else:
        assert found.first.carried == most


def test_names_no_layer_where_nothing_differs(tmp_path: Path) -> None:
    found = localize(planted.case_of_models(network(), network(), INPUTS, tmp_path), timeout_s=60)
    assert found.first is None
    assert len(found.layers) == 9
    assert (found.total, found.changed) == (0.0, 0.0)


def test_looks_in_chunks_at_what_memory_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localizing, "_BUDGET_BYTES", 10_000)
    layer, found = found_in("weights", tmp_path)
    assert found.first is not None
    assert (found.first.node, len(found.layers)) == (layer, 9)


def test_looks_at_the_rest_where_an_engine_cannot_be_built_with_some_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localizing, "_FEW", 2)
    right = network()
    faulty, layer = planted.plant(right, "channel")
    case = planted.case_of_models(right, faulty, INPUTS, tmp_path)
    refused: list[int] = []

    def observe(
        source: Path, tensors: Sequence[str], folder: Path, *, all_of_them: bool
    ) -> Tensors:
        if "flat" in tensors:
            refused.append(len(tensors))
            raise EngineBuildError("no", fix="Nothing.")
        return case.observe(source, tensors, folder, all_of_them=all_of_them)

    found = localize(replace(case, observe=observe), timeout_s=60)
    assert found.first is not None
    assert (found.first.node, "flat" in [one.tensor for one in found.layers]) == (layer, False)
    assert refused[0] == 9


def test_stops_at_its_time_limit_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localizing, "_BUDGET_BYTES", 10_000)
    case = planted.case_of_models(network(), network(), INPUTS, tmp_path)
    found = localize(case, timeout_s=0)
    assert not found.is_complete


def test_a_layer_that_no_time_was_left_to_try_alone_is_not_said_to_do_nothing(
    tmp_path: Path,
) -> None:
    right = network()
    faulty, layer = planted.plant(right, "channel")
    case = planted.case_of_models(right, faulty, INPUTS, tmp_path)
    shown = explain(localize(case, timeout_s=0), About("m.onnx", "m.onnx", "fp16", "cpu"))
    assert shown.code == "TRT442"
    assert f"before {layer} (Conv), which has the largest own error" in shown.message


def test_a_search_without_one_culprit_shows_what_it_found(tmp_path: Path) -> None:
    _, found = found_in("channel", tmp_path)
    assert found.first is not None
    about = About("m.onnx", "m.onnx", "fp16", "cpu")
    quarter = replace(found.first, carried=found.total / 4)
    shown = explain(replace(found, first=quarter, changed=0.01), about)
    assert shown.code == "TRT441"
    assert shown.message.endswith(" (Conv), makes 25% of the error of the outputs")
    assert any("with more outputs, the engine's own differ by 0.01" in one for one in shown.details)
    none = explain(replace(found, first=None, is_complete=False, layers=found.layers[:2]), about)
    assert "by more than rounding (2 of 9 layers compared)" in none.message
    assert none.details[-1] == "the time limit ended the search after 2 of 9 layers"


def test_names_the_convolution_and_not_the_activation_that_it_is_computed_with(
    tmp_path: Path,
) -> None:
    """An int8 engine computes both together: the tensor between them is looked at afterwards."""
    changed = network()
    tensor = next(one for one in changed.graph.initializer if one.name == "w2")
    values = numpy_helper.to_array(tensor).copy()
    values[:, 0, 0, 0] = 30.0  # one scale for each channel, too coarse for its other weights
    tensor.CopyFrom(numpy_helper.from_array(values, "w2"))
    found = localize(planted.case_of_engine(changed, INPUTS, tmp_path, "int8"), timeout_s=60)
    assert found.first is not None
    assert found.first.node == "conv2"


def in_a_branch(network: ModelProto) -> ModelProto:
    """Return a model that computes a network, and half of it where the input has a large sum."""
    body, node = network.graph, helper.make_node
    taken = helper.make_graph(list(body.node), "taken", [], [value("scores", None)])
    half = helper.make_graph(
        [*body.node, node("Mul", ["scores", "half"], ["halved"])],
        "other",
        [],
        [value("halved", None)],
    )
    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Less", ["total", "large"], ["small"]),
        node("If", ["small"], ["result"], name="choose", then_branch=taken, else_branch=half),
    ]
    stored = [*body.initializer, constant("large", 1e6), constant("half", 0.5)]
    return model(nodes, list(body.input), [value("result", ["n", 4])], stored)


@pytest.mark.parametrize("kind", ["channel", "overflow"])
def test_looks_into_the_branch_that_the_run_takes(tmp_path: Path, kind: str) -> None:
    right = network()
    faulty, layer = planted.plant(right, kind)
    if kind == "channel":
        case = planted.case_of_models(in_a_branch(right), in_a_branch(faulty), INPUTS, tmp_path)
    else:
        case = planted.case_of_engine(in_a_branch(faulty), INPUTS, tmp_path)
    found = localize(case, timeout_s=60)
    assert found.first is not None
    assert found.first.node == layer
    assert found.changed < 1e-6


def test_looks_past_tensors_without_elements(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "large"], ["first"], name="first"),
        node("MatMul", ["first", "large"], ["second"], name="second"),
        node("Slice", ["second", "zero", "zero"], ["none"], name="none"),
        node("Concat", ["second", "none"], ["both"], name="both", axis=0),
    ]
    stored = [constant("large", np.full((4, 4), 300.0)), numpy_helper.from_array(ZERO, "zero")]
    made = model(nodes, [value("x", ["n", 4])], [value("both", ["m", 4])], stored)
    inputs = {"x": np.ones((2, 4), np.float32)}
    found = localize(planted.case_of_engine(made, inputs, tmp_path), timeout_s=60)
    assert found.first is not None
    assert found.first.node == "second"
