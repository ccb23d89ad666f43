"""What a comparison found: values that travel as JSON-simple data and decide nothing themselves."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_trt.accuracy.element import Element, NonFinite, decoded, encoded
from pytest_trt.accuracy.encoding import decode_float, encode_float
from pytest_trt.accuracy.tolerance import Tolerance

#: Findings of elements that have no difference to measure: none was within its tolerance.
_WITHOUT_DIFFERENCE = ("nonfinite", "shape")


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why a comparison does not pass.

    Attributes:
        kind: What was found: of a whole comparison "missing", "extra", "renamed", "swapped",
            "nothing compared"; of one output "shape", "dtype", "mismatch", "nonfinite", "cosine",
            "top1", "topk", "nothing compared", "not applicable".
        text: The finding in a sentence, with both values.
        outputs: Names of the outputs that a finding of a whole comparison is about.
    """

    kind: str
    text: str
    outputs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON-simple data."""
        return {"kind": self.kind, "text": self.text, "outputs": list(self.outputs)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Finding:
        """Return the finding that `to_dict` encoded."""
        return cls(data["kind"], data["text"], tuple(data["outputs"]))


@dataclass(frozen=True, slots=True)
class RowSpread:
    """Which rows along axis 0 (the batch, as a rule) hold the mismatches.

    Attributes:
        total: Rows of the output.
        mismatched: Rows with at least one mismatch.
        first: The first of them.
        last: The last of them.
    """

    total: int
    mismatched: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output against its reference.

    Attributes:
        name: The output's name.
        dtype: Element type of the actual output.
        shape: Shape of the actual output.
        size: Elements of the actual output.
        tolerance: What was allowed.
        compared: Elements whose difference was measured: finite on both sides. 0 when the shapes
            differ.
        mismatched: Elements among them that differ by more than allowed.
        worst_abs: Largest |actual - reference|; None when no element differs.
        worst_rel: Largest |actual - reference| / |reference|, over the elements whose reference is
            not 0; None when none of those differs.
        worst_used: Largest |actual - reference| / (atol + rtol * |reference|), i.e. the share of
            the tolerance used; infinite where nothing is allowed and something differs. None when
            no element differs.
        needed_atol: Smallest atol under which every element passes at the given rtol.
        needed_rtol: Smallest rtol under which every element passes at the given atol; infinite when
            none does, because the reference is 0 there.
        scale: Largest |reference| among the compared elements; 0 for strings.
        nonfinite: NaN and infinities.
        rows: Where the mismatches are along axis 0; None without mismatches or a batch axis.
        cosine: Smallest cosine similarity of the rows along axis 0 (of the whole tensor below two
            axes). None when the tolerance does not ask for it; so are the next two.
        top1: Share of rows whose largest element is where the reference has its largest.
        topk: Mean share of the k largest elements that are among the reference's k largest.
        findings: Why this output fails; empty when it passes.
        histogram: How many elements use which share of the tolerance, see `error_histogram`; None
            unless it was asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    tolerance: Tolerance
    compared: int = 0
    mismatched: int = 0
    worst_abs: Element | None = None
    worst_rel: Element | None = None
    worst_used: Element | None = None
    needed_atol: float = 0.0
    needed_rtol: float = 0.0
    scale: float = 0.0
    nonfinite: NonFinite = field(default_factory=NonFinite)
    rows: RowSpread | None = None
    cosine: float | None = None
    top1: float | None = None
    topk: float | None = None
    findings: tuple[Finding, ...] = ()
    histogram: tuple[int, ...] | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def used(self) -> float:
        """Share of the tolerance used by the worst element: 1.0 is exactly at the limit.

        Infinite where elements fail that have no difference: a NaN, or an output of another shape.
        """
        if any(finding.kind in _WITHOUT_DIFFERENCE for finding in self.findings):
            return math.inf
        return 0.0 if self.worst_used is None else self.worst_used.value

    @property
    def mismatched_pct(self) -> float:
        """Mismatched elements as a percentage of the compared ones."""
        return 100.0 * self.mismatched / self.compared if self.compared else 0.0

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON-simple data: NaN and infinities become strings."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "size": self.size,
            "tolerance": self.tolerance.to_dict(),
            "compared": self.compared,
            "mismatched": self.mismatched,
            "worst_abs": encoded(self.worst_abs),
            "worst_rel": encoded(self.worst_rel),
            "worst_used": encoded(self.worst_used),
            "used": encode_float(self.used),
            "needed_atol": encode_float(self.needed_atol),
            "needed_rtol": encode_float(self.needed_rtol),
            "scale": encode_float(self.scale),
            "nonfinite": self.nonfinite.to_dict(),
            "rows": None if self.rows is None else asdict(self.rows),
            "cosine": encode_float(self.cosine),
            "top1": encode_float(self.top1),
            "topk": encode_float(self.topk),
            "findings": [finding.to_dict() for finding in self.findings],
            "histogram": self.histogram and list(self.histogram),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OutputComparison:
        """Return the comparison that `to_dict` encoded."""
        topk = data["tolerance"]["topk"]
        return cls(
            name=data["name"],
            dtype=data["dtype"],
            shape=tuple(data["shape"]),
            size=data["size"],
            tolerance=Tolerance(**{**data["tolerance"], "topk": topk and tuple(topk)}),
            compared=data["compared"],
            mismatched=data["mismatched"],
            worst_abs=decoded(data["worst_abs"]),
            worst_rel=decoded(data["worst_rel"]),
            worst_used=decoded(data["worst_used"]),
            needed_atol=decode_float(data["needed_atol"]),
            needed_rtol=decode_float(data["needed_rtol"]),
            scale=decode_float(data["scale"]),
            nonfinite=NonFinite.from_dict(data["nonfinite"]),
            rows=data["rows"] and RowSpread(**data["rows"]),
            cosine=decode_float(data["cosine"]),
            top1=decode_float(data["top1"]),
            topk=decode_float(data["topk"]),
            findings=tuple(Finding.from_dict(finding) for finding in data["findings"]),
            histogram=data["histogram"] and tuple(data["histogram"]),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """All outputs of one run against their references.

    Attributes:
        outputs: Every output that both sides have, in the reference's order.
        findings: What is wrong with the set of outputs: missing, extra, renamed, swapped, or none
            compared at all.
    """

    outputs: tuple[OutputComparison, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found, in the set of outputs or in any of them."""
        return not self.findings and all(output.passed for output in self.outputs)

    @property
    def has_nonfinite(self) -> bool:
        """Whether an output fails for NaN or infinities."""
        return any(one.kind == "nonfinite" for output in self.outputs for one in output.findings)

    @property
    def used(self) -> float:
        """Share of its tolerance that the worst output used."""
        return max((output.used for output in self.outputs), default=0.0)

    def to_dict(self) -> dict[str, object]:
        """Return the comparison as JSON-simple data."""
        return {
            "outputs": [output.to_dict() for output in self.outputs],
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Comparison:
        """Return the comparison that `to_dict` encoded."""
        return cls(
            outputs=tuple(OutputComparison.from_dict(output) for output in data["outputs"]),
            findings=tuple(Finding.from_dict(finding) for finding in data["findings"]),
        )
