"""Measuring one engine in a fresh process: what no number of rounds in this one averages out."""

from pytest_trt.fresh.job import FreshJob, FreshRun, hand_over
from pytest_trt.fresh.process import measure_fresh

__all__ = ["FreshJob", "FreshRun", "hand_over", "measure_fresh"]
