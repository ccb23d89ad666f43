"""The TensorRT backend, 8.6 to 11, and the TensorRT-RTX backend, which also cross-builds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_trt.backends.devices.gpu import DeviceProbe
from pytest_trt.backends.tensorrt import api as trt_api
from pytest_trt.backends.tensorrt.debug_tensors import can_mark
from pytest_trt.backends.tensorrt.plan_header import header_of
from pytest_trt.backends.tensorrt.product import TENSORRT, TENSORRT_RTX, Product, precision_flags
from pytest_trt.diagnostics import BackendUnavailableError, ConfigurationError, EngineLoadError
from pytest_trt.engine.builder_options import holds_host_code
from pytest_trt.engine.finished import PlanContent, for_another
from pytest_trt.engine.protocols import BackendSession, BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.engine.timing_cache import timing_file
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import RTX_ARCHS, described


class TensorRtBackend:
    """Builds and runs engines with TensorRT.

    Args:
        probe: The GPUs of this machine.
        build_timeout_s: Time limit of one build in seconds; 0 for no limit.
        timing_folder: The folder of timing caches; None for no timing cache.
        product: TensorRT itself; a test passes a fake.
    """

    name = "tensorrt"

    def __init__(
        self,
        probe: DeviceProbe,
        *,
        build_timeout_s: float = 0,
        timing_folder: Path | None = None,
        product: Product = TENSORRT,
    ) -> None:
        self._product = product
        self._probe = probe
        self._build_timeout_s = build_timeout_s
        self._timing_folder = timing_folder

    def toolchain(self) -> Toolchain:
        """TensorRT's version and CUDA line."""
        return self._product.toolchain()

    def target(self, arch: str) -> Target:
        """The architecture and the GPU model: a plan is tuned for its multiprocessor count."""
        gpu = self._probe.first(arch)
        if gpu is None:
            return Target(arch)
        device = {"gpu": gpu.name, "sm_count": str(gpu.sm_count)}
        return Target(arch, {**device, "mig": "yes"} if gpu.mig else device)

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """Builder flags up to TensorRT 10, a converted model from 11 on."""
        chosen = self._chosen(model, spec)
        trt_api.check_spec(self.name, model, spec, chosen)
        return chosen.route

    def build(self, request: BuildRequest) -> BuildResult:
        """Build one plan, in a child process, on the GPU that the target names.

        Raises:
            BackendUnavailableError: This machine has no such GPU.
            EngineBuildError: The builder refused the model, failed, crashed or took too long.
        """
        return self._built(request)

    def _built(self, request: BuildRequest, *, observed: bool = False) -> BuildResult:
        device = self._device(request.target)
        chosen = self._chosen(request.model, request.spec)
        folder = self._timing_folder
        return trt_api.build(
            self._product,
            request,
            chosen,
            backend=self.name,
            device=device,
            timeout_s=self._build_timeout_s,
            timing_cache=folder and timing_file(folder, self.toolchain(), request.target),
            observed=observed,
        )

    def observe(
        self, request: BuildRequest, inputs: Tensors, tensors: Sequence[str]
    ) -> Tensors | None:
        """Build an engine that emits its unfused tensors, and run it once; see `debug_tensors`.

        Raises:
            PytestTrtError: It cannot be built, loaded or run.
        """
        if not can_mark(self._product.load()):
            return None
        plan = Plan(request.directory / self._built(request, observed=True).plan_name)
        model, spec, device = request.model, request.spec, self._device(request.target)
        session = trt_api.open_plan(self._product, plan, model, spec, device=device)
        try:
            return session.observe(inputs, tensors)
        finally:
            session.close()

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run here."""
        return trt_api.cannot_run(self._probe, target)

    def open(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> BackendSession:
        """Load a verified plan on the GPU of its target.

        Raises:
            EngineLoadError: This machine has no such GPU, or TensorRT refuses the plan.
            BackendUnavailableError: CUDA cannot be used.
        """
        gpu = self._probe.first(target.arch)
        if gpu is None:
            raise EngineLoadError(
                f"plan {plan.path} is for {target}; {self.cannot_run(target)}",
                fix="run it on a machine with the GPU that it was built for.",
                code="TRT323",
                facts={"model": str(model.path), "plan": str(plan.path), "arch": target.arch},
            )
        return trt_api.open_plan(self._product, plan, model, spec, device=gpu.index)

    def check_plan(self, plan: Plan, spec: EngineSpec, target: Target) -> None:
        """Check the product and version in the header of a finished plan; it has no architecture.

        Raises:
            EngineLoadError: Another product or version built it, or it is damaged.
        """
        trt_api.check_header(self._product, plan, spec)

    def read_plan(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> PlanContent:
        """Return the profiles and layers of a finished plan.

        Raises:
            EngineLoadError: TensorRT refuses it, or it has other inputs or outputs than the model.
        """
        return _read(self._product, plan, model, spec, self._device(target))

    def _chosen(self, model: OnnxModel, spec: EngineSpec) -> trt_api.PrecisionRoute:
        return trt_api.precision_route(
            model,
            spec.precision,
            precision_flags(self._product.load()),
            version=str(self._product.toolchain()),
            calibrator=trt_api.calibrator_of(spec),
        )

    def _device(self, target: Target) -> int:
        gpu = self._probe.first(target.arch)
        if gpu is None:
            raise BackendUnavailableError(
                f"TensorRT builds on the GPU itself, and {self.cannot_run(target)}",
                fix=f"run on a machine with an {target.arch} GPU, or cross-build with "
                "--trt-backend tensorrt_rtx.",
                code="TRT701",
                facts={"arch": target.arch, "backend": self.name},
            )
        return gpu.index


class TensorRtRtxBackend:
    """Builds engines with TensorRT-RTX anywhere, and runs them on RTX GPUs.

    Args:
        probe: The GPUs of this machine.
        build_timeout_s: Time limit of one build in seconds; 0 for no limit.
    """

    name = "tensorrt_rtx"

    def __init__(self, probe: DeviceProbe, *, build_timeout_s: float = 0) -> None:
        self._probe = probe
        self._build_timeout_s = build_timeout_s

    def toolchain(self) -> Toolchain:
        """TensorRT-RTX's version and CUDA line."""
        return TENSORRT_RTX.toolchain()

    def target(self, arch: str) -> Target:
        """The architecture alone: kernels are compiled for the GPU model when the plan runs."""
        return Target(arch)

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        """A converted model: its types choose the precision."""
        chosen = _chosen(model, spec)
        trt_api.check_spec(self.name, model, spec, chosen)
        return chosen.route

    def build(self, request: BuildRequest) -> BuildResult:
        """Build one plan, in a child process, for the target's architecture.

        Raises:
            ConfigurationError: TensorRT-RTX does not build for it.
            EngineBuildError: The builder refused the model, failed, crashed or took too long.
        """
        member = compute_capability_member(
            TENSORRT_RTX.load(), request.target.arch, version=str(self.toolchain())
        )
        return trt_api.build(
            TENSORRT_RTX,
            request,
            _chosen(request.model, request.spec),
            backend=self.name,
            device=None,  # builds for the target, on any machine
            timeout_s=self._build_timeout_s,
            compute_capabilities=(member,),
        )

    def cannot_run(self, target: Target) -> str | None:
        """Why engines for this target do not run here."""
        return trt_api.cannot_run(self._probe, target)

    def open(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> BackendSession:
        """Load a verified plan on the GPU of its target.

        Raises:
            EngineLoadError: This machine has no GPU that the plan was built for.
            BackendUnavailableError: CUDA cannot be used.
        """
        gpu, archs = self._probe.first(target.arch), header_of(plan).archs or RTX_ARCHS
        if gpu is None or gpu.arch not in archs:
            reason = self.cannot_run(target) or f"the GPU to run it on is {gpu}"
            raise EngineLoadError(
                f"plan {plan.path} is for {', '.join(archs)}; {reason}",
                fix="run it on a machine with such a GPU; this machine can only build it.",
                code="TRT323",
                facts={"model": str(model.path), "plan": str(plan.path), "archs": list(archs)},
            )
        return trt_api.open_plan(TENSORRT_RTX, plan, model, spec, device=gpu.index)

    def check_plan(self, plan: Plan, spec: EngineSpec, target: Target) -> None:
        """Check the product, version and architectures in the header of a finished plan.

        Raises:
            EngineLoadError: It is for another of them, or damaged.
        """
        trt_api.check_header(TENSORRT_RTX, plan, spec)
        archs = header_of(plan).archs or RTX_ARCHS
        if target.arch not in archs:
            raise for_another(plan.path, "TRT323", ", ".join(archs), target.arch)

    def read_plan(
        self, plan: Plan, model: OnnxModel, spec: EngineSpec, target: Target
    ) -> PlanContent:
        """Return the profiles and layers of a finished plan.

        Raises:
            EngineLoadError: TensorRT-RTX refuses it, or it has other inputs or outputs than the
                model.
            BackendUnavailableError: This machine has no such GPU.
        """
        gpu = self._probe.first(target.arch)
        if gpu is None:
            raise BackendUnavailableError(
                f"the plan {plan.path} cannot be read: {self.cannot_run(target)}",
                fix="run on a machine with the GPU that it is for.",
                code="TRT701",
                facts={"arch": target.arch, "backend": self.name},
            )
        return _read(TENSORRT_RTX, plan, model, spec, gpu.index)


def _read(
    product: Product, plan: Plan, model: OnnxModel, spec: EngineSpec, device: int
) -> PlanContent:
    from pytest_trt.backends.tensorrt.finished import read_engine

    return read_engine(
        product.load(),
        plan,
        model,
        device=device,
        host_code=holds_host_code(spec.builder_options),
        plugins=trt_api.libraries_to_load(model, spec),
        version=str(product.toolchain()),
    )


def compute_capability_member(trt: Any, arch: str, *, version: str) -> str:
    """Return the member of ComputeCapability for an architecture: "SM86" for sm86.

    Raises:
        ConfigurationError: This version of TensorRT-RTX cannot build for it.
    """
    members = trt.ComputeCapability.__members__
    possible = [name.lower() for name in members if name.startswith("SM")]
    if arch not in possible:
        raise ConfigurationError(
            f"{version} does not build for {described(arch)}; it builds for {', '.join(possible)}",
            fix="name one of these with --trt-arch, or use TensorRT on a machine with "
            "that GPU (--trt-backend tensorrt).",
            code="TRT703",
            facts={"arch": arch, "backend": "tensorrt_rtx", "version": version},
        )
    return arch.upper()


def _chosen(model: OnnxModel, spec: EngineSpec) -> trt_api.PrecisionRoute:
    calibrator = trt_api.calibrator_of(spec)
    return trt_api.precision_route(model, spec.precision, calibrator=calibrator)
