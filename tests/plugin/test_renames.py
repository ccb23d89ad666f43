"""A test that was renamed: its old baseline is proposed, and no new one is begun in silence."""

from __future__ import annotations

import json
import shlex
import textwrap

import pytest
from builders import save_linear
from builders_cli import run_command
from plugin.conftest import PROFILES, text

ANSWERS = """
@pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))
@pytest.mark.trt_consistency(against="stored")
def {name}(trt_session, images):
    trt_session.run({{"image": images{plus}}})
"""

SPEED = """
@pytest.mark.trt_model("models/linear.onnx", {profiles})
@pytest.mark.trt_benchmark(p50="900%")
def {name}(trt_benchmark, images):
    trt_benchmark({{"image": images{plus}}})
"""

METRICS = """
@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.parametrize("_", ["a", "b"])
def {name}(trt_session, trt_metrics, images, _):
    trt_session.run({{"image": images}})
    trt_metrics.record("f1", samples=[1.0, 0.9, 0.8]{plus}, limit=0.1)
"""

COMMAND = "pytest-trt baseline rename test_it.py::test_old test_it.py::test_new"


@pytest.fixture(autouse=True)
def _project(project, monkeypatch) -> None:
    monkeypatch.chdir(project.path)
    project.pytester.makeini("[pytest]\n")


def write(project, kind: str, name: str = "test_old", plus: str = "", more: str = "") -> None:
    source = {"answers": ANSWERS, "speed": SPEED, "metrics": METRICS}[kind]
    project.test_file(source.format(name=name, plus=plus, profiles=PROFILES) + more)


def names(project) -> set[str]:
    files = project.path.glob("trt_baselines/*/*.json")
    tests = {test for file in files for test in json.loads(file.read_text())["tests"]}
    return {test.removesuffix("[a]").removesuffix("[b]") for test in tests}


@pytest.fixture(params=["answers", "speed", "metrics"])
def kind(request, project) -> str:
    """Either kind of baseline; one of `test_old` is recorded."""
    write(project, request.param)
    project.run().assert_outcomes(passed=1 if request.param == "speed" else 2)
    assert names(project) == {"test_old"}
    return request.param


def test_it_is_proposed_and_nothing_is_recorded(project, kind: str) -> None:
    write(project, kind, "test_new")
    result = project.run()
    assert result.ret == 0
    assert text(result).count("TRT677") == text(result).count(COMMAND) == 2
    result.stdout.fnmatch_lines(["*= trt: what to do =*", f"*{COMMAND}"])
    assert names(project) == {"test_old"}
    assert run_command(*COMMAND.split()[1:]).returncode == 0
    result = project.run("--trt-missing-baseline=fail")
    assert result.ret == 0
    assert "TRT677" not in text(result)
    assert names(project) == {"test_new"}


def test_a_required_baseline_fails_with_the_command(project, kind: str) -> None:
    write(project, kind, "test_new")
    result = project.run("--trt-missing-baseline=fail")
    assert result.ret == 1
    assert {"answers": "TRT670", "speed": "TRT660", "metrics": "TRT680"}[kind] in text(result)
    assert COMMAND in text(result)


def test_an_explicit_wish_records_a_new_one(project, kind: str) -> None:
    write(project, kind, "test_new")
    result = project.run("--trt-update-new")
    assert "TRT677" not in text(result)
    assert names(project) == {"test_old", "test_new"}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("plus", "more", "args"),
    [
        ("[:2]", "", ()),  # other inputs
        ("", "def test_old(): pass", ()),  # a test that exists
        ("", "def test_old(): pass", ("-ktest_new",)),  # one that is deselected
    ],
)
def test_other_baselines_are_not_proposed(project, kind: str, plus, more, args) -> None:
    write(project, kind, "test_new", plus, more)
    result = project.run(*args)
    assert result.ret == 0
    assert "TRT677" not in text(result)
    assert names(project) == {"test_old", "test_new"}


@pytest.mark.exhaustive
def test_a_module_that_was_moved_is_proposed_whole(project, kind: str) -> None:
    (project.path / "test_it.py").rename(project.path / "test_moved.py")
    command = "pytest-trt baseline rename test_it.py test_moved.py"
    assert command in text(project.run())
    assert run_command(*command.split()[1:]).returncode == 0
    assert project.run("--trt-missing-baseline=fail").ret == 0


def change(project, old: str, new: str) -> None:
    path = project.path / "test_it.py"
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new))


def all_names(project) -> set[str]:
    files = project.path.glob("trt_baselines/*/*.json")
    return {test for file in files for test in json.loads(file.read_text())["tests"]}


PARAMETRISE = '@pytest.mark.parametrize("size", [8], ids=["{}"])\n'


@pytest.mark.parametrize("new", ["x", "a-x"])
def test_ids_that_were_changed_or_added_are_proposed(project, kind: str, new: str) -> None:
    """The function exists, so its name alone does not show that a baseline has no test."""
    if kind == "metrics":
        old = "test_old[a]"
        change(project, '["a", "b"]', f'["{new}", "b"]')
    else:
        old = "test_old"
        change(project, "def test_old(", PARAMETRISE.format(new) + "def test_old(size, ")
    before = all_names(project)
    result = project.run()
    assert result.ret == 0
    assert all_names(project) == before
    command = ["pytest-trt", "baseline", "rename", f"test_it.py::{old}"]
    command.append(f"test_it.py::test_old[{new}]")
    assert shlex.join(command) in text(result)
    assert run_command(*command[1:]).returncode == 0
    result = project.run("--trt-missing-baseline=fail")
    assert result.ret == 0
    assert "TRT677" not in text(result)


def test_a_test_of_another_precision_is_not_proposed(project) -> None:
    """Its metrics are of another engine: a second precision was replaced, not renamed."""
    write(project, "metrics")
    change(project, 'linear.onnx")', 'linear.onnx", precision=("fp32", "bf16"))')
    project.run().assert_outcomes(passed=4)
    change(project, "bf16", "fp16")
    result = project.run()
    assert result.ret == 0
    assert "TRT677" not in text(result)
    assert "test_old[fp16-a]" in all_names(project)


@pytest.mark.exhaustive
@pytest.mark.parametrize("args", [(), ("-k", "b"), ("test_it.py::test_old[b]",)])
def test_other_parameters_of_tests_that_are_there_are_not_proposed(project, args) -> None:
    """Of a test that is named, the others are unknown."""
    write(project, "answers")
    change(project, "def test_old(", PARAMETRISE.format("a") + "def test_old(size, ")
    project.run().assert_outcomes(passed=2)
    change(project, '[8], ids=["a"]', '[8, 9], ids=["a", "b"]')
    change(project, 'precision=("fp32", "fp16")', 'precision="fp32"')
    result = project.run(*args)
    assert result.ret == 0
    assert "TRT677" not in text(result)
    assert all_names(project) == {"test_old[a]", "test_old[b]"}


@pytest.mark.exhaustive
def test_a_test_that_moved_to_another_class_is_proposed(project, kind: str) -> None:
    """The words of its old name are still in the module."""
    path = project.path / "test_it.py"
    source = path.read_text()
    head, _, test = source.partition("@pytest.mark.trt_model")
    body = textwrap.indent("@pytest.mark.trt_model" + test, "    ").replace("(trt_", "(self, trt_")
    path.write_text(f"{head}\nclass TestNew:\n{body}\n# not test_old")
    before = all_names(project)
    result = project.run()
    command = "pytest-trt baseline rename test_it.py::test_old test_it.py::TestNew::test_old"
    assert result.ret == 0
    assert all_names(project) == before
    assert command in text(result)
    assert run_command(*command.split()[1:]).returncode == 0
    assert project.run("--trt-missing-baseline=fail").ret == 0


@pytest.mark.exhaustive
def test_workers_propose_it_too(project) -> None:
    write(project, "answers")
    project.run("--trt-update-new").assert_outcomes(passed=2)
    write(project, "answers", "test_new")
    result = project.run("-n1")
    assert COMMAND in text(result)
    assert names(project) == {"test_old"}


def test_speeds_without_an_engine_are_not_proposed(project) -> None:
    pytest.importorskip("pytest_benchmark")
    project.light = ()
    for name in ("test_old", "test_new"):
        project.test_file(
            '@pytest.mark.trt_benchmark(p50="900%")\n'
            f"def {name}(benchmark):\n    benchmark.pedantic(sum, (range(99),), rounds=100)"
        )
        result = project.run()
        assert result.ret == 0
        assert "TRT677" not in text(result)
    assert names(project) == {"test_old", "test_new"}


class TestModels:
    """A test over a pattern of models, one of which is renamed, moved or trained again."""

    @pytest.fixture(params=["answers", "speed"], autouse=True)
    def zoo(self, request, project) -> None:
        for name in ("a", "b"):
            save_linear(project.path / "models" / "zoo" / f"{name}.onnx", nudge=name == "b")
        write(project, request.param)
        path = project.path / "test_it.py"
        path.write_text(path.read_text().replace("models/linear", "models/**/*"))
        (project.path / "models" / "linear.onnx").unlink()
        assert project.run().ret == 0
        assert names(project) == {"test_old[models/zoo/a.onnx]", "test_old[models/zoo/b.onnx]"}

    def moved(self, project, old: str, new: str) -> str:
        """Rename, and check that one command is shown, which lets all tests pass; return it."""
        before = names(project)
        (project.path / "models" / old).rename(project.path / "models" / new)
        result = project.run()
        assert result.ret == 0
        # In the summary of warnings, and in what to do, each for all tests.
        assert text(result).count("TRT677") == 2
        assert sum("baseline rename" in line for line in result.outlines) == 2
        assert names(project) == before
        failed = project.run("--trt-missing-baseline=fail")
        assert failed.ret == 1
        lines = {line.strip() for line in failed.outlines if "baseline rename" in line}
        (command,) = lines
        assert run_command(*shlex.split(command)[1:]).returncode == 0
        assert project.run("--trt-missing-baseline=fail").ret == 0
        return command.removeprefix("pytest-trt baseline rename ")

    def test_a_renamed_model_keeps_its_baselines_by_one_command(self, project) -> None:
        command = self.moved(project, "zoo/a.onnx", "zoo/clicks.onnx")
        assert command == "models/zoo/a.onnx models/zoo/clicks.onnx"
        assert names(project) == {"test_old[models/zoo/clicks.onnx]", "test_old[models/zoo/b.onnx]"}

    @pytest.mark.exhaustive
    def test_so_do_the_models_of_a_folder(self, project) -> None:
        assert self.moved(project, "zoo", "ranking") == "models/zoo models/ranking"

    def test_one_that_was_trained_again_is_new(self, project) -> None:
        (project.path / "models" / "zoo" / "a.onnx").unlink()
        save_linear(project.path / "models" / "zoo" / "c.onnx", nudge=2)
        assert "baseline rename" not in text(project.run("--trt-missing-baseline=fail"))

    @pytest.mark.exhaustive
    def test_so_is_a_copy(self, project) -> None:
        folder = project.path / "models" / "zoo"
        (folder / "c.onnx").write_bytes((folder / "a.onnx").read_bytes())
        result = project.run()
        assert "baseline rename" not in text(result)
        assert "test_old[models/zoo/c.onnx]" in names(project)


@pytest.mark.parametrize(("same", "codes"), [(True, 1), (False, 0)])
def test_a_renamed_model_of_a_test_with_the_same_name_keeps_its_speed(project, same, codes) -> None:
    write(project, "speed")
    assert project.run().ret == 0
    save_linear(project.path / "models" / "clicks.onnx", **({} if same else {"nudge": 1}))
    path = project.path / "test_it.py"
    path.write_text(path.read_text().replace("linear.onnx", "clicks.onnx"))
    result = project.run()
    assert "TRT661" in text(result)
    command = "pytest-trt baseline rename models/linear.onnx models/clicks.onnx"
    assert [line.strip() for line in result.outlines].count(command) == codes
    if same:
        assert run_command(*command.split()[1:]).returncode == 0
        assert project.run().ret == 0
