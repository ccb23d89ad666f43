"""What `pytest_trt` exports, as a user's own code sees it."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pytest_trt

#: A user's annotated test module, conftest and script.
USER = """
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from pytest_trt import (
    Benchmark,
    BenchmarkResult,
    Diagnostic,
    Engine,
    EngineFacts,
    EngineFactory,
    MetricRecorder,
    PytestTrtError,
    Reference,
    ReferenceSession,
    Session,
    SharedEngineFactory,
    Tolerance,
    compare_outputs,
)

Inputs: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


@pytest.mark.trt_consistency
def test_outputs(trt_session: Session, trt_inputs: Inputs) -> None:
    outputs: dict[str, npt.NDArray[np.generic]] = trt_session.run(trt_inputs)
    engine: Engine = trt_session.engine
    facts: EngineFacts = engine.facts
    assert outputs and facts.size_bytes < 1_000_000


def test_speed(trt_benchmark: Benchmark, trt_inputs: Inputs) -> None:
    result: BenchmarkResult = trt_benchmark(trt_inputs)
    p99: float | None = result.p99_ms
    assert p99 is not None and p99 < 10


def test_task(trt_metrics: MetricRecorder) -> None:
    trt_metrics.record("accuracy", 0.981, of=2000, limit="0.5 points")


def test_two(trt_build: EngineFactory, trt_reference: ReferenceSession) -> None:
    inputs = {"x": np.zeros((1, 8), np.float32)}
    expected = trt_reference.run(inputs)
    actual = trt_build(precision="fp16").run(inputs)
    comparison = compare_outputs(actual, expected, tolerance=Tolerance(rtol=1e-2, atol=1e-2))
    found: Sequence[Diagnostic] = comparison.diagnostics
    assert comparison.passed, str(comparison)
    assert not found


@pytest.fixture(scope="module")
def shared(trt_engines: SharedEngineFactory) -> Session:
    return trt_engines("models/model.onnx", precision="fp16")


class Server:
    version = "2"

    def run(self, inputs: Inputs) -> dict[str, npt.NDArray[np.generic]]:
        return dict(inputs)


def network(inputs: Inputs) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return np.zeros(3, np.float32), np.zeros(3, np.float32)


@pytest.fixture
def trt_reference(number: int, folder: Path) -> Reference:
    array = np.zeros((1, 8), np.float32)
    given: list[Reference] = [
        Server(),
        network,
        lambda inputs: inputs["x"],
        {"y": array},
        folder / "golden.npz",
        [{"inputs": {"x": array}, "outputs": {"y": array}}, "golden.npz"],
    ]
    return given[number]


def test_error() -> None:
    with pytest.raises(PytestTrtError) as caught:
        raise PytestTrtError("no", fix="yes")
    code: str = caught.value.diagnostic.code
    assert code
"""


@pytest.mark.exhaustive
def test_users_annotated_test_type_checks(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(USER)
    done = mypy(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.exhaustive
def test_wrong_use_does_not_type_check(tmp_path: Path) -> None:
    wrong = USER.replace("result.p99_ms", "result.p98_ms")
    for given in ("Server()", "network"):
        wrong = wrong.replace(f"        {given},", f"        ({given}, 3),")
    (tmp_path / "test_mine.py").write_text(wrong)
    done = mypy(tmp_path)
    assert done.returncode == 1
    assert 'has no attribute "p98_ms"' in done.stdout
    assert "List item 0 has incompatible type" in done.stdout
    assert "List item 1 has incompatible type" in done.stdout


def mypy(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `mypy --strict` as a user does, on the package that is installed."""
    package = Path(pytest_trt.__file__).parent.parent
    environment = {k: v for k, v in os.environ.items() if k != "MYPYPATH"}
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "test_mine.py"]
    if package.name != "site-packages":  # a checkout
        environment["MYPYPATH"] = str(package)
        command.append("--follow-imports=silent")
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_every_name_can_be_imported_and_explains_itself() -> None:
    for name in pytest_trt.__all__:
        found = getattr(pytest_trt, name)
        if name != "__version__":
            assert inspect.getdoc(found), name


def test_type_checkers_see_what_is_exported() -> None:
    tree = ast.parse(Path(pytest_trt.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(pytest_trt.__all__) <= seen


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pytest_trt.nothing


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, pytest_trt; print([m for m in sys.modules if m.startswith('pytest_trt.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pytest_trt.version']"


def test_comparison_works_in_any_script() -> None:
    expected = {"y": np.linspace(0, 1, 10, dtype=np.float32)}
    tolerance = pytest_trt.Tolerance(rtol=1e-3, atol=1e-3)
    assert pytest_trt.compare_outputs(expected, expected, tolerance=tolerance).passed
    wrong = {"y": expected["y"] + np.float32(0.5)}
    found = pytest_trt.compare_outputs(wrong, expected, tolerance=tolerance)
    assert not found.passed
    assert "over tolerance" in str(found)
