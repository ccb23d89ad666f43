"""What a check made of one thing that was planted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Proof:
    """One planted error or slowdown.

    Attributes:
        check: What was tried: an output of `trt_consistency`, a limit of `trt_benchmark`.
        planted: What was planted, for people: "an error of 1.1x its tolerance".
        must_fail: Whether the check has to fail on it; else it has to pass.
        failed: Whether it did.
        why: Why the check is as it is, where it is not as it should be.
    """

    check: str
    planted: str
    must_fail: bool
    failed: bool
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether the check did what it has to."""
        return self.must_fail == self.failed

    def __str__(self) -> str:
        did, should = ("fails", "must pass") if self.failed else ("passes", "must fail")
        because = f": {self.why}" if self.why else ""
        return f"{self.check} {did} with {self.planted}, and {should}{because}"

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as JSON-simple data."""
        return asdict(self)


def dead(check: str, why: str) -> Proof:
    """Return the proof that a check cannot fail whatever is planted.

    Args:
        check: Which check.
        why: Why nothing can be planted.
    """
    return Proof(check, "anything at all", must_fail=True, failed=False, why=why)
