"""Files as `trtexec` writes them: six significant digits, in the layout of its source.

Source: samples/common/sampleReporting.cpp of NVIDIA/TensorRT at the tags 7.2.1, 8.0.1 and v10.16.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random


def times(
    path: Path,
    version: str = "10",
    *,
    queries: int = 1400,
    compute_ms: float = 1.5,
    start_ms: float = 200.0,
    gap_ms: float = 0.5,
    seed: int = 1,
) -> Path:
    """Write a file of --exportTimes: queries one after the other, each up to 2% longer."""
    chance, now, lines = Random(seed), start_ms, []
    copies = {"7": ("In", "Out", "in", "out")}.get(version, ("H2d", "D2h", "h2d", "d2h"))
    for _ in range(queries):
        took = compute_ms * (1 + 0.02 * chance.random())
        end = now + took
        fields = {"startEnqMs": now - 0.1, "endEnqMs": now - 0.05}
        fields |= {f"start{copies[0]}Ms": now - 0.05, f"end{copies[0]}Ms": now}
        fields |= {"startComputeMs": now, "endComputeMs": end}
        fields |= {f"start{copies[1]}Ms": end, f"end{copies[1]}Ms": end + 0.02}
        fields |= {f"{copies[2]}Ms": 0.05, "computeMs": took, f"{copies[3]}Ms": 0.02}
        fields |= {"latencyMs": took + 0.07}
        if version in ("7", "8.0"):
            fields["endToEndMs"] = 2 * took
        lines.append(", ".join(f'"{name}" : {value:.6g}' for name, value in fields.items()))
        now = end + gap_ms
    body = "\n, ".join(f"{{ {line} }}" for line in lines)
    path.write_text(f"[\n  {body}\n]\n")
    return path


def profile(path: Path, layers: Sequence[tuple[str, str]], count: int = 100) -> Path:
    """Write a file of --exportProfile: names as they are, and times as C++ prints them."""
    lines = [f'  {{ "count" : {count} }}']
    lines += [
        f', {{ "name" : "{name}", "timeMs" : {time_ms}, "averageMs" : 0.01, '
        f'"medianMs" : {"-nan" if time_ms == "0" else "0.02"}, "percentage" : -nan }}'
        for name, time_ms in layers
    ]
    path.write_text("[\n" + "\n".join(lines) + "\n]\n")
    return path
