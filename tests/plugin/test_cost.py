"""What the plugin loads: nothing heavy where it is not used, no vendor that is not needed."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import pytest
from builders import save_linear

from pytest_trt.plugin import MARKER_LINES
from pytest_trt.plugin.planning.markers import ModelMarker

pytestmark = pytest.mark.exhaustive

GPU_MODULES = {"tensorrt", "tensorrt_rtx", "cuda", "pynvml"}
HEAVY_MODULES = GPU_MODULES | {
    *("onnx", "onnxruntime", "numpy", "rich", "click", "blake3"),
}

#: Every process of the run leaves the names of the packages that it has loaded at its end.
WITNESS = """
import json, os, sys
from pathlib import Path

def pytest_sessionfinish(session):
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    name = os.environ.get("PYTEST_XDIST_WORKER", "main")
    Path(__file__).with_name(f"loaded-{name}.json").write_text(json.dumps(loaded))
"""

UNRELATED = "def test_one():\n    pass\n\ndef test_two():\n    assert 1 + 1 == 2\n"

needs_xdist = pytest.mark.skipif(
    importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed"
)


@pytest.fixture
def loaded_by(pytester, monkeypatch):
    """Run the folder in a process of its own, the plugin and xdist being its only plugins."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(WITNESS)

    def run(*args: str) -> dict[str, set[str]]:
        result = pytester.runpytest_subprocess("-p", "trt", "-p", "no:cacheprovider", *args)
        assert result.ret == 0, result.stdout.str()
        return {
            path.stem.removeprefix("loaded-"): set(json.loads(path.read_text()))
            for path in pytester.path.glob("loaded-*.json")
        }

    return run


@pytest.mark.parametrize("args", [(), ("--collect-only",), ("-m", "not slow", "-v")])
@pytest.mark.parametrize("step_summary", [True, False])
def test_unrelated_project_loads_nothing_heavy(
    pytester, loaded_by, monkeypatch, args, step_summary
) -> None:
    if step_summary:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    pytester.makepyfile(UNRELATED)
    loaded = loaded_by(*args)
    assert "pytest_trt" in loaded["main"]
    assert loaded["main"] & HEAVY_MODULES == set()


@needs_xdist
def test_no_process_of_an_unrelated_parallel_run_loads_anything_heavy(pytester, loaded_by) -> None:
    pytester.makepyfile(UNRELATED)
    loaded = loaded_by("-p", "xdist", "-n2")
    assert loaded.keys() == {"main", "gw0", "gw1"}
    for packages in loaded.values():
        assert "pytest_trt" in packages
        assert packages & HEAVY_MODULES == set()


def test_run_on_the_cpu_loads_no_library_of_a_gpu(pytester, loaded_by) -> None:
    save_linear(pytester.path / "models" / "linear.onnx", batch=4)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"))
        @pytest.mark.trt_consistency()
        def test_it(trt_session, trt_inputs):
            trt_session.run(trt_inputs)
        """
    )
    args = ("--trt-cache-dir=cache", "--trt-arch=cpu")
    first, second = loaded_by(*args)["main"], loaded_by(*args)["main"]
    # What never ran before runs in a child process.
    assert "onnxruntime" in second - first
    assert (first | second) & GPU_MODULES == set()


def test_run_that_finds_all_in_the_cache_loads_nothing_that_builds(pytester, loaded_by) -> None:
    save_linear(pytester.path / "models" / "linear.onnx", batch=4)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16", "int8"))
        @pytest.mark.trt_consistency()
        def test_it(trt_session, trt_inputs):
            trt_session.run(trt_inputs)

        @pytest.mark.trt_model("models/linear.onnx", precision="fp16")
        def test_facts(trt_engine):
            assert trt_engine.facts.half_weights_pct == 100
        """
    )
    args = ("--trt-cache-dir=cache", "--trt-arch=cpu")
    # Builds and first runs are in a child process.
    first, second = loaded_by(*args)["main"], loaded_by(*args)["main"]
    assert {"sqlite3", "onnxruntime"} & first == {"sqlite3"}
    assert {"sqlite3", "onnxruntime", "onnx"} & second == {"onnxruntime"}
    assert "onnxruntime" not in loaded_by(*args, "-k", "test_facts")["main"]


def test_witness_sees_what_a_project_loads_itself(pytester, loaded_by) -> None:
    pytester.makepyfile("import numpy\n\ndef test_one():\n    pass\n")
    assert "numpy" in loaded_by()["main"]


def test_line_of_trt_model_names_every_keyword() -> None:
    # The lines are written apart from the markers, so that registering them loads no marker.
    keywords = {field.name for field in dataclasses.fields(ModelMarker)} - {"named"}
    assert all(keyword in MARKER_LINES["trt_model"] for keyword in keywords)


def test_every_marker_has_its_line() -> None:
    for name, line in MARKER_LINES.items():
        assert line.startswith(f"{name}(")
