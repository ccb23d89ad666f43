"""Tests as they were collected: what is to be tested, whether or not it came to that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """A collected test with a model.

    Attributes:
        nodeid: The test's node id.
        test: The same without the architecture: what runs on several machines have in common.
        file: Its file, relative to pytest's root.
        line: Its first line, counted from 1; 0 where it is unknown.
        model: The model's file, relative to pytest's root where it lies below.
        precision: The precision under test.
        arch: The architecture under test.
        checks: The checks that its markers ask for: "consistency", "benchmark".
        on_engine: Whether it needs an engine, so that a verdict on each architecture means
            something.
        selected: Whether it was left in when tests were selected (`-k`, `-m`, `--deselect`).
    """

    nodeid: str
    test: str
    file: str
    line: int
    model: str
    precision: str
    arch: str
    checks: tuple[str, ...] = ()
    on_engine: bool = True
    selected: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the test as JSON-simple data."""
        return {**asdict(self), "checks": list(self.checks)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlannedTest:
        """Return the test that `to_dict` made this data of."""
        return cls(**{**data, "checks": tuple(data["checks"])})


def without_arch(nodeid: str, arch: str) -> str:
    """Return a node id without the parameter that is the architecture.

    "test_it.py::test_a[sm86-fp16]" and "[fp16]" of a run for one architecture are the same test.
    """
    head, bracket, parameters = nodeid.partition("[")
    if not bracket:
        return nodeid
    kept = re.sub(rf"(^|-){re.escape(arch)}(?=-|\]$)", "", parameters, count=1).lstrip("-")
    return head if kept == "]" else f"{head}[{kept}"
