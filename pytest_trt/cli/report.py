"""`pytest-trt report`: show, merge and compare reports of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pytest_trt import units
from pytest_trt.cli.command import CommandGroup, json_option
from pytest_trt.cli.compare import compare_reports
from pytest_trt.cli.history import show_history
from pytest_trt.cli.ini import read_project
from pytest_trt.cli.output import echo, echo_data, echo_json
from pytest_trt.cli.report_export import export_report
from pytest_trt.cli.report_import import import_files
from pytest_trt.cli.table import Row, print_table
from pytest_trt.diagnostics import Diagnostic, ReportError
from pytest_trt.records import from_data
from pytest_trt.report.coverage import is_covered, missing_verdicts
from pytest_trt.report.document import Document
from pytest_trt.report.files import check_suffix, read_document, write_report
from pytest_trt.report.groups import Group, group_lines
from pytest_trt.report.markdown import speed_cell
from pytest_trt.report.merging import check_distinct_files, merge_documents
from pytest_trt.report.notes import notes_of
from pytest_trt.report.required_models import parse_exceptions, untested_models
from pytest_trt.report.schema import schema_text
from pytest_trt.report.status import counted, has_verdict
from pytest_trt.terms import parse_archs
from pytest_trt.wording import count

#: Above this many tests, those that passed everywhere are counted and not listed.
_LISTED = 40

#: Lines of the error of a file that could not be collected; a traceback ends with its reason.
_ERROR_LINES = 40

_STYLES = {"passed": "green", "xfailed": "green", "failed": "red", "error": "red"}

_all = click.option("--all", "list_all", is_flag=True, help="List passed tests as well.")
_file = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=CommandGroup)
def report() -> None:
    """Show, merge and compare reports that `pytest --trt-report=report.json` wrote."""


@report.command(
    examples=["pytest-trt report show report.json", "pytest-trt report show report.json --all"]
)
@click.argument("file", type=_file)
@_all
@json_option
def show(file: Path, list_all: bool, as_json: bool) -> None:
    """Show a report: runs, tests by architecture, fixes, missing verdicts."""
    _show(read_document(file), list_all=list_all, as_json=as_json)


@report.command(
    examples=[
        "pytest-trt report merge sm86.json sm89.json",
        "pytest-trt report merge reports/*.json --require-arch sm86,sm89 --output merged.html",
    ],
    negative="a verdict is missing, a run or a test failed",
)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--require-arch",
    metavar="ARCH[,ARCH]",
    help="Fail unless every test has a verdict on each of these architectures.",
)
@click.option(
    "--require-models",
    metavar="PATTERN",
    multiple=True,
    help="Fail unless a test of each file that matches, such as 'models/**/*.onnx', has a "
    "verdict; trt_untested_models in the ini file lists exceptions. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    "outputs",
    type=_file,
    multiple=True,
    help="Write the merged report as .json, .html or .prom.",
)
@click.option("--mixed", is_flag=True, help="Allow several commits, models and versions.")
@_all
@json_option
def merge(
    files: tuple[Path, ...],
    require_arch: str | None,
    require_models: tuple[str, ...],
    outputs: tuple[Path, ...],
    mixed: bool,
    list_all: bool,
    as_json: bool,
) -> None:
    """Merge reports of several machines into one and show it, one column per architecture."""
    for output in outputs:
        try:
            check_suffix(output)
        except ValueError as error:
            raise click.UsageError(f"--output {output}: expected {error}.") from error
    required = parse_archs(require_arch) if require_arch else ()
    check_distinct_files([str(file) for file in files])
    documents = {str(file): read_document(file) for file in files}
    merged = merge_documents(documents, required, mixed=mixed)
    _show(merged, list_all=list_all, as_json=as_json)
    for output in outputs:
        write_report(output, merged)
        echo(f"wrote {output}", err=as_json)
    untested = _untested(merged, require_models)
    for line in untested.lines() if untested else ():
        echo(line, err=as_json)
    if untested or not (is_covered(merged["coverage"]) and _succeeded(merged)):
        raise SystemExit(1)
    if not merged["tests"]:
        raise ReportError(
            "no test of a model is in these reports",
            fix="Check which files the jobs test; reports have the tests of models alone.",
            facts={"files": [str(file) for file in files]},
        )


report.add_command(compare_reports)
report.add_command(export_report)
report.add_command(import_files)
report.add_command(show_history)


@report.command(examples=["pytest-trt report schema > schema.json"])
def schema() -> None:
    """Print the JSON schema of reports, with a description of every field."""
    echo_data(schema_text())


def _untested(document: Document, patterns: Sequence[str]) -> Diagnostic | None:
    """Return which models have no test with a verdict; None for none."""
    if not patterns:
        return None
    project = read_project()
    given = project.values.get("trt_untested_models", "")
    lines = given.splitlines() if isinstance(given, str) else given
    try:
        exceptions = parse_exceptions(str(project.rootdir / one) for one in lines if one.strip())
    except ValueError as error:
        raise click.UsageError(f"{project.ini}: trt_untested_models: expected {error}.") from error
    tested = [
        project.rootdir / test["model"]
        for test in document["tests"]
        if test["model"] and test["on_engine"] and has_verdict(test)
    ]
    required = [Path(one).absolute() for one in patterns]
    lack = "a test with a verdict"
    return untested_models(required, exceptions, tested, lack, root=project.rootdir)


def _succeeded(document: Document) -> bool:
    return not any(run["exit_status"] or run["interrupted"] for run in document["runs"])


def _show(document: Document, *, list_all: bool, as_json: bool) -> None:
    if as_json:
        echo_json(document)
    else:
        _print(document, list_all=list_all)


def _print(document: Document, *, list_all: bool) -> None:
    _print_runs(document)
    _print_tests(document, list_all=list_all)
    for test in document["tests"]:
        if test["imported_from"]:
            echo(f"{test['id']}:")
            for note in test["notes"]:
                echo(f"  {note['message']}")
                for detail in note["details"]:
                    echo(f"    {detail}")
    groups = [from_data(Group, group) for group in document["groups"]]
    for line in group_lines(groups, [test["id"] for test in document["tests"]]):
        echo(line)
    for line in notes_of(document):
        echo(line)
    if not is_covered(document["coverage"]):
        for line in missing_verdicts(document["coverage"], most=len(document["tests"])).lines():
            echo(line)


def _print_runs(document: Document) -> None:
    for number, run in enumerate(document["runs"], 1):
        targets = ", ".join(f"{t['toolchain']} for {t['target']}" for t in run["targets"])
        commit = f", commit {run['commit'][:12]}" if run["commit"] else ""
        echo(f"run {number}, {run['started']}{commit}: {targets or 'nothing tested'}")
        errors = run["collection_errors"]
        how = "interrupted, " if run["interrupted"] and not errors else ""
        how += f"{count(len(errors), 'file')} could not be collected, " if errors else ""
        echo(f"  {how}exit status {run['exit_status']}; {counted(run['counts']) or 'no tests'}")
        for file, why in errors.items():
            echo(f"  {file} could not be collected:")
            for line in why.splitlines()[-_ERROR_LINES:]:
                echo(f"    {line}")
        for file in run["skipped_model_files"]:
            echo(f"  {file} was skipped as a whole: {run['skipped_files'][file]}")
        for one in run["diagnostics"]:
            for line in from_data(Diagnostic, one).lines():
                echo(f"  {line}")


def _print_tests(document: Document, *, list_all: bool) -> None:
    by_test: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test in document["tests"]:
        by_test.setdefault(test["test"], {})[test["arch"]] = test
    archs = list(dict.fromkeys(test["arch"] for test in document["tests"]))
    if document["coverage"] is not None:
        archs = list(dict.fromkeys([*document["coverage"]["required"], *archs]))
    rows: list[Row] = []
    left_out = 0
    for name, tests in by_test.items():
        entries = [tests.get(arch) for arch in archs]
        if len(by_test) > _LISTED and not list_all and all(map(_passed, entries)):
            left_out += 1
            continue
        rows.append((name, *map(_cell, entries)))
    if rows:
        titles = ("test", *archs)
        print_table(titles, rows, giving_way=range(len(titles)))
        echo("Columns: status, tolerance used, speed (change).")
    if left_out:
        what = "it" if left_out == 1 else "them"
        echo(f"{count(left_out, 'test')} passed on every architecture; --all lists {what}.")


def _passed(test: Mapping[str, Any] | None) -> bool:
    return test is not None and test["status"] == "passed"


def _cell(test: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a cell's text and its colour."""
    if test is None:
        return "not tested", "yellow"
    used = [float(r["accuracy"]["used"] or 0) for r in test["results"] if r["accuracy"]]
    figures = [units.share(max(used))] if used else []
    figures += [text for r in test["results"] if r["speed"] and (text := speed_cell(r["speed"]))]
    reason = "" if has_verdict(test) else test["reason"]
    details = "; ".join(filter(None, [*figures, reason]))
    text = f"{test['status']}{': ' if details else ''}{details}"
    return text, _STYLES.get(test["status"], "yellow")
