"""Each entry of `per_model` for a model that a test no longer has is one failing item.

All other models are tested.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.baseline.models import baselines_of, is_of_bytes
from pytest_trt.baseline.renaming import model_proposal
from pytest_trt.diagnostics import BaselineError, Diagnostic, PytestTrtError, Remedy
from pytest_trt.git import was_committed
from pytest_trt.plugin.planning.keywords import PER_MODEL
from pytest_trt.plugin.planning.stale_entries import StaleEntry
from pytest_trt.plugin.results.pinning import baseline_folder
from pytest_trt.plugin.state import plan_of, progress_of, run_of


def was_a_model(entry: StaleEntry, item: pytest.Item) -> bool:
    """Whether a missing model is known to have existed: baselines name it, or git has it."""
    return bool(_baselines(entry, item)[1]) or was_committed(entry.path)


def _baselines(entry: StaleEntry, item: pytest.Item) -> tuple[BaselineFolder, list[Any]]:
    folder = baseline_folder(item.config, item.path.parent)
    with suppress(BaselineError):  # for the tests to report
        return folder, baselines_of(folder, item.path, entry.path)
    return folder, []


class StaleEntryItem(pytest.Item):
    """Fails with what became of the model of an entry, and what to edit."""

    def __init__(self, *, entry: StaleEntry, markers: Sequence[str], **given: Any) -> None:
        super().__init__(**given)
        self._entry = entry
        self._markers = markers

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return its place, and its name as the heading of its failure."""
        return self.path, None, self.name

    def runtest(self) -> None:
        """Fail."""
        from pytest_trt.plugin.results.failure import PluginFailure

        raise PluginFailure(self._diagnostic())

    def _diagnostic(self) -> Diagnostic:
        entry, where = self._entry, " and ".join(self._markers)
        facts = {"marker": self._markers[0], "model": entry.name}
        if entry.path.exists():
            return Diagnostic(
                "TRT149",
                f"{PER_MODEL} of {where} names {entry.name}, which the markers leave out of the "
                "test",
                facts,
                remedy=Remedy(f"Remove its entry from {PER_MODEL}, or name the model again."),
            )
        message = f"{PER_MODEL} of {where} names {entry.name}, which no longer exists"
        folder, stored = _baselines(entry, self)
        for new in self._models():
            if any(is_of_bytes(one, new[1]) for one in stored):
                old = Path(os.path.relpath(entry.path, folder.base)).as_posix()
                now = Path(os.path.relpath(new[0], folder.base)).as_posix()
                name = Path(os.path.relpath(new[0], self.path.parent)).as_posix()
                return Diagnostic(
                    "TRT149",
                    f"{message}: it was renamed to {name}",
                    {**facts, "renamed_to": name},
                    remedy=Remedy(
                        f"Write {name!r} in {PER_MODEL}, and move its baselines:",
                        (model_proposal(folder.base, (), old, now).command,),
                    ),
                )
        return Diagnostic(
            "TRT149",
            message,
            facts,
            remedy=Remedy(
                f"Remove its entry from {PER_MODEL}, or write its new name there. If it was "
                "removed on purpose, remove its baselines as well:"
                if stored
                else f"Remove its entry from {PER_MODEL}, or write its new name there.",
                ("pytest-trt baseline prune",) if stored else (),
            ),
        )

    def _models(self) -> Iterator[tuple[Path, str]]:
        """Yield the models of the module's tests, with their digests."""
        plans = [plan_of(one) for one in self.session.items if one.path == self.path]
        paths = (one.model.model for one in plans if one is not None and one.model is not None)
        with progress_of(self.config).quiet_task("reading the models") as say:
            for path in dict.fromkeys(path for path in paths if path is not None):
                with suppress(PytestTrtError, OSError):  # for its tests to report
                    yield path, run_of(self.config).model(path, say).digest


def items_of(
    entries: Iterable[tuple[pytest.Item, StaleEntry]], known: set[Path]
) -> list[pytest.Item]:
    """Return an item for each model that entries name and that has none yet.

    Args:
        entries: Tests, and the entries of their markers.
        known: Models of the module that have an item; those of the new ones are added.
    """
    markers: dict[Path, list[str]] = {}
    first: dict[Path, tuple[pytest.Item, StaleEntry]] = {}
    for item, entry in entries:
        if entry.path not in known:
            first.setdefault(entry.path, (item, entry))
            found = markers.setdefault(entry.path, [])
            found += [entry.marker] * (entry.marker not in found)
    known.update(first)
    return [
        StaleEntryItem.from_parent(
            item.getparent(pytest.Module),  # type: ignore[arg-type]
            name=f"{PER_MODEL}[{entry.name}]",
            entry=entry,
            markers=markers[path],
        )
        for path, (item, entry) in first.items()
    ]
