"""Models that take a shape from the values of an input, under the markers."""

from __future__ import annotations

import builders_shapes as shapes
import onnx
import pytest
from plugin.conftest import assert_shows

RESIZED = (
    'pytestmark = pytest.mark.trt_model("models/resizer.onnx", profiles={'
    '"image": ((1, 3, 8, 8), (1, 3, 16, 16), (1, 3, 16, 16)),'
    '"size": {"values": ((8, 8), (16, 16), (32, 32))}})\n'
)


@pytest.fixture
def resized(project):
    onnx.save(shapes.resizer(), project.path / "models" / "resizer.onnx")

    def run(source: str, *args: str, marker: str = RESIZED) -> pytest.RunResult:
        project.test_file(marker + source)
        return project.run("--trt-arch=cpu", *args)

    return run


def test_seeded_inputs_agree_with_the_reference_at_every_point(project) -> None:
    cases = {}
    for operator, (network, profiles) in shapes.WITH_PROFILES.items():
        onnx.save(network(), project.path / "models" / f"{operator}.onnx")
        source = (
            f'@pytest.mark.trt_model("models/{operator}.onnx", profiles={dict(profiles)},'
            ' precision=("fp32", "fp16"))\n'
            "@pytest.mark.trt_consistency()\n"
            "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n"
        )
        cases[source] = ""
    project.ends(cases).assert_outcomes(passed=6 * len(cases))


def test_seeded_inputs_take_the_values_of_their_point(resized) -> None:
    result = resized(
        "def test_it(trt_inputs, trt_shape):\n"
        "    value = {'min': 8, 'opt': 16, 'max': 32}[trt_shape]\n"
        "    assert trt_inputs['size'].tolist() == [value, value]\n"
        "    assert trt_inputs['size'].dtype == np.int64\n"
        "    assert trt_inputs['image'].shape[2] == min(value, 16)\n"
    )
    # Images of opt and max are alike: that the values are not makes them two points.
    result.assert_outcomes(passed=3)


def test_values_outside_the_profile_are_refused_at_the_line_that_gave_them(resized) -> None:
    result = resized(
        "def test_it(trt_session):\n"
        "    image = np.zeros((1, 3, 8, 8), np.float32)\n"
        "    trt_session.run({'image': image, 'size': np.array([8, 32])})\n"
        "    trt_session.run({'image': image, 'size': np.array([8, 33])})\n"
    )
    assert_shows(
        result,
        "    *np.array([[]8, 33[]])*",
        "E*the inputs' shapes or values are outside every profile of this engine*",
        "E*profile 0: size value 1 is 33, above its max 32",
        "E*Fix: Feed inputs inside one profile*",
        failed=1,
    )


def test_another_range_of_values_needs_another_engine(resized, project) -> None:
    build = "def test_it(trt_engine):\n    pass\n"
    resized(build).assert_outcomes(passed=1)
    result = resized(build, marker=RESIZED.replace("(32, 32)", "(24, 24)"))
    result.stdout.fnmatch_lines(["*profile values 0 size *(32, 32) -> *(24, 24)*"])
    assert len(project.plans()) == 2


def test_cpu_backend_requires_value_ranges_as_tensorrt_does(resized) -> None:
    result = resized(
        "def test_it(trt_session, trt_inputs):\n    trt_session.run(trt_inputs)\n",
        marker='pytestmark = pytest.mark.trt_model("models/resizer.onnx")\n',
    )
    assert_shows(
        result,
        "there is no range of values for 'size', whose values resizer.onnx uses as a shape*",
        "Fix: Write on the trt_model marker (min, opt, max):",
        '    profiles={"image": ((1, 3, *)), "size": {"values": ((8, 8), (16, 16), (32, 32))}}',
        errors=1,
    )


def test_a_shape_input_of_open_length_is_run_as_it_is_fed(project) -> None:
    onnx.save(shapes.expander("rank"), project.path / "models" / "expander.onnx")
    project.test_file(
        '@pytest.mark.trt_model("models/expander.onnx")\n'
        "@pytest.mark.trt_consistency()\n"
        "def test_it(trt_session):\n"
        "    feeds = {'row': np.ones((1, 8), np.float32), 'size': np.array([4, 8])}\n"
        "    assert trt_session.run(feeds)['expanded'].shape == (4, 8)\n"
    )
    project.run("--trt-arch=cpu").assert_outcomes(passed=1)


@pytest.mark.parametrize("timed", ["trt_benchmark", "benchmark"])
def test_speed_at_other_values_is_not_compared(resized, project, monkeypatch, timed: str) -> None:
    monkeypatch.delenv("CI", raising=False)
    project.light = ()
    call = "trt_benchmark(inputs)"
    if timed == "benchmark":
        pytest.importorskip("pytest_benchmark")
        call = "benchmark.pedantic(trt_session.run, (inputs,), rounds=100)"
    test = (
        "@pytest.mark.trt_benchmark(p50='500%', p95='off', p99='off', throughput='off')\n"
        f"def test_it({timed}, trt_session):\n"
        "    image = np.zeros((1, 3, 8, 8), np.float32)\n"
        "    inputs = {'image': image, 'size': np.array([SIZE, 32])}\n"
        f"    {call}\n"
    )
    resized(test.replace("SIZE", "32")).assert_outcomes(passed=1)
    resized(test.replace("SIZE", "32")).assert_outcomes(passed=1)
    result = resized(test.replace("SIZE", "8"))
    assert_shows(result, "*size [[]2[]] = [[]32, 32[]], this run*= [[]8, 32[]]*TRT661*", failed=1)
