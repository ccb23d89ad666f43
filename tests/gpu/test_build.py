"""What becomes of real builds: ended in the middle, told of, and their timings kept."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import builders_networks as networks
import onnx
import pytest
from onnx import helper

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.diagnostics import EngineBuildError
from pytest_trt.engine.protocols import BuildRequest, BuildResult
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.engine.timing_cache import read_timings, timing_files, write_timings
from pytest_trt.tensors.profiles import parse_profiles

pytestmark = pytest.mark.gpu

TOKENS = dict.fromkeys(("ids", "mask"), ((1, 4), (4, 16), (8, 64)))


@pytest.fixture
def timing(tmp_path: Path) -> Path:
    """Where timing caches are kept."""
    (tmp_path / "timing").mkdir()
    return tmp_path / "timing"


@pytest.fixture
def build(gpu: Gpu, tmp_path: Path, timing: Path) -> Callable[..., BuildResult]:
    """Build a network into a folder of its own."""

    def run(
        proto: onnx.ModelProto,
        name: str = "engine",
        *,
        profiles: object = None,
        timeout_s: float = 0,
        progress: Callable[[str], None] = lambda text: None,
    ) -> BuildResult:
        backend = make_backend(
            "tensorrt",
            probe=probe_devices(),
            threads=0,
            build_timeout_s=timeout_s,
            timing_folder=timing,
        )
        folder = tmp_path / name
        folder.mkdir()
        model = networks.saved(proto, tmp_path / f"{name}.onnx")
        spec = EngineSpec(profiles=parse_profiles(profiles, model.inputs, where="test"))
        request = BuildRequest(model, spec, backend.target(gpu.arch), folder, progress=progress)
        try:
            return backend.build(request)
        except EngineBuildError:
            assert list(folder.iterdir()) == []
            raise

    return run


def test_a_builder_that_crashes_in_the_middle_is_an_error(build, gpu: Gpu) -> None:
    (children,) = Path("/proc/self/task").glob(f"{threading.get_native_id()}/children")
    earlier = set(children.read_text().split())

    def crash(text: str) -> None:
        if text.startswith("building encoder.onnx fp32 for"):
            (builder,) = set(children.read_text().split()) - earlier
            os.kill(int(builder), signal.SIGSEGV)

    with pytest.raises(EngineBuildError, match=r"TensorRT crashed \(SIGSEGV\)"):
        build(networks.encoder(), "encoder", profiles=TOKENS, progress=crash)


def test_a_build_that_takes_too_long_is_ended(build) -> None:
    # Importing TensorRT and starting CUDA take longer than that.
    with pytest.raises(EngineBuildError, match=r"took longer than --trt-build-timeout=0\.2"):
        build(networks.conv_net(batch=8), timeout_s=0.2)


def test_elapsed_time_is_reported(build, record_property) -> None:
    steps: list[str] = []
    build(networks.encoder(), "encoder", profiles=TOKENS, progress=steps.append)
    record_property("steps", steps[-20:])
    assert any(re.search(r"encoder\.onnx fp32 for sm\d+: \d+ s$", step) for step in steps)


PARENT = """
import os, sys
from pathlib import Path
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model

backend = make_backend("tensorrt", probe=probe_devices(), threads=0)
arch = probe_devices().gpus[0].arch
model, folder = load_model(sys.argv[1]), Path(sys.argv[2])
backend.build(BuildRequest(model, EngineSpec(), backend.target(arch), folder))
assert "cuda.bindings.runtime" not in sys.modules
# realpath: the listing's own descriptor is closed by now.
opened = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
print(any("nvidia-uvm" in path for path in opened))
"""


def test_building_starts_no_cuda_in_this_process(gpu: Gpu, tmp_path: Path, record_property) -> None:
    model = networks.saved(networks.conv_net(batch=1), tmp_path / "conv.onnx")
    (tmp_path / "entry").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(model.path), str(tmp_path / "entry")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record_property("driver's memory device is open", done.stdout.strip())


def test_a_second_build_finds_the_timings_of_the_first(build, timing: Path) -> None:
    assert build(networks.conv_net(batch=8), "first").notes == ()
    (path,) = timing_files(timing)
    measured = read_timings(path)
    assert build(networks.conv_net(batch=8), "second").notes == ()
    assert len(read_timings(path)) >= len(measured) > 0


def test_builds_at_once_keep_the_timings_of_all(build, timing: Path) -> None:
    build(networks.conv_net(batch=8), "first")
    (path,) = timing_files(timing)
    alone = len(read_timings(path))
    with ThreadPoolExecutor(2) as pool:
        batches = {f"batch{size}": networks.conv_net(batch=size) for size in (4, 16)}
        results = list(pool.map(build, batches.values(), batches))
    assert [result.notes for result in results] == [(), ()]
    assert len(read_timings(path)) > alone


@pytest.mark.parametrize("damage", ["changed", "foreign"])
def test_a_damaged_file_of_timings_is_replaced(build, timing: Path, damage: str) -> None:
    build(networks.conv_net(batch=8), "first")
    (path,) = timing_files(timing)
    whole, timings = path.read_bytes(), read_timings(path)
    changed = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    path.write_bytes({"changed": changed, "foreign": timings}[damage])
    (note,) = build(networks.conv_net(batch=8), "second").notes
    assert re.search(r"was deleted: .*; tactics are timed again$", note)
    assert read_timings(path)


@pytest.mark.parametrize("damage", ["cut", "other words"])
def test_timings_that_the_builder_cannot_use_do_no_harm(
    build, timing: Path, damage: str, record_property
) -> None:
    """Whole files of the wrong content, which another version might leave: it may say so or not."""
    build(networks.conv_net(batch=8), "first")
    (path,) = timing_files(timing)
    timings = read_timings(path)
    useless = {"cut": timings[: len(timings) // 2], "other words": b"no timings of TensorRT at all"}
    write_timings(path, useless[damage])
    record_property("notes", build(networks.conv_net(batch=8), "second").notes)
    assert read_timings(path) not in useless.values()
    assert build(networks.conv_net(batch=8), "third").notes == ()


def test_an_unknown_operator_is_named(build) -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="acme")
    values = [networks.value("x", [2])], [networks.value("y", [2])]
    proto = networks.model([node], *values, opset=17)
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(EngineBuildError) as caught:
        build(proto)
    assert caught.value.message.endswith(
        "node 'odd' (Frobnicate): no such operator, and no such plugin"
    ) or caught.value.message.endswith("; unknown: Frobnicate")
    assert "plugin_libraries=" in caught.value.diagnostic.remedy.text
