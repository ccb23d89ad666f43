"""Which baselines are of tests that are gone. In doubt none is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

#: What is known of a baseline's test. With other parameters it may be there on another machine.
OrphanStatus: TypeAlias = Literal["there", "gone", "other parameters", "unsure"]

#: Names the file that `plugin.collected` writes its answer to.
ANSWER_VARIABLE = "PYTEST_TRT_COLLECTED"


@dataclass(frozen=True, slots=True)
class Collected:
    """What pytest found.

    Attributes:
        root: Its root folder.
        tests: Node ids of all tests, deselected ones too.
        errors: Node ids of files and classes that could not be collected, or were skipped.
    """

    root: Path
    tests: Collection[str]
    errors: Collection[str]


def fate_of(nodeid: str, collected: Collected) -> tuple[OrphanStatus, str]:
    """Return whether a baseline's test is there, and why that is said.

    Args:
        nodeid: The test as pytest names it.
        collected: What pytest found.
    """
    module, _, test = nodeid.partition("::")
    if nodeid in collected.tests:
        return "there", ""
    if not (collected.root / module).exists():
        # The file of a test outside of pytest's root has lost its way there.
        outside = any((folder / module).exists() for folder in collected.root.parents)
        if outside:
            return "unsure", f"{module} is outside of {collected.root}"
        return "gone", f"{module} is gone"
    for error in collected.errors:
        if nodeid.startswith(error) or not error:
            return "unsure", f"{error or module} was not collected whole"
    functions = {one.partition("[")[0] for one in collected.tests}
    if not any(one.startswith(f"{module}::") for one in functions):
        return "unsure", f"no test of {module} was collected"
    function = test.partition("[")[0]
    if f"{module}::{function}" not in functions:
        return "gone", f"{module} has no {function}"
    return "other parameters", f"{function} is there, but not with these parameters"
