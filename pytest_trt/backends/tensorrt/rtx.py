"""The TensorRT-RTX backend: builds on any machine for the RTX architectures, runs on their GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_trt.backends.devices.probe import DeviceProbe
from pytest_trt.backends.tensorrt import api as trt_api
from pytest_trt.backends.tensorrt.plan_header import read_plan_header
from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.diagnostics import ConfigurationError, EngineLoadError
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Session
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.terms import RTX_ARCHS, described

PRODUCT = Product(
    module="tensorrt_rtx",
    label="TensorRT-RTX",
    install="pip install 'pytest-trt[rtx]'.",
)


class TensorRtRtxBackend:
    """Builds engines with TensorRT-RTX, and runs them where there is an RTX GPU.

    Args:
        probe: The GPUs of this machine.
        build_timeout_s: Seconds that one build may take; 0 for no limit.
    """

    name = "tensorrt_rtx"

    def __init__(self, probe: DeviceProbe, *, build_timeout_s: float = 0) -> None:
        self._probe = probe
        self._build_timeout_s = build_timeout_s

    def toolchain(self) -> Toolchain:
        """TensorRT-RTX's version and CUDA line."""
        return PRODUCT.toolchain()

    def target(self, arch: str) -> Target:
        """The architecture alone: kernels are compiled for the GPU model when the plan runs."""
        return Target(arch)

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """The types in the model choose the precision, so it is converted."""
        chosen = _chosen(model, spec)
        trt_api.check_spec(model, spec, chosen)
        return chosen.route

    def build(self, request: BuildRequest) -> BuildResult:
        """Build one plan, in a child process, for the target's architecture.

        Raises:
            ConfigurationError: TensorRT-RTX does not build for it.
            EngineBuildError: The builder refused the model, failed, crashed or took too long.
        """
        member = compute_capability_member(
            PRODUCT.load(), request.target.arch, version=str(self.toolchain())
        )
        return trt_api.build(
            PRODUCT,
            request,
            _chosen(request.model, request.spec),
            device=None,  # the target says what it builds for, wherever it builds
            timeout_s=self._build_timeout_s,
            compute_capabilities=(member,),
        )

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run here."""
        return trt_api.cannot_run(self._probe, target)

    def open(self, plan: Path, model: OnnxModel, spec: EngineSpec, target: Target) -> Session:
        """Load a verified plan on the GPU of its target.

        Raises:
            EngineLoadError: That GPU is not here, or the plan was built for another one.
            BackendUnavailableError: CUDA cannot be used.
        """
        gpu, archs = self._probe.first(target.arch), read_plan_header(plan).archs or RTX_ARCHS
        if gpu is None or gpu.arch not in archs:
            reason = self.cannot_run(target) or f"the GPU to run it on is {gpu}"
            raise EngineLoadError(
                f"plan {plan} is for {', '.join(archs)}; {reason}.",
                fix="run it on a machine with such a GPU; here it can only be built.",
            )
        return trt_api.open_plan(PRODUCT, plan, model, spec, device=gpu.index)


def compute_capability_member(trt: Any, arch: str, *, version: str) -> str:
    """Return the member of ComputeCapability for an architecture: "SM86" for sm86.

    Raises:
        ConfigurationError: This version of TensorRT-RTX cannot build for it.
    """
    members = trt.ComputeCapability.__members__
    possible = [name.lower() for name in members if name.startswith("SM")]
    if arch not in possible:
        raise ConfigurationError(
            f"{version} does not build for {described(arch)}; it builds for {', '.join(possible)}.",
            fix="use TensorRT for data-centre GPUs (--trt-backend tensorrt, on a machine with "
            "one), or name one of these architectures with --trt-arch.",
        )
    return arch.upper()


def _chosen(model: OnnxModel, spec: EngineSpec) -> trt_api.PrecisionRoute:
    return trt_api.precision_route(model, spec.precision, weak_types=False)
