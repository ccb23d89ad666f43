"""The HTML report of a thousand tests: how large it is, how long it takes to write and to open.

A real report is multiplied, twice over: tests of accuracy and of speed in turns that share engines;
and, which is the most that so many tests can be, tests of speed alone, each with an engine and
rounds of its own. Each is then opened in a headless Chromium, searched, sorted, and a test is
opened in it. Without `--from` the example project is run first, twice, so that its tests of speed
have a baseline.

Run: PYTHONPATH=.:tests python tests/benchmarks/html_report.py [--tests 1000] [--from report.json]
     [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from builders_browser import Page, browser
from figures import Figures

from pytest_trt.report.files import write_report

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = Figures(options.json)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = json.loads((options.source or example_report(folder)).read_text())
        cases = {
            "in turns": multiplied(source, options.tests),
            "all of speed": all_of_speed(source, options.tests),
        }
        with browser() as found:
            for name, made in cases.items():
                page = folder / "report.html"
                started = time.perf_counter()
                write_report(page, made)
                figures.add(f"{name}: written in", time.perf_counter() - started, "s", "under 3")
                figures.add(f"{name}: size", page.stat().st_size / 1e6, "MB", "under 10")
                tried(found, page, made, figures, name)
            if options.pictures is not None:
                take_pictures(found, page, made["tests"][0]["id"], options.pictures)


def example_report(folder: Path) -> Path:
    """Run the example project, and return the report of its second run."""
    project = folder / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("trt_baselines"))
    command = [sys.executable, "-m", "pytest", "-q", "--trt-arch=cpu", "--trt-report=report.json"]
    for _ in range(2):
        subprocess.run(
            [*command, "--trt-missing-baseline=record", f"--trt-cache-dir={folder / 'cache'}"],
            cwd=project,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return project / "report.json"


def multiplied(document: dict[str, Any], count: int) -> dict[str, Any]:
    """Return a document with so many tests, those with speed and those without in turns."""
    tests = document["tests"]
    quick = [one for one in tests if any(result["speed"] for result in one["results"])]
    rest = [one for one in tests if one not in quick and one["results"]]
    turns = itertools.chain.from_iterable(zip(itertools.cycle(quick), itertools.cycle(rest)))
    copies = []
    for number, one in enumerate(itertools.islice(turns, count)):
        name = f"{one['test']}[{number}]"
        copies.append({**one, "test": name, "id": one["id"].replace(one["test"], name)})
    return {**document, "tests": copies}


def all_of_speed(document: dict[str, Any], count: int) -> dict[str, Any]:
    """Return a document of tests of speed, of which no two have an engine or a round in common."""
    random = np.random.default_rng(1)
    tests = [one for one in document["tests"] if any(result["speed"] for result in one["results"])]
    engines: dict[str, Any] = {}
    copies = []
    for number, one in enumerate(itertools.islice(itertools.cycle(tests), count)):
        name = f"{one['test']}[{number}]"
        copy = {**json.loads(json.dumps(one)), "test": name}
        copy["id"] = one["id"].replace(one["test"], name)
        for result in copy["results"]:
            key = random.bytes(32).hex()
            engines[key] = {**document["engines"][result["engine"]], "key": key}
            result["engine"] = key
            for side in ("candidate_rounds", "baseline_rounds"):
                for values in result["speed"][side].values():
                    values[:] = [float(f"{value * random.normal(1, 0.1):.5g}") for value in values]
        copies.append(copy)
    return {**document, "tests": copies, "engines": engines}


def tried(found: Any, path: Path, made: dict[str, Any], figures: Figures, name: str) -> None:
    """Use the page as a person would, and note how long each step takes."""
    page = Page(found, path)
    figures.add(f"{name}: usable after", page.ready_ms / 1e3, "s", "under 2")
    assert len(page.tests()) == len(made["tests"])

    def timed(what: str, step: str) -> None:
        took = page.page.evaluate(
            "async (step) => { const from = performance.now(); new Function(step)();"
            " await new Promise(r => requestAnimationFrame(() => setTimeout(r)));"
            " return performance.now() - from; }",
            step,
        )
        figures.add(f"{name}: {what}", took / 1e3, "s", "under 0.5")

    timed(
        "searching",
        "const s = document.getElementById('search'); s.value = '[7'; "
        "s.dispatchEvent(new Event('input'));",
    )
    timed("sorting", "document.querySelectorAll('.tests > thead button')[1].click();")
    timed("opening a test", "document.querySelector('tr.test:not([hidden]) .open').click();")
    assert page.complaints == [], page.complaints


def take_pictures(found: Any, path: Path, anchor: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scheme, width in (("light", 1300), ("dark", 1300), ("light", 400)):
        size = {"width": width, "height": 900}
        for name, named in (("top", ""), ("opened", anchor)):
            page = Page(found, path, named, color_scheme=scheme, viewport=size)
            page.settle()
            page.page.screenshot(path=str(folder / f"{name}-{scheme}-{width}.png"))
            page.page.close()


if __name__ == "__main__":
    main()
