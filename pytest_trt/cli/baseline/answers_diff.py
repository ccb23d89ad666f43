"""Two versions of stored answers, compared: for each output by how much it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_trt.accuracy.stored import Stored, stored_from
from pytest_trt.accuracy.stored_change import StoredChange, stored_change
from pytest_trt.baseline.answer_changes import AnswersChange, answers_changes, errors_changes
from pytest_trt.baseline.answers import (
    AnswerFile,
    Data,
    StoredAnswer,
    StoredOutput,
    data_error,
)
from pytest_trt.baseline.file import Fix
from pytest_trt.cli.baseline.renames_diff import was_text
from pytest_trt.cli.table import Row, print_table
from pytest_trt.units import percent
from pytest_trt.wording import count


@dataclass(frozen=True, slots=True)
class Side:
    """One version of a file of answers.

    Attributes:
        name: Its name in errors.
        file: The JSON file; None if it does not exist.
        read: Returns numbers by their digests.
        fix: What to do if they are not those of its outputs.
    """

    name: str
    file: AnswerFile | None
    read: Callable[[Iterable[str]], Data]
    fix: Fix

    def numbers(self, stored: Iterable[StoredOutput | None]) -> Data:
        """Return the numbers of outputs, which are read once: a file may have many.

        Raises:
            BaselineError: They are missing or damaged.
        """
        digests = {one.data for one in stored if one is not None}
        return self.read(digests) if digests else {}

    def output(self, stored: StoredOutput, data: Data) -> Stored:
        """Return an output.

        Raises:
            BaselineError: Its numbers are not those of such an output.
        """
        try:
            whole = stored.stored == "all"
            return stored_from(data[stored.data], stored.dtype, stored.shape, whole=whole)
        except (ValueError, TypeError, KeyError) as error:
            raise data_error(self.name, str(error), self.fix()) from error


@dataclass(frozen=True, slots=True)
class OutputChange:
    """An output for one set of inputs that is not the same.

    Attributes:
        inputs: The inputs, for readers.
        output: Its name.
        change: By how much it changed.
    """

    inputs: str
    output: str
    change: StoredChange


@dataclass(frozen=True, slots=True)
class Compared:
    """The answers of one test, compared.

    Attributes:
        change: What happened to them.
        outputs: The outputs that are not the same.
    """

    change: AnswersChange
    outputs: list[OutputChange]

    @property
    def kind(self) -> str:
        """What happened to them."""
        return self.change.kind

    def renamed(self, added: Compared) -> Compared | None:
        """Return the renaming by which these answers became added ones; None for other ones."""
        change = self.change.renamed(added.change)
        return None if change is None else Compared(change, [])

    def to_dict(self, title: str) -> dict[str, Any]:
        """Return it as JSON-simple data."""
        return {
            "baseline": "answers",
            "file": title,
            "test": self.change.test,
            "kind": self.change.kind,
            "was": self.change.was,
            "differences": list(_about(self.change)),
            "outputs": [_as_dict(one) for one in self.outputs],
        }


def compared(old: Side, new: Side) -> list[Compared]:
    """Return every test whose answers are not the same.

    Raises:
        BaselineError: Numbers that differ are missing or damaged.
    """
    changes = answers_changes(old.file, new.file)
    differing = [pair for change in changes for pair in _differing(change)]
    before = old.numbers(one for *_, one, _ in differing)
    after = new.numbers(one for *_, one in differing)
    found = []
    for change in changes:
        outputs = []
        for answer, name, then, now in _differing(change):
            if then is None or now is None:
                moved = StoredChange(f"it was {'added' if then is None else 'removed'}")
            else:
                moved = stored_change(old.output(then, before), new.output(now, after))
            outputs.append(OutputChange(_inputs(answer), name, moved))
        found.append(Compared(change, outputs))
    return found


def _differing(
    change: AnswersChange,
) -> Iterator[tuple[StoredAnswer, str, StoredOutput | None, StoredOutput | None]]:
    """Yield the outputs for inputs of both versions that are not the same."""
    for before, after in change.pairs:
        for name in dict.fromkeys([*before.outputs, *after.outputs]):
            then, now = before.outputs.get(name), after.outputs.get(name)
            if then != now:
                yield after, name, then, now


def _inputs(answer: StoredAnswer) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in answer.shapes.items())


def _as_dict(one: OutputChange) -> dict[str, Any]:
    change = one.change
    known = {} if change.why else {
        "largest_change": change.largest.value if change.largest else 0.0,
        "at": list(change.largest.index) if change.largest else None,
        "mean_change": change.mean,
        "rows": change.rows,
        "top1_flips": change.flips if change.rows else None,
        "within_fp32_tolerance": change.within,
        "elements": change.size,
        "compared": change.compared,
        "sketch": bool(change.share),
    }  # fmt: skip
    return {"inputs": one.inputs, "output": one.output, "not_comparable": change.why, **known}


# --- as a table


def print_answers(found: list[tuple[str, list[Compared]]]) -> None:
    """Print a table of each test below the file that it is in."""
    titles = ("", "largest change", "mean change", "top-1 flips", "FP32 tolerance")
    rows: list[Row] = []
    for title, tests in found:
        rows.append(title)
        for one in tests:
            rows.append(f"{one.change.test}: {_what(one.change)}")
            rows += [f"  {line}" for line in _about(one.change)]
            rows += _rows(one.outputs)
    print_table(titles, rows, giving_way=(0,))


def _what(change: AnswersChange) -> str:
    texts = {
        "renamed": f"renamed, equal; {was_text(change)}",
        "edited": "unchanged",
        "not comparable": "replaced, not comparable: other inputs",
    }
    old, new = change.old, change.new
    # What stays the same was stored for an earlier reason.
    earlier = change.kind == "renamed" or (
        change.kind == "edited" and old is not None and new is not None and old.reason == new.reason
    )
    reason = new.reason if new and not earlier else ""
    what = texts.get(change.kind, change.kind)
    return f"answers {what}{': ' if reason else ''}{reason}"


def _about(change: AnswersChange) -> Iterator[str]:
    """Yield what else differs, and what cannot be compared."""
    old, new = change.old, change.new
    if old is None or new is None:
        return
    if change.kind == "renamed":
        return
    if old.model != new.model:
        yield f"another model: {old.model} -> {new.model}"
    elif old.model_digest != new.model_digest:
        yield f"the model's bytes changed: {old.model}"
    if old.producer != new.producer:
        yield f"computed by {new.producer}, before by {old.producer}"
    for kind, answers in zip(("removed", "added"), change.unpaired, strict=True):
        if answers:
            shapes = "; ".join(dict.fromkeys(map(_inputs, answers)))
            yield f"not comparable: {count(len(answers), 'set')} of inputs {kind}: {shapes}"
    yield from errors_changes(old, new)


def _rows(outputs: list[OutputChange]) -> Iterator[Row]:
    inputs = None
    for one in outputs:
        if one.inputs != inputs:
            inputs = one.inputs
            yield f"  inputs {inputs}"
        change, largest = one.change, one.change.largest
        if change.why:
            yield f"    {one.output}: not comparable: {change.why}"
            continue
        moved = f"{largest.value:.3g} at {list(largest.index)}" if largest else "0"
        flips = f"{change.flips} of {count(change.rows, 'row')}" if change.rows else "-"
        within = ("within", "green") if change.within else ("exceeded", "red")
        yield f"    {one.output}", moved, f"{change.mean:.3g}", flips, within
        if change.share:
            yield (
                f"      a sketch: changes are those of {change.compared:,} of {change.size:,} "
                "elements; sums and extremes are exact;"
            )
            yield f"      a change of under {percent(change.share)} of the elements may not show"
