"""What a terminal is shown: a pseudo-terminal of 60 columns, on which pytest really writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from plugin.conftest import LIGHT, NoOwnTraceback

from pytest_trt import cli

pytestmark = pytest.mark.usefixtures("engines_of_other_tests")

_TEST = """
@pytest.mark.trt_model("models/linear.onnx", precision="fp16", profiles={
    "image": ((1, 8), (4, 8), (16, 8))})
@pytest.mark.trt_consistency(rtol=0.0, atol=1e-9)
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""


class Terminal:
    """A pseudo-terminal, and what is written to it.

    Args:
        columns: How wide it is.
    """

    def __init__(self, columns: int) -> None:
        self._reader, self.writer = pty.openpty()
        fcntl.ioctl(self.writer, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self._text = b""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the last writer has gone
            while more := os.read(self._reader, 4096):
                self._text += more

    def lines(self) -> list[str]:
        """Return what was written, once the last writer has closed it."""
        self._reading.join()
        os.close(self._reader)
        return self._text.decode().replace("\r\n", "\n").split("\n")


def options(project, *args: str) -> list[str]:
    always = ("-p", "no:cacheprovider", "--color=no", *LIGHT)
    return [*always, "--trt-arch=cpu", f"--trt-cache-dir={project.cache}", *args]


def shown(project, *args: str, columns: int = 60, status: int = 1) -> list[str]:
    """Return the lines that pytest writes on a terminal, where it ends with this exit status."""
    terminal = Terminal(columns)
    with (
        pytest.MonkeyPatch.context() as patch,
        os.fdopen(terminal.writer, "w", encoding="utf-8") as screen,
    ):
        patch.delenv("CI", raising=False)
        patch.setenv("COLUMNS", str(columns))
        for name in ("stdout", "stderr"):
            patch.setattr(sys, name, screen)
        result = project.pytester.inline_run(
            *options(project, *args), plugins=[project.host, NoOwnTraceback()]
        )
    assert result.ret == status
    return terminal.lines()


def shown_by_a_process(project, *args: str, columns: int = 60, status: int = 1) -> list[str]:
    """Return the same of pytest in a process of its own, which asks the terminal how wide it is."""
    terminal = Terminal(columns)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "CI")}
    here = str(Path(cli.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([here, environment.get("PYTHONPATH", "")])
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.writer)
    command = [sys.executable, "-m", "pytest", *options(project, *args)]
    started = subprocess.Popen(command, cwd=project.path, env=environment, **streams)
    os.close(terminal.writer)
    assert started.wait() == status
    return terminal.lines()


@pytest.mark.exhaustive
def test_failure_of_a_check_fits_the_terminal(project) -> None:
    project.test_file(_TEST)
    lines = shown_by_a_process(project, f"--junitxml={project.path / 'junit.xml'}")
    start = next(i for i, line in enumerate(lines) if "FAILURES" in line)
    end = next(i for i, line in enumerate(lines) if line.startswith("==") and " trt " in line)
    reported = [line for line in lines[start:end] if "generated xml file" not in line]
    detail = "of 16 elements (100%)"
    assert any(detail in line for line in reported)
    assert wider(reported) == []
    # Other readers of the text get whole lines.
    junit = (project.path / "junit.xml").read_text(encoding="utf-8")
    assert f"{detail} differ by more than 1e-09 (set on the marker)" in junit


def test_nothing_is_printed_between_the_summary_and_its_title(project) -> None:
    project.test_file(_TEST.replace("1e-9", "1e-2") + "\ndef test_red():\n    assert False\n")
    lines = shown(project, columns=80)
    title = next(i for i, line in enumerate(lines) if line.startswith("==") and " trt " in line)
    assert lines[title + 1].startswith("model ")


def wider(lines: list[str], columns: int = 60) -> list[str]:
    """Return the lines that do not fit, except commands and single long paths."""
    wide = [line for line in lines if len(line) > columns and " " in line.strip()]
    return [line for line in wide if not line.startswith("    ")]  # what is to be copied


def between(lines: list[str], start: str, end: str) -> list[str]:
    """Return the lines below a title, up to the next one."""
    first = next(i for i, line in enumerate(lines) if line.startswith("==") and start in line)
    rest = lines[first + 1 :]
    return rest[: next(i for i, line in enumerate(rest) if line.startswith("==") and end in line)]


def test_input_without_a_shape_is_reported_in_lines_that_fit(project) -> None:
    project.test_file(
        '@pytest.mark.trt_model("models/linear.onnx")\n'
        "def test_it(request):\n    request.getfixturevalue('trt_inputs')\n"
    )
    reported = between(shown(project), "FAILURES", "short test summary")
    assert any(line.startswith("Fix: ") for line in reported)
    assert wider(reported) == []


@pytest.mark.parametrize(
    "args", [[], pytest.param(["-n1"], marks=pytest.mark.exhaustive)], ids=["here", "in a worker"]
)
def test_wrong_markers_are_reported_in_lines_that_fit(project, args: list[str]) -> None:
    if args:
        pytest.importorskip("xdist")
    (project.path / "models" / "linear.onnx").write_bytes(b"no model")
    project.test_file(_TEST)
    reported = between(
        shown(project, *args, status=1 if args else 2), "ERRORS", "short test summary"
    )
    assert any(line.startswith("Fix: ") for line in reported)
    assert wider(reported) == []


@pytest.mark.exhaustive
def test_worker_of_a_failure_is_named_once(project) -> None:
    pytest.importorskip("xdist")
    project.test_file(_TEST)
    reported = between(shown(project, "-n", "1", columns=80), "FAILURES", " trt ")
    assert sum(line.startswith("[gw0]") for line in reported) == 1
    assert sum("over tolerance" in line and "[TRT401]" in line for line in reported) == 1


def test_failure_is_shown_at_the_line_that_ran_it(project) -> None:
    project.test_file(_TEST)
    lines = shown(project, "--tb=line", columns=500)
    (place,) = [line for line in lines if line.startswith("/") and ": logits: " in line][:1]
    file, number, _ = place.split(":", 2)
    assert file == str(project.path / "test_it.py")
    source = (project.path / "test_it.py").read_text().splitlines()
    assert "trt_session.run(" in source[int(number) - 1]


@pytest.mark.parametrize(
    "args", [[], pytest.param(["-n1"], marks=pytest.mark.exhaustive)], ids=["here", "in a worker"]
)
def test_failure_of_anything_else_stays_as_pytest_has_it(project, args: list[str]) -> None:
    if args:
        pytest.importorskip("xdist")
    words = "one two three four five six seven eight nine ten eleven twelve"
    project.test_file(
        f"def test_mine():\n    pytest.fail({words!r}, pytrace=False)\n"
        + _TEST.replace("0.0", "0.1")
    )
    assert words in shown(project, *args)


def test_missing_gpu_is_reported_in_lines_that_fit(project, monkeypatch) -> None:
    project.test_file(_TEST)
    lines = shown(project, "--trt-arch=sm90", columns=50, status=4)
    reported = [line for line in lines if line]
    assert reported[0].startswith("ERROR: ")
    assert any(line.startswith("Fix: ") for line in reported)
    assert [line for line in wider(reported, 50) if "pip install" not in line] == []


def test_option_that_cannot_be_understood_is_reported_in_lines_that_fit(project) -> None:
    project.test_file(_TEST)
    both = ("--trt-update", "--trt-update-new")
    reported = [line for line in shown(project, *both, status=4) if line]
    assert reported[0].startswith("ERROR: --trt-update records ")
    assert wider(reported) == []


def test_coverage_facts_and_files_are_shown_in_lines_that_fit(project) -> None:
    project.test_file(_TEST.replace("1e-9", "1e-2"))
    lines = shown(project, "-v", "--trt-require-arch=sm86", "--trt-report=report.json")
    reported = [
        *between(lines, " trt ", "required verdicts"),
        *between(lines, "required verdicts", " in "),
    ]
    assert any(line.startswith("facts ") for line in reported)
    assert any(line.startswith("Fix: ") for line in reported)
    assert "wrote report.json" in reported
    assert [line for line in wider(reported) if "  pytest-trt report merge " not in line] == []


@pytest.mark.parametrize("plugin", ["capture", "terminal"])
@pytest.mark.parametrize(("rtol", "status"), [("1e-2", 0), ("0.0", 1)], ids=["right", "wrong"])
def test_run_without_capture_or_terminal_still_judges(
    project, plugin: str, rtol: str, status: int
) -> None:
    project.test_file(_TEST.replace("1e-9", rtol))
    assert project.run("-p", f"no:{plugin}").ret == status


#: A task metric that is worse than its baseline, by more than its limit and less than chance.
WORSE = """
@pytest.mark.trt_model("models/linear.onnx")
def test_it(trt_session, images, trt_metrics):
    trt_session.run({"image": images})
    trt_metrics.record("accuracy", VALUE, of=64, limit="1 point")
"""
INCONCLUSIVE = "accuracy 0.95312 is worse than its baseline 1 by 4.69 points, allowed: 1 points"


@pytest.mark.parametrize(
    ("filters", "notes", "warnings"),
    [
        (("-Wignore",), 1, 0),
        (("-Wignore::UserWarning",), 1, 0),
        (("-pno:warnings",), 1, 0),
        ((), 0, 1),
        (("-Wignore::pytest_trt.PytestTrtWarning",), 0, 0),
        (("-Wignore:accuracy",), 0, 0),
        (("-Wignore:another",), 0, 1),
        (("-Wignore:(",), 0, 1),
    ],
)
def test_warning_that_a_filter_hides_is_a_note(project, filters, notes, warnings) -> None:
    project.test_file(WORSE.replace("VALUE", "1.0"))
    project.run().assert_outcomes(passed=1)
    project.test_file(WORSE.replace("VALUE", "61 / 64"))
    for more in (("-q",), (), ("-q", "-n1")):
        # Without that plugin, the filters of this run would hold in its process.
        result = project.run(*filters, *more, subprocess="-pno:warnings" in filters)
        assert result.ret == 0
        shown = [line for line in result.outlines if INCONCLUSIVE in line]
        assert sum(line.startswith("note  ") for line in shown) == notes
        assert sum("PytestTrtWarning: " in line for line in shown) == warnings


@pytest.mark.parametrize(
    ("names", "notes"),
    [(":UserWarning", 1), (":pytest_trt.PytestTrtWarning", 0), ("acc.* is worse", 0)],
)
def test_mark_hides_a_warning_by_its_name(project, names, notes) -> None:
    project.test_file(WORSE.replace("VALUE", "1.0"))
    project.run().assert_outcomes(passed=1)
    mark = f'@pytest.mark.filterwarnings("ignore:{names}")'
    project.test_file(mark + WORSE.replace("VALUE", "61 / 64"))
    for more in ((), ("-n1",)):
        result = project.run(*more)
        result.assert_outcomes(passed=1)
        assert sum(INCONCLUSIVE in line for line in result.outlines) == notes


def test_warning_that_is_an_error_is_no_note(project) -> None:
    project.test_file(WORSE.replace("VALUE", "1.0"))
    project.run().assert_outcomes(passed=1)
    project.test_file(WORSE.replace("VALUE", "61 / 64"))
    result = project.run("-Werror::pytest_trt.PytestTrtWarning")
    result.assert_outcomes(failed=1)
    assert not [line for line in result.outlines if line.startswith(f"note  {INCONCLUSIVE}")]
