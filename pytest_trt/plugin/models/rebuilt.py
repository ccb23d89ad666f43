"""Engines that a test builds again, neither from the cache nor with a timing cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pytest_trt.diagnostics import PytestTrtError, in_context
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import Backend, BuildRequest, Plan, Progress
from pytest_trt.onnx.unchanged import of_hashed_bytes
from pytest_trt.plugin.planning.refusals import no_rebuilds
from pytest_trt.plugin.run import TrtRun
from pytest_trt.tensors.calibration_data import CalibrationData
from pytest_trt.tensors.spec import Tensors


class RebuiltEngines:
    """Builds engines again, and runs them; their plans exist as long as the test.

    Each is loaded for one run: a GPU would not hold several large ones.

    Args:
        run: What all tests share.
        item: The test.
        calibration: Gives the inputs that int8 engines are calibrated on.
        task: Shows a long step while it lasts.
    """

    def __init__(
        self,
        run: TrtRun,
        item: pytest.Item,
        calibration: Callable[[], object],
        task: Callable[[str], AbstractContextManager[Progress]],
    ) -> None:
        self._run, self._item, self._calibration, self._task = run, item, calibration, task
        self._plans: dict[str, list[Plan]] = {}

    def outputs(self, engine: Engine, inputs: Tensors, total: int) -> Iterator[Tensors]:
        """Yield what engines that are built like another one return for inputs.

        Raises:
            PytestTrtError: One cannot be built, loaded or run.
        """
        if engine.finished:
            raise no_rebuilds(engine.model.path.name)
        arch = engine.target.arch
        backend = self._run.backend_without_timing_cache(arch)
        plans = self._plans.setdefault(engine.key.digest, [])
        for number in range(1, total + 1):
            where = f"rebuild {number} of {total}"
            try:
                if number > len(plans):
                    name = f"{where}: {engine.model.path.name} {engine.spec.precision} for {arch}"
                    with self._task(name) as say:
                        plans.append(self._built(backend, engine, say))
                outputs = self._outputs(backend, plans[number - 1], engine, inputs)
            except PytestTrtError as error:
                raise in_context(error, where) from None
            yield outputs

    def _built(self, backend: Backend, engine: Engine, say: Progress) -> Plan:
        temporary = TemporaryDirectory()
        self._item.addfinalizer(temporary.cleanup)
        folder = Path(temporary.name)
        given = self._calibration() if engine.route.needs_calibration else None
        samples = () if given is None else CalibrationData.of(given, engine.model.inputs)
        request = BuildRequest(engine.model, engine.spec, engine.target, folder, samples, say)

        def clear() -> None:
            for path in folder.iterdir():
                path.unlink()

        result = of_hashed_bytes(engine.model, lambda: backend.build(request), again=clear)
        return Plan(folder / result.plan_name)

    def _outputs(self, backend: Backend, plan: Plan, engine: Engine, inputs: Tensors) -> Tensors:
        embedded = self._run.embedded
        if backend is embedded:
            # In the child process: no run of this plan has shown yet that it is safe here.
            found = embedded.run_isolated(plan, engine.model, engine.spec, inputs)
            if found is not None:
                return found.outputs
        session = backend.open(plan, engine.model, engine.spec, engine.target)
        try:
            return session.run(inputs)
        finally:
            self._run.lost_device.release(session)
