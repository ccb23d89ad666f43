"""Baselines that only got another name, found among those that were added and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from pytest_trt.baseline.answer_changes import AnswersChange
    from pytest_trt.baseline.changes import EntryChange


class _Change(Protocol):
    @property
    def kind(self) -> str:
        """What happened."""

    def renamed(self: _AnyChange, added: _AnyChange) -> _AnyChange | None:
        """Return the renaming by which this one became an added one; None for another one."""


_AnyChange = TypeVar("_AnyChange", bound=_Change)


def was_text(change: EntryChange | AnswersChange) -> str:
    """Return what a baseline was called: "was test_speed[models/old.onnx]"."""
    return "was in another file" if change.was == change.test else f"was {change.was}"


def with_renames(
    found: list[tuple[str, list[_AnyChange]]],
) -> list[tuple[str, list[_AnyChange]]]:
    """Return changes by file, those with another name alone as renamed, where they are now."""
    removed = [one for _, changes in found for one in changes if one.kind == "removed"]
    renamed: list[_AnyChange] = []
    shown = []
    for title, changes in found:
        listed = []
        for change in changes:
            pairs = ((one, one.renamed(change)) for one in removed if change.kind == "added")
            old, both = next((pair for pair in pairs if pair[1] is not None), (None, None))
            if old is not None and both is not None:
                removed.remove(old)
                renamed.append(old)
            listed.append(both or change)
        shown.append((title, listed))
    left = [
        (title, [one for one in listed if not any(one is old for old in renamed)])
        for title, listed in shown
    ]
    return [(title, listed) for title, listed in left if listed]
