"""What becomes of every case of ONNX's own backend tests, in each precision.

ONNX ships about two thousand small models with inputs, at least one for each operator
(`onnx.backend.test`). They are generated here, not stored. A case counts if ONNX Runtime loads and
runs its model without optimisations; the plugin then builds an engine, runs it on the same inputs
and compares it with the reference. Prints how many cases end in which class:

    passed, failed       a verdict; small integers and sums overflow FP16 rightly, so both are fine
    model                refused because of the model: it has nothing that this precision changes
    refused              refused for another reason, by diagnostic code (target: none in fp32, at
                         most 1% in fp16)
    exception            ended in an exception that is not a PytestTrtError (target: none)

Exits with 1 if a target is missed.

Run: python tests/benchmarks/backend_data.py [--precision fp32,fp16,int8] [--match REGEX] [-v]
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.accuracy.resolve import default_tolerance
from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend
from pytest_trt.diagnostics import Diagnostic, PytestTrtError
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.protocols import Plan
from pytest_trt.engine.session import Session
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.tensors.profiles import Profile, parse_profiles

#: Kinds of cases whose models are in the package; the others would be downloaded.
_KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")

#: The code of models that have nothing that a precision changes.
_BECAUSE_OF_THE_MODEL = "TRT355"

#: The most cases that may be refused for another reason, as a share of those that ran.
_TARGETS = {"fp32": 0.0, "fp16": 0.01}


class Case(NamedTuple):
    """One model, its file, and its inputs by name."""

    name: str
    path: Path
    inputs: dict[str, Any]


class _Outcome(NamedTuple):
    """How a case ended: its class, the code or exception, and the message."""

    kind: str
    reason: str = ""
    message: str = ""


def cases(folder: Path, pattern: str = "") -> Iterator[Case]:
    """Write the models of all cases whose name matches into a folder, one after the other."""
    for kind in _KINDS:
        for case in sorted(load_model_tests(kind=kind), key=lambda one: one.name):
            if re.search(pattern, case.name):
                yield _written(case, folder)


def _written(case: Any, folder: Path) -> Case:
    path = folder / f"{case.name}.onnx"
    if case.model is None:
        source = Path(case.model_dir)
        model = onnx.load(source / "model.onnx")
        values = [
            numpy_helper.to_array(onnx.load_tensor(source / "test_data_set_0" / f"input_{i}.pb"))
            for i in range(len(list((source / "test_data_set_0").glob("input_*.pb"))))
        ]
    else:
        model, values = case.model, [_array(value) for value in case.data_sets[0][0]]
    onnx.save(model, path)
    names = [value.name for value in model.graph.input]
    return Case(case.name, path, dict(zip(names, values, strict=False)))


def _array(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    # Scalars of some cases are NumPy's scalars instead of arrays.
    return np.asarray(value) if isinstance(value, np.generic | float | int) else value


def runs(case: Case) -> bool:
    """Whether ONNX Runtime runs the case without optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(case.path), options)
        session.run_with_ort_values(None, {name: _value(v) for name, v in case.inputs.items()})
    except Exception:  # its exceptions have no other common base class
        return _runs_as_numpy(case)
    return True


def _runs_as_numpy(case: Case) -> bool:
    # Sequences and strings are no OrtValues that NumPy can make.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(case.path), options).run(None, case.inputs)
    except Exception:
        return False
    return True


def _value(array: Any) -> Any:
    array = np.asarray(array, order="C")
    number = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    if array.dtype.kind == "V":  # an ml_dtypes type, which ONNX Runtime takes as its bits
        bits = array.view(np.dtype(f"u{array.dtype.itemsize}"))
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, number)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _outcome(case: Case, precision: str, cache: EngineCache) -> _Outcome:
    try:
        failures = _failures(case, precision, cache)
    except PytestTrtError as error:
        code = error.diagnostic.code
        kind = "model" if code == _BECAUSE_OF_THE_MODEL else "refused"
        details = " | ".join(str(one) for one in error.diagnostic.details[:2])
        return _Outcome(kind, code, f"{error.diagnostic.message} [{details}]")
    except Exception as error:
        return _Outcome("exception", type(error).__name__, str(error).partition("\n")[0])
    if not failures:
        return _Outcome("passed")
    return _Outcome("failed", failures[0].code, failures[0].message)


def _failures(case: Case, precision: str, cache: EngineCache) -> tuple[Diagnostic, ...]:
    backend = OnnxRuntimeBackend(threads=1)
    model = load_model(case.path)
    engine = build_or_load(
        model=model,
        spec=EngineSpec(precision, _profiles(case, model)),
        target=backend.target("cpu"),
        backend=backend,
        cache=cache,
        calibration=lambda: (case.inputs,),
    )

    def tolerances(engine: Engine) -> dict[str, Any]:
        return {spec.name: default_tolerance(precision, spec.dtype) for spec in model.outputs}

    reference = backend.reference(model)
    check = ConsistencyCheck(tolerances, reference.run)
    opened = backend.open(Plan(engine.plan), model, engine.spec, engine.target)

    def observe(engine: Engine, inputs: Any, outputs: Any) -> None:
        if not isinstance(outputs, BaseException):
            check.observe(engine, inputs, outputs, case.name)

    session = Session(engine, lambda _: _Held(opened), observe)
    session.run(case.inputs)
    return check.diagnostics() if check.has_failed else ()


def _profiles(case: Case, model: OnnxModel) -> tuple[Profile, ...]:
    """Return a profile of the case's own shapes and values, if an input holds a shape."""
    if not model.shape_inputs:
        return ()
    ranges: dict[str, Any] = {}
    for spec in model.inputs:
        array = case.inputs[spec.name]
        if spec.name in model.shape_inputs:
            ranges[spec.name] = {"values": (tuple(np.ravel(array).tolist()),) * 3}
        elif spec.is_dynamic:
            ranges[spec.name] = (array.shape,) * 3
    return parse_profiles(ranges, model.inputs, where="the case")


class _Held:
    """A loaded session as a context that leaves it open."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __enter__(self) -> Any:
        return self._session

    def __exit__(self, *exc: object) -> None:
        pass


def _printed(precision: str, outcomes: dict[str, _Outcome], verbose: bool) -> bool:
    """Print the classes of one precision; return whether it meets its targets."""
    total = len(outcomes)
    counts = collections.Counter(one.kind for one in outcomes.values())
    refused_pct = 100 * counts["refused"] / max(total, 1)
    print(f"\n{precision}: {total} cases that ONNX Runtime runs")
    for kind in ("passed", "failed", "model", "refused", "exception"):
        print(f"  {kind:<10}{counts[kind]:>6}{100 * counts[kind] / max(total, 1):>8.2f}%")
    reasons = collections.Counter((one.kind, one.reason) for one in outcomes.values() if one.reason)
    for (kind, reason), number in reasons.most_common():
        print(f"    {number:>4} {kind} {reason}")
    if verbose:
        for name, one in outcomes.items():
            if one.kind in ("refused", "exception", "failed"):
                print(f"    {one.kind} {name}: {one.reason} {one.message[:300]}")
    allowed = 100 * _TARGETS.get(precision, 1.0)
    return refused_pct <= allowed and not counts["exception"]


def main() -> int:
    """Run every case in every precision."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--precision", default="fp32,fp16,int8")
    parser.add_argument("--match", default="", help="cases whose name matches")
    parser.add_argument("-v", "--verbose", action="store_true", help="every case without a pass")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="backend-data-") as folder:
        running = [one for one in cases(Path(folder), arguments.match) if runs(one)]
        met = True
        for precision in arguments.precision.split(","):
            with tempfile.TemporaryDirectory(prefix="cache-") as root:
                outcomes = {}
                for number, case in enumerate(running):
                    # A cache of its own for some cases: a build looks at all entries of its cache.
                    cache = EngineCache(Path(root, str(number // 100)))
                    outcomes[case.name] = _outcome(case, precision, cache)
            met &= _printed(precision, outcomes, arguments.verbose)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
