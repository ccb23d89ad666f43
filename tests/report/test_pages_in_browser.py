"""Pages as people see them: in a real Chromium, light and dark, on a phone and on a desk.

Skipped without a browser, unless PYTEST_TRT_REQUIRE_BROWSER=1; what axe-core finds is skipped
without it, unless PYTEST_TRT_REQUIRE_AXE=1.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from builders_browser import AXE, browser, chromium
from builders_history import history_of, on_day
from builders_report import reported
from report.comparison.test_compare import off_by, pair, timed
from report.test_html_in_browser import FULL, merged

from pytest_trt.report.comparison.page import page as comparison_page
from pytest_trt.report.history.page import page as history_page
from pytest_trt.report.html.page import html_page

if chromium() is None and os.environ.get("PYTEST_TRT_REQUIRE_BROWSER") != "1":
    pytest.skip("no Chromium is installed", allow_module_level=True)
pytest.importorskip("playwright")

LOOKS = (Path(__file__).parent / "looks.js").read_text("utf-8")


def trends() -> str:
    """A history with all that can be drawn: changes, breaks, failures, long names, two machines."""
    days = []
    for day in range(10):
        tests: dict[str, Any] = {
            "test_step": timed(1.0 if day < 6 else 1.3, seed=day),
            "test_flat": timed(2.0, seed=100 + day),
            "test_mode": timed(3.0, seed=day, mode="graph" if day < 4 else "enqueue"),
            "test_shapes": timed(1.0, seed=day, spec={"shapes": f"x [{day // 5}, 3, 224, 224]"}),
            "test_error": off_by(0.002 if day % 5 else 0.006),
            "test_" + "long_name_" * 12: timed(1.0 + day % 2, seed=day),
        }
        if day == 9:
            tests["test_step"] = reported("failed", "slow", speeds=tests["test_step"].record.speeds)
        days.append(on_day(day, tests))
    few = [on_day(day, {"test_few": timed(1.0 + day, seed=day)}, id=f"f{day}") for day in (0, 1)]
    return history_page(history_of(*days, *few))


PAGES = {
    "report": lambda: html_page(FULL),
    "merged": lambda: html_page(merged()),
    "history": trends,
    "comparison": lambda: comparison_page(pair(timed(1.0), timed(1.5, seed=1))),
}
NAMES = ["report", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in (*PAGES,)[1:])]


@pytest.fixture(scope="module")
def started():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(make(), "utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.fixture
def show(started, written):
    """Open a page in a window of its own, with everything unfolded."""
    opened = []

    def show_page(name: str, *, unfold: bool = True, **options: Any):
        page = started.new_page(**options)
        opened.append(page)
        page.goto(written[name].as_uri())
        if name in ("report", "merged"):
            page.wait_for_selector("html[data-ready-ms]", state="attached")
        if unfold:
            for button in page.query_selector_all("button.open"):
                button.click()
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        # Charts are drawn, and what scrolls is found, after the next frame.
        page.evaluate("() => new Promise(r => requestAnimationFrame(() => setTimeout(r, 50)))")
        return page

    yield show_page
    for page in opened:
        page.close()


WINDOWS = [
    pytest.param(
        {"color_scheme": scheme, "viewport": {"width": width, "height": 900}},
        id=f"{scheme}-{width}",
        # A page and its styles are one for all windows: two of them find most of what can be wrong.
        marks=[] if (scheme == "light") == (width == 400) else [pytest.mark.exhaustive],
    )
    for scheme in ("light", "dark")
    for width in (400, 1400)
]


def looks(page, what: str) -> list[str]:
    return page.evaluate(f"(() => {{ {LOOKS}; return {what}(); }})()")


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", NAMES)
def test_page_fits_its_window_and_can_be_read(show, name: str, window) -> None:
    page = show(name, **window)
    assert page.evaluate("document.documentElement.scrollWidth") <= window["viewport"]["width"]
    assert looks(page, "overlaps") == []
    assert looks(page, "faint") == []


@pytest.mark.exhaustive
def test_what_would_not_be_read_is_found(show) -> None:
    page = show("history")
    page.evaluate("""() => {
      document.querySelector(".plot text").setAttribute("fill", "none");
      document.querySelector(".plot text").style.fill = "#dddddd";
      const [one, other] = document.querySelectorAll(".plot .tick");
      for (const name of ["x", "y"]) other.setAttribute(name, one.getAttribute(name));
    }""")
    assert len(looks(page, "faint")) == 1
    assert len(looks(page, "overlaps")) == 1


needs_axe = pytest.mark.skipif(
    not AXE.exists() and os.environ.get("PYTEST_TRT_REQUIRE_AXE") != "1",
    reason=f"axe-core is not in {AXE.parent}; .ci/test-packages fetches it from npm",
)


def violations(page) -> list[str]:
    page.evaluate(AXE.read_text("utf-8"))
    return [
        f"{one['id']}: {one['help']}: {node['target']}"
        for one in page.evaluate("axe.run()")["violations"]
        for node in one["nodes"]
    ]


@needs_axe
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(show, name: str, window) -> None:
    assert violations(show(name, **window)) == []


@pytest.mark.exhaustive
@needs_axe
def test_axe_finds_a_picture_without_a_name(show) -> None:
    page = show("history")
    page.evaluate("document.querySelector('.plot[role]').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('.plot[role] desc').remove()")
    assert [one.partition(":")[0] for one in violations(page)] == ["svg-img-alt"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["report", "history"])
def test_every_picture_has_a_name_and_a_table(show, name: str) -> None:
    page = show(name)
    for picture in page.query_selector_all("svg, canvas"):
        named = "one => one.closest('[role=img][aria-label], [aria-hidden=true]') !== null"
        assert picture.evaluate(named), picture.evaluate("one => one.outerHTML")[:200]
    charts = page.query_selector_all(".chart, .trend")
    assert len(charts) >= 4
    for chart in charts:
        place = "one => one.closest('.columns, .trends > details').parentElement"
        assert chart.evaluate_handle(place).as_element().query_selector("details td")


def focused(page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


@pytest.mark.exhaustive
def test_keyboard_walks_through_a_history_in_its_order_and_unfolds(show) -> None:
    page = show("history", unfold=False)
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        seen.append(page.evaluate("document.activeElement.getBoundingClientRect().top + scrollY"))
    assert len(seen) > 8
    assert seen == sorted(seen)
    folded = page.query_selector(".trends > details:not([open]) > summary")
    folded.focus()
    page.keyboard.press("Enter")
    assert folded.evaluate("one => one.parentElement.open")
    page.keyboard.press("Tab")
    assert focused(page) == "All figures as a table"
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "All figures of"
    )


@pytest.mark.exhaustive
def test_keyboard_reaches_the_figures_of_a_chart_of_a_report(show) -> None:
    page = show("report", unfold=False)
    page.keyboard.press("Tab")
    assert focused(page) == "To the tests"
    page.locator("button.open", has_text="test_slow").focus()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == "All rounds as a table":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".figures td")
    assert "1.20 ms" in page.inner_text(".figures")
    assert page.locator(".figures tbody tr").count() == 40
