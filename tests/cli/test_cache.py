from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from builders import save_linear
from click.testing import CliRunner, Result

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.cli import commands
from pytest_trt.diagnostics import CacheError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.engine.timing_cache import write_timings
from pytest_trt.onnx.file import load_model


def call(root: Path, *args: str) -> Result:
    return CliRunner().invoke(commands, ["cache", f"--cache-dir={root}", *args])


def build(root: Path, model: Path, precision: str = "fp32") -> Path:
    backend = OnnxRuntimeBackend()
    engine = build_or_load(
        model=load_model(model),
        spec=EngineSpec(precision),
        target=backend.target("cpu"),
        backend=backend,
        cache=EngineCache(root),
    )
    return engine.plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with two engines of one model, the second one of a changed model."""
    model = save_linear(tmp_path / "linear.onnx")
    build(tmp_path / "cache", model)
    build(tmp_path / "cache", save_linear(tmp_path / "linear.onnx", nudge=1.0))
    return tmp_path / "cache"


def test_list_names_engines_with_size_and_toolchain(root: Path) -> None:
    result = call(root, "list")
    assert result.exit_code == 0
    assert result.output.count("linear.onnx") == 2
    assert "2 engines" in result.output


def test_explain_says_what_had_changed(root: Path) -> None:
    output = call(root, "explain").output
    assert ": first build" in output
    assert "the model changed, digest " in output
    assert " -> " in output


@pytest.mark.parametrize("name", ["linear.onnx", "linear-fp32"])
def test_explain_of_one_engine_lists_its_key(root: Path, name: str) -> None:
    output = call(root, "explain", name).output
    assert "precision: fp32" in output
    assert "ONNX Runtime: " in output


def test_explain_of_an_unknown_engine_fails_and_says_how_to_find_one(root: Path) -> None:
    result = call(root, "explain", "nothing")
    assert isinstance(result.exception, CacheError)
    (command,) = result.exception.diagnostic.remedy.commands
    assert command == f"pytest-trt cache --cache-dir={root} list"


def test_verify_passes_on_whole_engines_and_fails_on_a_damaged_one(root: Path) -> None:
    assert call(root, "verify").exit_code == 0
    plan = next(root.glob("v1/engines/*/engine.onnx"))
    plan.write_bytes(plan.read_bytes()[:-1])
    result = call(root, "verify")
    assert result.exit_code == 1
    assert "damaged: linear-fp32-cpu-" in result.output
    assert "1 of 2 engines are intact" in result.output


def test_verify_removes_what_is_damaged_on_request_and_lists_it(root: Path) -> None:
    damaged = next(root.glob("v1/engines/*/engine.sealed"))
    damaged.write_text("{}")
    result = call(root, "verify", "--remove")
    assert result.exit_code == 0
    assert f"removed: {damaged.parent.name}" in result.output
    assert call(root, "verify").output == "1 of 1 engine is intact.\n"


def test_what_verify_says_to_type_removes_it(root: Path) -> None:
    next(root.glob("v1/engines/*/engine.sealed")).write_text("{}")
    _, *args = shlex.split(call(root, "verify").output.splitlines()[-1])
    assert f"--cache-dir={root}" in args
    assert CliRunner().invoke(commands, args).exit_code == 0
    assert call(root, "verify").exit_code == 0


def test_the_folder_of_the_ini_file_is_used(root: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrt_cache_dir = cache\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert "2 engines, " in CliRunner().invoke(commands, ["cache", "list"]).output
    next(root.glob("v1/engines/*/engine.sealed")).write_text("{}")
    shown = CliRunner().invoke(commands, ["cache", "verify"]).output
    assert shown.splitlines()[-1].strip() == "pytest-trt cache verify --remove"


@pytest.mark.parametrize("columns", ["80", "72"])
def test_list_fits_the_terminal(root: Path, tmp_path: Path, monkeypatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    build(root, save_linear(tmp_path / "a-model-with-quite-a-long-name-indeed-v2-final.onnx"))
    lines = call(root, "list").output.splitlines()
    assert len(lines) == 5
    assert all(len(line) <= int(columns) for line in lines[:-1])


def test_list_in_a_pipe_shortens_nothing(root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = f"{'a-very-long-name-' * 9}.onnx"
    build(root, save_linear(tmp_path / name))
    assert name in call(root, "list").output


@pytest.mark.exhaustive
def test_errors_of_the_package_begin_as_those_of_the_command_line(tmp_path: Path) -> None:
    program = "from pytest_trt.cli import main; main()"
    for args in (["inspect", str(tmp_path / "none.onnx")], ["cache", "nothing"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *args], capture_output=True, text=True, check=False
        )
        assert done.returncode > 0
        assert any(line.startswith("Error: ") for line in done.stderr.splitlines())
        assert "error: " not in done.stderr


def test_list_shows_a_damaged_engine_as_such(root: Path) -> None:
    next(root.glob("v1/engines/*/engine.sealed")).unlink()
    assert "damaged" in call(root, "list").output


def test_clear_removes_everything(root: Path) -> None:
    assert "Removed 2 engines" in call(root, "clear").output
    assert "0 engines" in call(root, "list").output


#: The exit status of each command where there is no cache. Verifying none proves nothing.
WITHOUT_A_CACHE = [("list", 0), ("explain", 0), ("verify", 2), ("clear", 0)]


@pytest.mark.parametrize(("command", "status"), WITHOUT_A_CACHE)
def test_commands_do_not_make_a_cache_that_is_not_there(
    tmp_path: Path, command: str, status: int
) -> None:
    result = call(tmp_path / "none", command)
    assert result.exit_code == status
    assert f"There is no engine cache at {tmp_path / 'none'}" in result.output
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("command", "status"), WITHOUT_A_CACHE)
def test_a_folder_of_something_else_is_no_cache_and_gets_none(
    tmp_path: Path, command: str, status: int
) -> None:
    (tmp_path / "models").mkdir()
    result = call(tmp_path / "models", command)
    assert result.exit_code == status
    assert f"There is no engine cache at {tmp_path / 'models'}" in result.output
    assert not list((tmp_path / "models").iterdir())


def test_an_empty_cache_is_verified(tmp_path: Path) -> None:
    EngineCache(tmp_path / "cache")
    result = call(tmp_path / "cache", "verify")
    assert (result.exit_code, result.output) == (0, "The cache is empty.\n")


def test_command_imports_no_vendor_library(root: Path) -> None:
    program = (
        "import sys\n"
        "from pytest_trt.cli import commands\n"
        f"commands(['cache', '--cache-dir={root}', 'list'], standalone_mode=False)\n"
        "loaded = {'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda', 'pytest'}\n"
        "print('loaded:', sorted(loaded & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("loaded: []\n")


@pytest.fixture
def timing(root: Path) -> Path:
    """A timing cache beside the engines."""
    path = EngineCache(root).timing / "TensorRT-8.6.0.timing"
    write_timings(path, b"timings")
    return path


def test_list_shows_timing_caches(root: Path, timing: Path) -> None:
    assert "1 timing cache, " in call(root, "list").output


def test_verify_checks_timing_caches(root: Path, timing: Path) -> None:
    assert call(root, "verify").exit_code == 0
    timing.write_bytes(timing.read_bytes()[:-1])
    result = call(root, "verify")
    assert result.exit_code == 1
    assert "damaged: TensorRT-8.6.0.timing: its bytes do not match its seal" in result.output
    assert call(root, "verify", "--remove").exit_code == 0
    assert not timing.exists()
    assert call(root, "verify").exit_code == 0


def test_clear_deletes_timing_caches(root: Path, timing: Path) -> None:
    assert call(root, "clear").exit_code == 0
    assert not timing.exists()


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted" $HOME', "\u00e9\u4e2d [x]*"])
def test_commands_work_whatever_the_cache_is_called(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    plan = build(root, save_linear(tmp_path / "linear.onnx"))
    assert build(root, tmp_path / "linear.onnx") == plan
    assert str(plan.parents[2]) in call(root, "list").output
    assert "1 of 1 engine is intact." in call(root, "verify").output
    plan.write_bytes(b"damaged")
    damaged = call(root, "verify")
    command = shlex.split(damaged.output.splitlines()[-1])
    assert command == ["pytest-trt", "cache", f"--cache-dir={root}", "verify", "--remove"]
    assert CliRunner().invoke(commands, command[1:]).exit_code == 0
    assert "Removed 0 engines" in call(root, "clear").output
