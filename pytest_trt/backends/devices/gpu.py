"""What is known of the GPUs of this machine, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_trt.diagnostics import ConfigurationError


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as CUDA would number it here.

    Attributes:
        name: Marketing name, "NVIDIA H200".
        arch: Architecture, "sm90".
        uuid: "GPU-..." or "MIG-..."; empty where nothing tells.
        sm_count: Number of streaming multiprocessors; 0 where nothing tells.
        memory_bytes: Device memory; 0 where nothing tells.
        driver_version: "580.159.04", or the driver's CUDA version where only that is known.
        mig: Whether it is a MIG slice, or cut into slices.
        index: CUDA's number of it in this process.
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
    """What was found.

    Attributes:
        gpus: Usable GPUs, in CUDA's order.
        reason: Why there are none; empty when there are some.
        asked: What `--trt-device` said, where that left one GPU.
        left_out: The GPUs that it left out.
    """

    gpus: tuple[Gpu, ...]
    reason: str
    asked: str = ""
    left_out: tuple[Gpu, ...] = ()

    def first(self, arch: str) -> Gpu | None:
        """Return the first GPU of an architecture: the one that its engines run on."""
        return next((gpu for gpu in self.gpus if gpu.arch == arch), None)

    def only(self, asked: str) -> DeviceProbe:
        """Return the probe with one GPU.

        Args:
            asked: CUDA's number of it, its UUID, or the beginning of its UUID.

        Raises:
            ConfigurationError: No GPU is called so, or several are.
        """
        if not self.gpus:
            raise ConfigurationError(
                f"--trt-device {asked}: no NVIDIA GPU: {self.reason}.",
                fix="run on a machine with an NVIDIA GPU, or drop --trt-device. If this "
                "is one, see what hides its GPU: pytest-trt doctor --require=gpu",
            )
        fitting = tuple(gpu for gpu in self.gpus if _is_called(gpu, asked))
        if len(fitting) != 1:
            what = f"{len(fitting)} GPUs are called so" if fitting else "there is no such GPU"
            here = ", ".join(f"{gpu.index} {gpu} {gpu.uuid}".rstrip() for gpu in self.gpus)
            raise ConfigurationError(
                f"--trt-device {asked}: {what}. Here are: {here}.",
                fix="name one of them by its number or by its UUID; CUDA_VISIBLE_DEVICES decides "
                "which are here and how they are numbered.",
            )
        left_out = tuple(gpu for gpu in self.gpus if gpu not in fitting)
        return replace(self, gpus=fitting, asked=asked, left_out=left_out)


def _is_called(gpu: Gpu, asked: str) -> bool:
    if asked.isdecimal():
        return gpu.index == int(asked)
    return gpu.uuid.lower().startswith(asked.lower())
