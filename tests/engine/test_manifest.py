from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.engine.manifest import Manifest, PassedTest, manifest_path, read_manifest
from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.hashing import digest_file
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange

GIVEN: Any = {"image": ((1, 8), (4, 8), (16, 8)), "size": {"values": ((1,), (2,), (3,))}}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "m.plan"
    path.write_bytes(b"plan")
    return path


@pytest.fixture
def manifest(plan: Path) -> Manifest:
    return Manifest(
        plan=plan.name,
        digest=digest_file(plan).digest,
        size_bytes=4,
        model="m.onnx",
        model_digest="a" * 64,
        backend="tensorrt",
        precision="fp16",
        profiles=(GIVEN,),
        options={"version_compatible": True, "builder_optimization_level": 5},
        toolchain=Toolchain("TensorRT", {"tensorrt": "10.3.0"}),
        target=Target("sm90", {"gpu": "NVIDIA H200"}),
        key="k" * 64,
        tests=(PassedTest("test_it.py::test_a", {"consistency": "passed"}),),
        tested="2026-01-01T00:00:00+00:00",
    )


def test_what_is_written_is_read(plan: Path, manifest: Manifest) -> None:
    assert read_manifest(plan) is None
    manifest_path(plan).write_text(manifest.to_text())
    read = read_manifest(plan)
    assert read == manifest
    assert read.parsed_profiles == (
        {
            "image": ShapeRange((1, 8), (4, 8), (16, 8)),
            "size": ValueRange((1,), (2,), (3,)),
        },
    )
    read.check_plan(plan, manifest.digest, 4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("digest", "A" * 64, "digest: expected 64 hex digits"),
        ("size_bytes", 0, "size_bytes: expected 1 or more"),
        ("precision", "fp17", "precision: unknown precision 'fp17'"),
        ("profiles", [{"image": [[1], [2]]}], "profiles: expected {input: "),
        ("profiles", [{"image": [["a"], ["b"], ["c"]]}], "expected "),
        ("profiles", [{"image": [[1], [2, 3], [4]]}], "profiles: expected {input: "),
        ("tests", [], "tests: expected at least one test"),
        ("toolchain", {"product": "TensorRT", "versions": {}}, "expected at least one version"),
        ("schema", 2, "schema: expected 1, found 2"),
        ("options", {"a": [1]}, "expected "),
        ("more", 1, "more"),
        ("target", None, "target"),
    ],
)
def test_invalid_manifest_is_refused_and_the_field_named(
    plan: Path, manifest: Manifest, field: str, value: object, message: str
) -> None:
    data = {**json.loads(manifest.to_text()), field: value}
    manifest_path(plan).write_text(json.dumps(data))
    with pytest.raises(EngineLoadError) as caught:
        read_manifest(plan)
    assert message in caught.value.message
    assert caught.value.diagnostic.code == "TRT328"


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b" " * 10_000_001])
def test_file_that_is_no_manifest_is_refused(plan: Path, content: bytes) -> None:
    manifest_path(plan).write_bytes(content)
    with pytest.raises(EngineLoadError, match="does not match its plan"):
        read_manifest(plan)


def test_folder_in_its_place_is_refused(plan: Path) -> None:
    manifest_path(plan).mkdir()
    with pytest.raises(EngineLoadError, match="cannot be read: Is a directory"):
        read_manifest(plan)


def test_plan_that_is_not_the_tested_one_is_refused(plan: Path, manifest: Manifest) -> None:
    others = {"plan": "other.plan", "digest": "b" * 64, "size_bytes": 5}
    for field, value in others.items():
        other = replace(manifest, **{field: value})
        with pytest.raises(EngineLoadError, match="does not match its plan"):
            other.check_plan(plan, manifest.digest, 4)
