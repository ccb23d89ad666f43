"""The stored answers of the test that is running: found, collected, and staged to be stored."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property

import numpy as np
import pytest

from pytest_trt.accuracy.arrays import Array
from pytest_trt.accuracy.remedy import whole_remedy
from pytest_trt.accuracy.result import AccuracyResult, Comparison, OutputResult
from pytest_trt.accuracy.sketch import block_statistics, is_ordered, sketch_of, sketch_parts
from pytest_trt.accuracy.stored import Stored, stored_from, unchecked
from pytest_trt.accuracy.stored_change import stored_change
from pytest_trt.baseline.answers import (
    TARGET,
    AnswerEntry,
    Arrays,
    StoredAnswer,
    StoredOutput,
    data_digest,
    data_error,
    how_to_restore_data,
    read_answers,
    read_data,
    short_digest,
)
from pytest_trt.baseline.entry import rounded
from pytest_trt.baseline.location import BaselineLocation
from pytest_trt.baseline.renaming import Proposal
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.baseline.staged_answers import StagedAnswers, write_draft
from pytest_trt.benchmark.commands import update_command
from pytest_trt.diagnostics import BaselineError, Diagnostic, Fact, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.git import commit_that_added
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.plugin.options.table import ENGINE_FIELDS, given_flags
from pytest_trt.plugin.planning.plan import TestPlan
from pytest_trt.plugin.results.failure import PluginFailure
from pytest_trt.plugin.results.pinning import answers_nodeid, baseline_location
from pytest_trt.plugin.results.renames import (
    move_remedy,
    perhaps_renamed,
    rename_facts,
    renames_of,
)
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import plan_of, test_argument
from pytest_trt.tensors.containers import items_of, typed_description
from pytest_trt.tensors.elements import as_bits, dtype_name
from pytest_trt.tensors.seeded import inputs_digest
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU, Verdict
from pytest_trt.units import multiple, percent_of
from pytest_trt.wording import count

#: Options that an update repeats, see `StoredAnswers.update_options`.
_UPDATING = (*ENGINE_FIELDS, "against", "answers_size")

#: Of a session: its tests by the name of the answers that they share.
_SHARING_KEY: pytest.StashKey[Mapping[str, Sequence[pytest.Item]]] = pytest.StashKey()

#: An error that grew by more than this factor is reported.
_GROWTH = 2.0

#: Errors that use less of their tolerance are too small to report, however much they grew.
_LEAST_USED = 0.01


class StoredAnswers:
    """The stored answers of one attempt of one test.

    Args:
        item: The test.
        run: What all tests of the run share.
        plan: What the test checks.
        model: The model whose answers they are.
        reference: Gives its outputs for inputs.
        producer: What computes them.

    Attributes:
        model: The model.
    """

    def __init__(
        self,
        item: pytest.Item,
        run: TrtRun,
        plan: TestPlan,
        model: OnnxModel,
        reference: Callable[[Tensors], Tensors],
        producer: str,
    ) -> None:
        self.model, self._producer = model, producer
        self._item, self._run, self._plan, self._reference = item, run, plan, reference
        self._collected: dict[str, tuple[StoredAnswer, dict[str, Arrays]]] = {}
        self._unmatched: list[str] = []
        self._ran: dict[str, None] = {}
        self._errors: dict[str, dict[str, float]] = {}

    # --- what is stored

    @cached_property
    def location(self) -> BaselineLocation:
        """Where the answers are stored: the same for every precision and architecture."""
        return baseline_location(self._item, TARGET, answers_nodeid(self._item, self._plan))

    @cached_property
    def entry(self) -> AnswerEntry | None:
        """What is stored for the test; None if nothing is.

        Raises:
            BaselineError: The file cannot be read.
        """
        found = read_answers(self.location.path)
        return found.tests.get(self.location.test) if found else None

    def accepted(self) -> AnswerEntry | None:
        """Return what is stored for the test; None if nothing is, or it cannot be read."""
        try:
            return self.entry
        except BaselineError:  # reported where the test is judged
            return None

    @property
    def records(self) -> bool:
        """Whether the model's outputs become the stored ones."""
        settings = self._run.settings
        first = self.entry is None and settings.missing_baseline == "record"
        return settings.update or first or self._repairs

    @cached_property
    def _repairs(self) -> bool:
        """Whether stored arrays are missing or damaged, and an option asks to record them again."""
        settings = self._run.settings
        if self.entry is None or not (settings.update or settings.update_new):
            return False
        return any(map(self._is_damaged, self.entry.answers))

    def _is_damaged(self, answer: StoredAnswer) -> bool:
        try:
            self._read(answer)
        except BaselineError as error:
            if error.diagnostic.code != "TRT673":
                raise
            return True
        return False

    @cached_property
    def _renamed(self) -> Proposal | None:
        """What moves answers without a test to this one, once it ran; None if none fit."""
        settings = self._run.settings
        if self.entry is not None or settings.update or settings.update_new or not self._ran:
            return None

        def fits(entry: AnswerEntry) -> bool:
            return {one.inputs for one in entry.answers} == self._ran.keys()

        return renames_of(self._item).proposal(self.location, self.model, fits)

    # --- during a run

    def compares_model(self) -> bool:
        """Whether a run is compared with the model's own outputs: those that would be stored."""
        return self._plan.against == "both" or self.records

    def answer(self, inputs: Tensors) -> Mapping[str, Stored] | None:
        """Return what is stored for inputs, and collect what may be stored instead."""
        __tracebackhide__ = True
        digest = short_digest(inputs_digest(inputs))
        self._ran[digest] = None
        with _without_traceback():
            entry = self.entry
        stored = None if entry is None else entry.answer(digest)
        changed = entry is not None and (
            entry.model_digest != self.model.digest
            # With "both" the model's own outputs are computed anyway.
            or (self._plan.against == "both" and entry.producer != self._producer)
        )
        if digest not in self._collected and (stored is None or changed or self.records):
            self._collect(digest, inputs)
        if stored is None:
            if entry is not None and not self.records:
                shapes = (f"{name} {typed_description(value)}" for name, value in inputs.items())
                self._unmatched.append(", ".join(shapes))
            return None
        with _without_traceback():
            return None if self.records else self._read(stored)

    def measure(self, engine: Engine, inputs: Tensors, compared: Callable[[], Comparison]) -> None:
        """Measure the error of a run against the answers that `baseline accept` may store."""
        # A self-test runs with injected errors.
        if self.records or self._run.settings.selftest or not self._collected:
            return
        if short_digest(inputs_digest(inputs)) not in self._collected:
            return
        levels = self._errors.setdefault(f"{engine.target.arch} {engine.spec.precision}", {})
        for output in compared().outputs:
            levels[output.name] = max(levels.get(output.name, 0.0), rounded(_error(output), 3))

    def _read(self, answer: StoredAnswer) -> dict[str, Stored]:
        path = self.location.path
        data = read_data(path, [one.data for one in answer.outputs.values()])
        found: dict[str, Stored] = {}
        for name, one in answer.outputs.items():
            try:
                found[name] = stored_from(
                    data[one.data], one.dtype, one.shape, whole=one.stored == "all"
                )
            except (ValueError, TypeError, KeyError) as error:
                problem = f"output {name!r}: {error}"
                fix = how_to_restore_data(path)
                raise data_error(self.location.shown, problem, fix) from error
        return found

    def _collect(self, digest: str, inputs: Tensors) -> None:
        outputs = items_of(self._reference(inputs), self.model.outputs).tensors
        most = self._run.settings.answers_size
        stored: dict[str, StoredOutput] = {}
        data: dict[str, Arrays] = {}
        for name, array in outputs.items():
            stored[name], arrays = stored_output(array, most)
            data[stored[name].data] = arrays
        shapes = {name: typed_description(value) for name, value in inputs.items()}
        self._collected[digest] = StoredAnswer(digest, shapes, stored), data

    # --- when the test is over

    @property
    def argument(self) -> str:
        """The test as pytest takes it where the run was started."""
        return test_argument(self._item)

    @property
    def _model_name(self) -> str:
        """The model as baselines name it."""
        return self.location.model_name(self.model.path)

    @property
    def _record_command(self) -> str:
        """The command that records what is missing, and no speed of this machine."""
        module, plan = self.argument.partition("::")[0], self._plan
        only = shlex.quote(module) + ' -m "not trt_benchmark"'
        if plan.benchmark is not None:  # it would be deselected
            only = shlex.quote(self.argument)
        given = "".join(f" {shlex.quote(one)}" for one in self._folders)
        return f"pytest {only} --trt-arch={CPU}{given} --trt-update-new"

    @property
    def _folders(self) -> Sequence[str]:
        """Options without which another run would store elsewhere."""
        return given_flags(self._item.config, ("baseline_dir",))

    @cached_property
    def update_tests(self) -> Sequence[str]:
        """This test and those of other precisions that share its answers.

        Replaced answers have the errors of the engines that ran alone, which `drift=` needs.
        """
        name = answers_nodeid(self._item, self._plan)
        sharing = _by_answers(self._item.session).get(name, ())
        others = [test_argument(one) for one in sharing if one is not self._item]
        return (self.argument, *others)

    @property
    def update_command(self) -> str:
        """The command that replaces the answers of this test, with those who share them."""
        return update_command(self.update_tests, self.update_options)

    @property
    def update_options(self) -> Sequence[str]:
        """Options without which another run would store something else, or elsewhere."""
        return given_flags(self._item.config, _UPDATING)

    @property
    def _facts(self) -> dict[str, Fact]:
        return {
            "file": self.location.shown,
            "test": self.location.test,
            "test_argument": self.argument,
            "update_tests": list(self.update_tests),
            "update_options": list(self.update_options),
        }

    def about(self) -> tuple[str, ...]:
        """Return lines about what is stored: when, by what, why, and in which commit."""
        entry = self.entry
        if entry is None:
            return ()
        line = f"stored {entry.recorded[:10]}, computed by {entry.producer}"
        commit = commit_that_added(entry.recorded, self.location.path)
        line += f", commit {commit}" if commit else ""
        same = entry.model_digest == self.model.digest
        model = "the model file is unchanged since" if same else "the model file has changed since"
        reason = (f"reason given: {entry.reason}",) if entry.reason else ()
        return (line, *reason, model)

    @property
    def changed_since(self) -> str:
        """The stored answers, if the model file has changed since; else nothing."""
        entry = self.entry
        if entry is None or entry.model_digest == self.model.digest:
            return ""
        commit = commit_that_added(entry.recorded, self.location.path)
        return f"the answers of {f'commit {commit}' if commit else entry.recorded[:10]}"

    def diagnostics(self, results: Sequence[AccuracyResult]) -> Iterator[Diagnostic]:
        """Yield why stored answers fail the test other than by their values, and notes."""
        entry, shown, test = self.entry, self.location.shown, self.location.test
        facts = self._facts
        if entry is None and not self.records:
            yield Diagnostic(
                "TRT670",
                f"no stored answers of {test} in {shown}",
                {**facts, **(rename_facts(self._renamed) if self._renamed else {})},
                remedy=move_remedy(self._renamed, self._record_command)
                if self._renamed
                else Remedy("Record them, and commit the files:", (self._record_command,)),
            )
        elif self._renamed:
            yield perhaps_renamed("answers", shown, test, self._renamed)
        if self._unmatched:
            first, *others = dict.fromkeys(self._unmatched)
            yield Diagnostic(
                "TRT671",
                f"the stored answers of {test} are for different inputs",
                {**facts, "runs": len(self._unmatched)},
                (f"nothing is stored for {first}", *(f"nor for {one}" for one in others[:9])),
                _other_inputs_remedy(self.update_command),
            )
        elif entry is not None and not self.records:
            yield from self._not_run(entry)
        yield from self._unexplained()
        yield from self._of_sketches(results)
        yield from self._drifted(results)
        yield from self._replaced(results)

    def _replaced(self, results: Sequence[AccuracyResult]) -> Iterator[Diagnostic]:
        """Yield that answers of another model file were stored, where that fails nothing."""
        entry = self.entry
        if entry is None or self.records or entry.model_digest == self.model.digest:
            return
        passed = bool(results) and all(one.verdict == Verdict.PASSED for one in results)
        if passed and not self._unmatched:  # those were compared with the model alone
            yield Diagnostic(
                "TRT418",
                f"{self._model_name} changed since its answers were stored "
                f"({entry.recorded[:10]}); its outputs are within their tolerances",
                {**self._facts, "model_file": self._model_name},
                self.about(),
                Remedy(
                    "If the change is meant, store its answers, and commit the files:",
                    (self.update_command,),
                ),
                severity="note",
            )

    def _of_sketches(self, results: Sequence[AccuracyResult]) -> Iterator[Diagnostic]:
        """Yield what passed but was only partly checked, as a sketch is stored."""
        passed = [one for one in results if one.verdict == Verdict.PASSED]
        outputs = [output for result in passed for output in result.outputs]
        partial = {one.name: (one, lines) for one in outputs if (lines := [*unchecked(one)])}
        if not partial:
            return
        (first, lines), *others = partial.values()
        more = f" and {count(len(others), 'other output')}" if others else ""
        if self._limit:
            lines = [*lines, "drift= compares the largest error of the sample"]
        yield Diagnostic(
            "TRT678",
            f"{self._model_name}: {first.name}{more} compared with a sketch: {lines[0]}",
            {
                "file": self.location.shown,
                "test": self.location.test,
                "model_file": self._model_name,
                "outputs": [*partial],
            },
            (
                *lines[1:],
                *(f"{one.name}: {line}" for one, each in others for line in each),
            ),
            whole_remedy(one for one, _ in partial.values()),
            severity="note",
        )

    def _not_run(self, entry: AnswerEntry) -> Iterator[Diagnostic]:
        missing = [one for one in entry.answers if one.inputs not in self._ran]
        if missing and self._ran:
            shapes = ", ".join(f"{name} {text}" for name, text in missing[0].shapes.items())
            several = self._plan.model is not None and len(self._plan.model.precision) > 1
            shared = ("all precisions of a test share its stored answers",) * several
            yield Diagnostic(
                "TRT672",
                f"{len(missing)} of {len(entry.answers)} stored answers of {self.location.test} "
                "were not compared: the test did not run their inputs",
                {**self._facts, "answers": len(missing)},
                (f"the first has {shapes}", *shared),
                Remedy(
                    "Run them again, or replace the baseline:",
                    (self.update_command,),
                ),
            )

    def _unexplained(self) -> Iterator[Diagnostic]:
        """Yield that an update without a reason would replace answers with different ones."""
        entry = self.entry
        if entry is None or not self.records or self._run.settings.update_reason:
            return
        with _without_traceback():
            changed = self._changes(entry)
        if changed:
            yield Diagnostic(
                "TRT675",
                f"the answers of {self.location.test} changed: {changed}; they were not replaced",
                self._facts,
                remedy=Remedy(
                    "Give the reason for the change:",
                    (self.update_command,),
                ),
            )

    def _changes(self, entry: AnswerEntry) -> str:
        """Return what an update would replace with something else; empty for nothing."""
        lost = [one for one in entry.answers if one.inputs not in self._ran]
        if lost:
            return f"the inputs of {len(lost)} of {len(entry.answers)} did not run"
        for digest, (new, data) in self._collected.items():
            old = entry.answer(digest)
            changed = self._changed(old, new, data) if old is not None else ""
            if changed:
                return changed
        return ""

    def _changed(self, old: StoredAnswer, new: StoredAnswer, data: dict[str, Arrays]) -> str:
        """Return how new answers exceed the FP32 tolerance around stored ones; empty if not."""
        if old.outputs == new.outputs:
            return ""
        if old.outputs.keys() != new.outputs.keys():
            return f"outputs {', '.join(old.outputs)}, now {', '.join(new.outputs)}"
        if self._is_damaged(old):
            return "the stored numbers are missing, damaged or not as described"
        stored = self._read(old)
        for name, one in new.outputs.items():
            if one == old.outputs[name]:
                continue
            now = stored_from(data[one.data], one.dtype, one.shape, whole=one.stored == "all")
            change = stored_change(stored[name], now)
            if change.why:
                return f"{name}: {change.why}"
            if change.share:
                return f"{name}: it is stored as a sketch, which differs"
            if not change.within:
                far = f" by up to {change.largest.value:.3g}" if change.largest else ""
                return f"{name}: it differs{far}"
        return ""

    # --- drift

    @property
    def _limit(self) -> float | None:
        """By which factor an error may grow: `drift=` of the marker; None without it."""
        marker = self._plan.consistency
        return marker.drift if marker is not None and marker.drift else None

    def _drifted(self, results: Sequence[AccuracyResult]) -> Iterator[Diagnostic]:
        """Yield errors that have grown beyond their stored level: failures if drift= is given."""
        limit = self._limit
        for result in results:
            engine, then = _engine_of(result), self._levels.get(_engine_of(result))
            if then is None:
                if limit and not self._records_level(engine):
                    yield self._no_level(engine)
                continue
            for output in result.outputs:
                before = then.get(output.name, 0.0)
                if _has_grown(output, before, limit or _GROWTH) and output.passed:
                    yield self._drift(engine, output, before, limit)

    def grown(self, result: AccuracyResult) -> Mapping[str, str] | None:
        """Return outputs of an engine whose error has doubled since it was stored, and by how much.

        Returns:
            None where no errors of it are stored.
        """
        then = self._levels.get(_engine_of(result))
        if then is None:
            return None
        return {
            one.name: f"{before:.3g} to {_error(one):.3g}"
            for one in result.outputs
            for before in [then.get(one.name, 0.0)]
            if _has_grown(one, before, _GROWTH)
        }

    @property
    def _levels(self) -> Mapping[str, Mapping[str, float]]:
        entry = self.entry
        return {} if entry is None or self._run.settings.update else entry.errors

    def _records_level(self, engine: str) -> bool:
        settings = self._run.settings
        return settings.update or (
            settings.missing_baseline == "record" and engine not in self._levels
        )

    def _drift(
        self, engine: str, output: OutputResult, before: float, limit: float | None
    ) -> Diagnostic:
        now = _error(output)
        times = f"{multiple(now / before)}x, " if before else ""
        return Diagnostic(
            "TRT417",
            f"{self._model_name}: the error of {output.name} on {engine} grew {times}from "
            f"{before:.3g} to {now:.3g}, using {percent_of(100 * output.used)} of its tolerance",
            {
                **self._facts,
                "update_tests": [self.argument],  # the errors of the others stay
                "model_file": self._model_name,
                "engine": engine,
                "output": output.name,
                "before": before,
                "now": now,
                "limit": limit,
            },
            self.about(),
            Remedy(
                "Find what changed the engine; if the error is acceptable, store it:",
                (update_command([self.argument], self.update_options),),
            ),
            severity="error" if limit else "note",
        )

    def _no_level(self, engine: str) -> Diagnostic:
        return Diagnostic(
            "TRT676",
            f"drift= has nothing to compare with: no errors of {engine} are stored for "
            f"{self.location.test}",
            {"file": self.location.shown, "test": self.location.test, "engine": engine},
            remedy=Remedy(
                "Record them on this kind of machine, and commit the files:",
                (shlex.join(["pytest", *self._folders, "--trt-update-new"]),),
            ),
        )

    # --- what may be stored

    def staged(self, results: Sequence[AccuracyResult]) -> StagedAnswers | None:
        """Return the answers that this test may store; None if they are stored already."""
        entry = self.entry
        found = {digest: new for digest, (new, _) in self._collected.items()}
        if entry is not None:
            found = {**{one.inputs: one for one in entry.answers}, **found}
        answers = tuple(found[digest] for digest in self._ran if digest in found)
        if not answers:
            return None
        computed = all(one.inputs in self._collected for one in answers)
        new = AnswerEntry(
            model=self._model_name,
            model_digest=self.model.digest,
            producer=self._producer if entry is None or computed else entry.producer,
            recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            answers=answers,
            reason=self._run.settings.update_reason,
            errors=self._measured(() if computed and not self.records else results),
        )
        same = entry is not None and (entry.is_same(new) or self._only_repairs(new))
        if entry is not None and same:
            errors = {key: one for key, one in new.errors.items() if self._records_level(key)}
            if errors.items() <= dict(entry.errors).items() and not self._repairs:
                return None
            # A reason is for what it changes: errors of further engines have none.
            changed = any(entry.errors.get(key, one) != one for key, one in errors.items())
            given = self._run.settings.update_reason if changed else ""
            new = replace(entry, errors=errors, reason=given or entry.reason)
        data = {key: one for _, each in self._collected.values() for key, one in each.items()}
        update = (self.records and not self._renamed) or same
        try:
            draft = write_draft(self._run.cache.last_runs, data)
        except BaselineError:
            if update:
                raise
            return None  # what nobody asked to store can only not be accepted later
        return StagedAnswers(
            path=self.location.path,
            shown=self.location.shown,
            test=self.location.test,
            entry=new,
            draft=draft,
            against=entry_digest(entry),
            update=update,
            repair=self._repairs,
        )

    def _only_repairs(self, new: AnswerEntry) -> bool:
        """Whether only arrays are recorded again: all else that is stored stays."""
        entry, update = self.entry, self._run.settings.update
        return self._repairs and not update and entry is not None and entry.answers == new.answers

    def _measured(self, results: Sequence[AccuracyResult]) -> dict[str, dict[str, float]]:
        """Return the largest error of each output by engine, against what may be stored."""
        found = {engine: dict(errors) for engine, errors in self._errors.items()}
        for one in results:
            levels = found.setdefault(_engine_of(one), {})
            for output in one.outputs:
                error = rounded(_error(output), 3)
                levels[output.name] = max(levels.get(output.name, 0.0), error)
        return {engine: errors for engine, errors in found.items() if errors}


def _by_answers(session: pytest.Session) -> Mapping[str, Sequence[pytest.Item]]:
    """Return the tests of a session by the name of their answers; all of them may fail and ask."""
    if _SHARING_KEY not in session.stash:
        found = defaultdict[str, list[pytest.Item]](list)
        for item in session.items:
            plan = plan_of(item)
            if plan is not None and plan.consistency is not None:
                found[answers_nodeid(item, plan)].append(item)
        session.stash[_SHARING_KEY] = found
    return session.stash[_SHARING_KEY]


@contextmanager
def _without_traceback() -> Iterator[None]:
    """Fail the test for a file that cannot be read, which is not the fault of a line of it."""
    __tracebackhide__ = True
    try:
        yield
    except BaselineError as error:
        raise PluginFailure(error.diagnostic) from None


def _has_grown(output: OutputResult, before: float, limit: float) -> bool:
    """Whether an error exceeds a multiple of the stored one, and is not too small to matter."""
    # As it is stored: the same error has not grown.
    return rounded(_error(output), 3) > limit * before and output.used > _LEAST_USED


def _engine_of(result: AccuracyResult) -> str:
    return f"{result.arch} {result.precision}"


def _error(output: OutputResult) -> float:
    """Return the largest absolute error of an output; 0.0 where none differs or is compared."""
    compared = output.worst_abs is not None and output.tolerance.elementwise
    return output.worst_abs.value if compared and output.worst_abs else 0.0


def stored_output(array: Array, most_bytes: int) -> tuple[StoredOutput, dict[str, Array]]:
    """Return what is stored of an output, and its arrays.

    Args:
        array: The output.
        most_bytes: Up to this size all elements are stored, else a sketch of this size.
    """
    dtype = dtype_name(array.dtype)
    if array.dtype.hasobject:  # text, which numpy's files hold in a fixed length
        array = array.astype(np.str_)
    whole = array.nbytes <= most_bytes or not array.size
    parts = {"values": as_bits(array)} if whole else sketch_parts(sketch_of(array, most_bytes))
    figures = {}
    if is_ordered(array.dtype) and array.size:
        sums, _, least, largest, nonfinite = block_statistics(array, 1)
        finite = array.size - int(nonfinite.sum())
        shown = {"min": least[0], "max": largest[0], "mean": sums[0] / max(1, finite)}
        figures = {name: rounded(float(value)) for name, value in shown.items() if finite}
    stored = StoredOutput(
        dtype, array.shape, "all" if whole else "sketch", data_digest(parts), figures
    )
    return stored, parts


def _other_inputs_remedy(update: str) -> Remedy:
    """Return what to do about inputs that nothing is stored for: likely causes come first."""
    accept = Remedy("if they are, replace the baseline:", (update,))
    return Remedy(
        "Check what makes the inputs: preprocessing (channels, layout, scale, resizing), the seed "
        "and the data. Run the recorded inputs again.",
        alternatives=(
            "an update accepts whatever the model makes of the new inputs: first check that they "
            "are meant to differ",
            *accept.as_alternatives(),
        ),
    )
