"""How much of plain SHA-256's speed is left when a model's facts and digest are read.

Prints, for weights inside the file and in external data: MB/s of `hashlib.sha256` over the same
bytes, MB/s of `load_model`, their ratio (target: 0.9 or more) and the memory that `load_model`
added. Both are run in turn, and medians are compared, so that a busy machine slows both.

Run: python tests/benchmarks/digest.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from pytest_trt.onnx.file import load_model

_STEP_BYTES = 1 << 20
_LAYER_BYTES = 4_000_000
_COLUMNS = 1000


def _model(folder: Path, layers: int, *, external: bool) -> list[Path]:
    """Write matrix products with random weights; return the model and its data files."""
    rng = np.random.default_rng(0)
    data = folder / "weights.bin"
    nodes, tensors = [], []
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
        tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT)
        tensor.dims.extend([_COLUMNS, _LAYER_BYTES // 4 // _COLUMNS])
        weights = rng.bytes(_LAYER_BYTES)
        if external:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=data.name)
            tensor.external_data.add(key="offset", value=str(layer * _LAYER_BYTES))
            tensor.external_data.add(key="length", value=str(_LAYER_BYTES))
            with data.open("ab") as file:
                file.write(weights)
        else:
            tensor.raw_data = weights
        tensors.append(tensor)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", _COLUMNS])
        for name in ("x0", f"x{layers}")
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return [path, data] if external else [path]


def _plain(paths: list[Path]) -> None:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_STEP_BYTES))
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
    digest.hexdigest()


def _seconds(call, *args) -> float:
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


def _added_mb(path: Path) -> float:
    """Return by how much `load_model` raises the resident memory of a fresh process at its peak.

    From VmHWM, set back just before: getrusage's ru_maxrss survives exec, so that a child starts
    with its parent's peak and the difference would always be 0.
    """
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pytest_trt.onnx.file import load_model\n"
        "def kilobytes(key):\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith(key))\n"
        "Path('/proc/self/clear_refs').write_text('5')\n"
        "before = kilobytes('VmRSS')\n"
        "load_model(sys.argv[1])\n"
        "print(kilobytes('VmHWM') - before)"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(
        f"{'weights':<10}{'MB':>7}{'sha256 MB/s':>13}{'load MB/s':>11}{'ratio':>7}{'added MB':>10}"
    )
    for name, layers, external in (("inline", 50, False), ("external", 100, True)):
        with tempfile.TemporaryDirectory() as folder:
            paths = _model(Path(folder), layers, external=external)
            size_mb = sum(path.stat().st_size for path in paths) / 1e6
            _plain(paths)
            plain_s, load_s = [], []
            for _ in range(rounds):
                plain_s.append(_seconds(_plain, paths))
                load_s.append(_seconds(load_model, paths[0]))
            plain, load = statistics.median(plain_s), statistics.median(load_s)
            print(
                f"{name:<10}{size_mb:>7.0f}{size_mb / plain:>13.0f}{size_mb / load:>11.0f}"
                f"{plain / load:>7.2f}{_added_mb(paths[0]):>10.1f}"
            )


if __name__ == "__main__":
    main()
