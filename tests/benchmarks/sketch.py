"""What a stored sketch of a large output costs, and what it finds.

Printed are, for an output of 100 million float32 elements (400 MB): the size of its sketch, the
seconds to make and to compare it, the memory that comparing adds, and beside it the seconds of
comparing with the whole reference (targets: under 1 s, under 128 MB). Then how many of so many
planted changes are found: 1% of the elements, drawn at random, change by five times the tolerance,
up or down, with the smallest sample and with the default size (target: 99%).

Run: PYTHONPATH=. python tests/benchmarks/sketch.py [--elements 100000000] [--changes 1000]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.sketch import sketch_of, sketch_parts
from pytest_trt.accuracy.stored import compare_stored
from pytest_trt.accuracy.tolerance import Tolerance

DEFAULT_BYTES = 64_000
TOLERANCE = {"o": Tolerance(rtol=1e-2, atol=1e-2)}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def cost(elements: int) -> None:
    output = np.random.default_rng(0).standard_normal((elements // 1000, 1000), np.float32)
    started = time.perf_counter()
    sketch = sketch_of(output, DEFAULT_BYTES)
    made = time.perf_counter()
    before = peak_mb()
    assert compare_stored({"o": output}, {"o": sketch}, TOLERANCE).passed
    compared = time.perf_counter()
    grown = peak_mb() - before
    assert compare_outputs({"o": output}, {"o": output + np.float32(1e-3)}, TOLERANCE).passed
    whole = time.perf_counter()
    size = sum(part.nbytes for part in sketch_parts(sketch).values())
    print(f"{elements:,} elements: sketch of {size:,} bytes, {sketch.places.size:,} sampled")
    print(f"made in {made - started:.2f} s, compared in {compared - made:.2f} s, +{grown:.0f} MB")
    print(f"compared with the whole reference in {whole - compared:.2f} s")


def recall(changes: int) -> None:
    reference = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    rng = np.random.default_rng(1)
    for size in (1, DEFAULT_BYTES):
        sketch, found = sketch_of(reference, size), 0
        for _ in range(changes):
            output = reference.copy()
            places = rng.choice(output.size, output.size // 100, replace=False)
            allowed = 1e-2 + 1e-2 * np.abs(output[places])
            output[places] += 5 * allowed * rng.choice([-1, 1], places.size)
            found += not compare_stored({"o": output}, {"o": sketch}, TOLERANCE).passed
        print(f"{sketch.places.size:,} sampled: {100 * found / changes:.2f}% of {changes} found")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=100_000_000)
    parser.add_argument("--changes", type=int, default=1000)
    arguments = parser.parse_args()
    cost(arguments.elements)
    recall(arguments.changes)


if __name__ == "__main__":
    main()
