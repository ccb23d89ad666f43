"""Names that attack what shows them, in every output: nothing active, and nothing lost.

Markdown is rendered by GitHub's own renderer, pages by Chromium where there is one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import html5lib
import numpy as np
import onnx
import pytest
from builders_baseline import save_answers, save_baselines, stored
from builders_hostile import ATTACKS, hostile_names, hostile_report, mark, saturated
from click.testing import CliRunner
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics

from pytest_trt import escaping
from pytest_trt.baseline.file import read_baselines
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.cli import commands
from pytest_trt.cli.command import walk
from pytest_trt.diagnostics import Diagnostic, failure_lines
from pytest_trt.report.comparison.compare import compare
from pytest_trt.report.comparison.findings import Comparison
from pytest_trt.report.comparison.markdown import COMMENT_CHARACTERS
from pytest_trt.report.comparison.markdown import markdown as comparison_markdown
from pytest_trt.report.comparison.page import page as comparison_page
from pytest_trt.report.document import Document
from pytest_trt.report.files import WRITERS, write_report
from pytest_trt.report.junit import properties_of
from pytest_trt.report.markdown import markdown
from pytest_trt.report.openmetrics import openmetrics_text
from pytest_trt.report.record import TestRecord, TestResult
from pytest_trt.report.summary import Style, summary_lines
from pytest_trt.terms import Verdict

NAMES = hostile_names()
MARKS = {mark(number) for number in range(len(NAMES))}


@pytest.fixture(scope="module")
def report() -> Document:
    return hostile_report(NAMES)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    # Statuses and sizes differ, so that everything is shown.
    old = hostile_report(NAMES, "1")
    for test, engine in zip(old["tests"], old["engines"].values(), strict=True):
        test["status"], engine["size_bytes"] = "passed", 10
    return compare(old, hostile_report(NAMES, "2"), names=(NAMES[0], NAMES[1]))


def marks(text: str) -> set[str]:
    return set(re.findall(r"n\d{3}n", text))


# What every output of plain text has to be


def is_command(line: str) -> bool:
    """Whether GitHub's runner, or that of Azure Pipelines, executes a line of a log.

    Source: actions/runner, ActionCommand.TryParseV2 and TryParse.
    """
    return bool(re.match(r"\s*::\w", line)) or bool(re.search(r"##(\w+)?\[", line))


def check_plain(text: str, colored: bool = False) -> None:
    """Fail unless a text has nothing that acts on a terminal or in a log."""
    if colored:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for line in text.split("\n"):
        assert not is_command(line), line
        hidden = [char for char in line if not (char.isprintable() or char in "\u3000\xa0")]
        assert hidden == [], ascii(line)
        assert "\u3164" not in line


def test_names_attack() -> None:
    """The checks above find what is wrong with names that are not escaped."""
    failing = 0
    for name in NAMES:
        try:
            check_plain(name)
        except AssertionError:
            failing += 1
    assert len(NAMES) == 300
    assert failing > 80


def test_text_of_a_terminal() -> None:
    for name in NAMES:
        shown = escaping.terminal(name)
        check_plain(shown)
        assert "\n" not in shown
        assert escaping.terminal(shown) == shown
        assert marks(shown) == marks(name)


@pytest.mark.parametrize("text", ["", "ünï 漢字 \U0001f600", "a.py::test_b[x-1]", "1 :: 2", "50%"])
def test_text_that_needs_no_escape_is_unchanged(text: str) -> None:
    assert escaping.terminal(text) == text


def test_lines_stay_lines() -> None:
    assert escaping.block("a\tb\r\n::error::c\n\x1b[1m") == "a       b\n\\x3a:error::c\n\\x1b[1m"


# Diagnostics and the summary


@pytest.mark.parametrize("width", [None, 40])
def test_failures(width: int | None) -> None:
    found = [saturated(Diagnostic, name, {"code": "TRT401"}) for name in NAMES]
    text = "\n".join(failure_lines(found, found, width, most=len(found)))
    check_plain(text)
    assert marks(text) >= MARKS


def record(name: str) -> TestRecord:
    given = {"severity": "note", "code": "TRT401", "key": "k", "skipped": None, "proofs": ()}
    given |= {"staged": None, "outcome": Verdict.FAILED, "candidate": {"p99_ms": 1.0}}
    given |= {"layer_rows": (), "answers": None, "staged_metrics": None}
    speed = saturated(BenchmarkResult, name, given)
    return saturated(TestRecord, name, {**given, "speeds": (speed,)})


@pytest.mark.exhaustive
@pytest.mark.parametrize("color", [False, True])
def test_summary(color: bool) -> None:
    results = [TestResult(name, "failed", record(name)) for name in NAMES]
    style = Style(width=300, color=color, wrap=True)
    text = "\n".join(summary_lines(results, style, environment=True, facts=True))
    check_plain(text, color)
    assert marks(text) >= MARKS


def test_junit() -> None:
    for name in NAMES:
        for label, value in properties_of(record(name)):
            check_plain(label)
            check_plain(value)


# Markdown

#: What our Markdown makes of itself.
ELEMENTS = {
    "html", "head", "body", "h3", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th",
    "td", "details", "summary", "code", "pre", "em",
}  # fmt: skip

#: What GitHub turns into links and pictures in text that is not code.
#: Source: GitHub Docs, "Autolinked references and URLs"; GFM, "Autolinks (extension)".
REFERENCES = re.compile(r"@\w|#\d|GH-\d|https?:|www\.|\b[0-9a-f]{7,40}\b|:\w+:|\$")


@functools.lru_cache(maxsize=1)
def rendered(text: str) -> html5lib.html5parser.Any:
    import cmarkgfm
    from cmarkgfm.cmark import Options

    # GitHub passes HTML on to a filter: what our text lets through is found before it.
    made = cmarkgfm.github_flavored_markdown_to_html(text, options=Options.CMARK_OPT_UNSAFE)
    return html5lib.HTMLParser(namespaceHTMLElements=False).parse(made)


def texts(node: html5lib.html5parser.Any, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the texts of a page, and whether each is code."""
    inside = inside or node.tag in ("code", "pre")
    if node.text:
        yield node.text, inside
    for child in node:
        yield from texts(child, inside)
        if child.tail:
            yield child.tail, inside


def check_markdown(text: str) -> set[str]:
    """Fail unless a text of Markdown is inactive; return the marks that a reader sees."""
    check_plain(text)
    tree = rendered(text)
    for node in tree.iter():
        assert node.tag in ELEMENTS, node.tag  # a comment has a function for its tag
        allowed = {"details": {"open"}, "code": {"class"}, "pre": {"lang"}}.get(node.tag, set())
        assert set(node.attrib) <= allowed
    seen: set[str] = set()
    for found, is_code in texts(tree):
        seen |= marks(found)
        assert is_code or not (REFERENCES.search(found) or marks(found)), found
    return seen


@pytest.mark.exhaustive
def test_step_summary(report: Document) -> None:
    text = markdown(report, limit_bytes=10**9)
    assert check_markdown(text) >= MARKS
    tree = rendered(text)
    assert {len(list(row)) for row in tree.iter("tr")} == {6}
    assert len(list(tree.iter("details"))) == len(NAMES)


@pytest.mark.exhaustive
def test_comment(comparison: Comparison) -> None:
    text = comparison_markdown(comparison, everything=True, limit=10**9)
    assert check_markdown(text) >= MARKS
    assert {len(list(row)) for row in rendered(text).iter("tr")} == {6}


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_code_of_markdown_shows_the_text(attack: str) -> None:
    """As a paragraph, a cell and a block, GitHub shows what `terminal` returns."""
    span = escaping.markdown(f"{attack} n0")
    shown = escaping.terminal(f"{attack} n0").replace("`", "\\x60").replace("|", "\\x7c")
    tree = rendered(f"- {span}\n\n| a | b |\n|---|---|\n| {span} | {span} |\n")
    assert ["".join(one.itertext()) for one in tree.iter("code")] == [shown] * 3
    (pre,) = rendered(escaping.markdown_block(attack)).iter("pre")
    block = escaping.block(attack)
    block = re.sub("`{100,}", lambda found: "\\x60" * len(found[0]), block)
    assert "".join(pre.itertext()) == f"{block}\n"


@pytest.mark.parametrize("text", ["@octocat", "<b>x</b>", "![x](y)", "www.a.example", "<!-- x -->"])
def test_check_of_markdown_finds_what_is_active(text: str) -> None:
    with pytest.raises(AssertionError):
        check_markdown(f"a {text} b")


# Pages


def test_page_of_a_comparison(comparison: Comparison) -> None:
    made = comparison_page(comparison, everything=True)
    check_plain(made)
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(made)
    own = {"meta", "title", "style", "header", "main", "h1", "h2", "div", "span"}
    assert {str(one.tag) for one in tree.iter()} <= ELEMENTS | own
    assert marks("".join(tree.itertext())) >= MARKS


@pytest.mark.exhaustive
def test_page_of_a_report_in_a_browser(report: Document, tmp_path: Path) -> None:
    from builders_browser import Page, browser, chromium

    if chromium() is None:
        pytest.skip("no Chromium is installed")
    pytest.importorskip("playwright")
    path = tmp_path / "report.html"
    write_report(path, report)
    with browser() as started:
        page = Page(started, path, anchor=escaping.block(NAMES[0]))
        assert page.tests() == [escaping.block(name) for name in NAMES]
        text = page.page.evaluate("document.body.textContent")
        tags = page.page.evaluate("[...document.querySelectorAll('*')].map(one => one.tagName)")
        links = page.page.evaluate("[...document.querySelectorAll('[href]')].map(n => n.href)")
        complaints = page.complaints
    assert complaints == []
    assert marks(text) >= MARKS
    hidden = {char for char in text if not (char.isprintable() or char in "\n\u3000\xa0")}
    assert hidden == set()
    assert not {"IMG", "IFRAME", "OBJECT", "EMBED"} & set(tags)
    assert {link.partition(":")[0] for link in links} <= {"file", "data"}


# OpenMetrics


@pytest.mark.exhaustive
@pytest.mark.parametrize("parse", [openmetrics, prometheus])
def test_openmetrics(report: Document, parse) -> None:
    text = openmetrics_text(report)
    check_plain(text)
    families = list(parse.text_string_to_metric_families(text))
    tests = {
        sample.labels["test"]
        for family in families
        for sample in family.samples
        if sample.name == "pytest_trt_test_verdict"
    }
    assert tests == {escaping.terminal(name) for name in NAMES}


# The command


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, report: Document) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "pytest.ini").write_text("[pytest]\n")
    write_report(folder / "old.json", report)
    write_report(folder / "new.json", hostile_report(NAMES, "2"))
    entries = {name: stored(spec={name: name}, engine={"key": name}) for name in NAMES}
    path = save_baselines(folder / "trt_baselines", entries)
    (folder / "none.json").write_text(replace(read_baselines(path), tests={}).text)
    for root, value in ((folder / "trt_baselines", 0), (folder / "old", 1)):
        output = np.full((2, 3), value, np.float32)
        answers = {name: {"1" * 20: {name: output}} for name in NAMES}
        save_answers(root, answers, reason=" ".join(NAMES), producer=NAMES[0], model=NAMES[value])
    # A name in a model is UTF-8.
    encoded = [name.encode("utf-8", "replace").decode() for name in NAMES]
    inputs = [onnx.helper.make_tensor_value_info(name, 1, [name, 2]) for name in encoded]
    node = onnx.helper.make_node("Identity", [encoded[0]], ["y"])
    outputs = [onnx.helper.make_tensor_value_info("y", 1, [encoded[1], 2])]
    graph = onnx.helper.make_graph([node], "graph", inputs, outputs)
    onnx.save(onnx.helper.make_model(graph), folder / "model.onnx")
    return folder


#: Leaves of the command that show texts of files, and the arguments with which they show all.
SHOWING = {
    "report show": ("old.json", "--all"),
    "report merge": ("old.json", "--all", "--require-arch=sm86"),
    "report compare": ("old.json", "new.json", "--all"),
    "report history": ("old.json", "new.json", "--all"),
    "baseline list": (),
    "baseline diff": ("trt_baselines/sm90-nvidia-h200-132/tests/test_speed.json", "none.json"),
    "inspect": ("model.onnx",),
    "baseline show": ("n000n",),
    "baseline rename": ("tests/test_speed.py", "tests/test_other.py", "--dry-run"),
}

#: Those that are covered elsewhere, or that show our own texts only.
OTHERS = {
    "baseline accept", "baseline collect", "baseline prune", "cache clear", "cache explain",
    "cache list", "cache verify", "completion", "doctor", "explain", "export", "init", "localize",
    "options", "report export", "report import", "report schema", "suggest precision",
    "suggest tolerance", "tune", "verify",
}  # fmt: skip


def test_every_command_is_covered() -> None:
    found = walk(commands)
    leaves = {" ".join(path) for path, one in found if not isinstance(one, click.Group)}
    assert leaves >= SHOWING.keys()
    assert leaves - SHOWING.keys() - OTHERS == set()


#: They show what others show, too, of several reports.
SLOW = ("report merge", "report history")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.exhaustive] if command in SLOW else [])
        for command in SHOWING
    ],
)
def test_command(project: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("COLUMNS", raising=False)
    result = CliRunner().invoke(commands, [*command.split(), *SHOWING[command]])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    check_plain(result.output)
    shown = marks(result.output)
    assert shown >= (MARKS if command != "baseline show" else {"n000n"})


@pytest.mark.exhaustive
def test_difference_of_answers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    files = [f"{folder}/answers/tests/test_speed.json" for folder in ("old", "trt_baselines")]
    result = CliRunner().invoke(commands, ["baseline", "diff", *files])
    assert result.exit_code == 0, result.output
    check_plain(result.output)
    assert marks(result.output) >= MARKS


def test_names_of_ten_thousand_letters() -> None:
    names = ["x" * 10_000, "`" * 10_000]
    report = hostile_report(names)
    summary = markdown(report)
    check_markdown(summary)
    assert len(list(rendered(summary).iter("details"))) == 2
    found = compare(report, hostile_report(names, "2"))
    assert names[0] in comparison_page(found, everything=True)
    comment = comparison_markdown(found, everything=True)
    assert len(comment) <= COMMENT_CHARACTERS
    check_markdown(comment)


def test_every_format_of_a_report_is_covered() -> None:
    assert WRITERS.keys() == {".json", ".html", ".prom"}
