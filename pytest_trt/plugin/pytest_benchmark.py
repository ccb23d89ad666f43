"""Integration of pytest-benchmark: its options apply to our tests, its table shows our results.

Reports of ours are written in the format of its storage, too. Loaded wherever pytest-benchmark is,
and light for that. What gates the rounds of its own fixture is in `plugin.benchmark`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_trt.plugin.state import plan_of

#: Why nothing is measured under its option.
DISABLED = "--benchmark-disable, so it ran once and was not timed"

_SKIPPED = "Skipping benchmark (--benchmark-skip active)."


class PytestBenchmarkHooks:
    """The hooks of a run in which pytest-benchmark takes part.

    Args:
        config: The run's configuration.
        run_and_judge: Runs a test that its fixture times, and judges the rounds.
    """

    def __init__(
        self,
        config: pytest.Config,
        run_and_judge: Callable[[pytest.Item, Any], AbstractContextManager[None]],
    ) -> None:
        self._config, self._run_and_judge = config, run_and_judge
        self._rows: dict[str, object] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Let `--benchmark-skip` and `--benchmark-only` mean our benchmarks too."""
        only, skip = self._config.option.benchmark_only, self._config.option.benchmark_skip
        for item in items if only or skip else ():
            if "trt_benchmark" not in getattr(item, "fixturenames", ()):
                continue
            if only:  # it took the test for none
                item.own_markers[:] = [mark for mark in item.own_markers if not _is_other(mark)]
            else:
                item.add_marker(pytest.mark.skip(reason=_SKIPPED))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge what its fixture times, where a trt_benchmark marker is set."""
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        plan = plan_of(item) if fixture is not None else None
        if fixture is None or plan is None or plan.benchmark is None:
            return (yield)
        with self._run_and_judge(item, fixture):
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add our results to its own."""
        # xdist's workers report to the process that shows and writes them.
        if hasattr(self._config, "workerinput"):
            return
        session = self._config.pluginmanager.get_plugin("pytest-benchmark")
        benchmarks: list[Any] = session.benchmarks if session else []
        for speed in getattr(report, "trt", {}).get("speeds", ()):
            if not speed["calls"]:
                continue
            # Of a test that is run again the last attempt counts.
            earlier = self._rows.pop(speed["test"], None)
            if earlier is not None:
                benchmarks.remove(earlier)
            # What its own fixture timed is there already.
            if all(one.fullname != speed["test"] for one in benchmarks):
                row = self._rows[speed["test"]] = _as_benchmark(speed)
                benchmarks.append(row)


def extra_info(speed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what pytest-benchmark's columns do not show: percentiles, throughput, the verdict."""
    labels = ("verdict", "mode", "batch", "model", "precision", "arch", "toolchain")
    return {**speed["candidate"], **{label: speed[label] for label in labels}}


def _is_other(mark: pytest.Mark) -> bool:
    """Whether a marker is what pytest-benchmark skips tests without a benchmark by."""
    return mark.name == "skip" and "--benchmark-only" in str(mark.kwargs.get("reason"))


def storage_files(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what pytest-benchmark would have stored of each run of a report that timed something.

    Yields:
        The folder of the machine in its storage, and the content of the file.

    Raises:
        ImportError: pytest-benchmark is not installed.
    """
    from pytest_benchmark import __version__

    for number, run in enumerate(document["runs"]):
        benchmarks = [
            _as_benchmark(speed).as_dict() for speed in _timed(document) if speed["run"] == number
        ]
        if not benchmarks:
            continue
        system, _, platform = run["platform"].partition("-")
        python = run["versions"].get("python", "")
        machine = {"system": system, "release": platform, "python_version": python}
        targets = {"targets": [target["target"] for target in run["targets"]]}
        commit = {"id": run["commit"] or "unversioned", "time": None, "author_time": None}
        folder = f"{system}-CPython-{'.'.join(python.split('.')[:2])}-64bit"
        content = {
            "machine_info": {"node": "", "cpu": {}, **machine, **run["machine_facts"], **targets},
            "commit_info": {**commit, "dirty": None, "project": "", "branch": "(unknown)"},
            "benchmarks": benchmarks,
            "datetime": run["started"],
            "version": __version__,
        }
        yield folder.replace("/", "_"), content


def _timed(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what was timed in a report, as benchmark records name it."""
    for test in document["tests"]:
        for result in test["results"]:
            if result["speed"] and result["speed"]["candidate_rounds"]:
                own = {name: result[name] for name in ("model", "precision", "arch")}
                toolchain = document["engines"][result["engine"]]["toolchain"]
                named = {"test": test["id"], "run": test["run"], "toolchain": toolchain}
                yield {**result["speed"], **own, **named}


def _as_benchmark(speed: Mapping[str, Any]) -> Any:
    """Return a benchmark result as pytest-benchmark stores its own: our rounds are its rounds."""
    from pytest_benchmark.stats import Metadata

    function, bracket, parameters = speed["test"].partition("[")
    name = function.rpartition("::")[2] + bracket + parameters
    benchmark = Metadata(
        SimpleNamespace(
            name=name,
            fullname=speed["test"],
            group=None,
            param=parameters.removesuffix("]") or None,
            params={"trt_precision": speed["precision"], "trt_arch": speed["arch"]},
            extra_info=extra_info(speed),
            cprofile_stats=None,
            has_error=False,
        ),
        iterations=speed["calls"],
        options={"timer": f"pytest-trt, {speed['mode']}"},
    )
    # Throughput counts units of work per second of wall time; a round is seconds per call.
    rounds = speed["candidate_rounds"]
    if "throughput" in rounds:
        seconds = [speed["batch"] / throughput_qps for throughput_qps in rounds["throughput"]]
    else:
        seconds = [p50_ms / 1e3 for p50_ms in rounds["p50"]]
    for call_s in seconds:
        benchmark.stats.update(call_s)
    return benchmark
