"""Make the pictures of the README from what the tool prints.

Run: python docs/screenshots.py

It runs the first test of docs/get-started.md, whose FP16 engine fails. It needs torch and Chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
COMMAND = "pytest -k fp16-min"
COLUMNS = 100


def write_project(folder: Path) -> None:
    """Write the files of the page up to its first failure, and export the model."""
    text = (HERE / "get-started.md").read_text(encoding="utf-8").partition("## Read the failure")[0]
    for name, code in re.findall(r'```\w+ title="(.+?)"\n(.*?)```', text, flags=re.DOTALL):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    subprocess.run([sys.executable, "-W", "ignore", "export.py"], cwd=folder, check=True)


def terminal(printed: str) -> str:
    """Return an SVG of a terminal with the failure and the summary of a run."""
    text = Text.from_ansi(f"$ {COMMAND}\n" + printed[re.search("=+ FAILURES", printed).start() :])
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(text, soft_wrap=False)
    svg = console.export_svg(title="", theme=MONOKAI, unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # nothing is fetched


def photograph(report: Path, picture: Path) -> None:
    """Open the failed test in a browser, and write a picture of what is shown of it."""
    with sync_playwright() as started:
        found = shutil.which("chromium")
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.goto(report.as_uri())
        page.click("tr.test button.open")
        page.wait_for_selector("tr.detail-row")
        page.wait_for_timeout(500)  # charts are drawn
        top, bottom = (
            page.locator(row).first.bounding_box() for row in ("tr.test", "tr.detail-row")
        )
        height = bottom["y"] + bottom["height"] - top["y"]
        page.screenshot(path=picture, full_page=True, clip={**top, "height": height})
        browser.close()


def main() -> None:
    """Write both pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(folder)
        words = ["-p", "no:cacheprovider", "-p", "no:benchmark", "--color=yes", "--trt-arch=cpu"]
        done = subprocess.run(
            [sys.executable, "-m", *COMMAND.split(), *words, "--trt-report=report.html"],
            cwd=folder,
            env={**os.environ, "COLUMNS": str(COLUMNS), "XDG_CACHE_HOME": name},
            stdout=subprocess.PIPE,
            text=True,
        )
        (IMAGES / "failure.svg").write_text(terminal(done.stdout), encoding="utf-8")
        photograph(folder / "report.html", IMAGES / "report.png")


if __name__ == "__main__":
    main()
