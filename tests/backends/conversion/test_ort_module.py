from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from pytest_trt.backends.conversion.ort_module import onnxruntime_version

ASKED = """
import sys
from pytest_trt.backends.conversion.ort_module import onnxruntime_version
try:
    version = onnxruntime_version()
except Exception as error:
    version = f"{type(error).__name__}: {error}"
print(version)
print("onnxruntime" in sys.modules)
"""


def asked(*path: Path) -> list[str]:
    """Ask a new process, for which modules in these folders come first."""
    folders = [*map(str, path), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    result = subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, env=environment
    )
    return result.stdout.splitlines()


def planted(folder: Path, source: str) -> Path:
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "__init__.py").write_text(source)
    return folder


def test_version_is_reported_without_loading_the_module() -> None:
    assert asked() == [onnxruntime.__version__, "False"]


def test_version_of_a_loaded_module_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.0.patched")
    assert onnxruntime_version() == "1.0.patched"


@pytest.mark.parametrize(
    "source",
    [
        '__version__ = ".".join(["9", "8"])',
        'from os import sep\n__version__ = "1.0"\nif sep:\n    pass\n__version__ = "9.8"',
    ],
    ids=["computed", "said twice"],
)
def test_module_that_does_not_state_its_version_is_imported(tmp_path: Path, source: str) -> None:
    assert asked(planted(tmp_path, source)) == ["9.8", "True"]


def test_module_that_cannot_be_imported_says_what_to_install(tmp_path: Path) -> None:
    found = asked(planted(tmp_path, 'raise ImportError("libcudart is missing")'))
    assert found[0].startswith("BackendUnavailableError: ONNX Runtime cannot be imported: libcudar")
    assert found[1:3] == ["Fix:", "    pip install onnxruntime"]
