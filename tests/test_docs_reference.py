"""The pages of docs/reference/ have everything that the code has, as it is now."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from builders_baseline import save_answers, save_baselines, stored
from builders_report import document, reported
from jsonschema import Draft202012Validator

import pytest_trt
from pytest_trt.baseline.entry import StoredNoise
from pytest_trt.baseline.file import write_baselines
from pytest_trt.baseline.metrics import MetricsEntry, MetricsFile, StoredMetric
from pytest_trt.engine.cache import LAYOUT
from pytest_trt.engine.cache_folder import PARTS
from pytest_trt.engine.cache_index import INDEX_NAME
from pytest_trt.engine.manifest import Manifest, PassedTest
from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.plugin import hookspecs
from pytest_trt.plugin.names import FIXTURES, MARKER_LINES
from pytest_trt.plugin.planning.markers import (
    MODEL_KEYWORDS,
    benchmark_keywords,
    consistency_keywords,
)

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


def text(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages() -> Iterator[Mapping[str, Callable[[], str]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]


def test_generated_pages_are_up_to_date(pages) -> None:
    old = [
        name
        for name, page in pages.items()
        if not (path := ROOT / "docs" / name).exists() or path.read_text("utf-8") != page()
    ]
    assert old == [], "run `python docs/generate.py`"


@pytest.mark.parametrize("folder", ["how-to", "reference", "explanation/decisions"])
def test_every_page_is_in_the_list_of_its_folder(folder) -> None:
    pages = {path.name for path in (ROOT / "docs" / folder).glob("*.md")} - {"index.md"}
    index = (ROOT / "docs" / folder / "index.md").read_text(encoding="utf-8")
    assert pages - set(re.findall(r"\]\(([\w.-]+)", index)) == set()


def test_every_fixture_has_a_section() -> None:
    shown = re.findall(r"^## `(\w+)`$", text("fixtures.md"), flags=re.MULTILINE)
    assert sorted(shown) == sorted(name for name in FIXTURES if not name.startswith("_"))


def test_every_public_name_is_in_the_api_once() -> None:
    shown = re.findall(r"^::: pytest_trt\.(\w+)$", text("api.md"), flags=re.MULTILINE)
    assert sorted(shown) == sorted(set(pytest_trt.__all__) - {"__version__"})
    assert "`pytest_trt.__version__`" in text("api.md")


MARKERS = {
    "trt_model": MODEL_KEYWORDS,
    "trt_consistency": consistency_keywords(),
    "trt_benchmark": benchmark_keywords(),
}


@pytest.mark.parametrize("marker", MARKERS)
def test_every_keyword_of_a_marker_is_shown(marker) -> None:
    keywords = sorted((*MARKERS[marker], "per_model"))
    table = text("markers.md").partition(f"\n## `{marker}`\n")[2].partition("\n\n#")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == keywords
    # `pytest --markers`
    assert [name for name in keywords if not re.search(rf"\b{name}\b", MARKER_LINES[marker])] == []


def test_every_hook_is_shown_and_described() -> None:
    hooks = sorted(name for name in vars(hookspecs) if name.startswith("pytest_"))
    described = re.findall(r"^::: pytest_trt\.plugin\.hookspecs\.(\w+)$", text("hooks.md"), re.M)
    assert sorted(described) == hooks
    (example,) = re.findall(r"```python\n(.*?)```", text("hooks.md"), flags=re.DOTALL)
    assert sorted(re.findall(r"^def (\w+)", example, flags=re.MULTILINE)) == hooks


def test_every_format_is_listed_with_its_schema() -> None:
    listed = re.findall(r"\]\((\S+)\.schema\.json\)", text("formats/index.md"))
    written = [path.name for path in (REFERENCE / "formats").glob("*.schema.json")]
    assert sorted(f"{stem}.schema.json" for stem in listed) == sorted(written)


def test_every_folder_of_the_cache_is_listed() -> None:
    names = [*(f"`{LAYOUT}/{part}/" for part in PARTS), f"`{LAYOUT}/{INDEX_NAME}`"]
    assert [name for name in names if name not in text("formats/index.md")] == []


def fits(stem: str, content: object) -> bool:
    schema = json.loads(text(f"formats/{stem}.schema.json"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema).is_valid(content)


def test_report_fits_its_schema() -> None:
    assert fits("report", document({"test_a": reported()}))
    assert not fits("report", {"schema": 2})


def test_stored_files_fit_their_schemas(tmp_path) -> None:
    noise = StoredNoise("2026-11-01T10:00:00+00:00", 5, 0.01, {"p50": 0.01})
    speed = {"test_a": stored(), "test_b": stored(noise=noise, layers=(("conv", "fp16", "a"),))}
    metric = MetricsEntry(noise.recorded, "TensorRT 8.6.0", {"accuracy": StoredMetric(0.9, 100)})
    metrics = tmp_path / "metrics.json"
    write_baselines(metrics, MetricsFile({"arch": "sm90"}, {"test_a": metric}))
    files = {
        "speed-baseline": save_baselines(tmp_path, speed),
        "task-metrics": metrics,
        "answers": save_answers(tmp_path, {"test_a": {"ab" * 10: {"y": np.ones((8, 4))}}}),
    }
    for stem, path in files.items():
        content = json.loads(path.read_text("utf-8"))
        assert fits(stem, content), stem
        del content["tests"]["test_a"]
        assert fits(stem, content), stem
        content["tests"]["test_a"] = {}
        assert not fits(stem, content), stem


def test_exported_manifest_fits_its_schema() -> None:
    manifest = Manifest(
        plan="m.plan",
        digest="a" * 64,
        size_bytes=4,
        model="m.onnx",
        model_digest="b" * 64,
        backend="tensorrt",
        precision="fp16",
        profiles=({"x": ((1, 8), (4, 8), (16, 8)), "size": {"values": ((1,), (2,), (3,))}},),
        options={"version_compatible": True, "builder_optimization_level": 5},
        toolchain=Toolchain("TensorRT", {"tensorrt": "10.3.0"}),
        target=Target("sm90", {"gpu": "NVIDIA H200"}),
        key="c" * 64,
        tests=(PassedTest("test_it.py::test_a", {"consistency": "passed"}),),
        tested="2026-11-01T10:00:00+00:00",
    )
    content = json.loads(manifest.to_text())
    assert fits("manifest", content)
    del content["report"]
    assert fits("manifest", content)
    del content["digest"]
    assert not fits("manifest", content)
