"""How a check responded to one injected error or slowdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """One injected error or slowdown.

    Attributes:
        check: An output of `trt_consistency`, or a limit of `trt_benchmark`.
        injected: What was injected, in words: "an error of 1.1x its tolerance".
        must_fail: Whether the check must fail on it; otherwise it must pass.
        failed: Whether it failed.
        why: Why the check responds wrongly, where that is known.
    """

    check: str
    injected: str
    must_fail: bool
    failed: bool
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether the check responded as it must."""
        return self.must_fail == self.failed

    def __str__(self) -> str:
        did, must = ("failed", "pass") if self.failed else ("passed", "fail")
        because = f": {self.why}" if self.why else ""
        return f"{self.check} {did} with {self.injected}, but must {must}{because}"


def cannot_fail(check: str, why: str) -> Proof:
    """Return the proof that a check cannot fail, whatever is injected."""
    return Proof(check, "any error", must_fail=True, failed=False, why=why)
