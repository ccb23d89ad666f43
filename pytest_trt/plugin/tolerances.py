"""The errors of what tests run, gathered for proposals of tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_trt.accuracy.result import MetricOutcome
from pytest_trt.plugin.planning.plan import MODEL, PRECISION
from pytest_trt.plugin.recording import Recorded, Recorder
from pytest_trt.plugin.state import plan_of, state_of
from pytest_trt.precision.samples import read_samples
from pytest_trt.precision.tolerance import (
    OutputEvidence,
    TestTolerances,
    propose,
    propose_limit,
)
from pytest_trt.tensors.containers import items_of

if TYPE_CHECKING:
    from pytest_trt.tensors.spec import Tensors


@dataclass
class _Test:
    """One test function, in all of its precisions."""

    file: Path
    names: tuple[str, ...]
    marker: Mapping[str, object]
    precisions: tuple[str, ...]
    models: int
    ran: set[Path] = field(default_factory=set)
    outputs: dict[tuple[str, str], OutputEvidence] = field(default_factory=dict)
    metrics: dict[tuple[str, str, str], MetricOutcome] = field(default_factory=dict)
    has_errors: bool = True
    items: set[str] = field(default_factory=set)

    @property
    def model_differs(self) -> bool:
        """Whether an output of the model itself differs from the reference."""
        return any(one.differs for one in self.outputs.values())


class ToleranceGatherer:
    """Gathers the errors of every run of tests, and of more data on the same engines.

    Attributes:
        recorder: The plugin to run the tests with.

    Args:
        data: A file or folder of samples that the engines run too; None for what the tests run.
    """

    def __init__(self, data: Path | None) -> None:
        self._data, self._tests = data, dict[str, _Test]()
        self._engines: dict[str, Recorded] = {}
        self.recorder = Recorder(self._on_run, self._on_end)

    def _on_run(self, run: Recorded) -> None:
        self._engines[run.engine.key.digest] = run
        self._add(run, run.inputs, run.outputs)

    def _on_end(self, item: pytest.Item) -> None:
        engines, self._engines = self._engines, {}
        for run in engines.values():
            if run.model.item is not item:
                continue  # that test failed by itself
            self._note_results(item, run)
            if self._data is None:
                continue
            for sample in read_samples(self._data, run.engine.model.inputs):
                outputs = run.model.run.session(run.engine).run(sample.inputs)
                self._add(run, sample.inputs, outputs, own=False)

    def _add(self, run: Recorded, inputs: Tensors, outputs: Tensors, *, own: bool = True) -> None:
        test, engine = self._test(run.model.item), run.engine
        reference, tolerances = run.check.expected(engine, inputs)
        actual = items_of(outputs, engine.model.outputs).tensors
        test.ran.add(engine.model.path)
        test.items.add(run.model.item.nodeid)
        names = {spec.name for spec in engine.model.outputs}
        differing = run.check.model_differs(inputs, reference)
        for name in names & actual.keys() & reference.keys():
            place = (name, engine.spec.precision)
            known = test.outputs.setdefault(place, OutputEvidence(tolerances[name]))
            known.add(actual[name], reference[name], own=own)
            known.differs = known.differs or differing.get(name, "")

    def _note_results(self, item: pytest.Item, run: Recorded) -> None:
        test, answers = self._test(item), state_of(item).answers
        for result in run.check.results():
            grown = answers.grown(result) if answers is not None else None
            test.has_errors &= grown is not None
            for name, how in (grown or {}).items():
                if (name, result.precision) in test.outputs:
                    test.outputs[name, result.precision].grown = how
            for one in result.metrics:
                place = (one.output, one.name, result.precision)
                known = test.metrics.get(place)
                if known is None or one.excess > known.excess:
                    test.metrics[place] = one

    def _test(self, item: pytest.Item) -> _Test:
        owner = getattr(item, "cls", None)
        function = getattr(item, "originalname", None) or item.name
        names = (*(owner.__qualname__.split(".") if owner else ()), function)
        name = "::".join((item.nodeid.partition("::")[0], *names))
        marker = item.get_closest_marker("trt_consistency")
        kwargs = marker.kwargs if marker else {}
        known = self._tests.get(name)
        if known is None:
            plan = plan_of(item)
            variants = plan.variants if plan else {}
            named = plan.model.precision if plan and plan.model else ()
            known = self._tests[name] = _Test(
                item.path,
                names,
                kwargs,
                tuple({*named, *variants.get(PRECISION, ()), *kwargs.get("by_precision", ())}),
                len(variants.get(MODEL, ())),
            )
        return known

    @property
    def failed(self) -> dict[str, str]:
        """Tests that ran an engine and failed by themselves, and why: only a part may have run."""
        ran = {item for test in self._tests.values() for item in test.items}
        return {test: why for test, why in self.recorder.failed.items() if test in ran}

    def proposals(self, margin: float) -> list[TestTolerances]:
        """Return what is proposed for each test, but for those that failed by themselves.

        Args:
            margin: By how much tolerances exceed what the runs needed.
        """
        return [
            TestTolerances(
                name,
                test.file,
                test.names,
                tuple(
                    propose(output, precision, found, margin)
                    for (output, precision), found in sorted(test.outputs.items())
                ),
                tuple(
                    propose_limit(found, precision, margin, differs=test.model_differs)
                    for (_, _, precision), found in sorted(test.metrics.items())
                ),
                test.marker,
                test.precisions,
                max(0, test.models - len(test.ran)),
                test.has_errors,
            )
            for name, test in self._tests.items()
            if not test.items & self.failed.keys()
        ]
