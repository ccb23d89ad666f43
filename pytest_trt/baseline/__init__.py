"""Baselines: what was measured and accepted, kept in the repository."""

from pytest_trt.baseline.entry import RUNS_KEPT, Entry, StoredNoise, StoredRun
from pytest_trt.baseline.file import (
    BASELINE_SCHEMA,
    BaselineFile,
    baseline_path,
    how_to_restore,
    read_baselines,
    write_baselines,
)

__all__ = [
    "BASELINE_SCHEMA",
    "RUNS_KEPT",
    "BaselineFile",
    "Entry",
    "StoredNoise",
    "StoredRun",
    "baseline_path",
    "how_to_restore",
    "read_baselines",
    "write_baselines",
]
