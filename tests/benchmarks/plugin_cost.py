"""What the plugin costs a project that has nothing to do with it.

Prints two tables. The first: milliseconds that importing the plugin takes after pytest is imported
(target: under 15), beside what `import pytest` itself takes, and the modules that it loads beyond
its own (target: none of a vendor, no numpy, rich or click). The second: collecting 1,000 tests in
one file, in 100 files, and running them, with the plugin and without it (target: under 3% more).

Other plugins are left out (`-p no:...`), so that none of them makes this one's share smaller. Runs
with and without alternate, and the CPU time of the whole process counts, start and end included:
other work on the machine moves it less than wall time. "added" is the median of the differences
between neighbouring runs, over the median run without; the range is its 95% confidence interval
(order statistics), and least/least compares the quickest run of each side.

Where other work makes these figures jump, `--instructions` counts the instructions of one process
of each kind under valgrind instead. They are not time, but come out the same every time.

Run: python tests/benchmarks/plugin_cost.py [--rounds 25] [--instructions]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

_IMPORT = """
import json, sys, time
started = time.perf_counter()
import pytest
pytest_s = time.perf_counter() - started
before = set(sys.modules)
started = time.perf_counter()
import pytest_trt.plugin
plugin_s = time.perf_counter() - started
new = sorted(name for name in set(sys.modules) - before if not name.startswith("pytest_trt"))
print(json.dumps([pytest_s, plugin_s, new]))
"""

_ROOT = Path(__file__).parents[2]
_OTHERS = {entry.name for entry in entry_points(group="pytest11")} - {"trt"}
_PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *(f"-pno:{name}" for name in sorted(_OTHERS)),
)
_WITH, _WITHOUT = (), ("-pno:trt",)


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which bytecode is kept below a folder."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**environment, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def _imports(rounds: int, environment: dict[str, str]) -> None:
    pytest_ms, plugin_ms, modules = [], [], []
    for number in range(rounds + 1):
        command = [sys.executable, "-c", _IMPORT]
        out = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
        pytest_s, plugin_s, modules = json.loads(out)
        if number:  # the first process wrote the bytecode
            pytest_ms.append(pytest_s * 1000)
            plugin_ms.append(plugin_s * 1000)
    shares = [plugin / host for plugin, host in zip(plugin_ms, pytest_ms, strict=True)]
    print(f"{'import':<10}{'median ms':>11}{'least ms':>10}{'share of pytest':>17}")
    print(f"{'pytest':<10}{statistics.median(pytest_ms):>11.1f}{min(pytest_ms):>10.1f}")
    print(
        f"{'plugin':<10}{statistics.median(plugin_ms):>11.1f}{min(plugin_ms):>10.1f}"
        f"{statistics.median(shares):>17.1%}"
    )
    print(f"loaded beside its own modules: {', '.join(modules) or 'nothing'}\n")


def _project(folder: Path, files: int, tests: int) -> None:
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    body = "\n".join(f"def test_{i}():\n    assert {i} >= 0\n" for i in range(tests))
    for i in range(files):
        (folder / f"test_file_{i}.py").write_text(textwrap.dedent(body))


def _cpu_s(folder: Path, *args: str) -> float:
    """Return the CPU seconds of one pytest process."""
    command = [*_PYTEST, *args]
    environment = _environment(folder.parent)
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} in {folder} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _interval(values: list[float]) -> tuple[float, float]:
    """Return a 95% confidence interval of the median, by order statistics."""
    ordered, n = sorted(values), len(values)
    tail, rank = 0.0, 0
    while tail + math.comb(n, rank) / 2**n <= 0.025:
        tail += math.comb(n, rank) / 2**n
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[n - 1 - rank]


def _compare(folder: Path, title: str, rounds: int, *args: str) -> None:
    with_s, without_s = [], []
    for number in range(rounds + 1):
        pair = [(_WITHOUT, without_s), (_WITH, with_s)]
        # Each side goes first as often as the other.
        for options, times in pair if number % 2 else reversed(pair):
            times.append(_cpu_s(folder, *options, *args))
    # The first round writes bytecode and fills the file cache.
    with_s, without_s = with_s[1:], without_s[1:]
    base = statistics.median(without_s)
    added = [(a - b) / base for a, b in zip(with_s, without_s, strict=True)]
    low, high = _interval(added)
    print(
        f"{title:<24}{base * 1000:>12.0f}{statistics.median(with_s) * 1000:>12.0f}"
        f"{statistics.median(added):>9.1%}{f'{low:.1%} to {high:.1%}':>18}"
        f"{min(with_s) / min(without_s) - 1:>13.1%}"
    )


def _instructions(folder: Path, *args: str) -> int:
    """Return the machine instructions that one pytest process executes, in user space."""
    valgrind = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    ]
    environment = {**_environment(folder.parent), "PYTHONHASHSEED": "0"}
    result = subprocess.run(
        [*valgrind, *_PYTEST, *args], cwd=folder, env=environment, capture_output=True
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", result.stderr.decode())
    if result.returncode or not found:
        raise SystemExit(result.stderr.decode())
    return int(found[1].replace(",", ""))


def _count(folder: Path, title: str, *args: str) -> None:
    _cpu_s(folder, *args)  # writes the bytecode
    without, with_it = (_instructions(folder, *side, *args) for side in (_WITHOUT, _WITH))
    print(f"{title:<24}{without / 1e6:>12.0f}{with_it / 1e6:>12.0f}{with_it / without - 1:>9.1%}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--instructions", action="store_true")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    with tempfile.TemporaryDirectory() as temporary:
        one, many = Path(temporary) / "one", Path(temporary) / "many"
        _project(one, files=1, tests=1000)
        _project(many, files=100, tests=10)
        cases = (
            (one, "collect 1 x 1000", "--collect-only"),
            (many, "collect 100 x 10", "--collect-only"),
            (one, "run 1 x 1000"),
            (many, "run 100 x 10"),
        )
        if arguments.instructions:
            print(f"{'million instructions':<24}{'without':>12}{'with':>12}{'added':>9}")
            for case in cases:
                _count(*case)
            return
        _imports(rounds, _environment(Path(temporary)))
        print(
            f"{'1,000 tests':<24}{'without ms':>12}{'with ms':>12}{'added':>9}{'95% interval':>18}"
            f"{'least/least':>13}"
        )
        for folder, title, *args in cases:
            _compare(folder, title, rounds, *args)


if __name__ == "__main__":
    main()
