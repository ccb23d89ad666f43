"""Proof that checks can fail: planted errors and slowdowns, and what the checks made of them."""

from pytest_trt.selftest.outputs import Planted, planted
from pytest_trt.selftest.proof import Proof, dead
from pytest_trt.selftest.speed import prove_absolute, prove_relative
from pytest_trt.selftest.structure import prove_structure

__all__ = [
    "Planted",
    "Proof",
    "dead",
    "planted",
    "prove_absolute",
    "prove_relative",
    "prove_structure",
]
