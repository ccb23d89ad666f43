from __future__ import annotations

from pathlib import Path

import builders_networks as networks
import onnx
import pytest
from builders import save_linear
from onnx import helper
from plugin.conftest import assert_shows

TEST = (
    '@pytest.mark.trt_model("models/linear.onnx", precision="fp16")\n'
    "@pytest.mark.trt_consistency()\n"
    'def test_it(trt_session, images):\n    trt_session.run({"image": images})\n'
)


def references(project) -> list[Path]:
    return list((project.cache / "v1" / "references").glob("*.outputs"))


@pytest.fixture
def built(project):
    """A project whose engine is in the cache."""
    project.test_file(TEST)
    assert_shows(project.run(), "linear.onnx  cpu fp16  built *", passed=1)
    return project


def test_second_run_builds_nothing(built) -> None:
    result = built.run()
    assert_shows(result, "linear.onnx*cached*", passed=1)
    result.stdout.no_fnmatch_line("built linear.onnx*")


def test_changed_weight_is_rebuilt_and_reported(built) -> None:
    save_linear(built.path / "models" / "linear.onnx", nudge=0.25)
    result = built.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["built linear.onnx fp16 cpu: *: the model changed, digest * -> *"])


def test_swapped_references_fail_no_test_and_are_reported(built) -> None:
    save_linear(built.path / "models" / "linear.onnx", nudge=0.25)
    built.run().assert_outcomes(passed=1)
    first, second = references(built)
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    result = built.run()
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*a file of the cache was damaged*it was stored as reference *"])


def test_reference_is_not_computed_a_second_time(built) -> None:
    (reference,) = references(built)
    before = reference.stat().st_ino
    built.run().assert_outcomes(passed=1)
    assert reference.stat().st_ino == before


def test_unusable_cache_is_one_clear_error_a_test(project) -> None:
    project.cache.write_text("not a folder")
    project.test_file(TEST)
    result = project.run()
    assert result.ret != 0
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert "--trt-cache-dir" in result.stdout.str() + result.stderr.str()


def test_file_that_is_not_a_model_is_an_error_without_a_traceback(project) -> None:
    (project.path / "models" / "linear.onnx").write_bytes(b"hello, this is not a model")
    result = project.check()
    assert_shows(result, "*text*", "Fix: *", errors=1)
    # In the short summary, nothing but the model stands before what is wrong with it.
    result.stdout.fnmatch_lines(["ERROR test_it.py - models/linear.onnx *"])
    assert "Traceback" not in result.stdout.str()


def test_a_build_that_fails_is_not_repeated_for_every_test(project, save) -> None:
    save(_unknown_operator, "odd.onnx")
    project.test_file(
        "import pytest\n"
        'pytestmark = pytest.mark.trt_model("models/odd.onnx")\n'
        "def test_first(trt_engine):\n    pass\n"
        "def test_second(trt_engine):\n    pass\n"
    )
    result = project.run("-ra")
    result.assert_outcomes(errors=2)
    reported = [line for line in result.outlines if "the build was not repeated" in line]
    assert len(reported) >= 1
    first = result.outlines.index(next(line for line in result.outlines if "Frobnicate" in line))
    assert result.outlines.index(reported[0]) > first


def _unknown_operator(path: Path) -> Path:
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")
    values = [networks.value("x", [2])], [networks.value("y", [2])]
    proto = networks.model([node], *values)
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    onnx.save(proto, path)
    return path
