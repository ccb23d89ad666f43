from __future__ import annotations

import json
from pathlib import Path

import builders_planted as planted
import onnx
import pytest
from click.testing import CliRunner

from pytest_trt import cli
from pytest_trt.cli import localize as localizing

TESTS = """
import numpy as np
import pytest

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)

@pytest.mark.trt_model("{}.onnx", precision="fp16")
@pytest.mark.trt_consistency(rtol=1e-2, atol=1e-2)
def test_it(trt_session):
    trt_session.run({{"x": X}})
"""

ARGS = ("--trt-arch=cpu", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")


@pytest.mark.exhaustive
def test_a_test_that_passes_by_stored_answers_alone_is_searched_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(planted.network(), tmp_path / "right.onnx")
    marker = 'atol=1e-2, against="stored")'
    (tmp_path / "test_it.py").write_text(TESTS.format("right").replace("atol=1e-2)", marker))
    args = ["localize", "test_it.py::test_it", *ARGS, f"--trt-cache-dir={tmp_path / 'cache'}"]
    for option in ("--trt-update-new", "--trt-missing-baseline=fail"):
        done = CliRunner().invoke(cli.commands, [*args, option])
        assert done.exit_code == 0, done.output
        assert "layer with most of the error" in done.output


@pytest.mark.parametrize(
    ("kind", "status", "title"),
    [("right", 0, "layer with most of the error"), ("overflow", 1, "first bad layer: ")],
)
def test_shows_the_layers_of_a_test_whether_it_passes_or_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    status: int,
    title: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    network = planted.network()
    if kind != "right":
        network, _ = planted.plant(network, kind)
    onnx.save(network, tmp_path / f"{kind}.onnx")
    (tmp_path / "test_it.py").write_text(TESTS.format(kind))
    args = ["localize", "test_it.py::test_it", *ARGS, f"--trt-cache-dir={tmp_path / 'cache'}"]
    done = CliRunner().invoke(cli.commands, args)
    assert done.exit_code == status, done.output
    assert title in done.output
    assert "own error  before" in done.output
    assert "conv3" in done.output
    printed = done.output + capfd.readouterr().out  # of pytest, which runs in a child process
    assert printed.count("next: conv1 (Conv)") == 1
    done = CliRunner().invoke(cli.commands, [*args, "--json"])
    assert done.exit_code == status
    (found,) = json.loads(done.stdout)
    assert found["test"].startswith("test_it.py::test_it")
    assert found["facts"]["layers"]


@pytest.mark.exhaustive
def test_a_search_that_ended_without_an_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(planted.network(), tmp_path / "right.onnx")
    (tmp_path / "test_it.py").write_text(TESTS.format("right"))
    args = ["localize", "test_it.py", *ARGS, f"--trt-cache-dir={tmp_path / 'cache'}"]
    # A step that has begun may go on for two seconds, in which a quick host ends it.
    (tmp_path / "conftest.py").write_text(
        "from pytest_trt.precision.localize import _Search\n_Search._left_s = 1e-9\n"
    )
    done = CliRunner().invoke(cli.commands, [*args, "--timeout=1e-9", "--json"])
    assert done.exit_code == 2
    assert [one["code"] for one in json.loads(done.stdout)] == ["TRT442"]
    assert "no engine was searched" in done.stderr


@pytest.mark.exhaustive
def test_a_test_without_an_engine_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    done = CliRunner().invoke(cli.commands, ["localize", "test_it.py", *ARGS])
    assert done.exit_code == 2
    assert "no engine was searched: the test ran none" in done.output


def test_a_time_limit_below_0_is_refused_and_a_test_that_does_not_exist_is_no_test_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.commands, ["localize", "test_it.py", "--timeout=0"])
    assert (done.exit_code, "--timeout" in done.output) == (2, True)
    done = CliRunner().invoke(cli.commands, ["localize", "test_it.py", *ARGS])
    assert "no engine was searched: pytest ended with 4" in done.output


def test_the_layer_to_blame_is_shown_whatever_the_number_of_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("operator", "output", "cause")
    figures = ("own_error", "error_before", "error_after", "outputs_error", "low", "high")
    row = {**dict.fromkeys(names, ""), **dict.fromkeys(figures, 0.5)}
    layers = [{**row, "layer": name} for name in ("first", "second", "blamed", "last")]
    facts = {"layer": "blamed", "layers": layers}
    found = {"message": "m", "code": "TRT440", "details": [], "facts": facts}
    localizing._show("test", found, 1, details=False)
    shown = capsys.readouterr().out
    assert "first" in shown
    assert "blamed" in shown
    assert "second" not in shown
    assert "before and after are those of what it reads and of its output" in shown
