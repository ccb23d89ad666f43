"""A fake TensorRT to build with, in processes of its own; see `fake_vendor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backends.lifeline import Lifeline
from builders import save_linear

from pytest_trt.backends.tensorrt.build_job import BuildJob, BuildPlan
from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.workers.warm import warm_builder

FAKE = Product("fake_vendor", "TensorRT", ("install it",))

CUDA_RUNTIME = """
import enum, sys

class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInvalidDevice = 101

def cudaGetDeviceCount():
    return cudaError_t.cudaSuccess, 2

def cudaDriverGetVersion():
    return cudaError_t.cudaSuccess, 13000

def cudaSetDevice(device):
    sys.stderr.write(f"device {device} is current\\n")
    return (cudaError_t.cudaSuccess if device < 2 else cudaError_t.cudaErrorInvalidDevice,)
"""


@pytest.fixture(autouse=True)
def _no_builder_stays() -> Iterator[None]:
    yield
    warm_builder.end()


@pytest.fixture
def linear(tmp_path: Path) -> OnnxModel:
    return load_model(save_linear(tmp_path / "linear.onnx"))


@pytest.fixture
def lifeline(tmp_path: Path) -> Lifeline:
    return Lifeline(tmp_path / "lifeline")


@pytest.fixture
def fake_product(monkeypatch: pytest.MonkeyPatch) -> Product:
    """The fake, which can be imported under its name."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return FAKE


@pytest.fixture
def fake_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices, in processes that are started from here."""
    package = tmp_path / "path" / "cuda" / "bindings"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "runtime.py").write_text(CUDA_RUNTIME)
    monkeypatch.syspath_prepend(package.parents[1])


@pytest.fixture
def job(tmp_path: Path, fake_product: Product) -> Callable[..., BuildJob]:
    """Return a job whose builder obeys the commands."""

    def make(
        *commands: str,
        product: Product = fake_product,
        device: int | None = None,
        name: str = "engine",
        **fields: object,
    ) -> BuildJob:
        source = tmp_path / f"{name}.txt"
        source.write_text("\n".join(commands))
        plan = BuildPlan(
            version="TensorRT 8.6.0",
            model_name="digits.onnx",
            title="digits.onnx fp16 for sm90",
            source=source,
            output=tmp_path / f"{name}.plan",
            **fields,  # type: ignore[arg-type]
        )
        return BuildJob(product, plan, device)

    return make
