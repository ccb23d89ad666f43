"""Libraries of operators on markers and in options, as they are checked at collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.plugin.planning.library_files import parse_custom_ops, parse_plugin_libraries


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    (tmp_path / "ops.so").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path / "test_it.py"


@pytest.mark.parametrize("value", ["ops.so", ["ops.so"], ("./ops.so", Path("folder/../ops.so"))])
def test_paths_are_relative_to_the_test_file(test_file: Path, value) -> None:
    ops = test_file.with_name("ops.so")
    assert set(parse_plugin_libraries(value, test_file)) == {ops}
    assert set(parse_custom_ops(value, test_file)) == {ops}


def test_a_name_is_a_package_unless_there_is_such_a_file(test_file: Path) -> None:
    assert parse_custom_ops(["json"], test_file) == ("json",)
    test_file.with_name("json").touch()
    assert parse_custom_ops(["json"], test_file) == (test_file.with_name("json"),)


@pytest.mark.parametrize("parse", [parse_custom_ops, parse_plugin_libraries])
@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("lib/ops.so", "TRT177", "the library lib/ops.so of .* is missing"),
        (["folder/"], "TRT177", "the library folder/? of .* is not a file"),
        ("x" * 300 + ".so", "TRT177", "(is missing|cannot be read)"),
        ([""], "TRT150", "invalid"),
        (7, "TRT150", "invalid"),
        ({"ops.so": 1}, "TRT150", "invalid"),
    ],
)
def test_what_is_no_library_is_refused(
    test_file: Path, parse, value, code: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse(value, test_file)
    assert caught.value.diagnostic.code == code


def test_a_package_that_is_not_installed_is_refused(test_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="neither a file nor an installed package"):
        parse_custom_ops("no_such_package", test_file)


NAMED = """
@pytest.mark.trt_model("models/linear.onnx", plugin_libraries=["{}"])
@pytest.mark.trt_consistency
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
"""


def test_a_missing_library_is_a_collection_error_on_every_backend(project) -> None:
    project.test_file(NAMED.format("build/libmyplugins.so"))
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*build/libmyplugins.so of plugin_libraries= is missing *TRT177*"])


def test_plugins_of_tensorrt_are_not_loaded_on_the_cpu(project) -> None:
    (project.path / "libmyplugins.so").write_text("not loaded")
    project.test_file(NAMED.format("libmyplugins.so"))
    project.run().assert_outcomes(passed=1)
