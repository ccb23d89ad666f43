"""Finished plans on a real GPU: built by TensorRT's own API, and tested as they are."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders_networks as networks
import onnx
import pytest
from gpu.test_wrong_plan import put_a_plan_of_rtx, put_another_version
from onnx import numpy_helper

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.engine.manifest import Manifest, PassedTest, manifest_path
from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.hashing import digest_file
from pytest_trt.onnx.file import load_model

pytestmark = pytest.mark.gpu

#: Enough that FP16 is faster, or builders keep FP32.
CHANNELS = 128

POINTS = ((1, 3, 16, 16), (8, 3, 16, 16), (32, 3, 16, 16))

PLANS = 'plan="dist/{stem}.{precision}.{arch}.plan"'

#: `other.onnx` has the same interface, and its plans are those of `net.onnx`.
SOURCE = f"""
import numpy as np
import pytest

from pytest_trt import InputError
from pytest_trt.tensors.profiles import ShapeRange

IMAGES = ShapeRange(*{POINTS})

# On an H200 the logits of fp16 differ by up to 0.025, those of the other model by 0.97.
@pytest.mark.trt_model(["net.onnx", "other.onnx"], precision=("fp32", "fp16"), {PLANS})
@pytest.mark.trt_consistency(by_precision={{"fp16": {{"rtol": 0.01, "atol": 0.05}}}})
def test_same(trt_session, trt_inputs, trt_precision):
    engine = trt_session.engine
    assert engine.finished and engine.spec.profiles == ({{"image": IMAGES}},)
    assert trt_inputs["image"].shape == IMAGES.opt
    if trt_precision == "fp16":
        assert engine.facts.weights_pct["half"] > 50
    for batch in (1, 32):
        trt_session.run({{"image": np.ones((batch, 3, 16, 16), np.float32)}})
    with pytest.raises(InputError):
        trt_session.run({{"image": np.ones((33, 3, 16, 16), np.float32)}})
    trt_session.run(trt_inputs)

@pytest.mark.trt_model("net.onnx", precision="fp16", {PLANS})
@pytest.mark.trt_benchmark(p50=None, p95=None, p99=None, throughput=None, plan_size_bytes=10**9)
def test_size(trt_benchmark, trt_inputs):
    trt_benchmark(trt_inputs)
"""

REFUSED = """
import pytest

@pytest.mark.trt_consistency
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.trt_model("net.onnx", plan=f"dist/{name}.plan"))
    for name in ("version", "product", "arch", "missing")
])
def test_refused(name, trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""

BUILT = """
import pytest

@pytest.mark.trt_model("net.onnx", profiles={"image": (8, 3, 16, 16)}, precision="fp16")
@pytest.mark.trt_consistency
def test_built(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""

SHIPPED = f"""
import pytest

@pytest.mark.trt_model("net.onnx", precision="fp16", {PLANS})
@pytest.mark.trt_consistency
def test_shipped(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def network_flags(trt: Any) -> int:
    """Return the flags of a network with an explicit batch: 11 has no such flag."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if explicit is None else 1 << int(explicit)


def build(trt: Any, model: Path, configure: Callable[[Any], None]) -> bytes:
    """Build a plan as a script of a user's does, without this package."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse(model.read_bytes())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *POINTS)
    config.add_optimization_profile(profile)
    configure(config)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)


def plain(trt: Any) -> Callable[[Any], None]:
    """As the API builds by default, in FP32 and not TF32."""
    return lambda config: config.clear_flag(trt.BuilderFlag.TF32)


def like_trtexec(trt: Any, gpu: Gpu) -> Callable[[Any], None]:
    """--fp16 --profilingVerbosity=detailed --hardwareCompatibilityLevel=ampere+."""

    def configure(config: Any) -> None:
        config.set_flag(trt.BuilderFlag.FP16)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if int(gpu.arch.removeprefix("sm")) >= 80:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS

    return configure


@pytest.fixture(scope="module")
def project(gpu: Gpu, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models of one interface, and plans of the first one for both."""
    trt = importlib.import_module("tensorrt")
    if not hasattr(trt.BuilderFlag, "FP16"):
        pytest.skip("this version of TensorRT has no builder flag for FP16")
    folder = tmp_path_factory.mktemp("plans")
    proto = networks.conv_net(channels=CHANNELS)
    onnx.save(proto, folder / "net.onnx")
    last = next(one for one in proto.graph.initializer if one.name == "b3")
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) + 1, "b3"))
    onnx.save(proto, folder / "other.onnx")
    (folder / "dist").mkdir()
    configured = {"fp32": plain(trt), "fp16": like_trtexec(trt, gpu)}
    for precision, configure in configured.items():
        plan = build(trt, folder / "net.onnx", configure)
        for stem in ("net", "other"):
            (folder / "dist" / f"{stem}.{precision}.{gpu.arch}.plan").write_bytes(plan)
    return folder


def test_plans_of_other_tools_are_tested_as_they_are(project: Path, inner_pytest) -> None:
    (project / "test_it.py").write_text(SOURCE)
    cache = project / "cache"
    result = inner_pytest(project, "-v", "test_it.py", cache=cache)
    # Of each plan, the test of its own model passes and the test of another one fails.
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*other.onnx, fp32, *TRT401*",
            "*other.onnx, fp16, *TRT401*",
            "net.onnx*finished plan*",
            "facts*plan dist/net.fp16.*digest*",
        ]
    )
    assert not list(cache.glob("v1/engines/*"))


def test_plan_for_something_else_is_refused_before_it_is_loaded(
    gpu: Gpu, project: Path, inner_pytest
) -> None:
    """By its header, or for the architecture, which headers of TensorRT lack, by its manifest."""
    (project / "test_refused.py").write_text(REFUSED)
    for name in ("version", "product", "arch"):
        shutil.copy(project / "dist" / f"net.fp32.{gpu.arch}.plan", project / f"dist/{name}.plan")
    put_another_version(project / "dist/version.plan")
    put_a_plan_of_rtx(project / "dist/product.plan")
    arch = project / "dist/arch.plan"
    manifest = Manifest(
        plan=arch.name,
        digest=digest_file(arch).digest,
        size_bytes=arch.stat().st_size,
        model="net.onnx",
        model_digest=load_model(project / "net.onnx").digest,
        backend="tensorrt",
        precision="fp32",
        profiles=(),
        options={},
        toolchain=Toolchain("TensorRT", {"tensorrt": "1"}),
        target=Target("sm50", {"gpu": "NVIDIA Quadro K2200"}),
        key="k" * 64,
        tests=(PassedTest("test_a", {"consistency": "passed"}),),
        tested="2026-01-01T00:00:00+00:00",
    )
    manifest_path(arch).write_text(manifest.to_text())
    result = inner_pytest(project, "test_refused.py", cache=project / "cache")
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "*version.plan was built by TensorRT *TRT321*",
            "*product.plan was built by TensorRT-RTX *TRT321*",
            "*arch.plan is for sm50 (NVIDIA Quadro K2200), but sm*is tested*TRT323*",
            "*there is no plan dist/missing.plan*TRT325*",
        ]
    )


def test_exported_plan_is_verified_and_passes_where_it_ships(
    gpu: Gpu, project: Path, inner_pytest
) -> None:
    (project / "test_built.py").write_text(BUILT)
    (project / "test_shipped.py").write_text(SHIPPED)
    cache = project / "cache"
    inner_pytest(project, "test_built.py", cache=cache).assert_outcomes(passed=1)

    def command(*args: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", "from pytest_trt.cli import main; main()", *args]
        return subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)

    name = f"net.fp16.{gpu.arch}.plan"
    before = (project / "dist" / name).read_bytes()
    refused = command("export", "test_built.py", "-o", "dist", f"--cache-dir={cache}")
    assert refused.returncode == 1
    assert "is another plan; --force overwrites it" in refused.stderr
    assert (project / "dist" / name).read_bytes() == before
    done = command("export", "test_built.py", "-o", "ships/dist", f"--cache-dir={cache}")
    assert done.returncode == 0, done.stderr
    ships = project / "ships"
    shutil.copy(project / "net.onnx", ships / "net.onnx")
    shutil.copy(project / "test_shipped.py", ships / "test_shipped.py")
    stored = json.loads(manifest_path(ships / "dist" / name).read_text())
    assert stored["target"]["arch"] == gpu.arch
    assert command("verify", "ships/dist").returncode == 0
    inner_pytest(ships, "test_shipped.py", cache=cache).assert_outcomes(passed=1)
    put_another_version(ships / "dist" / name)
    wrong = command("verify", "ships/dist")
    assert wrong.returncode == 1
    assert "has digest" in wrong.stderr
