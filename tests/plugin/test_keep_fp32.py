"""`keep_fp32` on markers, `trt_build` and `trt_engines`, and the block lists that it replaces."""

from __future__ import annotations

import pytest
from plugin.conftest import assert_shows

MODEL = '"models/linear.onnx"'
KEPT = """
def test_it(trt_engine):
    print("kept", trt_engine.spec.keep_fp32, trt_engine.facts.half_weights_pct < 50)
"""


def kept(project, marker: str, test: str = KEPT, *args: str) -> pytest.RunResult:
    """Run a test that prints what stays in FP32, under a trt_model marker."""
    project.test_file(f"@pytest.mark.trt_model({MODEL}, {marker})\n{test.lstrip()}")
    return project.run("-s", *args)


def test_every_level_has_it_and_the_strongest_decides(project) -> None:
    project.test_file(
        f"@pytest.mark.trt_model({MODEL}, precision=('fp32', 'fp16', 'int8'),\n"
        "    keep_fp32='Softmax',\n"
        '    profiles={"image": ((1, 8), (4, 8), (16, 8))},\n'
        "    by_precision={'int8': {'keep_fp32': ['Add', 'Softm*']},\n"
        "                  'fp16': {'builder_options': {'graph_optimization_level': 'basic'}}},\n"
        "    by_backend={'tensorrt': {'keep_fp32': ['MatMul']}})\n"
        "def test_it(trt_engine, trt_precision):\n"
        "    expected = {'fp32': (), 'fp16': ('Softmax',), 'int8': ('Add', 'Softmax')}\n"
        "    assert trt_engine.spec.keep_fp32 == expected[trt_precision]\n"
    )
    result = project.run()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*keep_fp32 names 'Softm[*]', but linear.onnx has no*TRT358*"])


def test_one_build_and_shared_engines_have_their_own(project) -> None:
    project.test_file(
        f"@pytest.mark.trt_model({MODEL}, precision='fp16', keep_fp32=['MatMul'])\n"
        "def test_build(trt_build):\n"
        "    assert trt_build(keep_fp32='Add').engine.spec.keep_fp32 == ('Add',)\n"
        "    assert trt_build(keep_fp32=[]).engine.facts.half_weights_pct == 100.0\n"
        "    assert trt_build().engine.facts.half_weights_pct < 50\n"
        "    assert trt_build(precision='fp32').engine.spec.keep_fp32 == ()\n"
        "@pytest.fixture(scope='module')\n"
        "def shared(trt_engines):\n"
        f"    return trt_engines({MODEL}, precision='fp16', keep_fp32=['Add'])\n"
        "def test_shared(shared):\n"
        "    assert shared.engine.spec.keep_fp32 == ('Add',)\n"
    )
    project.run().assert_outcomes(passed=2)


def test_per_model_has_its_own(project) -> None:
    project.test_file(
        "@pytest.mark.trt_model(['models/linear.onnx'], precision='fp16', keep_fp32=['Add'],\n"
        "    per_model={'models/linear.onnx': {'keep_fp32': ['MatMul']}})\n" + KEPT.lstrip()
    )
    assert_shows(project.run("-s"), "*kept ('MatMul',) True", passed=1)


NO_EFFECT = [
    ('precision="fp32", keep_fp32=["Add"]', "*no effect where precision is fp32*TRT361*"),
    ('precision=("fp32", "tf32"), keep_fp32="Add"', "*precision is fp32, tf32*TRT361*"),
    (
        'precision="fp16", by_precision={"tf32": {"keep_fp32": ["Add"]}}',
        "*by_precision: keep_fp32 has no effect on tf32 engines*TRT361*",
    ),
    ('precision="fp16", keep_fp32=3', "*invalid keep_fp32=3*TRT150*"),
    ('precision="fp16", keep_fp32=["Add", ""]', "*invalid keep_fp32=*TRT150*"),
    (
        'precision="fp16", by_backend={"onnxruntime": {"keep_fp32": {"Add": 1}}}',
        "*invalid keep_fp32=*TRT150*",
    ),
    ('plan="a.plan", precision="fp16", keep_fp32=["Add"]', "*plan= nothing*'keep_fp32'*"),
]


def test_what_has_no_effect_or_no_meaning_is_refused_at_collection(project) -> None:
    source = f"@pytest.mark.trt_model({MODEL}, {{}})\n{KEPT.lstrip()}"
    project.refuses({source.format(marker): line for marker, line in NO_EFFECT})


def test_an_outer_marker_can_be_undone(project) -> None:
    project.test_file(
        f"pytestmark = pytest.mark.trt_model({MODEL}, precision='fp16', keep_fp32=['MatMul'])\n"
        "@pytest.mark.trt_model(precision='fp32', keep_fp32=None)\n"
        "def test_it(trt_engine):\n"
        "    assert trt_engine.spec.keep_fp32 == ()\n"
    )
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ('{"op_block_list": "MatMul,Softmax"}', "'MatMul', 'Softmax'"),
        ('{"node_block_list": "*"}', None),
    ],
)
def test_block_lists_mean_the_same_and_name_what_replaces_them(project, options, names) -> None:
    result = kept(project, f'precision=("fp16",), builder_options={options}')
    if names is None:  # of nodes, and these have no names
        result.assert_outcomes(errors=1)
        return
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            f"*kept ({names}) True",
            f"*PytestTrtWarning: trt_model: the builder option * is now keep_fp32=[[]{names}[]]",
        ]
    )
    strict = project.run("-W", "error::pytest_trt.PytestTrtWarning")
    assert_shows(strict, "*is now keep_fp32=*TRT150*", errors=1)
