"""The engines that `trt_benchmark(faster_than=...)` names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.plugin.planning.keywords import invalid
from pytest_trt.plugin.planning.markers import BenchmarkMarker, ModelMarker, parse_model
from pytest_trt.plugin.planning.named_models import NamedModel, model_of
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.wording import known_names

#: The opponent that is ONNX Runtime on the CPU.
EMBEDDED = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Opponent:
    """An engine that the one under test has to be faster than.

    Attributes:
        precision: Its precision; None for that under test.
        model: The other model, and how its engines are built; None for the model under test.
        embedded: Whether ONNX Runtime runs it on the CPU, whatever is under test.
    """

    precision: str | None = None
    model: ModelMarker | None = None
    embedded: bool = False


def same_engine(opponents: Mapping[str, Opponent], model: str, precision: str) -> tuple[str, ...]:
    """Return the names of opponents that are the engine under test itself.

    That ONNX Runtime is, at FP32, only shows when its engine is built.
    """
    return tuple(
        name
        for name, one in opponents.items()
        if not one.embedded
        and (one.precision == precision if one.model is None else one.model.id == model)
    )


def parse_opponents(
    names: Collection[str],
    marks: Sequence[pytest.Mark],
    test_file: Path,
    models: Sequence[NamedModel],
    *,
    additional: Collection[str],
    backend: str,
) -> dict[str, Opponent]:
    """Return the opponents of `faster_than` by name.

    A name is a precision, "onnxruntime", the id of a model that the markers name, or the path of
    another model, relative to the test file. Keywords of the markers hold for other models too.

    Raises:
        ConfigurationError: A name is none of these.
    """
    from pytest_trt.engine.spec import PRECISIONS

    known = {name: model for model in models for name in model.names if model.path is not None}
    found: dict[str, Opponent] = {}
    for name in names:
        if name in PRECISIONS:
            found[name] = Opponent(precision=name)
        elif name == EMBEDDED:
            found[name] = Opponent(precision="fp32", embedded=True)
        elif name in known or "/" in name or name.endswith(".onnx"):
            model = known.get(name) or model_of(name, test_file)
            found[name] = Opponent(model=parse_model(marks, test_file, model, additional, backend))
        else:
            raise invalid(
                BenchmarkMarker.NAME,
                f"{BenchmarkMarker.NAME}: faster_than names {name!r}, which is neither a precision "
                f"nor {EMBEDDED} nor a model",
                known_names("opponent", name, [*PRECISIONS, EMBEDDED, *known]),
            )
    return found


def check_same_inputs(
    opponents: Mapping[str, Opponent],
    inputs: Sequence[TensorSpec],
    interface: Callable[[Path], tuple[Sequence[TensorSpec], Sequence[TensorSpec]]],
) -> None:
    """Refuse other models that cannot run the inputs of the model under test.

    Raises:
        ConfigurationError: The inputs of one differ in name or dtype.
    """
    own = {spec.name: spec.dtype for spec in inputs}
    for name, one in opponents.items():
        if one.model is None:
            continue
        others = {spec.name: spec.dtype for spec in interface(one.model.path)[0]}
        if others != own:
            listed = ", ".join(f"{name} {dtype}" for name, dtype in others.items())
            raise ConfigurationError(
                f"faster_than names the model {name}, whose inputs differ from those of the model "
                f"under test: {listed}",
                fix="name a model that takes the same inputs.",
                code="TRT150",
                facts={"marker": BenchmarkMarker.NAME, "opponent": name},
            )


def nothing_to_compare(names: Collection[str]) -> ConfigurationError:
    """Return why a speed check is refused that compares an engine with itself alone."""
    listed = " and ".join(names)
    return ConfigurationError(
        f"faster_than names only {listed}, which is the engine under test, so the test cannot fail",
        fix="name another opponent, or test another precision or model.",
        code="TRT167",
        facts={"opponents": list(names)},
    )
