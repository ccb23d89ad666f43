"""Which baselines belong to tests that no longer exist; uncertain cases count as existing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

#: What is known of a baseline's test. With "other parameters" it may exist on other machines,
#: and with "unusable model" it may be one of a model that cannot be tested now.
OrphanStatus: TypeAlias = Literal[
    "exists", "missing", "other parameters", "unusable model", "unknown"
]

#: Environment variable that names the file to which `plugin.inspection` writes its answer.
ANSWER_VARIABLE = "PYTEST_TRT_COLLECTED"


@dataclass(frozen=True, slots=True)
class Collected:
    """What pytest collected.

    Attributes:
        root: Its root folder.
        tests: Node ids of all tests, deselected ones too.
        errors: Node ids of files and classes that were skipped or could not be collected.
        answers: Node ids of all tests that compare with stored answers, without precision and
            architecture, as answers have them.
        unusable: Node ids of functions of which a model cannot be tested: the points of its
            profiles are unknown, and with them the ids of tests.
    """

    root: Path
    tests: Collection[str]
    errors: Collection[str]
    answers: Collection[str] = ()
    unusable: Collection[str] = ()


def orphan_status(
    nodeid: str, collected: Collected, *, answers: bool = False
) -> tuple[OrphanStatus, str]:
    """Return whether a baseline's test exists, and the reason for the answer."""
    module, _, test = nodeid.partition("::")
    if nodeid in (collected.answers if answers else collected.tests):
        return "exists", ""
    exists = (collected.root / module).exists()
    # Started in a subfolder, which is pytest's root folder then.
    above = any((folder / module).exists() for folder in collected.root.parents)
    if ".." in Path(module).parts or (above and not exists):
        return "unknown", f"{module} is outside of {collected.root}"
    if not exists:
        return "missing", f"{module} does not exist"
    for error in collected.errors:
        if nodeid.startswith(error) or not error:
            return "unknown", f"{error or module} could not be collected"
    functions = {one.partition("[")[0] for one in collected.tests}
    if not any(one.startswith(f"{module}::") for one in functions):
        return "unknown", f"no test of {module} was collected"
    function = test.partition("[")[0]
    if f"{module}::{function}" in collected.unusable:
        return "unusable model", f"a model of {function} cannot be tested"
    if f"{module}::{function}" not in functions:
        return "missing", f"{module} has no {function}"
    uses = {one.partition("[")[0] for one in collected.answers} if answers else functions
    if f"{module}::{function}" not in uses:
        return "other parameters", f"{function} does not compare with stored answers"
    return "other parameters", f"{function} exists, but not with these parameters"
