from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import quiet_host
from builders import images, save_linear
from builders_cli import run_command
from builders_model import model_proto, save
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.benchmark import sampling

_CONSTANT = helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    """The current folder, in which there is no model yet."""
    pytester.makeini("[pytest]\ntrt_cache_dir = .cache\n")
    return pytester.mkdir("models").parent


@pytest.fixture
def linear(folder: Path) -> Path:
    return save_linear(folder / "models" / "linear.onnx")


def init(*args: str, status: int = 0):
    done = run_command("init", *args)
    assert done.returncode == status, done.stderr
    return done


def run(pytester: pytest.Pytester, *args: str, **given: object) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-pno:cacheprovider", "--trt-arch=cpu", *args, **given)


def save_unsupported(path: Path) -> Path:
    """Write a model with an operator that no backend has."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Own", ["x"], ["y"], domain="own")], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def save_argmax(path: Path) -> Path:
    """Write a model whose classes in FP16 are not those of FP32: rows differ by less."""
    weight = np.ones((8, 4), np.float32) + np.arange(4, dtype=np.float32) * 1e-5
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [4])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("ArgMax", ["product"], ["y"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def scaled(path: Path, factor: float) -> None:
    """Scale the weights of a model, as training it further would."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values * values.dtype.type(factor), tensor.name))
    onnx.save(model, path)


# --- the module


@pytest.mark.exhaustive
def test_module_of_several_models_passes_at_once_and_detects_changed_models(
    folder: Path, linear: Path, pytester: pytest.Pytester
) -> None:
    save_linear(folder / "models" / "another.onnx")
    (folder / "tests").mkdir()
    done = init()
    assert "wrote tests/test_engines.py: tests of 2 models\n" in done.stdout
    assert "    pytest tests/test_engines.py\n" in done.stdout
    assert "    git add tests/test_engines.py trt_baselines\n" in done.stdout
    assert "    trt_require_models = models/**/*.onnx\n" in done.stdout
    source = (folder / "tests" / "test_engines.py").read_text()
    assert source.count("def test_") == 1
    assert "seeded inputs" in source
    run(pytester).assert_outcomes(passed=12)  # two models, two precisions, three points
    run(pytester).assert_outcomes(passed=12)
    scaled(linear, 1.05)
    changed = run(pytester)
    changed.assert_outcomes(passed=6, failed=6)
    changed.stdout.fnmatch_lines(["*[[]TRT416[]]*"])


def test_checks_of_the_module_are_effective(
    folder: Path, linear: Path, pytester: pytest.Pytester
) -> None:
    init()
    run(pytester).assert_outcomes(passed=6)
    proved = run(pytester, "--trt-selftest")
    proved.assert_outcomes(passed=6)
    proved.stdout.fnmatch_lines(["*effective*"])


def test_data_of_a_model_is_used_and_named(
    folder: Path, linear: Path, pytester: pytest.Pytester
) -> None:
    (folder / "data").mkdir()
    np.savez(folder / "data" / "a.npz", image=images(3), labels=np.zeros(3))
    np.savez(folder / "data" / "b.npz", image=images(5))
    np.savez(folder / "data" / "wrong.npz", image=np.zeros((2, 9), np.float32))
    np.savez(folder / "data" / "others.npz", picture=images(5))
    init("models", "--output", "test_own.py", status=0)
    assert "seeded" in (folder / "test_own.py").read_text()  # the data lies outside of FOLDER
    (folder / "test_own.py").unlink()
    done = init("--output", "test_own.py")
    assert "models/linear.onnx: fp32, fp16, on its data\n" in done.stdout
    assert "not used: data/others.npz: it has the arrays picture. " in done.stderr
    assert "linear.onnx: image" in done.stderr
    assert "data/a.npz" not in done.stderr
    source = (folder / "test_own.py").read_text()
    assert '["data/a.npz", "data/b.npz"]' in source
    assert "seeded" not in source
    run(pytester).assert_outcomes(passed=2)
    scaled(linear, 1.05)
    run(pytester).assert_outcomes(failed=2)


def test_inputs_may_have_the_names_of_variables(
    folder: Path, linear: Path, pytester: pytest.Pytester
) -> None:
    model = onnx.load(linear)
    model.graph.input[0].name = "file"
    model.graph.node[0].input[0] = "file"
    onnx.save(model, linear)
    with zipfile.ZipFile(folder / "a.npz", "w") as archive, archive.open("file.npy", "w") as array:
        np.save(array, images(3))
    init()
    run(pytester).assert_outcomes(passed=2)


@pytest.mark.exhaustive
def test_module_reads_as_formatters_and_type_checkers_want_it(folder: Path, linear: Path) -> None:
    save_linear(folder / "models" / "another.onnx")
    np.savez(folder / "linear.npz", image=images(3))
    (folder / "models" / "lfs.onnx").write_text(POINTER)
    init()
    init("models", "--output", "models/test_seeded.py")
    for line in (
        ("ruff", "format", "--check"),
        ("ruff", "check", "--select=E4,E7,E9,F,B,UP,PT,RUF"),
        ("mypy", "--strict"),
    ):
        if shutil.which(line[0]) is None:
            continue
        command = [sys.executable, "-m", *line, "test_engines.py", "models/test_seeded.py"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_models_whose_tests_would_have_one_name_are_all_tested(
    folder: Path, pytester: pytest.Pytester
) -> None:
    for name in ("a-b", "a_b", "A b"):
        save_linear(folder / "models" / f"{name}.onnx")
    np.savez(folder / "models" / "inputs.npz", image=images(4))
    init()
    source = (folder / "test_engines.py").read_text()
    names = {f"def test_a_b{more}_on_data(" for more in ("", "_", "__")}
    assert all(source.count(one) == 1 for one in names)
    run(pytester, "test_engines.py").assert_outcomes(passed=6)


def test_nothing_is_overwritten_and_dry_run_writes_nothing(folder: Path, linear: Path) -> None:
    printed = init("--dry-run")
    compile(printed.stdout, "test_engines.py", "exec")
    assert not (folder / "test_engines.py").exists()
    (folder / "test_engines.py").write_text("mine")
    refused = init(status=2)
    assert "[TRT462]" in refused.stderr
    assert "pytest-trt init --output FILE" in refused.stderr
    assert (folder / "test_engines.py").read_text() == "mine"
    assert init("--dry-run").stdout == printed.stdout
    (folder / "test_link.py").symlink_to("removed.py")
    assert "[TRT462]" in init("--output", "test_link.py", status=2).stderr
    assert (folder / "test_link.py").is_symlink()


def test_output_that_pytest_would_not_collect_is_refused(folder: Path, linear: Path) -> None:
    assert "expected the name of a .py file" in init("--output", "engines.txt", status=2).stderr


def test_module_that_cannot_be_written_is_an_error(folder: Path, linear: Path) -> None:
    (folder / "file").touch()
    refused = init("--output", "file/test_it.py", status=2)
    assert "file/test_it.py cannot be written" in refused.stderr
    assert "[TRT901]" in refused.stderr


@pytest.mark.exhaustive
def test_printed_test_of_speed_records_a_baseline(
    folder: Path, linear: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "ON_CPU", quiet_host.SOON)
    lines = init().stdout.splitlines()
    start = next(at for at, line in enumerate(lines) if "import Benchmark" in line) + 1
    end = next(at for at, line in enumerate(lines) if line.startswith("Record"))
    module = folder / "test_engines.py"
    added = textwrap.dedent("\n".join(lines[start:end]))
    source = module.read_text().replace("import Session", "import Benchmark, Session")
    module.write_text(f"{source}\n\n{added}\n")
    args = shlex.split(lines[end + 1])[1:]
    recorded = run(pytester, *args, "-ktest_speed and opt", plugins=[quiet_host.FixedHost()])
    recorded.assert_outcomes(passed=2, deselected=10)
    assert list((folder / "trt_baselines").glob("cpu*/**/*.json"))


# --- what is left out


def test_models_that_cannot_be_tested_are_named_and_left_out(folder: Path, linear: Path) -> None:
    (folder / "models" / "lfs.onnx").write_text(POINTER)
    save_unsupported(folder / "models" / "own.onnx")
    done = init()
    assert "wrote test_engines.py: tests of 1 model\n" in done.stdout
    assert "left out: models/lfs.onnx: models/lfs.onnx is a Git LFS pointer" in done.stderr
    assert "    git lfs pull\n" in done.stderr
    assert "left out: models/own.onnx: " in done.stderr
    source = (folder / "test_engines.py").read_text()
    assert "# Left out: models/lfs.onnx: " in source
    assert "# Left out: models/own.onnx: " in source
    assert '"models/linear.onnx"' in source


def test_printed_lines_of_the_ini_file_suit_models_that_were_left_out(
    folder: Path, linear: Path, pytester: pytest.Pytester
) -> None:
    (folder / "models" / "old").mkdir()
    for path in ("models/lfs.onnx", "models/old/lfs.onnx", "elsewhere.onnx"):
        (folder / path).write_text(POINTER)
    lines = init().stdout.splitlines()
    start = lines.index("    trt_require_models = models/**/*.onnx")
    assert lines[start + 1] == "    trt_untested_models ="
    added = lines[start : start + 4]
    assert [line.split(": ")[0].strip() for line in added[2:]] == [
        "models/lfs.onnx",
        "models/old/lfs.onnx",
    ]
    pytester.makeini("\n".join(["[pytest]", *(line[4:] for line in added), ""]))
    assert run(pytester, "--collect-only").ret == 0
    pytester.makeini("\n".join(["[pytest]", added[0][4:], ""]))
    assert run(pytester, "--collect-only").ret == pytest.ExitCode.TESTS_FAILED


def test_precision_that_no_tolerance_fits_is_left_out(
    folder: Path, pytester: pytest.Pytester
) -> None:
    save_argmax(folder / "models" / "argmax.onnx")
    done = init()
    assert (
        "left out: fp16 of models/argmax.onnx: no useful tolerance lets fp16 pass: " in done.stderr
    )
    assert "[TRT461]" in done.stderr
    assert 'precision="fp32"' in (folder / "test_engines.py").read_text()
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize("models", [[], ["lfs.onnx"]])
def test_no_model_is_an_error(folder: Path, models: list[str]) -> None:
    for name in models:
        (folder / "models" / name).write_text(POINTER)
    done = init(status=2)
    assert done.stdout == ""
    assert "[TRT460]" in done.stderr
    assert ("git lfs pull" in done.stderr) == bool(models)
    assert not (folder / "test_engines.py").exists()


def test_stored_answers_are_no_data(folder: Path, linear: Path) -> None:
    """A model without inputs would take any file."""
    save(model_proto([_CONSTANT], inputs=[], initializers=[]), linear.with_name("constant.onnx"))
    for name in ("trt_baselines/answers/test_it.npz", "data.npz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / name, **{"0123": np.ones(3)})
    done = init("--dry-run")
    assert "data.npz" in done.stderr
    assert "trt_baselines" not in done.stderr + done.stdout
    assert "data.npz" not in done.stdout


def test_folders_of_others_are_not_searched(folder: Path, linear: Path) -> None:
    deep = Path(*map(str, range(9)))
    marks = {"env/lib": "env/pyvenv.cfg", "cache": "cache/CACHEDIR.TAG"}
    for name in (".git", ".hidden", "node_modules", "a/__pycache__", "dist", deep, *marks):
        (folder / name).mkdir(parents=True)
        shutil.copy(linear, folder / name / "other.onnx")
    for mark in marks.values():
        (folder / mark).touch()
    (folder / "loop").symlink_to(folder)
    (folder / "missing.npz").symlink_to("removed.npz")
    done = init("--dry-run")
    assert "other.onnx" not in done.stdout
    assert done.stderr.splitlines() == [f"not searched, as it is nested too deeply: {deep}"]
