"""Outputs against references: tolerances, the comparison, and the text that explains it."""

from pytest_trt.accuracy.advice import OtherModel
from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.element import Element, NonFinite
from pytest_trt.accuracy.explain import explain
from pytest_trt.accuracy.findings import Comparison, Finding, OutputComparison, RowSpread
from pytest_trt.accuracy.headline import fact
from pytest_trt.accuracy.reference import ReferenceStore, reference_key
from pytest_trt.accuracy.resolve import (
    TOLERANCE_FIELDS,
    parse_tolerance_fields,
    parse_tolerance_lines,
    resolve_tolerances,
)
from pytest_trt.accuracy.tolerance import (
    DEFAULT_TOLERANCES,
    NAN_POLICIES,
    NanPolicy,
    Tolerance,
)

__all__ = [
    "DEFAULT_TOLERANCES",
    "NAN_POLICIES",
    "TOLERANCE_FIELDS",
    "Comparison",
    "Element",
    "Finding",
    "NanPolicy",
    "NonFinite",
    "OtherModel",
    "OutputComparison",
    "ReferenceStore",
    "RowSpread",
    "Tolerance",
    "compare_outputs",
    "explain",
    "fact",
    "parse_tolerance_fields",
    "parse_tolerance_lines",
    "reference_key",
    "resolve_tolerances",
]
