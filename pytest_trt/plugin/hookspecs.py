"""Hooks of pytest-trt that a conftest.py or another plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_trt.accuracy.result import AccuracyResult
    from pytest_trt.backends.selection import AdditionalBackend
    from pytest_trt.benchmark.result import BenchmarkResult


@pytest.hookspec
def pytest_trt_machine_facts(config: pytest.Config) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return facts of this machine that reports show with the versions.

    Called once, when the reports are written; under xdist in the process that writes them. Where
    two implementations return the same name, the conftest.py wins over plugins.

    Example:
        ```python
        def pytest_trt_machine_facts(config):
            return {"rack": os.environ["RACK"], "power_limit_w": "700"}
        ```

    Args:
        config: The run's configuration.
    """


@pytest.hookspec
def pytest_trt_backends(  # type: ignore[empty-body]
    config: pytest.Config,
) -> Mapping[str, AdditionalBackend]:
    """Return additional backends, by the name that `--trt-backend` takes.

    Called only where `--trt-backend` is not one of the plugin's own. A backend implements
    `pytest_trt.engine.protocols.Backend`; its factory is called once a run, when it is first used.

    Example:
        ```python
        def pytest_trt_backends(config):
            def factory(settings):
                from my_runtime.pytest import MyBackend
                return MyBackend(threads=settings.threads)

            return {"my_runtime": AdditionalBackend(factory, probe=lambda gpus: ("cpu",))}
        ```

    Args:
        config: The run's configuration.
    """


@pytest.hookspec
def pytest_trt_result(item: pytest.Item, result: AccuracyResult | BenchmarkResult) -> None:
    """Receive the result of a check once its verdict is known, before the test fails for it.

    Called in the call phase of the test, once per check and engine; under xdist in the worker. An
    exception fails the test.

    Example:
        ```python
        def pytest_trt_result(item, result):
            if isinstance(result, pytest_trt.BenchmarkResult):
                metrics.send(item.nodeid, result.candidate)
        ```

    Args:
        item: The test.
        result: What its check found, with the verdict.
    """
