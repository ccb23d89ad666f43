"""The words that several packages share: verdicts, metrics, measuring modes, GPU architectures."""

from __future__ import annotations

import re
from enum import Enum
from typing import Literal, TypeAlias

from pytest_trt.diagnostics import ConfigurationError


class Verdict(str, Enum):
    """What a check concludes. Only `PASSED` is a pass."""

    PASSED = "passed"
    #: A limit or tolerance was exceeded.
    FAILED = "failed"
    #: Slower than the stored baseline by more than the limit. Only relative limits regress.
    REGRESSED = "regressed"
    #: The data neither show a failure nor rule one out.
    INCONCLUSIVE = "inconclusive"
    #: There is a baseline, but of another target, mode or spec.
    NOT_COMPARABLE = "not comparable"
    #: Nothing was judged: no baseline, too few samples, a figure that is not reported.
    NOT_MEASURED = "not measured"

    def __str__(self) -> str:
        return self.value


#: What is compared between runs. Throughput is handled as time per item, so that larger is slower
#: for every metric.
Metric: TypeAlias = Literal["p50", "throughput", "p95", "p99"]
METRICS: tuple[Metric, ...] = ("p50", "throughput", "p95", "p99")

#: How latencies are measured: by replaying a CUDA graph or enqueuing each call, both between CUDA
#: events; or from NumPy arrays in to NumPy arrays out, by the host's clock.
Mode: TypeAlias = Literal["graph", "enqueue", "end_to_end"]
MODES: tuple[Mode, ...] = ("graph", "enqueue", "end_to_end")

#: `sm86` is compute capability 8.6; `cpu` is the embedded backend.
CPU = "cpu"

#: Well-known cards of each architecture.
#: Source: NVIDIA, "CUDA GPU Compute Capability", https://developer.nvidia.com/cuda-gpus
EXAMPLES = {
    "sm70": "V100",
    "sm72": "Jetson Xavier",
    "sm75": "T4, RTX 20 series",
    "sm80": "A100, A30",
    "sm86": "A10, A40, RTX 30 series",
    "sm87": "Jetson Orin",
    "sm89": "L4, L40S, RTX 40 series",
    "sm90": "H100, H200",
    "sm100": "B200, GB200",
    "sm103": "B300, GB300",
    "sm110": "Jetson Thor",
    "sm120": "RTX 50 series, RTX PRO Blackwell",
    "sm121": "DGX Spark",
}

#: What TensorRT-RTX can build for, in the order of the bits in its plans' mask.
#: Source: members of `tensorrt_rtx.ComputeCapability`, 1.4 to 1.7 (SM121 since 1.5).
RTX_ARCHS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")

_FORMS = re.compile(r"(?:(?:sm_?)?(?P<digits>\d{2,3})|(?P<major>\d{1,2})\.(?P<minor>\d))a?")


def parse_arch(text: str) -> str:
    """Return the canonical name: `sm86` for "sm86", "sm_86", "8.6" or "86"; or `cpu`.

    Raises:
        ConfigurationError: The text is none of these.
    """
    name = text.strip().lower()
    if name == CPU:
        return CPU
    found = _FORMS.fullmatch(name)
    if found is None:
        raise ConfigurationError(
            f"{text!r} is not a GPU architecture",
            fix="Write it like sm86, 8.6 or 86, several like sm86,sm89; or write cpu.",
            code="TRT110",
            facts={"arch": text},
        )
    return "sm" + (found["digits"] or found["major"] + found["minor"])


def parse_archs(text: str) -> tuple[str, ...]:
    """Return the architectures of a comma-separated list, each once, in the order given.

    Raises:
        ConfigurationError: The list is empty, or an entry is not an architecture.
    """
    names = [parse_arch(part) for part in text.split(",") if part.strip()]
    if not names:
        raise ConfigurationError(
            f"{text!r} is an empty list of architectures",
            fix="Name at least one, such as sm86.",
            code="TRT110",
            facts={"arch": text},
        )
    return tuple(dict.fromkeys(names))


def arch_of(major: int, minor: int) -> str:
    """Return the name of a compute capability: `sm86` for (8, 6)."""
    return f"sm{major}{minor}"


def compute_capability(arch: str) -> tuple[int, int]:
    """Return (major, minor) of an architecture: (8, 6) for `sm86`, (12, 0) for `sm120`.

    Raises:
        ConfigurationError: The architecture is `cpu` or malformed.
    """
    name = parse_arch(arch)
    if name == CPU:
        raise ConfigurationError(
            "the CPU has no compute capability",
            fix="Name a GPU architecture, such as sm86.",
            code="TRT110",
            facts={"arch": arch},
        )
    return int(name[2:-1]), int(name[-1])


def described(arch: str) -> str:
    """Return an architecture with its well-known cards: "sm86 (A10, A40, RTX 30 series)"."""
    examples = EXAMPLES.get(arch)
    return f"{arch} ({examples})" if examples else arch
