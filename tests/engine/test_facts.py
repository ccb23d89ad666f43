from __future__ import annotations

import json

import pytest
from builders_facts import made_of
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import UnknownFactError
from pytest_trt.engine.facts import (
    CONVERSION,
    INTEGER,
    LEAST_REPORTED_PCT,
    EngineFacts,
    Layer,
    Timings,
    precision_of,
)

PRECISIONS = ["half", "int8", "float", "bfloat16", INTEGER, CONVERSION]

texts = st.text(max_size=20)
layer = st.builds(
    Layer,
    name=texts,
    kind=texts,
    precision=st.sampled_from(PRECISIONS) | st.none(),
    origins=st.lists(texts, max_size=3).map(tuple),
    weights=st.dictionaries(st.sampled_from(PRECISIONS), st.integers(0, 10**12)),
)
facts = st.builds(
    EngineFacts,
    size_bytes=st.integers(0, 10**12),
    build_s=st.integers(0, 10**6).map(lambda ms: ms / 1000),
    memory_bytes=st.none() | st.integers(0, 10**12),
    layers=st.none() | st.lists(layer, max_size=6).map(tuple),
    hidden_weights=st.integers(0, 10**12),
    fp32_weights_bytes=st.integers(0, 10**12),
)


def test_shares_are_of_layers_and_of_elements_of_weights() -> None:
    engine = made_of(("half", {"half": 900}), ("float", {"float": 90}), ("int8", {"int8": 10}))
    assert engine.half_layers_pct == pytest.approx(100 / 3)
    assert engine.int8_layers_pct == engine.float_layers_pct == engine.half_layers_pct
    assert engine.half_weights_pct == 90.0
    assert engine.float_weights_pct == 9.0
    assert engine.int8_weights_pct == 1.0


@given(facts)
def test_shares_add_to_100_or_are_not_given(engine: EngineFacts) -> None:
    for shares, unknown in (
        (engine.layers_pct, engine.unknown_layers_pct),
        (engine.weights_pct, engine.unknown_weights_pct),
    ):
        assert unknown is None or 0.0 <= unknown <= 100.0
        if shares is None:
            assert unknown is None or unknown > 100.0 - LEAST_REPORTED_PCT
        else:
            assert sum(shares.values()) == pytest.approx(100.0)
            assert not {INTEGER, CONVERSION} & shares.keys()


@given(facts)
def test_what_is_stored_is_what_comes_back(engine: EngineFacts) -> None:
    assert EngineFacts.from_json(engine.to_json()) == engine


def test_stored_layers_take_a_line_each() -> None:
    engine = made_of(("half", {"half": 4}), ("float", {}))
    rows = [line for line in engine.to_json().splitlines() if "layer " in line]
    assert [json.loads(row.rstrip(","))["precision"] for row in rows] == ["half", "float"]


def test_measurements_of_one_process_are_not_stored() -> None:
    measured = EngineFacts(size_bytes=1, build_s=1.0, timings=Timings(0.5, 0.1))
    assert EngineFacts.from_json(measured.to_json()) == EngineFacts(size_bytes=1, build_s=1.0)


def test_engine_that_reports_nothing_has_no_shares_rather_than_shares_of_zero() -> None:
    engine = EngineFacts(size_bytes=1000, build_s=1.0)
    assert engine.weights_pct is None
    assert engine.layers_pct is None
    assert engine.unknown_layers_pct is None
    assert engine.unknown_weights_pct is None


def test_opaque_layer_of_a_transformer_hides_the_shares() -> None:
    engine = made_of((None, {}), ("float", {"float": 64}), hidden_weights=1_000_000)
    assert engine.unknown_layers_pct == 50.0
    assert engine.unknown_weights_pct > 99.9
    assert engine.layers_pct is None
    assert engine.weights_pct is None


UNKNOWN = {
    "no layers": (EngineFacts(1000, 1.0), "half_layers_pct", "does not report its layers"),
    "hidden weights": (
        made_of((None, {}), ("float", {"float": 64}), hidden_weights=1_000_000),
        "float_weights_pct",
        "does not report the precision of 100% of its weights",
    ),
    "hidden layers": (
        made_of((None, {}), ("int8", {})),
        "int8_layers_pct",
        "does not report the precision of 50% of its layers",
    ),
    "no weights": (made_of(("half", {})), "half_weights_pct", "has no weights with a precision"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_share_that_is_not_known_cannot_be_asserted(case: str) -> None:
    engine, name, why = UNKNOWN[case]
    with pytest.raises(UnknownFactError) as caught:
        getattr(engine, name)
    assert caught.value.message.startswith(f"facts.{name} is unknown: this engine {why}")
    (command,) = caught.value.diagnostic.remedy.commands
    assert command.startswith(f'if trt_engine.facts.get("{name}") is None: pytest.skip(')
    assert engine.get(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("device_memory_bytes", "this engine does not report it"),
        ("load_s", "this process has not loaded the engine yet"),
        ("first_inference_s", "this process has not run the engine yet"),
    ],
)
def test_a_fact_that_is_not_reported_explains_itself(name: str, why: str) -> None:
    with pytest.raises(UnknownFactError) as caught:
        _ = getattr(EngineFacts(1000, 1.0), name) < 1e9
    assert caught.value.message == f"facts.{name} is unknown: {why}"
    assert caught.value.diagnostic.code == "TRT330"
    assert EngineFacts(1000, 1.0).get(name) is None


def test_a_fact_that_is_reported_is_a_number() -> None:
    engine = EngineFacts(1000, 1.0, memory_bytes=0, timings=Timings(0.5, 0.25))
    assert (engine.device_memory_bytes, engine.load_s, engine.first_inference_s) == (0, 0.5, 0.25)
    assert engine.get("device_memory_bytes") == 0


def test_weights_that_were_folded_away_do_not_hide_the_shares() -> None:
    engine = made_of(("half", {"half": 896}), hidden_weights=96)
    assert engine.half_weights_pct == 100.0
    assert engine.unknown_weights_pct == pytest.approx(9.7, abs=0.1)


def test_layers_that_compute_in_no_precision_are_in_no_share() -> None:
    engine = made_of(("half", {INTEGER: 12}), (INTEGER, {}), (CONVERSION, {}))
    assert engine.half_layers_pct == 100.0
    assert engine.weights_pct is None


def test_model_of_integers_alone_has_no_shares() -> None:
    engine = made_of((INTEGER, {INTEGER: 3}))
    assert (engine.layers_pct, engine.unknown_layers_pct) == (None, None)


def test_plan_is_compared_with_the_models_weights_in_fp32() -> None:
    assert made_of(fp32_weights_bytes=2000).size_vs_fp32_pct == 50.0
    assert made_of().size_vs_fp32_pct is None


@pytest.mark.parametrize(
    ("element", "precision"),
    [
        ("float16", "half"),
        ("float32", "float"),
        ("float64", "float"),
        ("int8", "int8"),
        ("uint8", "int8"),
        ("bfloat16", "bfloat16"),
        ("float8e4m3fn", "fp8"),
        ("float4e2m1", "fp4"),
        ("int64", INTEGER),
        ("bool", INTEGER),
        ("undefined", None),
    ],
)
def test_element_types_map_to_precisions(element: str, precision: str | None) -> None:
    assert precision_of(element) == precision


def test_first_measurement_stays() -> None:
    timings = Timings()
    timings.loaded(2.0)
    timings.loaded(0.5)
    timings.ran(0.2)
    timings.ran(0.1)
    assert (timings.load_s, timings.first_inference_s) == (2.0, 0.2)
