from __future__ import annotations

import pytest

from pytest_trt.diagnostics import ConfigurationError, UnsupportedError
from pytest_trt.engine.builder_options import (
    BACKEND_PRECISIONS,
    BUILDER_OPTIONS,
    PRODUCTS,
    check_options,
    has_all,
    options_of,
    require_options,
    require_precision,
    shared_options,
)
from pytest_trt.engine.spec import BLOCK_LISTS, CALIBRATED, FULL_PRECISIONS, PRECISIONS

OF_INT8 = {"op_types": "Add"}


def test_every_option_exists_somewhere_for_known_backends_and_precisions() -> None:
    for option in BUILDER_OPTIONS.values():
        assert option.meaning
        assert option.scopes
        assert {scope.backend for scope in option.scopes} <= PRODUCTS.keys()
        for scope in option.scopes:
            assert set(scope.precisions) <= set(BACKEND_PRECISIONS[scope.backend]), option.name
        if option.choices:
            assert option.default in option.choices


def test_every_block_list_is_declared() -> None:
    assert set(BLOCK_LISTS) <= {o.name for o in BUILDER_OPTIONS.values() if o.of_conversion}


def test_an_option_of_another_precision_says_which_have_it() -> None:
    require_options(OF_INT8, "tensorrt", "int8", converts=True)
    with pytest.raises(UnsupportedError, match="no builder option 'op_types' for fp16") as at:
        require_options(OF_INT8, "tensorrt", "fp16", converts=True)
    assert at.value.diagnostic.facts == {
        "backend": "tensorrt",
        "precision": "fp16",
        "option": "op_types",
    }
    (line,) = [way for way in at.value.diagnostic.remedy.alternatives if "TensorRT," in way]
    assert line.startswith("TensorRT, int8, fp8 and mixed: by_backend=")


def test_option_of_another_backend_is_missing_for_every_precision() -> None:
    with pytest.raises(UnsupportedError) as caught:
        require_options({"refit": True}, "onnxruntime", "fp16", converts=True)
    assert caught.value.diagnostic.facts["precision"] is None


def test_option_that_no_backend_has_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match="unknown builder option 'fast'") as caught:
        require_options({"fast": True}, "onnxruntime", "fp32", converts=False)
    assert not isinstance(caught.value, UnsupportedError)
    (known,) = caught.value.diagnostic.remedy.alternatives
    assert known.startswith("graph_optimization_level: ")


def test_conversion_options_are_refused_for_a_model_that_is_quantised_already() -> None:
    with pytest.raises(ConfigurationError, match="is quantised already") as caught:
        require_options(OF_INT8, "onnxruntime", "int8", converts=False, model="q.onnx")
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_shared_options_of_a_conversion_affect_only_the_precisions_that_it_makes(
    precision: str,
) -> None:
    given = {"op_block_list": "Add", "per_channel": True, "refit": True, "of_a_plugin": 1}
    reduced = ["op_block_list"] if precision not in FULL_PRECISIONS else []
    expected = [*reduced, *["per_channel"] * (precision in CALIBRATED), "refit", "of_a_plugin"]
    assert list(shared_options(given, precision)) == expected


def test_backend_of_a_plugin_may_have_everything() -> None:
    assert has_all("of_a_plugin", "tf32", ["anything"])
    assert has_all("onnxruntime", "int8", OF_INT8)
    assert not has_all("onnxruntime", "fp32", OF_INT8)
    assert not has_all("onnxruntime", "tf32", [])


def test_precision_that_a_backend_lacks_names_one_that_has_it() -> None:
    require_precision("tensorrt", "tf32")
    with pytest.raises(UnsupportedError, match="--trt-backend tensorrt"):
        require_precision("onnxruntime", "tf32")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("workspace_bytes", 1 << 30, "1GB"),
        ("max_aux_streams", 0, True),
        ("refit", False, 0),
        ("graph_optimization_level", "all", "most"),
        ("op_types", "MatMul, Gemm", 1),
    ],
)
def test_values_have_the_declared_type(name: str, good: object, bad: object) -> None:
    check_options({name: good}, "trt_model")
    with pytest.raises(ConfigurationError) as caught:
        check_options({name: bad}, "trt_model")
    assert caught.value.diagnostic.code == "TRT357"
    assert BUILDER_OPTIONS[name].meaning in str(caught.value)


def test_declared_options_of_a_backend_are_those_of_its_precisions() -> None:
    for backend, precisions in BACKEND_PRECISIONS.items():
        found = {name for precision in precisions for name in options_of(backend, precision)}
        assert found == options_of(backend).keys()
