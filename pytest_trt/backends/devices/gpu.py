"""The GPUs of this machine as values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_trt.diagnostics import ConfigurationError, Remedy

NO_REMEDY = Remedy()


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        name: Marketing name, "NVIDIA H200".
        arch: Architecture, "sm90".
        uuid: "GPU-..." or "MIG-..."; empty if unknown.
        sm_count: Number of streaming multiprocessors; 0 if unknown.
        memory_bytes: Device memory; 0 if unknown.
        driver_version: "580.159.04", or the driver's CUDA version if only that is known.
        mig: Whether it is a MIG slice, or has MIG mode on.
        index: Its CUDA number in this process.
    """

    name: str
    arch: str
    uuid: str
    sm_count: int
    memory_bytes: int
    driver_version: str
    mig: bool
    index: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.arch})"


@dataclass(frozen=True, slots=True)
class DeviceProbe:
    """The GPUs that this process can use.

    Attributes:
        gpus: Usable GPUs, in CUDA's order.
        reason: Why there are none; empty if there are some.
        remedy: What to do about that; empty if there is nothing to do.
        is_masked: Whether CUDA_VISIBLE_DEVICES hides every GPU.
        chosen: The value of `--trt-device`, if that selected one GPU.
        left_out: The GPUs that it excluded.
    """

    gpus: tuple[Gpu, ...]
    reason: str
    remedy: Remedy = NO_REMEDY
    is_masked: bool = False
    chosen: str = ""
    left_out: tuple[Gpu, ...] = ()

    def first(self, arch: str) -> Gpu | None:
        """Return the first GPU of an architecture, on which its engines run."""
        return next((gpu for gpu in self.gpus if gpu.arch == arch), None)

    def only(self, device: str) -> DeviceProbe:
        """Return the probe with one GPU.

        Args:
            device: Its CUDA number, its UUID, or the beginning of its UUID.

        Raises:
            ConfigurationError: No GPU matches, or several do.
        """
        if not self.gpus:
            raise ConfigurationError(
                f"--trt-device {device}: no NVIDIA GPU ({self.reason})",
                fix=Remedy(
                    "run on a machine with an NVIDIA GPU, or drop --trt-device. If this is one:",
                    commands=("pytest-trt doctor --require=gpu",),
                ),
                code="TRT702",
                facts={"device": device, "reason": self.reason},
            )
        fitting = tuple(gpu for gpu in self.gpus if _matches(gpu, device))
        if len(fitting) != 1:
            what = f"{len(fitting)} GPUs match" if fitting else "no such GPU"
            here = ", ".join(f"{gpu.index} {gpu} {gpu.uuid}".rstrip() for gpu in self.gpus)
            raise ConfigurationError(
                f"--trt-device {device}: {what}; this machine has {here}",
                fix="name one GPU by its number or UUID. CUDA_VISIBLE_DEVICES decides which are "
                "visible and how they are numbered.",
                code="TRT702",
                facts={"device": device, "gpus": [gpu.uuid for gpu in self.gpus]},
            )
        left_out = tuple(gpu for gpu in self.gpus if gpu not in fitting)
        return replace(self, gpus=fitting, chosen=device, left_out=left_out)


def _matches(gpu: Gpu, device: str) -> bool:
    if device.isdecimal():
        return gpu.index == int(device)
    return gpu.uuid.lower().startswith(device.lower())
