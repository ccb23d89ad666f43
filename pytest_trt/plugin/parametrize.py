"""Markers checked and tests multiplied, when tests are collected."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_trt.backends.selection import Selection
from pytest_trt.errors import ConfigurationError, PytestTrtError
from pytest_trt.model import distinct_points, parse_profiles
from pytest_trt.plugin.markers import (
    ModelMarker,
    read_consistency_marker,
    read_model_marker,
)
from pytest_trt.plugin.run import TrtRun


def parametrize(metafunc: pytest.Metafunc, run: TrtRun) -> None:
    """Check a test's markers; run it once for each architecture, precision and shape.

    Raises:
        pytest.Collector.CollectError: A marker is wrong; the text names the test.
        pytest.UsageError: What the options ask for cannot be tested on this machine.
    """
    item = metafunc.definition
    try:
        marker = read_model_marker(item)
        points = _points(marker, run) if marker and "trt_shape" in metafunc.fixturenames else ()
        if read_consistency_marker(item) is not None and marker is None:
            raise ConfigurationError(
                "trt_consistency has no model to check.",
                fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
            )
    except PytestTrtError as error:
        raise pytest.Collector.CollectError(f"{item.nodeid}: {error}") from error
    archs = tuple(selection.arch for selection in _selections(run))
    _multiply(metafunc, "trt_arch", archs)
    _multiply(metafunc, "trt_precision", marker.precision if marker else ())
    _multiply(metafunc, "trt_shape", points)


def _selections(run: TrtRun) -> Sequence[Selection]:
    try:
        return run.selections
    except PytestTrtError as error:
        raise pytest.UsageError(str(error)) from error


def _multiply(metafunc: pytest.Metafunc, fixture: str, values: Sequence[str]) -> None:
    # One value is no parameter: a test that is not multiplied keeps its plain name.
    if fixture in metafunc.fixturenames and len(values) > 1:
        metafunc.parametrize(fixture, values, ids=list(values))


def _points(marker: ModelMarker, run: TrtRun) -> tuple[str, ...]:
    model = run.model(marker.model, lambda message: None)
    profiles = parse_profiles(marker.profiles, model.inputs, where="trt_model")
    if len(profiles) < 2:
        return distinct_points(profiles[0] if profiles else None)
    return tuple(
        f"{index}-{point}"
        for index, profile in enumerate(profiles)
        for point in distinct_points(profile)
    )
