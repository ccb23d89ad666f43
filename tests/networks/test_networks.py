"""The networks themselves: valid, the same every time, of order 1, and moved by their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from networks import NETWORKS, bert_base, control_flow, resnet50, small, spot_detector
from networks.detector import scene
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.onnx.file import load_model

Tensors = Mapping[str, np.ndarray]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[dict[str, np.ndarray]]]:
    """Run a model in FP32, unoptimised, on each of the inputs."""

    def run(model: ModelProto, *inputs: Tensors) -> list[dict[str, np.ndarray]]:
        onnx.save(model, tmp_path / "model.onnx")
        session = OnnxRuntimeBackend(threads=1).reference(load_model(tmp_path / "model.onnx"))
        return [session.run(feed) for feed in inputs]

    return run


def pictures(seed: int) -> Tensors:
    patches = np.random.default_rng(seed).standard_normal((2, 3, 14, 14))
    return {"image": np.kron(patches, np.ones((16, 16))).astype(np.float32)}


def tokens(seed: int) -> Tensors:
    ids = np.random.default_rng(seed).integers(0, 1000, (2, 24))
    ones = np.ones_like(ids)
    return {"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0}


def signal(seed: int) -> Tensors:
    return {"signal": control_flow.frames(3, seed=seed)}


def frames(seed: int) -> Tensors:
    return {"frames": control_flow.frames(9, 3, seed=seed)}


#: Every depth is that of the full size, for it is depth that lets values grow or fade.
FLOATING: Mapping[str, tuple[Callable[[], ModelProto], Callable[[int], Tensors]]] = {
    "resnet50": (partial(resnet50, width=4, classes=50), pictures),
    "bert": (partial(bert_base, vocab_size=1000, hidden_size=96, intermediate_size=192), tokens),
    "lstm": (control_flow.lstm, frames),
    "scan": (control_flow.scan, frames),
    "loop": (control_flow.loop, frames),
    "branch": (control_flow.branch, signal),
}


@pytest.mark.parametrize("name", FLOATING)
def test_outputs_are_of_order_one_and_depend_on_the_input(run, name: str) -> None:
    make, inputs = FLOATING[name]
    first, second = run(make(), inputs(0), inputs(1))
    for output, values in first.items():
        assert np.isfinite(values).all()
        scaled = values * np.sqrt(values.shape[-1]) if output == "sentence_embedding" else values
        assert 0.05 < np.abs(scaled).mean() < 5
        # Thirty times what half a step of float16 is: an engine that ignored its input would show.
        assert np.abs(values - second[output]).mean() > 0.015 * np.abs(values).mean()


def test_every_token_of_bert_keeps_its_own_state(run) -> None:
    make, inputs = FLOATING["bert"]
    (outputs,) = run(make(), inputs(0))
    assert outputs["last_hidden_state"].std(axis=1).mean() > 0.3


def test_one_iteration_of_a_loop_is_stored_for_every_frame(run) -> None:
    for time in (1, 2, 17):
        (outputs,) = run(control_flow.loop(), {"frames": control_flow.frames(time, 3)})
        assert outputs["energies"].shape == (time, 3)
        assert (outputs["energies"] > 0).all()


def test_loudness_chooses_the_branch(run) -> None:
    faint = {"signal": 0.1 * signal(0)["signal"]}
    quiet, loud = run(control_flow.branch(), faint, signal(0))
    assert quiet["filtered"].min() > 0  # a sigmoid
    assert loud["filtered"].min() < 0  # tanh


@pytest.mark.parametrize("spots", [0, 1, 5, 12])
def test_the_detector_finds_every_spot_in_its_colour(run, spots: int) -> None:
    (outputs,) = run(spot_detector(), {"image": scene(416, 416, spots)})
    found = outputs["detections"]
    assert found.shape == (spots, 6)
    assert sorted(found[:, 5]) == sorted(number % 3 for number in range(spots))
    # What rounding could turn round, or lift over the threshold, is far from it.
    assert (np.diff(found[:, 4]) < -0.01).all()
    assert (found[:, 4] > 0.6).all()


def test_boxes_of_the_detector_lie_around_the_spots(run) -> None:
    image = scene(128, 256, 1)
    (outputs,) = run(spot_detector(), {"image": image})
    left, top, right, bottom = outputs["detections"][0, :4]
    y, x = np.unravel_index(image[0].sum(axis=0).argmax(), (128, 256))
    assert left + 10 < x < right - 10
    assert top + 10 < y < bottom - 10


def test_more_spots_than_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="10 spots do not fit into 128 x 128 pixels"):
        scene(128, 128, 10)


@pytest.mark.parametrize("name", NETWORKS)
def test_models_are_valid_and_the_same_every_time(name: str) -> None:
    network = NETWORKS[name]
    for make in {**network.models, **network.reduced}.values():
        model = make()
        onnx.checker.check_model(model, full_check=True)
        assert make().SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("make", [resnet50, bert_base, spot_detector])
def test_another_seed_gives_other_weights_and_the_same_graph(make) -> None:
    small = {bert_base: {"vocab_size": 50, "num_hidden_layers": 1}, resnet50: {"width": 4}}
    first, second = (make(seed=seed, **small.get(make, {})) for seed in (0, 1))
    assert first.graph.node == second.graph.node
    assert first.graph.initializer != second.graph.initializer


def test_an_operator_that_no_product_has_is_valid_onnx_and_runs_nowhere(run) -> None:
    model = small.foreign()
    onnx.checker.check_model(model)
    with pytest.raises(PytestTrtError, match="Frobnicate"):
        run(model, {"x": np.ones((1, 4), np.float32)})
