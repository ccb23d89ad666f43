"""Tests on a real NVIDIA GPU with a real TensorRT.

They are skipped where there is none, and fail there when PYTEST_TRT_REQUIRE_GPU=1 says that there
must be one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import builders_networks
import networks
import pytest
from onnx import ModelProto

from pytest_trt.backends.devices.gpu import Gpu
from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Backend
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.files import locked

ROOT = Path(__file__).resolve().parents[2]

#: How long a run of pytest inside a test may take: a ResNet-50 in FP16 builds in about a minute.
INNER_LIMIT_S = 1500


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The GPU that CUDA would use first."""
    probe = probe_devices()
    reason = None if probe.gpus else probe.reason
    if importlib.util.find_spec("tensorrt") is None:
        reason = "tensorrt is not installed"
    if reason is None:
        return probe.gpus[0]
    if os.environ.get("PYTEST_TRT_REQUIRE_GPU") == "1":
        pytest.fail(f"PYTEST_TRT_REQUIRE_GPU=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def backend(gpu: Gpu) -> Backend:
    """TensorRT."""
    return make_backend("tensorrt", probe=probe_devices(), threads=0)


@pytest.fixture(scope="module")
def engine_of(
    gpu: Gpu, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Engine]:
    """Build a model: `engine_of(proto, "fp16", "conv1")`, calibrated on `builders_networks.sample`.

    Few tactics are timed.
    """
    folder = tmp_path_factory.mktemp("engines")

    def build(proto: ModelProto, precision: str, *keep_fp32: str) -> Engine:
        model = builders_networks.saved(proto, folder / "model.onnx")
        level = {"builder_optimization_level": 1}
        return build_or_load(
            model=model,
            spec=EngineSpec(precision, builder_options=level, keep_fp32=keep_fp32),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(folder / "cache"),
            calibration=lambda: [builders_networks.sample(model)],
        )

    return build


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of xdist see, so that models and engines are made once."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def project(shared: Path) -> Callable[[str], Path]:
    """Return the folder of a project with its models in full size: `project("resnet50")`."""

    def laid_out(name: str) -> Path:
        folder = shared / "projects" / name
        folder.parent.mkdir(exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if not folder.exists():
                unfinished = networks.lay_out(name, folder.with_suffix(".part"), reduced=False)
                unfinished.rename(folder)
        return folder

    return laid_out


@pytest.fixture(scope="session")
def inner_pytest(shared: Path) -> Callable[..., pytest.RunResult]:
    """Run pytest in a folder, in a process of its own: `inner_pytest(folder, "-k", "fp16")`.

    All runs share one engine cache, unless `cache=` names another; `env=` changes the environment.
    """

    def run(
        folder: Path, *args: str, cache: Path = shared / "cache", env: dict[str, str] | None = None
    ) -> pytest.RunResult:
        plugin = [] if _is_installed() else ["-p", "pytest_trt.plugin"]
        options = [
            "-p",
            "no:cacheprovider",
            "--trt-localize=never",
            "--color=no",
            f"--trt-cache-dir={cache}",
        ]
        paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        # What xdist says to its workers is not for the pytest in here.
        environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST_XDIST_")}
        started_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plugin, *options, *args],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INNER_LIMIT_S,
            env={**environment, **(env or {})},
        )
        print(done.stdout, done.stderr, sep="\n")  # shown where the test fails
        took_s = time.monotonic() - started_s
        out, err = done.stdout.splitlines(), done.stderr.splitlines()
        return pytest.RunResult(done.returncode, out, err, took_s)

    return run


def _is_installed() -> bool:
    """Whether pytest finds the plugin by itself; a mere checkout has no entry point for it."""
    return any(entry.name == "trt" for entry in importlib.metadata.entry_points(group="pytest11"))
