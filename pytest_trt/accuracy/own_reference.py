"""A project's own reference: what its `trt_reference` fixture returns, as outputs by name."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_trt.accuracy.golden import golden_outputs
from pytest_trt.diagnostics import ConfigurationError, Fact, Remedy
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.elements import is_tensor
from pytest_trt.tensors.foreign import named_arrays
from pytest_trt.tensors.spec import Tensors
from pytest_trt.wording import count

_MISSING = object()

#: How far a network is searched for from what the fixture returned, step by step.
_DEPTH = 5

_TAKEN = (
    "return a function of the inputs by name, an object with run(inputs), golden outputs by name, "
    "or the path of a file."
)


class OwnReference:
    """Gives the outputs of a project's own reference.

    Args:
        given: What the fixture returned: a function, an object with `run`, golden outputs by name,
            a list of cases, or the path of a file of them.
        folder: Where relative paths begin.
        model: The model under test, whose outputs are compared.

    Attributes:
        model: The model under test.
        is_computed: Whether outputs are computed at each call, instead of recorded.
        version: What it declares as its version; empty if nothing.
        producer: Names it with its version, for outputs to be stored; empty without one.
        file: Where it is written: other files may have one of the same name.

    Raises:
        ConfigurationError: It is none of these, or declares a version that is none.
    """

    def __init__(self, given: object, folder: Path, model: OnnxModel) -> None:
        self.model, self.is_computed = model, True
        self.version = self.producer = self.file = ""
        self._given = given
        self._outputs: Callable[[Tensors], object]
        run = getattr(given, "run", None)
        if isinstance(given, type):
            raise _unusable(
                f"the trt_reference fixture returned the class {given.__name__} itself",
                f"return an object: {given.__name__}(...).",
            )
        if callable(run):
            self._outputs = run
        elif isinstance(given, str | Path | Mapping | list | tuple):
            self._outputs, self.is_computed = golden_outputs(given, folder, model).of, False
            return
        elif _is_torch_module(given):
            names = ", ".join(f'torch.from_numpy(inputs["{spec.name}"])' for spec in model.inputs)
            raise _unusable(
                f"the trt_reference fixture returned {type(given).__name__}, a torch.nn.Module: it "
                "takes tensors by position, and the inputs are NumPy arrays by name",
                Remedy("return a function:", (f"return lambda inputs: module({names})",)),
                type=type(given).__name__,
            )
        elif callable(given):
            self._outputs = given
        else:
            name = type(given).__name__
            raise _unusable(
                f"the trt_reference fixture returned {name}, which cannot be called and has no "
                "run()",
                _TAKEN,
                type=name,
            )
        version = getattr(given, "version", _MISSING)
        if version is not _MISSING:
            self.version = _checked_version(version)
            self.file, name = _written_in(given)
            file = Path(self.file).name
            self.producer = f"trt_reference {file} {name} version {self.version}"

    def outputs(self, inputs: Tensors) -> dict[str, Any]:
        """Return the outputs for inputs, by name, as NumPy arrays.

        Raises:
            ConfigurationError: The reference returned something else, or its golden outputs are
                of other inputs.
        """
        __tracebackhide__ = True
        # It may change its inputs in place.
        fed = copy.deepcopy(dict(inputs)) if self.is_computed else inputs
        return _by_name(self._outputs(fed), self.model)

    def in_training_mode(self) -> str:
        """Return the class of a PyTorch network of the reference that is in training mode, if any.

        Batch normalisation then uses the statistics of the batch, and dropout drops elements.
        """
        for one in _reached(self._given):
            if _is_torch_module(one):
                modules = [one, *one.modules()]
                if any(getattr(each, "training", False) is True for each in modules):
                    return type(one).__name__
        return ""


def _reached(given: object) -> Iterator[Any]:
    """Yield what a reference uses: through closures, globals, bound objects and attributes."""
    pending, seen = [(given, 0)], set[int]()
    while pending:
        one, depth = pending.pop()
        if id(one) in seen or depth > _DEPTH:
            continue
        seen.add(id(one))
        yield one
        if _is_torch_module(one):
            continue
        parts: list[object] = []
        if isinstance(one, functools.partial):
            parts += [one.func, *one.args, *one.keywords.values()]
        code = getattr(one, "__code__", None)
        if code is not None:
            found = getattr(one, "__globals__", {})
            parts += [found[name] for name in code.co_names if name in found]
            for cell in getattr(one, "__closure__", None) or ():
                with suppress(ValueError):  # it is empty
                    parts.append(cell.cell_contents)
        parts += [getattr(one, name, None) for name in ("__wrapped__", "__func__", "__self__")]
        if not isinstance(one, type | ModuleType) and code is None:
            parts += list(getattr(one, "__dict__", {}).values())
        of_use = (each for each in parts if not isinstance(each, ModuleType | type))
        pending += [(each, depth + 1) for each in of_use if each is not None]


def _is_torch_module(given: object) -> bool:
    names = {f"{one.__module__}.{one.__qualname__}" for one in type(given).__mro__}
    return "torch.nn.modules.module.Module" in names


def _checked_version(version: object) -> str:
    if isinstance(version, str) and version.strip():
        return version
    raise _unusable(
        f"the version of what the trt_reference fixture returned is {version!r}, not a string",
        'use a string that changes with its weights and code, such as version = "2", or remove it: '
        "outputs are then computed in each run.",
        type=type(version).__name__,
    )


def _written_in(given: object) -> tuple[str, str]:
    """Return the file of a function or of an object's class, and its name with its module."""
    while isinstance(given, functools.partial):
        given = given.func
    code: Any = given if hasattr(given, "__qualname__") else type(given)
    try:
        file = inspect.getfile(code)
    except (TypeError, OSError):  # built in, or typed at a prompt
        file = ""
    return file, f"{code.__module__}.{code.__qualname__}"


def _by_name(found: object, model: OnnxModel) -> dict[str, Any]:
    """Return outputs by name: of a mapping, or in the order of the model's outputs."""
    if isinstance(found, Mapping):
        if not all(isinstance(name, str) for name in found):
            raise _unusable(
                "trt_reference returned a mapping whose keys are not names of outputs",
                'return {"name": array}.',
                type=type(found).__name__,
            )
        return _arrays(found, model)
    ordered = found if isinstance(found, list | tuple) else [found]
    names = [spec.name for spec in model.outputs]
    if len(ordered) != len(names) or not all(is_tensor(one.dtype) for one in model.outputs):
        raise _unusable(
            f"trt_reference returned {type(found).__name__}: {count(len(ordered), 'value')} "
            f"without names, and the model has {count(len(names), 'output')}, "
            f"{', '.join(map(str, model.outputs))}",
            'return {"name": array} with every output of the model.',
            type=type(found).__name__,
            outputs=names,
        )
    return _arrays(dict(zip(names, ordered, strict=True)), model)


def _arrays(outputs: Mapping[str, object], model: OnnxModel) -> dict[str, Any]:
    try:
        return named_arrays(outputs, model.outputs)
    except ValueError as error:
        raise _unusable(
            f"trt_reference returned something that cannot be compared: output {error}",
            'return {"name": array}: NumPy arrays, or tensors of a type that NumPy has.',
        ) from error


def _unusable(message: str, fix: str | Remedy, **facts: Fact) -> ConfigurationError:
    return ConfigurationError(message, fix=fix, code="TRT157", facts=facts)
