"""Processes that are measured."""

from __future__ import annotations

import os
from pathlib import Path


def with_bytecode(root: Path, folder: Path) -> dict[str, str]:
    """Return an environment in which Python finds a project, and modules that it compiled before.

    Compiling what pytest, NumPy and ONNX Runtime import takes seconds, and happens once for an
    installation, unless the environment forbids to store the result.

    Args:
        root: The project.
        folder: Where compiled modules are stored.
    """
    paths = filter(None, [str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**environment, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
