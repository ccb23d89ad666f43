from __future__ import annotations

from itertools import product

import pytest
from plugin.conftest import assert_shows, collected

PROFILE = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'


def test_ids_name_what_there_is_several_of(project) -> None:
    project.test_file(
        f"""
        def model(**given):
            return pytest.mark.trt_model("models/linear.onnx", **given)

        @model(precision="fp16")
        def test_one(trt_engine):
            pass

        @model(precision=("fp32", "fp16"), {PROFILE})
        def test_all(trt_session, trt_inputs):
            pass

        @model(profiles={{"image": ((4, 8), (4, 8), (16, 8))}})  # min is opt
        def test_equal(trt_session, trt_inputs):
            pass

        @model(precision=("fp32", "fp16"))
        def test_without():
            pass
        """
    )
    ids = product(("fp32", "fp16"), ("min", "opt", "max"))
    names = [f"test_all[{precision}-{shape}]" for precision, shape in ids]
    names += ["test_one", "test_equal[opt]", "test_equal[max]", "test_without"]
    assert sorted(collected(project.run("--collect-only", "-q"))) == sorted(names)


@pytest.mark.parametrize("names", ['"trt_shape"', '"trt_shape, other"', '["other", "trt_shape"]'])
def test_a_test_may_choose_its_own_points(project, names: str) -> None:
    value = "'max'" if names == '"trt_shape"' else "('max', 'max')"
    project.test_file(
        f'@pytest.mark.trt_model("models/linear.onnx", {PROFILE})\n'
        f"@pytest.mark.parametrize({names}, [{value}])\n"
        f"def test_it(trt_inputs{', other' if 'other' in names else ''}):\n"
        "    assert trt_inputs['image'].shape == (16, 8)\n"
    )
    project.run().assert_outcomes(passed=1)


def test_a_point_that_no_profile_has_is_named(project) -> None:
    project.test_file(
        f'@pytest.mark.trt_model("models/linear.onnx", {PROFILE})\n'
        '@pytest.mark.parametrize("trt_shape", ["largest", "1-max"])\n'
        "def test_it(trt_inputs):\n    pass\n"
    )
    assert_shows(
        project.run(),
        "*trt_shape='largest' is not a point of a profile*",
        "*Use min, low, opt, high, pow2_minus, pow2_plus, max*",
        errors=1,
    )


def test_several_profiles_are_numbered(project) -> None:
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx",'
        ' profiles=[{"image": ((1, 8), (1, 8), (4, 8))}, {"image": ((8, 8), (8, 8), (9, 8))}])\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    names = ["test_it[0-opt]", "test_it[0-max]", "test_it[1-opt]", "test_it[1-max]"]
    assert collected(project.run("--collect-only", "-q")) == names
    project.run().assert_outcomes(passed=4)


def test_parameters_of_the_test_itself_stay(project) -> None:
    project.test_file(
        '@pytest.mark.parametrize("batch", [1, 2])\n'
        '@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, images, batch):\n"
        '    trt_session.run({"image": images[:batch]})\n'
    )
    assert len(collected(project.run("--collect-only", "-q"))) == 4
    project.run("-k", "fp16").assert_outcomes(passed=2, deselected=2)


def test_seeded_inputs_have_the_shapes_of_the_profile_and_are_the_same_every_time(project) -> None:
    project.test_file(
        f'@pytest.mark.trt_model("models/linear.onnx", {PROFILE})\n'
        "def test_it(trt_inputs, trt_shape):\n"
        "    image = trt_inputs['image']\n"
        "    print(trt_shape, image.shape, image.dtype, float(image.sum()))\n"
    )
    lines = [
        sorted(line for line in project.run("-s", "-q").outlines if "float32" in line)
        for _ in range(2)
    ]
    assert lines[0] == lines[1]
    assert [line.split(" float32")[0].lstrip(".") for line in lines[0]] != []
    for point, shape in (("min", "(1, 8)"), ("opt", "(4, 8)"), ("max", "(16, 8)")):
        assert any(f"{point} {shape} float32" in line for line in lines[0])


def test_input_ranges_and_seed_of_the_marker_reach_the_inputs(project) -> None:
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx", seed=3, '
        'input_ranges={"image": (5, 6)}, profiles={"image": ((4, 8), (4, 8), (4, 8))})\n'
        "def test_it(trt_inputs):\n"
        "    assert 5 <= trt_inputs['image'].min() <= trt_inputs['image'].max() <= 6\n"
    )
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(("signature", "tests"), [("", 1), ("trt_shape", 3)])
def test_overridden_inputs_are_multiplied_only_if_they_use_trt_shape(
    project, signature: str, tests: int
) -> None:
    project.test_file(
        f"@pytest.fixture\ndef trt_inputs({signature}):\n"
        "    return {'image': np.ones((2, 8), np.float32)}\n"
        f'@pytest.mark.trt_model("models/linear.onnx", {PROFILE})\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
    )
    project.run().assert_outcomes(passed=tests)


WRONG_INPUTS = [
    ("{}", "*image*"),
    ("{'imag': images}", "*no input 'imag'*"),
    ("{'image': images.astype(np.float64)}", "*float64*float32*"),
    ("{'image': images.tolist()}", "*list*"),
    ("{'image': images[:, :7]}", "*7*8*"),
    ("{'image': np.ones((17, 8), np.float32)}", "*17*16*"),
]


def test_wrong_input_is_reported_at_the_line_that_feeds_it(project) -> None:
    mark = f'@pytest.mark.trt_model("models/linear.onnx", {PROFILE})'
    head = f"{mark}\ndef test_it(trt_session, images):\n"
    cases = {
        f"{head}    trt_session.run({inputs})\n": [
            "test_*.py:*",
            "    trt_session.run(*",
            f"E {message}",
            "E*Fix: *",
        ]
        for inputs, message in WRONG_INPUTS
    }
    result = project.ends(cases)
    result.assert_outcomes(failed=len(cases))
    result.stdout.no_fnmatch_line("*raise InputError*")
