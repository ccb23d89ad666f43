"""Models, outputs and reasons whose names attack what shows them, in a run with every output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import onnx
import pytest
from builders import save_linear
from plugin.conftest import LIGHT
from plugin.results.test_report import PROCESSES
from prometheus_client.openmetrics import parser
from test_hostile_text import check_markdown, check_plain

pytestmark = pytest.mark.exhaustive

#: A byte that is not UTF-8, a sequence of a terminal, a command of a log, a picture of Markdown.
NAMES = (b"a\xff.onnx", b"b\x1b[31m.onnx", b"c\n::error::x.onnx", b"`d` ![x](y) @e #1.onnx")

SUITE = r"""
from pathlib import Path

models = sorted(path for path in Path("models").iterdir() if path.name != "linear.onnx")
marks = [pytest.mark.trt_model(str(path), precision="fp16") for path in models]
of_each = [pytest.param(path, marks=mark) for path, mark in zip(models, marks)]

@pytest.mark.parametrize("path", of_each)
@pytest.mark.trt_consistency(rtol=0, atol=1e-12)
def test_fails(path, trt_session, images):
    trt_session.run({"image": images})

@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_benchmark(p50="10%")
def test_recorded(trt_benchmark, images):
    trt_benchmark({"image": images})

@pytest.mark.trt_model("models/linear.onnx")
def test_skips(trt_session):
    pytest.skip("\udcff \x1b[31m\n::error::reason | `x`")
"""


def save_hostile(path, output: str) -> None:
    save_linear(path)
    model = onnx.load(path)
    model.graph.node[-1].output[0] = model.graph.output[-1].name = output
    onnx.save(model, path)


@pytest.mark.parametrize("processes", PROCESSES)
def test_run_of_hostile_names_ends_in_its_files(project, monkeypatch, processes) -> None:
    folder = project.path / "models"
    for number, name in enumerate(NAMES):
        try:
            save_hostile(folder / os.fsdecode(name), f"o{number}\x1b[31m|`\n::error::")
        except OSError:
            pytest.skip("the file system takes UTF-8 only")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    # execnet takes no half surrogate pair, which pytest's report of this skip has.
    project.test_file(SUITE.replace(r"\udcff", "" if processes == "-n1" else r"\udcff"))
    reports = [f"--trt-report=r.{kind}" for kind in ("json", "html", "prom")]
    command = [sys.executable, "-m", "pytest", *LIGHT, "-p", "quiet_host", "-p", "no:cacheprovider"]
    command += ["--trt-arch=cpu", f"--trt-cache-dir={project.cache}"]
    # What pytest prints of the reason is not UTF-8.
    found = subprocess.run(
        [*command, *reports, processes, "-ra", "-v", "--junitxml=junit.xml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    printed = os.fsdecode(found.stdout)
    assert "INTERNALERROR" not in printed
    assert "Traceback" not in printed
    assert found.returncode == 1
    assert "4 failed, 1 passed, 1 skipped" in printed
    # The reason of a skip is printed by pytest.
    own = [line for line in printed.split("\n") if not ("SKIPPED" in line or "reason" in line)]
    check_plain("\n".join(own))
    check_plain((project.path / "r.prom").read_text())
    assert list(parser.text_string_to_metric_families((project.path / "r.prom").read_text()))
    document = json.loads((project.path / "r.json").read_text())
    assert len(document["tests"]) == 6
    assert {os.fsencode(Path(test["model"]).name) for test in document["tests"]} >= {*NAMES}
    check_markdown((project.path / "summary.md").read_text())
    values = [one.get("value") or "" for one in ET.parse("junit.xml").iter("property")]
    assert any("\\udcff" in value for value in values)
    for value in values:
        check_plain(value)
    shown = project.pytester.run("pytest-trt", "report", "show", "r.json")
    assert shown.ret == 0
    check_plain("\n".join([*shown.outlines, *shown.errlines]))
