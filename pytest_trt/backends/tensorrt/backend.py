"""The TensorRT backend, 8.6 to 11: builds on the GPU that the engine will run on."""

from __future__ import annotations

from pathlib import Path

from pytest_trt.backends.devices.probe import DeviceProbe
from pytest_trt.backends.tensorrt import api as trt_api
from pytest_trt.backends.tensorrt.product import Product, has_weak_types
from pytest_trt.diagnostics import BackendUnavailableError, EngineLoadError
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Session
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.engine.timing_cache import timing_file
from pytest_trt.onnx.file import OnnxModel

PRODUCT = Product(
    module="tensorrt",
    label="TensorRT",
    install="pip install 'pytest-trt[tensorrt-cu12]' (or tensorrt-cu13).",
)


class TensorRtBackend:
    """Builds and runs engines with TensorRT.

    Args:
        probe: The GPUs of this machine.
        build_timeout_s: Seconds that one build may take; 0 for no limit.
        timing_folder: Where timing caches are kept; None keeps none.
    """

    name = "tensorrt"

    def __init__(
        self, probe: DeviceProbe, *, build_timeout_s: float = 0, timing_folder: Path | None = None
    ) -> None:
        self._probe = probe
        self._build_timeout_s = build_timeout_s
        self._timing_folder = timing_folder

    def toolchain(self) -> Toolchain:
        """TensorRT's version and CUDA line."""
        return PRODUCT.toolchain()

    def target(self, arch: str) -> Target:
        """The architecture, and the GPU model: a plan is tuned for its multiprocessor count."""
        gpu = self._probe.first(arch)
        if gpu is None:
            return Target(arch)
        device = {"gpu": gpu.name, "sm_count": str(gpu.sm_count)}
        return Target(arch, {**device, "mig": "yes"} if gpu.mig else device)

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """Builder flags up to TensorRT 10, a converted model from 11 on."""
        chosen = self._chosen(model, spec)
        trt_api.check_spec(model, spec, chosen)
        return chosen.route

    def build(self, request: BuildRequest) -> BuildResult:
        """Build one plan, in a child process, on the GPU that the target names.

        Raises:
            BackendUnavailableError: That GPU is not here.
            EngineBuildError: The builder refused the model, failed, crashed or took too long.
        """
        device = self._device(request.target)
        chosen = self._chosen(request.model, request.spec)
        folder = self._timing_folder
        return trt_api.build(
            PRODUCT,
            request,
            chosen,
            device=device,
            timeout_s=self._build_timeout_s,
            timing_cache=folder and timing_file(folder, self.toolchain(), request.target),
        )

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run here."""
        return trt_api.cannot_run(self._probe, target)

    def open(self, plan: Path, model: OnnxModel, spec: EngineSpec, target: Target) -> Session:
        """Load a verified plan on the GPU of its target.

        Raises:
            EngineLoadError: That GPU is not here, or TensorRT refuses the plan.
            BackendUnavailableError: CUDA cannot be used.
        """
        gpu = self._probe.first(target.arch)
        if gpu is None:
            raise EngineLoadError(
                f"plan {plan} is for {target}; {self.cannot_run(target)}.",
                fix="run it on a machine with the GPU that it was built for.",
            )
        return trt_api.open_plan(PRODUCT, plan, model, spec, device=gpu.index)

    def _chosen(self, model: OnnxModel, spec: EngineSpec) -> trt_api.PrecisionRoute:
        weak_types = has_weak_types(PRODUCT.load())
        return trt_api.precision_route(model, spec.precision, weak_types=weak_types)

    def _device(self, target: Target) -> int:
        gpu = self._probe.first(target.arch)
        if gpu is None:
            raise BackendUnavailableError(
                f"TensorRT builds on the GPU itself, and {self.cannot_run(target)}.",
                fix=f"run on a machine with an {target.arch} GPU, or cross-build with "
                "--trt-backend tensorrt_rtx.",
            )
        return gpu.index
