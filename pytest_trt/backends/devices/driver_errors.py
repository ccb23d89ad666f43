"""What it means when CUDA does not start, in words."""

from __future__ import annotations

#: The driver shows no GPU to this process.
NO_DEVICE = 100

#: The runtime says it of a driver that is too old, and of none at all.
INSUFFICIENT_DRIVER = 35

#: What an error says of the machine, and what to do. The driver's cuInit and the runtime's calls
#: share these numbers.
#: Source: CUDA Driver API, CUresult; CUDA Runtime API, cudaError.
_START_ERRORS = {
    2: ("it has no memory left", "free some; `nvidia-smi` shows which processes hold it"),
    34: (
        "the CUDA library found is a stub that programs are linked with",
        "take the CUDA toolkit's folder `stubs` out of LD_LIBRARY_PATH",
    ),
    INSUFFICIENT_DRIVER: ("there is no NVIDIA driver", "install one"),
    46: (
        "another process has the GPU to itself",
        "end it, or set the compute mode back: `sudo nvidia-smi -c DEFAULT`",
    ),
    NO_DEVICE: (
        "the driver shows no GPU to this process",
        "check CUDA_VISIBLE_DEVICES, and that the container was started with --gpus",
    ),
    101: (
        "CUDA shows this process no GPU of that number",
        "check CUDA_VISIBLE_DEVICES, or name another one with --trt-device",
    ),
    304: (
        "the operating system refused what the driver asked of it",
        "check that this user may read and write /dev/nvidia*",
    ),
    802: (
        "the links between the GPUs are not set up",
        "start the service nvidia-fabricmanager, of the driver's version",
    ),
    803: (
        "the loaded driver and its libraries are of different versions",
        "reboot, or restart the container, as after every driver update",
    ),
    804: (
        "the CUDA compatibility libraries do not support this GPU",
        "take their folder `compat` out of LD_LIBRARY_PATH, or update the driver",
    ),
    805: ("the CUDA MPS server does not answer", "restart MPS, or unset CUDA_MPS_PIPE_DIRECTORY"),
    999: (
        "the driver does not say why",
        "load its module with `sudo modprobe nvidia-uvm`, and look at `nvidia-smi` and `dmesg`",
    ),
}


def start_error(number: int) -> tuple[str, str]:
    """Return what an error at CUDA's start says of the machine, and what to do about it."""
    return _START_ERRORS.get(number, ("CUDA does not start", "look at `nvidia-smi` and `dmesg`"))


def cuda_version(number: int) -> str:
    """Return a CUDA version as people write it: "12.9" for 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"
