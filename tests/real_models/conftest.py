"""Pretrained models that other people published, taken from the packages that ship them.

The packages are installed without their dependencies and never imported: the ONNX files in them are
read where they lie. A test whose package is missing is skipped, and fails where
PYTEST_TRT_REQUIRE_MODELS=1 says that it must be there.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, numpy_helper

HERE = Path(__file__).parent

#: Files of which every run takes all tests: speech, text, file types and metrics of small models.
_QUICK = {"test_metrics.py", "test_precisions.py", "test_recurrent.py", "test_text.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark most tests of real models: each builds or runs a large one."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.name not in _QUICK:
            item.add_marker(pytest.mark.exhaustive)


class ModelProject:
    """A folder in which tests of one model are written and run.

    Attributes:
        path: The folder.
    """

    def __init__(self, pytester: pytest.Pytester, cache: Path) -> None:
        self.path = pytester.path
        self._pytester = pytester
        self._cache = cache

    def run(self, source: str, *args: str, **values: object) -> pytest.RunResult:
        """Write a test file and run it on the CPU unless `args` name another architecture.

        `values` become constants at the file's top.
        """
        return self._pytester.runpytest_inprocess(*self._written(source, args, values))

    def run_apart(self, source: str, *args: str, **values: object) -> pytest.RunResult:
        """Do what `run` does, in a process of its own."""
        return self._pytester.runpytest_subprocess(*self._written(source, args, values))

    def _written(self, source: str, args: Sequence[str], values: Mapping[str, object]) -> list[str]:
        """Write a test file, and return the arguments to run it."""
        lines = [
            f"{name} = {str(v)!r}" if isinstance(v, Path) else f"{name} = {v!r}"
            for name, v in values.items()
        ]
        head = ["import numpy as np", "import pytest", *lines]
        self._pytester.makepyfile(test_it="\n".join(head) + "\n" + source)
        return [
            f"--trt-cache-dir={self._cache}",
            "--trt-arch=cpu",
            "--trt-threads=1",
            "-Werror",
            "--trt-localize=never",
            "-pno:cacheprovider",
            *args,
        ]

    def stored(self, pattern: str) -> int:
        """Return how many files of the cache match a pattern."""
        return len(list(self._cache.rglob(pattern)))


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One engine cache for all tests: a failing counterpart reuses what its passing twin built."""
    return tmp_path_factory.mktemp("cache") / "engines"


@pytest.fixture
def project(pytester: pytest.Pytester, _cache: Path) -> ModelProject:
    return ModelProject(pytester, _cache)


@pytest.fixture
def package_file() -> Callable[[str, str], Path]:
    """Find a file that a package ships: `package_file("nudenet", "320n.onnx")`."""
    return _package_file


def _package_file(package: str, name: str) -> Path:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        reason = f"package {package} is not installed"
        if os.environ.get("PYTEST_TRT_REQUIRE_MODELS") == "1":
            pytest.fail(f"{reason}, but PYTEST_TRT_REQUIRE_MODELS=1", pytrace=False)
        pytest.skip(reason)
    found = [Path(str(file.locate())) for file in files if file.as_posix().endswith(f"/{name}")]
    assert len(found) == 1, f"{package} ships {len(found)} files {name}"
    return found[0]


@pytest.fixture
def perturbed(tmp_path: Path) -> Callable[[Path, float], Path]:
    """Copy a model with its largest weights scaled: `perturbed(path, 1.05)`."""

    def write(path: Path, factor: float) -> Path:
        model = onnx.load(path)
        tensors = [t for t in _tensors(model.graph) if t.data_type == TensorProto.FLOAT]
        largest = max(np.prod(tensor.dims) for tensor in tensors)
        for tensor in tensors:
            if np.prod(tensor.dims) == largest:
                values = numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(model, tmp_path / "perturbed.onnx")
        return tmp_path / "perturbed.onnx"

    return write


def _tensors(graph: onnx.GraphProto) -> list[TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                found.append(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                found += _tensors(attribute.g)
    return found
