"""A suite written for a GPU, run on a CPU: what this backend lacks is skipped or refused."""

from __future__ import annotations

import json

import pytest
from plugin.conftest import PROFILES, assert_shows, checked

MODEL = '"models/linear.onnx"'
GPU_OPTION = '{"builder_options": {"builder_optimization_level": 5}}'


def test_precision_that_this_backend_lacks_is_skipped_where_the_marker_names_others(
    project,
) -> None:
    result = project.check(model=f'{MODEL}, precision=("fp32", "tf32")', args=("-rs",))
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "linear.onnx  cpu tf32  not built * 1 skipped",
            "skipped 1 test: ONNX Runtime does not support precision 'tf32'",
            "SKIPPED *test_it.py:*: ONNX Runtime does not support precision 'tf32'",
        ]
    )


def test_precision_that_this_backend_lacks_is_an_error_where_it_is_the_only_one(project) -> None:
    result = project.check(model=f'{MODEL}, precision="tf32"')
    assert_shows(result, "*does not support precision 'tf32'*TRT360*", "Fix: *GPU*", errors=1)


def test_options_of_one_precision_that_this_backend_lacks_skip_that_precision(project) -> None:
    model = f'{MODEL}, precision=("fp32", "fp16"), by_precision={{"fp16": {GPU_OPTION}}}'
    result = project.check(model=model, args=("-v",))
    assert_shows(result, "*[[]fp16[]] SKIPPED (ONNX Runtime has no*", passed=1, skipped=1)


@pytest.mark.parametrize(
    "options",
    [
        'builder_options={"builder_optimization_level": 5}',
        f'by_precision={{"fp32": {GPU_OPTION}, "fp16": {GPU_OPTION}}}',
    ],
)
def test_options_that_every_precision_lacks_are_errors(project, options: str) -> None:
    result = project.check(model=f'{MODEL}, precision=("fp32", "fp16"), {options}')
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*ONNX Runtime has no builder option 'builder_optimization_level'*", "*by_backend=*"]
    )


def test_options_of_a_backend_apply_to_it_alone_and_decide(project) -> None:
    project.test_file(
        f"@pytest.mark.trt_model({MODEL}, precision='fp16',\n"
        f"    builder_options={{'graph_optimization_level': 'all'}},\n"
        "    by_precision={'fp16': {'keep_fp32': 'Add',\n"
        "         'builder_options': {'graph_optimization_level': 'disabled'}}},\n"
        f"    by_backend={{'tensorrt': {GPU_OPTION}, 'onnxruntime':\n"
        "         {'builder_options': {'graph_optimization_level': 'basic'}}})\n"
        "def test_it(trt_engine):\n"
        "    assert trt_engine.spec.builder_options == {'graph_optimization_level': 'basic'}\n"
        "    assert trt_engine.spec.keep_fp32 == ('Add',)\n"
    )
    project.run().assert_outcomes(passed=1)


def test_options_of_int8_do_not_affect_the_other_precisions_of_a_marker(project) -> None:
    project.test_file(
        f"@pytest.mark.trt_model({MODEL}, precision=('fp32', 'fp16', 'int8'), {PROFILES},\n"
        "    builder_options={'per_channel': False})\n"
        "def test_it(trt_engine, trt_precision):\n"
        "    assert bool(trt_engine.spec.builder_options) == (trt_precision == 'int8')\n"
    )
    project.run().assert_outcomes(passed=3)


NO_SUCH_OPTION = [
    (
        'builder_options={"workspace": 1}',
        ["*unknown builder option 'workspace'*TRT356*", "*'workspace_bytes'?*"],
    ),
    ('builder_options={"workspace_bytes": "1GB"}', ["*='1GB' is not a whole number*TRT357*"]),
    ('builder_options={"refit": 1}', ["*refit=1 is not True or False*"]),
    ('builder_options={"op_block_list": ["Add"]}', ["*op_block_list*list*", '*Write "Add".*']),
    (
        'by_backend={"tensorrt": {"builder_options": {"graph_optimization_level": "all"}}}',
        ["*TensorRT has no builder option*", "*pytest-trt options tensorrt"],
    ),
    ('by_backend={"tensorrt": {"builder_options": {"refit": "yes"}}}', ["*refit='yes'*"]),
    (
        'by_backend={"tensor_rt": {"builder_options": {}}}',
        ["*backend 'tensor_rt'*", "*'tensorrt'?*"],
    ),
    (
        'by_backend={"tensorrt": {"refit": True}}',
        ["*invalid by_backend=*", "*builder_options*"],
    ),
    ('by_precision={"fp4": {"builder_options": {}}}', ["*unknown precision 'fp4'*"]),
    (
        'by_precision={"fp32": {"builder_options": {"per_channel": True}}}',
        ["*fp32 has no builder option 'per_channel'*"],
    ),
]


def test_option_that_no_backend_has_is_refused_at_collection(project) -> None:
    project.refuses({checked(model=f"{MODEL}, {one}"): lines for one, lines in NO_SUCH_OPTION})


def test_what_one_build_asks_for_is_never_skipped(project) -> None:
    project.test_file(
        f'pytestmark = pytest.mark.trt_model({MODEL}, precision=("fp32", "fp16"))\n'
        "def test_it(trt_build):\n"
        '    trt_build(precision="tf32")\n'
        "def test_options(trt_build):\n"
        '    trt_build(builder_options={"refit": True})\n'
    )
    project.run().assert_outcomes(failed=4)


def test_what_was_named_and_skipped_is_missing_from_required_verdicts(project) -> None:
    report = project.path / "r.json"
    args = ("--trt-require-arch=cpu", f"--trt-report={report}")
    result = project.check(model=f'{MODEL}, precision=("fp32", "tf32")', args=args)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "1 of 2 required verdicts are missing*",
            "*[[]tf32[]]: skipped: ONNX Runtime does not support precision 'tf32'",
        ]
    )
    (missing,) = json.loads(report.read_text())["coverage"]["missing"]
    assert missing["test"] == "test_it.py::test_it[tf32]"


def test_options_of_a_plugins_backend_are_its_own_and_its_name_is_known(project) -> None:
    """Also in a run that does not use it."""
    project.pytester.makeconftest(
        "def pytest_trt_backends(config):\n"
        "    return {'accelerator': (lambda settings: None, lambda probe: ('cpu',))}\n"
    )
    model = f'{MODEL}, by_backend={{"accelerator": {{"builder_options": {{"turbo": 1}}}}}}'
    project.test_file(f"@pytest.mark.trt_model({model})\ndef test_it(trt_engine):\n    pass\n")
    project.run().assert_outcomes(passed=1)
    wrong = model.replace("accelerator", "acelerator")
    project.test_file(f"@pytest.mark.trt_model({wrong})\ndef test_it(trt_engine):\n    pass\n")
    assert_shows(project.run(), "*unknown backend 'acelerator'*", "*'accelerator'?*", errors=1)
