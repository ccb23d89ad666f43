"""What it costs to collect one test over many models.

Collects a test under `trt_model("models/*.onnx")` with an accuracy check over 500 small models, and
a plain test that is parametrised 500 times, in processes of their own, one after the other. Prints
the CPU seconds of pytest's collection (without the start of the process), the median of the rounds,
and their ratio. Target: under 1 s for 500 models on an idle machine.

Run: python tests/benchmarks/zoo_collection.py [--models 500] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from builders import save_linear

_ROOT = Path(__file__).parents[2]

_CONFTEST = """
import time
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session):
    before_s = time.process_time()
    result = yield
    print(f"\\ncollected {session.testscollected} in {time.process_time() - before_s}")
    return result
"""

_ZOO = """
import pytest

@pytest.mark.trt_model("models/*.onnx")
@pytest.mark.trt_consistency
def test_it(trt_session):
    trt_session.run({})
"""

_PLAIN = """
import pytest

@pytest.mark.parametrize("number", range(NUMBER))
def test_it(number):
    pass
"""


def _collect_s(folder: Path, name: str, number: int) -> float:
    """Return the CPU seconds in which pytest collects a file."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    options = ("--co", "-q", "-s", "-p", "no:cacheprovider", "--trt-arch=cpu")
    command = [sys.executable, "-m", "pytest", *options, f"--trt-cache-dir={folder}/cache", name]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("collected "))
    _, tests, _, seconds = line.split()
    if int(tests) != number:
        raise SystemExit(done.stdout)
    return float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, number = Path(temporary), arguments.models
        for seed in range(number):
            save_linear(folder / "models" / f"model_{seed:04}.onnx", seed=seed)
        (folder / "conftest.py").write_text(_CONFTEST)
        (folder / "pytest.ini").write_text("[pytest]\n")
        files = {"test_zoo.py": _ZOO, "test_plain.py": _PLAIN.replace("NUMBER", str(number))}
        seconds: dict[str, list[float]] = {name: [] for name in files}
        for name, source in files.items():
            (folder / name).write_text(source)
        for _ in range(arguments.rounds + 1):
            for name, found in seconds.items():
                found.append(_collect_s(folder, name, number))
    # The first round writes bytecode.
    zoo_s, plain_s = (statistics.median(found[1:]) for found in seconds.values())
    print(f"{number} models: {zoo_s:.2f} s of CPU; {number} plain tests: {plain_s:.3f} s")
    print(f"ratio {zoo_s / plain_s:.1f}; {(zoo_s - plain_s) / number * 1000:.2f} ms per model")


if __name__ == "__main__":
    main()
