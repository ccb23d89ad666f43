"""A plan that is not the one that was built here: detected before it is loaded, rebuilt, reported.

TensorRT itself loads a plan with a flipped byte without a word, and a plan is native code.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import builders_networks as networks
import pytest
from builders import save_linear
from builders_cache import edit_sidecar

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend
from pytest_trt.backends.tensorrt.plan_header import read_plan_header
from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import EngineCache, Entry
from pytest_trt.engine.protocols import BuildRequest, Plan
from pytest_trt.engine.spec import EngineSpec, Target
from pytest_trt.tensors.profiles import parse_profiles

pytestmark = pytest.mark.gpu

SOURCE = """
import numpy as np
import pytest

@pytest.mark.trt_model("linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})
@pytest.mark.trt_consistency
def test_it(trt_session):
    trt_session.run({"image": np.ones((3, 8), np.float32)})
"""

#: A plan's magic, layout, number of entries, size, and version: see `plan_header`.
HEADER = struct.Struct("<4sIQQ4B")


class Built:
    """A project whose engine is in its cache, and runs of it."""

    def __init__(self, folder: Path, run: Callable[..., pytest.RunResult]) -> None:
        self.folder = folder
        self._cache = folder / "cache"
        self._run = run
        save_linear(folder / "linear.onnx")
        (folder / "test_it.py").write_text(SOURCE)

    def run(self) -> pytest.RunResult:
        return self._run(self.folder, cache=self._cache)

    @property
    def entry(self) -> Entry:
        (entry,) = EngineCache(self._cache).entries()
        assert isinstance(entry, Entry)
        return entry


@pytest.fixture(scope="module")
def built(gpu, inner_pytest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One for the module: each test leaves a whole engine behind."""
    project = Built(tmp_path_factory.mktemp("wrong_plan"), inner_pytest)
    project.run().assert_outcomes(passed=1)
    return project


def flip_a_byte(plan: Path) -> None:
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)


def cut_the_end(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-100])


def put_a_plan_of_rtx(plan: Path) -> None:
    """A real one where TensorRT-RTX is installed; else one that begins like it."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        body = struct.pack("<4sQ", b"vtrt", 1 << 2) + bytes(1000)
        head = HEADER.pack(b"vtrt", 0, 2, HEADER.size + len(body), 1, 7, 1, 116)
        plan.write_bytes(head + body)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = networks.saved(networks.conv_net(batch=2), folder / "model.onnx")
        backend = TensorRtRtxBackend(DeviceProbe((), "not asked for"))
        done = backend.build(BuildRequest(model, EngineSpec(), Target("sm86"), folder))
        shutil.copy(folder / done.plan_name, plan)


def put_another_version(plan: Path) -> None:
    content = bytearray(plan.read_bytes())
    content[25] += 1  # the minor version
    plan.write_bytes(content)


def remove_it(plan: Path) -> None:
    plan.unlink()


@pytest.mark.parametrize(
    "damage", [flip_a_byte, cut_the_end, put_a_plan_of_rtx, put_another_version, remove_it]
)
def test_damaged_plan_is_rebuilt_and_reported(built: Built, damage: Callable[[Path], None]) -> None:
    plan = built.entry.plan
    damage(plan)
    result = built.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["note  linear.onnx fp32 *: the cached engine was damaged, so it was *"]
    )
    again = built.run()
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(["linear.onnx*cached*"])
    again.stdout.no_fnmatch_line("*damaged*")


def test_engine_of_another_version_is_left_alone_and_a_new_one_built(built: Built) -> None:
    entry = built.entry
    older = {**entry.sidecar.key_fields, "TensorRT": "8.5.3"}
    edit_sidecar(entry.folder, key="0" * 64, key_digest="0" * 64, key_fields=older)
    aside = entry.folder.with_name("linear-fp32-older")
    entry.folder.rename(aside)
    result = built.run()
    shutil.rmtree(aside)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["built linear.onnx fp32 *: *: TensorRT 8.5.3 -> *"])


@pytest.fixture
def build(gpu, tmp_path: Path):
    """Build one small network for a GPU as a probe describes it."""
    model = networks.saved(networks.conv_net(), tmp_path / "model.onnx")
    shapes = {"image": tuple((batch, 3, 16, 16) for batch in (1, 4, 8))}
    spec = EngineSpec(profiles=parse_profiles(shapes, model.inputs, where="test"))
    cache = EngineCache(tmp_path / "cache")

    def build(probe: DeviceProbe):
        backend = make_backend("tensorrt", probe=probe, threads=0)
        return build_or_load(
            model=model, spec=spec, target=backend.target(gpu.arch), backend=backend, cache=cache
        )

    return build


def test_engine_of_another_device_of_the_same_architecture_is_not_taken(gpu, build) -> None:
    probe = probe_devices()
    sister = dataclasses.replace(gpu, name=f"{gpu.name} MIG 3g", sm_count=gpu.sm_count // 2)
    first = build(DeviceProbe((sister, *probe.gpus[1:]), ""))
    second = build(probe)
    assert not second.cached
    assert first.plan != second.plan
    assert f"{sister.name} -> {gpu.name}" in second.reason
    assert f"{sister.sm_count} -> {gpu.sm_count}" in second.reason
    assert build(probe).cached


@pytest.mark.parametrize("damage", [put_a_plan_of_rtx, put_another_version])
def test_foreign_plan_is_refused_by_its_header(gpu, build, tmp_path: Path, damage) -> None:
    engine = build(probe_devices())
    plan = tmp_path / "foreign.plan"
    shutil.copy(engine.plan, plan)
    damage(plan)
    header = read_plan_header(plan)
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)
    with pytest.raises(EngineLoadError) as caught:
        backend.open(Plan(plan), engine.model, engine.spec, engine.target)
    assert f"was built by {header.product} {header.version}" in caught.value.message
    assert str(engine.toolchain) in caught.value.message


def test_a_plan_is_inspected_without_a_gpu(built: Built) -> None:
    plan = built.entry.plan
    done = subprocess.run(
        [sys.executable, "-c", "from pytest_trt.cli import main; main()", "inspect", str(plan)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    header = read_plan_header(plan)
    assert f"TensorRT {header.version} plan" in done.stdout
    assert "model     linear.onnx" in done.stdout
    assert "precision: fp32" in done.stdout
