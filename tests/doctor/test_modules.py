from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from pytest_trt.doctor.modules import ModuleFacts, imported_facts, installed_facts
from pytest_trt.records import from_data

BINDINGS = """
def cudaRuntimeGetVersion():
    return 0, 12090
"""

RTX = """
import enum
__version__ = "1.4.0.76"
class ComputeCapability(enum.Enum):
    NONE = 0
    CURRENT = 1
    SM75 = 2
    SM120 = 3
"""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a module in the place of the vendor's, with the distribution that brings it."""

    def put(module: str, source: str, distribution: str = "", version: str = "") -> Path:
        path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        if module.count(".") > 1:  # an installed package goes before a folder without this file
            (path.parent / "__init__.py").touch()
        path.write_text(source)
        if distribution:
            info = tmp_path / f"{distribution}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            )
        monkeypatch.syspath_prepend(tmp_path)
        for name in [
            name for name in sys.modules if name.partition(".")[0] == module.partition(".")[0]
        ]:
            monkeypatch.delitem(sys.modules, name)
        return path

    yield put
    for name in ("tensorrt", "tensorrt_rtx", "cuda", "cuda.bindings", "cuda.bindings.runtime"):
        module = sys.modules.get(name)
        if module is not None and str(tmp_path) in str(getattr(module, "__file__", "")):
            del sys.modules[name]


def ask(module: str):
    # As it crosses to the process that asks.
    return from_data(ModuleFacts, json.loads(json.dumps(imported_facts(module))))


def test_the_embedded_backend_is_described_as_it_is() -> None:
    facts = ask("onnxruntime")
    assert facts.works
    assert facts.version == importlib.metadata.version("onnxruntime")
    assert facts.version in facts.distributions.values()
    assert facts.location.endswith("onnxruntime/__init__.py")


def test_a_module_that_is_not_there_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    facts = ask("tensorrt")
    assert (facts.found, facts.works, facts.problem) == (False, False, "")


def test_a_module_reports_its_version_and_where_it_is(plant) -> None:
    path = plant("tensorrt", "__version__ = '10.9.0.34'", "tensorrt", "10.9.0.34")
    facts = ask("tensorrt")
    assert (facts.version, facts.location) == ("10.9.0.34", str(path))
    assert facts.distributions["tensorrt"] == "10.9.0.34"


@pytest.mark.parametrize(
    "source",
    ["import no_such_library", "raise OSError('libnvinfer.so.10: cannot open')", "1 / 0"],
)
def test_whatever_keeps_a_module_from_being_imported_is_reported(plant, source: str) -> None:
    plant("tensorrt", source, "tensorrt", "10.9.0")
    facts = ask("tensorrt")
    assert facts.found
    assert not facts.works
    assert facts.version == "10.9.0"
    assert "Error: " in facts.problem


def test_rtx_reports_what_it_builds_for(plant) -> None:
    plant("tensorrt_rtx", RTX)
    assert ask("tensorrt_rtx").archs == ("sm75", "sm120")


def test_bindings_report_the_version_of_the_runtime(plant) -> None:
    plant("cuda.bindings.runtime", BINDINGS, "cuda_bindings", "12.9.1")
    facts = ask("cuda.bindings.runtime")
    assert (facts.version, facts.runtime_cuda) == ("12.9.1", "12.9")


def test_bindings_that_are_not_installed_are_not_found_where_another_part_of_cuda_is(
    plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("cuda.pathfinder", "")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # also where the bindings are installed
    assert not installed_facts("cuda.bindings.runtime").found


def test_what_a_module_did_to_its_process_is_taken_for_its_problem(plant) -> None:
    plant("tensorrt", "raise SystemExit", "tensorrt", "8.6.1")
    facts = installed_facts("tensorrt", "crashes Python (SIGSEGV)")
    assert (facts.found, facts.version) == (True, "8.6.1")
    assert facts.problem == "crashes Python (SIGSEGV)"
    assert "tensorrt" not in sys.modules
