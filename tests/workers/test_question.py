from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.workers.question import Answer, ask

SOURCE = """
import ctypes, os, signal, sys, threading

def double(number):
    print("noise on standard output")
    return {"twice": number * 2}

def refuse():
    raise ValueError("not today")

def leave():
    sys.exit("enough")

def crash():
    ctypes.string_at(0)

def vanish():
    os.kill(os.getpid(), signal.SIGKILL)

def end():
    print("last words", file=sys.stderr, flush=True)
    os._exit(3)

def hang():
    threading.Event().wait()
"""


@pytest.fixture(autouse=True)
def _questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "questions.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)


def test_an_answer_comes_back_whatever_is_printed_next_to_it() -> None:
    assert ask("questions:double", timeout_s=60, number=21) == Answer({"twice": 42})


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ("questions:refuse", "ValueError: not today"),
        ("questions:leave", "SystemExit: enough"),
        ("questions:nothing", "has no attribute 'nothing'"),
        ("no_such_module:nothing", "No module named 'no_such_module'"),
        ("questions:vanish", "crashes Python (SIGKILL)"),
        ("questions:end", "ends Python with status 3: last words"),
    ],
)
def test_what_is_not_answered_says_why(question: str, problem: str) -> None:
    answer = ask(question, timeout_s=60)
    assert answer.value is None
    assert problem in answer.problem


def test_a_crash_says_where_it_was(tmp_path: Path) -> None:
    problem = ask("questions:crash", timeout_s=60).problem
    assert problem == f"crashes Python (SIGSEGV), in {tmp_path / 'questions.py'}, line 15"


def test_a_question_without_end_is_given_up() -> None:
    answer = ask("questions:hang", timeout_s=1)
    assert answer.problem == "gives no answer within 1 s"
    assert answer.timed_out


def test_a_python_that_cannot_be_started_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    assert "cannot be started" in ask("questions:double", timeout_s=60, number=1).problem
