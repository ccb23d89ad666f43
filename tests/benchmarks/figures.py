"""Figures that a benchmark script prints, one JSON object a line, and keeps in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path


class Figures:
    """What one script measured.

    Args:
        path: Where the figures go besides standard output, or None.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[str] = []

    def add(self, name: str, value: float, unit: str, target: str = "") -> None:
        """Note a figure; the target is what it should be, in words: "at least 1.5"."""
        figure = {"name": name, "value": float(f"{value:.4g}"), "unit": unit, "target": target}
        self._lines.append(json.dumps(figure))
        print(self._lines[-1], flush=True)
        if self._path is not None:
            # Written each time: a script that is cut off has left what it had.
            self._path.write_text("\n".join(self._lines) + "\n")

    @classmethod
    def from_arguments(cls) -> Figures:
        """Return the figures of a script that is called with `--json FILE` or nothing."""
        arguments = sys.argv[1:]
        return cls(Path(arguments[1]) if arguments[:1] == ["--json"] else None)
