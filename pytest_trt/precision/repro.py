"""A folder that repeats a failing run without pytest: engine, inputs, outputs and a script."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import count as counting
from pathlib import Path
from typing import Any

import numpy as np

from pytest_trt import units
from pytest_trt.accuracy.evidence import Evidence
from pytest_trt.accuracy.result import OutputResult
from pytest_trt.backends.observing import repro_script
from pytest_trt.backends.observing.tensor_error import relative_error
from pytest_trt.backends.onnxruntime.options import ENTRIES, OPTIMIZATION_LEVELS
from pytest_trt.backends.onnxruntime.plan import loaded_level
from pytest_trt.diagnostics import Diagnostic, Remedy, as_typed
from pytest_trt.engine.builder_options import holds_host_code
from pytest_trt.escaping import terminal
from pytest_trt.tensors.elements import dtype_name
from pytest_trt.version import __version__

#: Characters of a folder's name that come from the test's.
_NAME_LENGTH = 80

#: Kinds of findings about elements: what the script judges by the same rule.
_ELEMENTWISE = frozenset({"mismatch", "nonfinite", "shape"})

_README = """# A run that failed

`python repro.py` repeats it: exit status 1 while the outputs differ from `expected.npz` as they
did, 0 if they no longer do, 2 if the engine cannot be run here. It needs numpy and {product}.

    python repro.py                         # the engine of this folder
    python repro.py --engine FILE           # another one, such as a new build

- test: `{test}`
- found: {fact}
- engine: `{engine}`, {precision}, built by {toolchain} for {target}
- `model/`: the model that it was built from
- `inputs.npz`, `expected.npz`: arrays in the order of the names in `versions.json`
- `versions.json`: versions, tolerances, and how the engine is loaded

A plan of TensorRT is native code: run only those of people whom you trust.
"""


def write_bundle(folder: Path, test: str, run: Evidence) -> Diagnostic:
    """Write a bundle into a new folder below another one.

    Returns:
        Where it is, or why none was written.
    """
    reason = _obstacle(run)
    if reason:
        return _not_written(test, reason)
    place = None
    try:
        place = _new_folder(folder, test, run)
        _write(place, test, run)
    except OSError as error:
        if place is not None:  # a part of a bundle repeats nothing
            shutil.rmtree(place, ignore_errors=True)
        return _not_written(test, f"{error.filename}: {error.strerror}")
    size_bytes = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return Diagnostic(
        "TRT455",
        f"the run can be repeated without pytest ({units.size(size_bytes)})",
        {"test": test, "folder": str(place), "size_bytes": size_bytes},
        remedy=Remedy("repeat it with:", (f"python {shlex.quote(as_typed(place / 'repro.py'))}",)),
        severity="note",
    )


def _not_written(test: str, reason: str) -> Diagnostic:
    return Diagnostic(
        "TRT456",
        f"no bundle was written for --trt-repro: {reason}",
        {"test": test, "reason": reason},
        severity="note",
    )


def _obstacle(run: Evidence) -> str:
    for side in (run.inputs, run.expected):
        for name, value in side.items():
            if not isinstance(value, np.ndarray):
                return f"{name!r} is of type {type(value).__name__}, not an array"
            if value.dtype.kind not in "fiub":
                kind = "text" if value.dtype.kind in "OU" else dtype_name(value.dtype)
                return f"{name!r} is {kind}, which its .npz files cannot hold"
    return ""


def _new_folder(folder: Path, test: str, run: Evidence) -> Path:
    """Make a folder with a name that any file system takes; one that exists stays as it is."""
    digest = hashlib.sha256(f"{test} {run.engine.key.digest}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", test).strip("-")[-_NAME_LENGTH:].strip("-")
    name = f"{plain or 'test'}-{run.engine.spec.precision}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in counting(1):
        place = folder / (name if number == 1 else f"{name}-{number}")
        try:
            place.mkdir()
        except FileExistsError:
            continue
        break
    return place


def _write(place: Path, test: str, run: Evidence) -> None:
    engine, about = run.engine, _about(test, run)
    shutil.copyfile(engine.plan, place / about["engine"])
    data = engine.plan.with_name(f"{engine.plan.name}.data")
    if data.exists():  # the plan names it
        shutil.copyfile(data, place / data.name)
    model = engine.model
    for part in (model.path, *model.external_files):
        inside = place / "model" / os.path.relpath(part, model.path.parent)
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(part, inside)
    own = [name for name in run.inputs if name in about["inputs"]]
    np.savez(place / "inputs.npz", *(run.inputs[name] for name in own))
    np.savez(place / "expected.npz", *(run.expected[name] for name in about["outputs"]))
    text = json.dumps(about, indent=2, ensure_ascii=True)
    (place / "versions.json").write_text(f"{text}\n", "utf-8")
    shutil.copyfile(repro_script.__file__, place / "repro.py")
    readme = _README.format(
        product=engine.toolchain.product,
        test=about["test"],
        fact=about["found"],
        engine=about["engine"],
        precision=engine.spec.precision,
        toolchain=engine.toolchain,
        target=engine.target,
    )
    (place / "README.md").write_text(readme, "utf-8")


def _about(test: str, run: Evidence) -> dict[str, Any]:
    """Return what the script needs to know, and what a reader wants to."""
    engine = run.engine
    model, spec = engine.model, engine.spec
    backend = dict(engine.key.fields)["backend"]
    libraries = model.custom_ops if backend == "onnxruntime" else model.plugin_libraries
    names = {one.name for one in model.inputs}
    found = [one.text for output in run.comparison.outputs for one in output.findings]
    return {
        "test": terminal(test),
        "found": terminal("; ".join(found)),
        "backend": backend,
        "module": backend,
        "engine": engine.plan.name,
        "level": OPTIMIZATION_LEVELS[loaded_level(engine.plan, spec)],
        "threads": 1,
        "session": ENTRIES,
        "host_code": holds_host_code(spec.builder_options),
        "libraries": [str(one.path) for one in libraries],
        "inputs": [name for name in run.inputs if name in names],
        "outputs": dict(_limits(run)),
        "toolchain": str(engine.toolchain),
        "versions": {
            **engine.toolchain.versions,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "pytest-trt": __version__,
        },
        "target": str(engine.target),
        "precision": spec.precision,
        "keep_fp32": list(spec.keep_fp32),
        "builder_options": dict(spec.builder_options),
        "model": {"name": model.path.name, "digest": model.digest},
    }


def _limits(run: Evidence) -> Iterator[tuple[str, dict[str, Any]]]:
    known = {one.name: one for one in run.comparison.outputs}
    by_metrics = all(one.passed for one in known.values())
    for name, expected in run.expected.items():
        if name in known:
            limits = _limits_of(known[name], run.outputs.get(name), expected)
            yield name, {**limits, "elementwise": limits["elementwise"] and not by_metrics}


def _limits_of(output: OutputResult, actual: Any, expected: Any) -> dict[str, Any]:
    """Return the tolerance of an output as the script applies it."""
    tolerance = output.tolerance
    kinds = {one.kind for one in output.findings}
    relative = math.inf
    if actual is not None and actual.shape == expected.shape:
        relative = relative_error(actual, expected)
    return {
        "rtol": tolerance.rtol,
        "atol": tolerance.atol,
        "max_mismatch_pct": tolerance.max_mismatch_pct,
        "nan": tolerance.nan,
        # What fails by cosine, top-1 or a metric alone is judged by the size of its error.
        "elementwise": tolerance.elementwise and (output.passed or bool(kinds & _ELEMENTWISE)),
        "relative": relative if math.isfinite(relative) else None,
    }
