"""Completion in a real Bash, with the keys of a user."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import save_linear
from builders_cli import run_command

pexpect = pytest.importorskip("pexpect")

Complete = Callable[[str], str]

TESTS = """
import pytest

@pytest.mark.trt_model("linear.onnx", profiles={"image": (2, 8)})
@pytest.mark.trt_consistency(against="both")
class TestLinear:
    def test_answers(self, trt_session, trt_inputs):
        trt_session.run(trt_inputs)
"""


@pytest.fixture
def complete(tmp_path: Path) -> Iterator[Complete]:
    """Type a line and the tabulator in Bash, and return the line that it becomes."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = tmp_path / "bin" / "pytest-trt"
    script.parent.mkdir()
    code = "from pytest_trt.cli import main; main()"
    script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c '{code}' \"$@\"\n")
    script.chmod(0o755)
    (tmp_path / "inputrc").write_text("set enable-bracketed-paste off\nset bell-style none\n")
    bash = pexpect.spawn(
        "bash", ["--norc", "-i"], encoding="utf-8", timeout=60, cwd=str(tmp_path), echo=False
    )
    bash.sendline(f"export PATH={script.parent}:$PATH INPUTRC={tmp_path}/inputrc PS1='READY> '")
    bash.sendline("bind -f $INPUTRC; stty cols 400; source <(pytest-trt completion bash)")
    bash.sendline("echo loa''ded")
    bash.expect_exact("loaded")

    def line(typed: str) -> str:
        # Control-A goes to the start of the line, so that it is printed and not run.
        bash.send(f'{typed}\t\x01echo "<" \x05 ">"\r')
        bash.expect(r"READY> < (.*?) >\r")
        return str(bash.match[1])

    yield line
    bash.close(force=True)


@pytest.mark.exhaustive
def test_names_of_commands_options_and_codes_are_completed(complete: Complete) -> None:
    assert complete("pytest-trt compl") == "pytest-trt completion"
    assert complete("pytest-trt cache exp") == "pytest-trt cache explain"
    assert (
        complete("pytest-trt report merge --require-a") == "pytest-trt report merge --require-arch"
    )
    assert complete("pytest-trt explain trt40") == "pytest-trt explain trt40"  # there are several
    assert complete("pytest-trt explain TRT416") == "pytest-trt explain TRT416"
    assert complete("pytest-trt explain exit") == "pytest-trt explain exit-status"
    assert complete("pytest-trt options onnx") == "pytest-trt options onnxruntime"
    assert complete("pytest-trt tune t --precision mi") == "pytest-trt tune t --precision mixed"


@pytest.mark.exhaustive
def test_node_ids_of_the_last_run_are_completed(
    complete: Complete, tmp_path: Path, pytester: pytest.Pytester, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_linear(tmp_path / "linear.onnx")
    (tmp_path / "test_linear.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrt_cache_dir = cache\n")
    pytester.inline_run("-pno:cacheprovider", "--trt-arch=cpu").assertoutcome(passed=1)
    whole = "test_linear.py::TestLinear::test_answers"
    assert complete("pytest-trt export test_lin").startswith(f"pytest-trt export {whole}")
    typed = "pytest-trt export -o dist test_linear.py::TestLinear::"
    assert complete(typed).startswith(f"pytest-trt export -o dist {whole}")
    for typed in ("test_lin", "TestLin"):
        shown = whole if typed == "test_lin" else whole.partition("::")[2]
        assert complete(f"pytest-trt baseline show {typed}") == f"pytest-trt baseline show {shown}"
    # Answers of a first run are stored already: there is nothing to accept.
    assert complete("pytest-trt baseline accept test_lin") == "pytest-trt baseline accept test_lin"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(shell: str) -> None:
    done = run_command("completion", shell)
    assert done.returncode == 0
    assert "_PYTEST_TRT_COMPLETE" in done.stdout
    assert f"{shell}_complete" in done.stdout


def test_files_are_completed_where_there_was_no_run(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrt_cache_dir = cache\n")
    (tmp_path / "test_file.py").touch()
    assert complete("pytest-trt tune test_f") == "pytest-trt tune test_file.py"
