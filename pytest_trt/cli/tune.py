"""`pytest-trt tune`: the nodes that have to stay in FP32 for a test to pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_trt.cli.command import command, json_option
from pytest_trt.cli.of_a_test import SETTINGS, test_and_arguments, timeout_option
from pytest_trt.cli.output import echo, echo_json
from pytest_trt.cli.table import print_table
from pytest_trt.diagnostics import ConfigurationError, as_typed
from pytest_trt.engine.spec import FULL_PRECISIONS, PRECISIONS
from pytest_trt.files import write_output

if TYPE_CHECKING:
    from pytest_trt.precision.tune import Tuned


@command(
    context_settings=SETTINGS,
    examples=[
        "pytest-trt tune tests/test_classifier.py::test_same_answers --precision fp16",
        "pytest-trt tune tests/test_classifier.py --precision int8 --data data --html tuned.html",
    ],
    negative="an engine was found for which no set passes, or a test failed",
)
@test_and_arguments
@click.option(
    "--precision",
    required=True,
    type=click.Choice([one for one in PRECISIONS if one not in FULL_PRECISIONS]),
    help="The precision of the engines to tune.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="Inputs that have to pass as well: an .npz or Polygraphy file, or a folder.",
)
@timeout_option
@click.option("--no-trade-off", is_flag=True, help="Do not build and time further engines.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page.")
@json_option
def tune(
    test: str,
    pytest_args: tuple[str, ...],
    precision: str,
    data: Path | None,
    timeout_s: float,
    no_trade_off: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Run TEST, and find the smallest keep_fp32 with which its checks pass on all that it runs.

    TEST is a node id, as pytest takes it; PYTEST_ARGS are passed on.

    Nodes are ranked by the error that each makes alone. Bisection finds the fewest of the worst,
    and then each of these is tried without. ONNX Runtime switches nodes between FP32 and the
    precision, so that takes few builds. Engines confirm the result.
    """
    from pytest_trt.plugin.recording import refuse_failed, run_recorded
    from pytest_trt.plugin.tuning import TuneGatherer, TuneSettings
    from pytest_trt.report.precision.tuned import tuned_page

    settings = TuneSettings(
        precision, timeout_s, None if data is None else data.absolute(), not no_trade_off
    )
    gatherer = TuneGatherer(settings)
    run_recorded(gatherer.recorder, [test, *pytest_args])
    if not gatherer.found:
        refuse_failed(gatherer.recorder.failed)
        raise ConfigurationError(
            f"{test} ran no {precision} engine under trt_consistency",
            fix="Name a precision that its markers name.",
            code="TRT450",
            facts={"reason": "no engine of the precision", "precision": precision},
        )
    if as_json:
        echo_json(gatherer.found)
    else:
        for number, one in enumerate(gatherer.found):
            if number:
                echo()
            _print(one)
    if html is not None:
        write_output(html, tuned_page(gatherer.found))
        echo(f"wrote {as_typed(html)}", err=as_json)
    solved = ("passes", "found")
    failed = gatherer.recorder.failed
    for name, why in failed.items():
        echo(f"{name} was not tuned, as it failed: {why}", err=True)
    if failed or not all(one.search and one.search.outcome in solved for one in gatherer.found):
        raise SystemExit(1)


def _print(found: Tuned) -> None:
    from pytest_trt.report.precision.tuned import (
        RANKING_TITLES,
        TRADE_OFF_TITLES,
        argument,
        ranking_cells,
        title,
        trade_off_cells,
        verdict,
    )

    echo(title(found))
    ranked = list(ranking_cells(found))
    if ranked:
        echo()
        print_table(RANKING_TITLES, ranked, giving_way=(0,))
    if found.trade_off:
        echo()
        rows = [trade_off_cells(one) for one in found.trade_off]
        print_table(TRADE_OFF_TITLES, rows, giving_way=())
    echo()
    if found.disturbed:
        echo(f"the timing was disturbed, so repeat it: {found.disturbed}")
    echo(verdict(found))
    if argument(found):
        echo("Fix: give trt_model this argument:")
        echo(f"    {argument(found)}")
