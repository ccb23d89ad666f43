"""The repository's data: held-out inputs with labels, and samples of the training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """256 held-out images float32 [256, 1, 16, 16] with labels, and 128 for calibration."""
    return dict(np.load(DATA / "digits.npz"))


@pytest.fixture(scope="session")
def lines() -> dict[str, np.ndarray]:
    """384 held-out lines of text as int64 [384, 64] with labels, and 128 for calibration."""
    return dict(np.load(DATA / "encoder.npz"))
