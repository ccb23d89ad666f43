"""How fast and how frugal the comparison is, beside numpy's and Polygraphy's, in one run.

    python tests/benchmarks/compare.py [--elements 100000000] [--quick]

The target: comparing ten elements takes at most as long as `numpy.testing.assert_allclose`.
Extra memory is the larger of two figures: what tracemalloc saw at its peak, and by how much the
process's resident set grew above what it was before the call. Times are the best of the repeats.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.tolerance import Tolerance

RTOL, ATOL = 1e-2, 1e-2


def ours(actual: np.ndarray, reference: np.ndarray, **fields: object) -> bool:
    tolerance = Tolerance(rtol=RTOL, atol=ATOL, **fields)
    return compare_outputs({"y": actual}, {"y": reference}, {"y": tolerance}).passed


def numpys(actual: np.ndarray, reference: np.ndarray) -> bool:
    try:
        np.testing.assert_allclose(actual, reference, rtol=RTOL, atol=ATOL)
    except AssertionError:
        return False
    return True


def polygraphys() -> Callable[[np.ndarray, np.ndarray], bool] | None:
    try:
        from polygraphy.comparator import CompareFunc, IterationResult
        from polygraphy.logger import G_LOGGER
    except ImportError:
        return None
    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        simple = CompareFunc.simple(rtol=RTOL, atol=ATOL)

    def run(actual: np.ndarray, reference: np.ndarray) -> bool:
        sides = IterationResult({"y": actual}, "engine"), IterationResult({"y": reference}, "ref")
        return bool(simple(*sides)["y"])

    return run


def seconds(function: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        gc.collect()
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def extra_megabytes(function: Callable[[], object]) -> float:
    """Peak memory of a call beyond what was there before: traced heap or resident set."""
    gc.collect()
    before, peak, done = resident_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident_bytes() - before)
            done.wait(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    tracemalloc.start()
    function()
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return max(peak, traced) / 2**20


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cases(size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(size, dtype=np.float32)
    noise = rng.standard_normal(size, dtype=np.float32)
    close = reference + 1e-3 * noise
    wrong = close.copy()
    wrong[::100] += 1.0
    return {
        "small differences": (close, reference),
        "identical": (reference.copy(), reference),
        "1% mismatching": (wrong, reference),
    }


def other_forms(size: int) -> dict[str, tuple[np.ndarray, np.ndarray, dict[str, object]]]:
    """Inputs for which no temporary of full size may appear either."""
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((size // 1000, 1000), dtype=np.float32)
    actual = reference + np.float32(1e-3)
    return {
        "float16": (actual.astype(np.float16), reference.astype(np.float16), {}),
        "transposed": (actual.T, reference.T, {}),
        "every other column": (actual[:, ::2], reference[:, ::2], {}),
        "with cosine": (actual, reference, {"cosine": 0.9}),
        "with top1": (actual, reference, {"top1": 0.1}),
        "with topk=(5, ...)": (actual, reference, {"topk": (5, 0.1)}),
        "topk, one long row": (actual.ravel(), reference.ravel(), {"topk": (5, 0.1)}),
        "1% NaN": (holed(actual), reference, {"nan": "ignore"}),
    }


def holed(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.ravel()[::100] = np.nan
    return copy


def report_large(size: int, repeats: int) -> None:
    polygraphy = polygraphys()
    print(f"two float32 outputs of {size:,} elements, rtol={RTOL:g}, atol={ATOL:g}")
    print(f"{'case':<20} {'compare_outputs':>24} {'assert_allclose':>20} {'Polygraphy simple':>20}")
    for name, (actual, reference) in cases(size).items():
        mine = seconds(partial(ours, actual, reference), repeats)
        memory = extra_megabytes(partial(ours, actual, reference))
        theirs = seconds(partial(numpys, actual, reference), 1)
        row = (
            f"{name:<20} {mine:>9.2f} s {memory:>8.1f} MB {theirs:>9.2f} s {theirs / mine:>6.1f}x "
        )
        if polygraphy is None:
            row += f"{'not installed':>20}"
        else:
            other = seconds(partial(polygraphy, actual, reference), 1)
            row += f"{other:>9.2f} s {other / mine:>6.1f}x"
        print(row, flush=True)


def report_forms(size: int) -> None:
    print(f"\nother forms, {size:,} elements")
    print(f"{'form':<20} {'time':>11} {'extra memory':>14}")
    for name, (actual, reference, fields) in other_forms(size).items():
        taken = seconds(partial(ours, actual, reference, **fields), 1)
        memory = extra_megabytes(partial(ours, actual, reference, **fields))
        print(f"{name:<20} {taken:>9.2f} s {memory:>11.1f} MB", flush=True)


def report_ratio(sizes: list[int]) -> None:
    """Print the median of interleaved pairs: what else the machine does slows both sides down."""
    print("\nclose outputs, interleaved")
    print(f"{'elements':<20} {'ours':>14} {'assert_allclose':>18}  ratio")
    for size in sizes:
        pair = cases(size)["small differences"]
        calls = max(1, min(200, 1_000_000 // size))
        rounds = 60 if size <= 100_000 else 15
        taken = np.array(
            [[seconds_of(side, pair, calls) for side in (ours, numpys)] for _ in range(rounds)]
        )
        mine, theirs = np.median(taken, axis=0)
        ratio = np.median(taken[:, 0] / taken[:, 1])
        print(f"{size:<20,} {mine * 1e6:>11,.0f} us {theirs * 1e6:>15,.0f} us {ratio:>6.2f}")


def seconds_of(function: Callable[..., bool], pair: tuple[np.ndarray, ...], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function(*pair)
    return (time.perf_counter() - start) / calls


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=100_000_000)
    parser.add_argument("--quick", action="store_true", help="only the ratio to assert_allclose")
    options = parser.parse_args()
    if not options.quick:
        report_large(options.elements, repeats=3)
        report_forms(options.elements // 4)
    report_ratio([10, 1_000, 100_000, 1_000_000, 10_000_000])
