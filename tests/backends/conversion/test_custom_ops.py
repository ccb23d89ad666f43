from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_trt.backends.conversion.custom_ops import library_path
from pytest_trt.diagnostics import ConfigurationError


def test_a_package_gives_its_library(monkeypatch, tmp_path: Path) -> None:
    library = tmp_path / "libops.so"
    library.touch()
    package = ModuleType("some_operators")
    package.get_library_path = lambda: str(library)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    assert library_path("some_operators") == library
    library.unlink()
    with pytest.raises(ConfigurationError, match=r"gives .*libops\.so, which is not a file"):
        library_path("some_operators")


def test_a_package_without_a_library_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"json of custom_ops= has no get_lib") as caught:
        library_path("json")
    assert caught.value.diagnostic.code == "TRT177"
