"""What the driver library says of the GPUs that CUDA shows, asked in a process of its own.

Asking starts CUDA, which then no longer works in processes forked from the one that asked; whoever
collects tests must not do that. This file is run as a script by `asked_driver`: it imports next to
nothing and prints one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Mapping
from typing import Any

#: CUdevice_attribute values. Source: cuda.h of CUDA 12.
_ATTRIBUTE_SM_COUNT = 16
_ATTRIBUTE_MAJOR = 75
_ATTRIBUTE_MINOR = 76

#: Seconds after which a driver that does not answer is given up: a machine with many GPUs whose
#: driver keeps no state between processes takes several.
_PATIENCE_S = 60


def asked_driver(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what `driver_answers` says in another process.

    Args:
        environ: The environment of that process; CUDA_VISIBLE_DEVICES decides what CUDA shows.
    """
    import subprocess  # not by the script

    # Without site-packages Python starts in a fifth of the time.
    command = [sys.executable, "-S", __file__]
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"unasked": f"the NVIDIA driver did not answer within {_PATIENCE_S} s"}
    except OSError as exc:
        return {"unasked": f"the NVIDIA driver could not be asked: {exc}"}
    try:
        answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = "; ".join(done.stderr.strip().splitlines()[-1:]) or f"status {done.returncode}"
        return {"unasked": f"the NVIDIA driver could not be asked: {said}"}
    return answers


def driver_answers(cuda: Any) -> dict[str, Any]:
    """Return the GPUs that a driver library shows, or why it shows none.

    Args:
        cuda: libcuda.so.1.

    Returns:
        "status" and "failed" (the function that returned it); where that is 0, "version" (of CUDA,
        as 12040) and "devices", each with "name", "memory" (bytes), "major", "minor", "sm_count"
        and "uuid" (hex, empty where old drivers do not know a slice's).
    """
    status = cuda.cuInit(0)
    if status != 0:
        return {"status": status, "failed": "cuInit"}
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    status = cuda.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return {"status": status, "failed": "cuDeviceGetCount"}
    devices = [_device(cuda, index) for index in range(count.value)]
    return {"status": 0, "failed": "", "version": version.value, "devices": devices}


def _device(cuda: Any, index: int) -> dict[str, Any]:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    memory = ctypes.c_size_t()
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    text = name.value.decode(errors="replace")
    return {
        "name": text,
        "memory": memory.value,
        "major": attribute(_ATTRIBUTE_MAJOR),
        "minor": attribute(_ATTRIBUTE_MINOR),
        "sm_count": attribute(_ATTRIBUTE_SM_COUNT),
        "uuid": _uuid(cuda, device, mig=" MIG " in text),
    }


def _uuid(cuda: Any, device: Any, *, mig: bool) -> str:
    """Return a device's UUID; drivers before CUDA 11.4 do not know a slice's."""
    question = getattr(cuda, "cuDeviceGetUuid_v2", None)
    if question is None and mig:
        return ""
    raw = (ctypes.c_ubyte * 16)()
    (question or cuda.cuDeviceGetUuid)(ctypes.byref(raw), device)
    return bytes(raw).hex()


if __name__ == "__main__":
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as exc:
        print(json.dumps({"unasked": f"libcuda.so.1 cannot be loaded: {exc}"}))
    else:
        print(json.dumps(driver_answers(library)))
