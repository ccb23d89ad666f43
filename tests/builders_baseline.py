"""Valid baselines, with one field or another to be set by a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pytest_trt.baseline.answers import AnswerEntry, AnswerFile, Arrays, StoredAnswer, write_answers
from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.baseline.file import BaselineFile, write_baselines
from pytest_trt.plugin.models.stored_answers import stored_output

TARGET = {"arch": "sm90", "gpu": "NVIDIA H200", "sm_count": "132"}

#: Where baselines for it are, below the folder of all.
SLUG = "sm90-nvidia-h200-132"


def stored_run(day: int = 1, p50: float = 0.5, **of: Any) -> StoredRun:
    """Twenty rounds about a P50 in milliseconds, other ones on another day; they differ by 0.1%."""
    random = np.random.default_rng(day)

    def rounds(value: float) -> tuple[float, ...]:
        return tuple(value * random.normal(1, 0.001, 20))

    given: dict[str, Any] = {
        "recorded": f"2026-11-{day:02}T10:00:00+00:00",
        "toolchain": "TensorRT 8.6.0",
        "calls": 70,
        "rounds": {
            "p50": rounds(p50),
            "throughput": rounds(1e3 / p50),
            "p95": rounds(p50 * 1.01),
            "p99": rounds(p50 * 1.02),
        },
        "reason": "",
        "environment": {"driver": "580.159.04"},
    }
    return StoredRun(**{**given, **of})


def stored(*runs: StoredRun, spec: Mapping[str, str] | None = None, **of: Any) -> Entry:
    """An entry of some runs, one by default."""
    given: dict[str, Any] = {
        "mode": "graph",
        "spec": {"model": "resnet50.onnx", "precision": "fp16", **(spec or {})},
        "engine": {"key": "ab12", "size_bytes": 53_000_000},
        "runs": runs or (stored_run(),),
    }
    return Entry(**{**given, **of})


def save_baselines(
    root: Path,
    tests: Mapping[str, Entry],
    *,
    module: str = "tests/test_speed",
    target: Mapping[str, str] = TARGET,
    slug: str = SLUG,
) -> Path:
    """Write a file below the folder of all baselines; return it."""
    path = root / slug / f"{module}.json"
    write_baselines(path, BaselineFile(target, tests))
    return path


#: The outputs of a test by name, for each set of its inputs by digest.
Answered: TypeAlias = Mapping[str, Mapping[str, np.ndarray]]


def save_answers(
    root: Path,
    tests: Mapping[str, Answered],
    *,
    module: str = "tests/test_speed",
    most_bytes: int = 64_000,
    **of: Any,
) -> Path:
    """Write the two files of a module's answers below the folder of all baselines; return the JSON.

    Args:
        root: The folder.
        tests: The outputs.
        module: The test module.
        most_bytes: The size of the largest output that is stored whole.
        of: Fields of every entry.
    """
    data: dict[str, Arrays] = {}
    entries = {}
    for test, answered in tests.items():
        answers = []
        for inputs, outputs in answered.items():
            stored = {}
            for name, array in outputs.items():
                stored[name], parts = stored_output(array, most_bytes)
                data[stored[name].data] = parts
            answers.append(StoredAnswer(inputs, {"image": "float32 [8, 64]"}, stored))
        given = {
            "model": "models/digits.onnx",
            "model_digest": "ab" * 32,
            "producer": "ONNX Runtime 1.23",
            "recorded": "2026-11-01T10:00:00+00:00",
            **of,
        }
        entries[test] = AnswerEntry(answers=tuple(answers), **given)
    path = root / "answers" / f"{module}.json"
    write_answers(path, AnswerFile(entries), data)
    return path
