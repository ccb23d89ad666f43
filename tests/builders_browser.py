"""A real Chromium for tests and benchmarks of pages, where there is one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: Names under which systems install it.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """Return the browser's path, or None where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


#: Where `.ci/test-packages` puts axe-core, which finds what people with disabilities cannot use.
AXE = Path(sys.prefix, "axe-core", "axe.min.js")


@contextmanager
def browser() -> Iterator[Any]:
    """Give a headless browser. Its own sandbox does not start where tests run as root."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        found.new_context()
        try:
            yield found
        finally:
            found.close()


_EMPTY = "about:blank"


def _free_page(context: Any) -> Any:
    return next((one for one in context.pages if one.url == _EMPTY), None) or context.new_page()


class Page:
    """A report that is open, and what the browser had to complain of.

    Args:
        started: The browser.
        path: The report.
        anchor: The test that the address names.
        options: The window's, such as `color_scheme`.
    """

    def __init__(self, started: Any, path: Path, anchor: str = "", **options: Any) -> None:
        self.complaints: list[str] = []
        self._is_shared = not options
        self.page = started.new_page(**options) if options else _free_page(started.contexts[0])
        self._listeners = {
            "console": lambda message: self.complaints.append(message.text),
            "pageerror": lambda error: self.complaints.append(str(error)),
            "request": self._request,
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)
        fragment = f"#{quote(anchor, safe='')}" if anchor else ""
        self.page.goto(path.resolve().as_uri() + fragment)
        self.page.wait_for_selector("html[data-ready-ms]", state="attached")

    def close(self) -> None:
        """Close it, or leave it empty for the next report: a page is a process of the browser."""
        if not self._is_shared:
            self.page.close()
            return
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.evaluate("localStorage.clear()")
        self.page.goto(_EMPTY)

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(f"asked for {request.url}")

    @property
    def ready_ms(self) -> float:
        """Milliseconds from the start of loading until the page was ready."""
        return float(self.page.evaluate("document.documentElement.dataset.readyMs"))

    def tests(self) -> list[str]:
        """Node ids of the rows that can be seen, in their order."""
        rows = "rows => rows.filter(row => !row.hidden).map(row => row.dataset.test)"
        return self.page.eval_on_selector_all("tr.test", rows)

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(self.page.inner_text(selector))

    def open(self, test: str) -> None:
        """Open a test by its name, and wait for its charts."""
        self.page.locator(f'tr.test:has-text("{test}") button.open').first.click()
        self.page.wait_for_selector("tr.detail-row")
        self.settle()

    def settle(self) -> None:
        """Wait until what changes with the next frame has changed."""
        self.page.evaluate("() => new Promise(r => requestAnimationFrame(() => setTimeout(r)))")
