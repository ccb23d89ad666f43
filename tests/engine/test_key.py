from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.engine.key import differences, engine_key, explain_miss, same_runtime
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.files import FileStamp
from pytest_trt.onnx.libraries import Library
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange

IMAGE = ShapeRange((1, 3), (4, 3), (8, 3))
VALUES = ValueRange((1, 3), (4, 3), (8, 3))


def make_key(**overrides: Any):
    values: dict[str, Any] = {
        "model_digest": "a" * 64,
        "backend": "tensorrt",
        "spec": EngineSpec("fp16", ({"image": IMAGE},), {"builder_optimization_level": 3}),
        "target": Target("sm86", {"name": "NVIDIA A10", "SM count": "72"}),
        "toolchain": Toolchain("TensorRT", {"tensorrt": "10.16.1", "cuda": "12"}),
        "route": Route("builder flags"),
        "platform": "Linux x86_64",
    }
    return engine_key(**{**values, **overrides})


def spec(precision="fp16", profiles=({"image": IMAGE},), **options: Any) -> EngineSpec:
    return EngineSpec(precision, profiles, options or {"builder_optimization_level": 3})


def library(digest: str = "1" * 64, name: str = "libops.so") -> Library:
    path = Path("/project") / name
    return Library(path, digest, FileStamp(str(path), 1, 2, 3, 4, 5), 6)


def test_bytes_of_libraries_make_keys_and_not_their_folder() -> None:
    one = make_key(route=Route("builder flags", libraries=(library(),)))
    moved = make_key(route=Route("builder flags", libraries=(library(name="other/libops.so"),)))
    other = make_key(route=Route("builder flags", libraries=(library("2" * 64),)))
    assert one == moved
    assert one.digest != other.digest
    assert differences(dict(one.fields), dict(other.fields)) == [
        "library libops.so 111111111111 -> 222222222222"
    ]
    # Two versions of a library cannot be loaded in one process.
    assert not same_runtime(dict(one.fields), dict(other.fields))


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"model_digest": "b" * 64}, id="model"),
        pytest.param({"backend": "tensorrt_rtx"}, id="backend"),
        pytest.param({"spec": spec("fp32")}, id="precision"),
        pytest.param({"spec": spec(profiles=())}, id="no profile"),
        pytest.param(
            {"spec": spec(profiles=({"image": ShapeRange((1, 3), (5, 3), (8, 3))},))}, id="opt"
        ),
        pytest.param({"spec": spec(profiles=({"image": IMAGE},) * 2)}, id="two profiles"),
        pytest.param({"spec": spec(profiles=({"image": VALUES},))}, id="values for shapes"),
        pytest.param({"spec": spec(profiles=({"image": IMAGE, "size": VALUES},))}, id="values"),
        pytest.param({"spec": spec(builder_optimization_level=4)}, id="option value"),
        pytest.param({"spec": spec(builder_optimization_level=3.0)}, id="option type"),
        pytest.param({"spec": spec(builder_optimization_level="3")}, id="option text"),
        pytest.param({"spec": spec(builder_optimization_level=3, refit=False)}, id="new option"),
        pytest.param({"spec": replace(spec(), keep_fp32=("fc",))}, id="keep_fp32"),
        pytest.param({"target": Target("sm89", {"name": "NVIDIA L4"})}, id="arch"),
        pytest.param(
            {"target": Target("sm86", {"name": "NVIDIA A40", "SM count": "72"})}, id="device"
        ),
        pytest.param(
            {"toolchain": Toolchain("TensorRT", {"tensorrt": "10.16.2", "cuda": "12"})},
            id="version",
        ),
        pytest.param(
            {"toolchain": Toolchain("TensorRT", {"tensorrt": "10.16.1", "cuda": "13"})}, id="cuda"
        ),
        pytest.param({"route": Route("converted model")}, id="route"),
        pytest.param({"route": Route("builder flags", {"converter": "2"})}, id="converter"),
        pytest.param({"route": Route("builder flags", libraries=(library(),))}, id="library"),
        pytest.param({"platform": "Windows AMD64"}, id="platform"),
        pytest.param({"environment": {"NVIDIA_TF32_OVERRIDE": "0"}}, id="environment"),
        pytest.param(
            {
                "route": Route("builder flags", needs_calibration=True),
                "calibration_digest": "c" * 64,
            },
            id="calibration",
        ),
    ],
)
def test_key_differs_on(overrides: dict[str, Any]) -> None:
    assert make_key(**overrides).digest != make_key().digest


def test_engines_that_differ_in_what_stays_in_fp32_run_under_one_toolchain() -> None:
    plain, kept = (make_key(spec=replace(spec(), keep_fp32=keep)) for keep in ((), ("fc", "a")))
    assert same_runtime(dict(plain.fields), dict(kept.fields))
    assert differences(dict(plain.fields), dict(kept.fields)) == [
        "keep_fp32: not set -> ['a', 'fc']"
    ]


def test_key_ignores_the_order_in_which_options_and_inputs_are_written() -> None:
    forward = make_key(
        spec=spec(profiles=({"a": IMAGE, "b": IMAGE},), refit=True, version_compatible=False)
    )
    backward = make_key(
        spec=spec(profiles=({"b": IMAGE, "a": IMAGE},), version_compatible=False, refit=True)
    )
    assert forward == backward


def test_key_distinguishes_ranges_of_values_from_ranges_of_shapes_and_from_one_another() -> None:
    ranges = [
        {"size": ShapeRange((8,), (8,), (9,))},
        {"size": ValueRange((8,), (8,), (9,))},
        {"size": ValueRange((8,), (9,), (9,))},
        {"values size": ShapeRange((8,), (8,), (9,))},
    ]
    keys = [make_key(spec=spec(profiles=(one,))) for one in ranges]
    assert len({key.digest for key in keys}) == len(ranges)
    assert dict(keys[1].fields)["profile values 0 size"] == "(8,) (8,) (9,)"


def test_keys_without_ranges_of_values_are_those_of_every_engine_built_so_far() -> None:
    # If this must change, KEY_SCHEMA must too: every cached engine is built anew.
    two = spec(profiles=({"image": IMAGE, "mask": IMAGE}, {"image": IMAGE}))
    assert (
        make_key(spec=two).digest
        == "ea6783578b5d4cf4d7d9a1e29f15ed4de8e90d33a3ac791c7e4a56bb33565b44"
    )


def test_key_keeps_the_order_of_profiles() -> None:
    other = {"image": ShapeRange((9, 3), (9, 3), (9, 3))}
    assert (
        make_key(spec=spec(profiles=({"image": IMAGE}, other))).digest
        != make_key(spec=spec(profiles=(other, {"image": IMAGE}))).digest
    )


def test_key_is_the_same_in_another_process_with_another_hash_seed() -> None:
    program = (
        "from pytest_trt.engine.key import engine_key\n"
        "from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain\n"
        "print(engine_key(platform='p', route=Route('r', {'y': '1', 'x': '2'}),"
        "toolchain=Toolchain('T', {'t': '1'}), target=Target('sm86', {'n': 'A10', 'm': 'x'}),"
        "spec=EngineSpec('fp16', (), {'b': 1, 'a': 2}), backend='tensorrt',"
        "model_digest='d').digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@given(
    st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=4),
    st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=4),
)
def test_key_never_mistakes_one_set_of_options_for_another(
    one: dict[str, str], other: dict[str, str]
) -> None:
    keys = [make_key(spec=EngineSpec("fp16", (), options)).digest for options in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_key_refuses_a_calibration_that_it_cannot_see() -> None:
    with pytest.raises(ConfigurationError, match="calibration inputs"):
        make_key(route=Route("converted model", needs_calibration=True))


def test_spec_refuses_an_option_that_names_an_object() -> None:
    with pytest.raises(ConfigurationError, match=r"plugins=\['a.so'\] is a list"):
        EngineSpec("fp16", (), {"plugins": ["a.so"]})  # type: ignore[dict-item]


def test_differences_name_the_version_that_moved() -> None:
    old = dict(make_key().fields)
    new = make_key(toolchain=Toolchain("TensorRT", {"tensorrt": "11.4.0", "cuda": "12"}))
    assert differences(old, dict(new.fields)) == ["TensorRT 10.16.1 -> 11.4.0"]


def test_differences_leave_out_the_middle_of_long_values() -> None:
    new = {"keep_fp32": str([f"/encoder/layer.{number}/Mul" for number in range(50)])}
    (line,) = differences({"keep_fp32": "['Add']"}, new)
    assert line.startswith("keep_fp32 ['Add'] -> ['/encoder/layer.0/Mul', ")
    assert line.endswith("/encoder/layer.49/Mul']")
    assert len(line) < 150


def test_differences_shorten_digests_and_name_what_came_and_went() -> None:
    old = dict(make_key(environment={"NVIDIA_TF32_OVERRIDE": "0"}).fields)
    new = dict(
        make_key(model_digest="b" * 64, spec=spec(builder_optimization_level=3, refit=True)).fields
    )
    assert differences(old, new) == [
        f"the model changed, digest {'a' * 12} -> {'b' * 12}",
        "builder option refit: not set -> True",
        "environment NVIDIA_TF32_OVERRIDE: 0 -> not set",
    ]


def test_miss_is_explained_against_the_closest_engine() -> None:
    key = make_key(model_digest="b" * 64)
    far = make_key(
        model_digest="c" * 64,
        toolchain=Toolchain("TensorRT", {"tensorrt": "10.0.1", "cuda": "12"}),
    )
    expected = f"the model changed, digest {'a' * 12} -> {'b' * 12}"
    assert explain_miss(key, [dict(far.fields), dict(make_key().fields)]) == expected


@pytest.mark.parametrize("candidates", [[], [dict(make_key().fields)]], ids=["none", "equal"])
def test_miss_without_an_engine_that_differs_is_a_first_build(candidates) -> None:
    assert explain_miss(make_key(), candidates) == ""


@pytest.mark.parametrize(
    ("overrides", "alike"),
    [
        ({"model_digest": "b" * 64}, True),
        ({"spec": spec(builder_optimization_level=5)}, True),
        ({"spec": spec("fp32")}, False),
        ({"spec": spec(profiles=())}, False),
        ({"target": Target("sm86", {"name": "NVIDIA A40", "SM count": "84"})}, False),
        ({"toolchain": Toolchain("TensorRT", {"tensorrt": "11.4.0", "cuda": "12"})}, False),
    ],
)
def test_same_runtime_ignores_what_was_built(overrides, alike: bool) -> None:
    one, other = dict(make_key().fields), dict(make_key(**overrides).fields)
    assert same_runtime(one, other) is alike
    assert same_runtime(other, one) is alike


def test_changed_ranges_are_shown_by_their_points() -> None:
    def fields(text: str) -> dict[str, str]:
        return {"profile 0 image": text}

    always, ranged = "(8, 3, 96, 96) " * 2 + "(8, 3, 96, 96)", "(1, 3) (8, 3) (16, 3)"
    assert differences(fields(always), fields(ranged)) == [
        "profile 0 image always (8, 3, 96, 96) -> min (1, 3) opt (8, 3) max (16, 3)"
    ]
