"""Random ways of writing and running tests with a wrong output: how many pass? Target: none.

    python tests/benchmarks/mutations.py [--count 500] [--seed 0]

Every mutation is a test file of `builders_ways.mutation`; a run has 25 of them, with random
options, and with those of these plugins that are installed: pytest-rerunfailures, flaky,
pytest-randomly, pytest-repeat, pytest-timeout, pytest-forked, pytest-asyncio, anyio. It exits with
1 and prints the files if a test passed or was skipped, or if a file neither ran nor was refused.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from builders import save_linear  # noqa: E402
from builders_ways import CONFTEST, HEAD, WAYS, mutation, read_outcomes  # noqa: E402

_PER_RUN = 25

#: Options by the module that they need, each as a shell would split it.
_OPTIONS = {
    "xdist": [
        *(f"-n2 --dist={mode}" for mode in ("load", "loadscope", "loadfile", "loadgroup")),
        "-n2 --dist=worksteal",
        "--dist=each --tx=2*popen",
    ],
    "pytest_rerunfailures": ["--reruns=1", "--reruns=2 --only-rerun=Failed"],
    "flaky": ["--force-flaky --max-runs=2"],
    "pytest_randomly": ["--randomly-seed=1", "--randomly-seed=2 --randomly-dont-reset-seed"],
    "pytest_repeat": ["--count=2"],
    "pytest_timeout": ["--timeout=300", "--timeout=300 --timeout-method=thread"],
    "pytest": [
        *("-p no:cacheprovider", "-Werror", "--lf", "--maxfail=1000", "-p no:randomly"),
        *("--import-mode=importlib", "-p no:threadexception", "--tb=no", "-q", "--durations=3"),
    ],
}


def _options(rng: random.Random) -> list[str]:
    """Return one to three options that go together."""
    modules = [name for name in _OPTIONS if importlib.util.find_spec(name)]
    chosen = rng.sample(modules, min(len(modules), rng.randint(1, 3)))
    return [word for name in chosen for word in rng.choice(_OPTIONS[name]).split()]


def _source(rng: random.Random) -> str:
    """Return a mutation, or sometimes a way that mutations have no part of."""
    if rng.random() < 0.75:
        return mutation(rng)
    ways = [
        way
        for way in WAYS.values()
        if not way.plugin and (not way.needs or importlib.util.find_spec(way.needs))
    ]
    return HEAD + rng.choice([way.source for way in ways if ">>>" not in way.source])


def _run(folder: Path, rng: random.Random, numbers: range) -> tuple[dict[str, Counter[str]], str]:
    (folder / "conftest.py").write_text(CONFTEST.replace("PLUGINS", "[]"))
    for model, nudge in (("linear", 0.0), ("reference", 0.5)):
        save_linear(folder / "models" / f"{model}.onnx", nudge=nudge)
    for number in numbers:
        (folder / f"test_{number:04}.py").write_text(_source(rng))
    options = _options(rng)
    if importlib.util.find_spec("pytest_asyncio"):  # which warns without it
        options.append("-oasyncio_default_fixture_loop_scope=function")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:2])}
    if extra := os.environ.get("PYTHONPATH"):
        env["PYTHONPATH"] += os.pathsep + extra
    if rng.random() < 0.1:
        env["PYTHONOPTIMIZE"] = "2"
        options.append("(PYTHONOPTIMIZE=2)")
    words = [word for word in options if not word.startswith("(")]
    cache = f"--trt-cache-dir={folder.parent / 'cache'}"
    command = [sys.executable, "-m", "pytest", "--continue-on-collection-errors"]
    done = subprocess.run(
        [*command, "--trt-arch=cpu", cache, "-c", "/dev/null", "--rootdir=.", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    found: dict[str, Counter[str]] = {f"{number:04}": Counter() for number in numbers}
    lines = folder / "outcomes.jsonl"
    for nodeid, outcome in read_outcomes(lines).items() if lines.exists() else ():
        found[Path(nodeid.partition("::")[0]).stem.removeprefix("test_")][outcome] += 1
    if done.returncode not in (1, 2):
        print(f"exit status {done.returncode}: {' '.join(options)}\n{done.stdout}{done.stderr}")
    return found, " ".join(options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    total: Counter[str] = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as root:
        for first in range(0, given.count, _PER_RUN):
            rng = random.Random(f"{given.seed}-{first}")
            folder = Path(root) / str(first)
            folder.mkdir()
            numbers = range(first, min(first + _PER_RUN, given.count))
            found, options = _run(folder, rng, numbers)
            for name, counts in found.items():
                total.update(counts)
                if counts["passed"] or counts["skipped"] or not counts:
                    wrong += 1
                    source = (folder / f"test_{name}.py").read_text().replace(HEAD, "")
                    print(f"--- {name}: {dict(counts) or 'never ran'} with {options}\n{source}")
            print(f"{numbers.stop} mutations, {dict(total)}, {wrong} wrong ({options})", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
