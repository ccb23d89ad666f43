from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pytest_trt.cli import commands
from pytest_trt.engine.builder_options import BUILDER_OPTIONS, PRODUCTS, options_of
from pytest_trt.engine.spec import PRECISIONS


def printed(*args: str) -> str:
    result = CliRunner().invoke(commands, ["options", *args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("backend", PRODUCTS)
def test_every_option_of_a_backend_is_listed_with_its_type_and_default(backend: str) -> None:
    lines = printed(backend).splitlines()
    for option in options_of(backend).values():
        (at,) = [i for i, line in enumerate(lines) if line.split()[:1] == [option.name]]
        assert lines[at].split()[1] == option.type
        assert option.default in lines[at]
        assert option.meaning.split()[0] in " ".join(lines[at + 1 : at + 4])
    others = BUILDER_OPTIONS.keys() - options_of(backend)
    assert not any(line.split()[:1] == [name] for name in others for line in lines)


def test_versions_are_shown_for_each_precision() -> None:
    lines = [line.split() for line in printed("tensorrt").splitlines()]
    at = next(i for i, words in enumerate(lines) if words[:1] == ["max_num_tactics"])
    assert lines[at][3:] == ["all", "10.7", "and", "later"]
    at = next(i for i, words in enumerate(lines) if words[:1] == ["op_block_list"])
    assert lines[at][3:] == [*["fp16,", "bf16,", "int8,", "fp8,", "int4,", "mixed"], "all"]


def test_without_a_backend_all_of_them_are_listed() -> None:
    assert list(json.loads(printed("--json"))) == list(PRODUCTS)
    assert all(f"\n{name}: {product}" in printed() for name, product in PRODUCTS.items())


def test_json_has_what_the_table_has() -> None:
    (backend,) = json.loads(printed("onnxruntime", "--json")).values()
    level = next(o for o in backend["options"] if o["name"] == "graph_optimization_level")
    assert (level["type"], level["default"]) == ("choice", "extended")
    assert level["choices"] == ["disabled", "basic", "extended", "all"]
    assert level["scopes"] == [{"precisions": backend["precisions"], "since": "", "until": ""}]
    assert backend["precisions"] == [one for one in PRECISIONS if one != "tf32"]


def test_unknown_backend_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(commands, ["options", "tensor"])
    assert result.exit_code == 2
    assert "'tensorrt', 'tensorrt_rtx', 'onnxruntime'" in result.output
