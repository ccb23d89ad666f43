"""Sequences, maps and optionals are compared item by item."""

from __future__ import annotations

from collections.abc import Sequence

import builders_networks as networks
import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from plugin.conftest import assert_shows

ROWS = networks.value("x", ["n", 3])
FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, None)


def saved(project, name: str, proto: ModelProto) -> None:
    onnx.save(proto, project.path / "models" / name)


def network(
    nodes: Sequence[NodeProto], output: ValueInfoProto, inputs: Sequence[ValueInfoProto] = (ROWS,)
) -> ModelProto:
    proto = networks.model(nodes, inputs, [output], opset=18, ir_version=8)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return proto


def sequence(*items: str) -> ModelProto:
    """Return a list of x, -x or |x|: x -> s."""
    nodes = [helper.make_node(op, ["x"], [op], name=op) for op in dict.fromkeys(items)]
    nodes.append(helper.make_node("SequenceConstruct", list(items), ["s"], name="list"))
    return network(nodes, helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))


def zipmap(labels: Sequence[str], op: str = "Softmax") -> ModelProto:
    """Return a classifier's probabilities by label, as scikit-learn's are exported: x -> s."""
    nodes = [
        helper.make_node(op, ["x"], ["p"], name="scores"),
        helper.make_node(
            "ZipMap", ["p"], ["s"], name="zip", domain="ai.onnx.ml", classlabels_strings=labels
        ),
    ]
    maps = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, []))
    return network(nodes, helper.make_value_info("s", helper.make_sequence_type_proto(maps)))


def check(project, feed: str = "{'x': x}", *, model: str = '"models/m.onnx"', **markers: str):
    project.test_file(
        f"@pytest.mark.trt_model({model})\n"
        f"@pytest.mark.trt_consistency({markers.get('consistency', '')})\n"
        "def test_it(trt_session):\n"
        "    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)\n"
        f"    s = trt_session.run({feed})['s']\n"
    )
    return project.run()


def against(project, right: ModelProto, wrong: ModelProto, **markers: str):
    saved(project, "right.onnx", right)
    saved(project, "wrong.onnx", wrong)
    of = '"models/wrong.onnx", reference="models/right.onnx"'
    result = check(project, model=of, **markers)
    result.assert_outcomes(failed=1)
    return result.stdout


def test_sequences_of_equal_items_pass(project) -> None:
    saved(project, "m.onnx", sequence("Neg", "Abs"))
    for _ in range(2):  # reference outputs that are no arrays are not stored
        check(project).assert_outcomes(passed=1)


def test_the_wrong_item_of_a_sequence_is_named(project) -> None:
    lines = against(project, sequence("Neg", "Abs"), sequence("Neg", "Neg"))
    lines.fnmatch_lines(["s[[]1]: *x over tolerance *", "  s[[]0]: passed, *"])


def test_a_missing_item_of_a_sequence_is_named(project) -> None:
    lines = against(project, sequence("Neg", "Abs"), sequence("Neg"))
    lines.fnmatch_lines(["s[[]1] is missing *"])


def test_an_offered_tolerance_is_that_of_the_output_and_passes(project) -> None:
    right, wrong = sequence("Abs", "Neg"), sequence("Abs", "Neg")
    for proto, shift in ((right, 0.0), (wrong, 0.001)):
        proto.graph.initializer.append(networks.constant("shift", shift))
        add = helper.make_node("Add", ["Neg", "shift"], ["shifted"], name="add")
        proto.graph.node.insert(2, add)
        proto.graph.node[-1].input[:] = ["shifted", "Abs", "shifted"]
    lines = against(project, right, wrong, consistency="rtol=0, atol=0")
    assert "outputs=" not in str(lines)  # a model that has changed is no matter of tolerance
    result = check(project, model='"models/wrong.onnx"', consistency="outputs={'s': {'top1': 1}}")
    result.assert_outcomes(passed=1)


def test_maps_of_equal_values_pass(project) -> None:
    saved(project, "m.onnx", zipmap(["cat", "dog", "elk"]))
    check(project).assert_outcomes(passed=1)


def test_a_wrong_value_of_a_map_fails(project) -> None:
    labels = ["cat", "dog", "elk"]
    lines = against(project, zipmap(labels), zipmap(labels, "Neg"))
    lines.fnmatch_lines(["s: *x over tolerance*", "*s.keys: passed, equal in every element*"])


def test_other_keys_of_a_map_fail(project) -> None:
    lines = against(project, zipmap(["cat", "dog", "elk"]), zipmap(["cat", "dog", "emu"]))
    lines.fnmatch_lines(["s.keys: 1 of 3 elements differ *"])


def test_sequences_and_optionals_are_fed_as_lists_and_none(project) -> None:
    optional = helper.make_optional_type_proto(FLOATS)
    inputs = [
        helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None),
        helper.make_value_info("o", optional),
    ]
    nodes = [
        helper.make_node("SequenceAt", ["x", "last"], ["s"], name="at"),
        helper.make_node("Identity", ["o"], ["again"], name="same"),
    ]
    proto = network(nodes, networks.value("s", None), inputs)
    proto.graph.output.append(helper.make_value_info("again", optional))
    proto.graph.initializer.append(networks.constant("last", -1, "int64"))
    saved(project, "m.onnx", proto)
    for feed in ("{'x': [x, x + 1], 'o': x}", "{'x': [x], 'o': None}"):
        check(project, feed).assert_outcomes(passed=1)
    result = check(project, "{'x': (x, x), 'o': None}")
    assert_shows(result, "*input 'x' is a tuple, not a list; the model takes sequence(*", failed=1)


def test_an_output_that_cannot_be_compared_is_refused_at_collection(project) -> None:
    proto = networks.model(
        [helper.make_node("Identity", ["x"], ["s"], name="same")],
        [networks.value("x", [2])],
        [helper.make_sparse_tensor_value_info("s", TensorProto.FLOAT, [2])],
    )
    saved(project, "m.onnx", proto)
    assert_shows(check(project), "output s: sparse_tensor(float32) cannot be compared: *", errors=1)


def test_the_self_test_plants_errors_into_items(project) -> None:
    saved(project, "m.onnx", zipmap(["cat", "dog", "elk"]))
    check(project)
    result = project.run("--trt-selftest")
    assert_shows(result, "*1 effective, 0 ineffective, 0 not tried", passed=1)


@pytest.mark.parametrize("kind", ["sequence", "map"])
def test_inputs_that_are_no_tensors_are_not_generated(project, kind: str) -> None:
    of = {
        "sequence": helper.make_sequence_type_proto(FLOATS),
        "map": helper.make_map_type_proto(TensorProto.STRING, FLOATS),
    }[kind]
    node = helper.make_node("Identity", ["x"], ["s"], name="same")
    proto = network([node], helper.make_value_info("s", of), [helper.make_value_info("x", of)])
    saved(project, "m.onnx", proto)
    project.test_file(
        '@pytest.mark.trt_model("models/m.onnx")\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    assert_shows(project.run(), f"input x: {kind}(* has a type that cannot be filled *", errors=1)
    assert np.size(project.plans()) == 0
