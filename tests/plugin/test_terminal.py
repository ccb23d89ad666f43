"""What a terminal is shown: a pseudo-terminal of 60 columns, in which pytest really runs."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from pytest_trt import cli

_TEST = """
@pytest.mark.trt_model("models/linear.onnx", precision="fp16", profiles={
    "image": ((1, 8), (4, 8), (16, 8))})
@pytest.mark.trt_consistency(rtol=0.0, atol=1e-9)
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""


def shown(project, *args: str, columns: int = 60) -> list[str]:
    """Return the lines that pytest writes on a terminal."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "CI")}
    here = str(Path(cli.__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([here, environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no"]
    command += ["--trt-arch=cpu", f"--trt-cache-dir={project.cache}", *args]
    started = subprocess.Popen(
        command, cwd=project.path, env=environment, stdin=writer, stdout=writer, stderr=writer
    )
    os.close(writer)
    text = b""
    while True:
        try:
            more = os.read(reader, 4096)
        except OSError:  # the last writer has gone
            break
        if not more:
            break
        text += more
    os.close(reader)
    assert started.wait() == 1
    return text.decode().replace("\r\n", "\n").split("\n")


def test_failure_of_a_check_fits_the_terminal(project) -> None:
    project.test_file(_TEST)
    lines = shown(project, f"--junitxml={project.path / 'junit.xml'}")
    start = next(i for i, line in enumerate(lines) if "FAILURES" in line)
    end = next(i for i, line in enumerate(lines) if line.startswith("==") and " trt " in line)
    told = [line for line in lines[start:end] if "generated xml file" not in line]
    assert any("worst absolute difference" in line for line in told)
    assert [line for line in told if len(line) > 60] == []
    # What reads the text is given its lines whole.
    junit = (project.path / "junit.xml").read_text(encoding="utf-8")
    assert any("worst absolute difference" in x and "allowed" in x for x in junit.split("\n"))


def test_nothing_stands_between_the_summary_and_its_title(project) -> None:
    project.test_file(_TEST.replace("1e-9", "1e-2") + "\ndef test_red():\n    assert False\n")
    lines = shown(project, columns=80)
    title = next(i for i, line in enumerate(lines) if line.startswith("==") and " trt " in line)
    assert lines[title + 1].startswith("model ")
