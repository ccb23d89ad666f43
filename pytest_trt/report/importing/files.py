"""Recognises files of other tools by what they hold, and reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.backends.tensorrt.inspection import inspected_layers, parse_tolerant
from pytest_trt.diagnostics import Remedy, ReportError, as_typed
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.record import LayerTime
from pytest_trt.records import RecordError
from pytest_trt.report.importing.trtexec import (
    Queries,
    is_profile,
    is_times,
    profile_of,
    queries_of,
)
from pytest_trt.tensors.npz import require_size
from pytest_trt.tensors.polygraphy import Arrays, Runner, is_saved, read_saved, saved_of
from pytest_trt.tensors.seeded import memory_bytes

_READ = Remedy(
    "Name files that trtexec or Polygraphy wrote:",
    (
        "trtexec --exportTimes=t.json --exportLayerInfo=layers.json --exportProfile=profile.json",
        "polygraphy run --save-inputs inputs.json --save-outputs outputs.json",
    ),
)


@dataclass(slots=True)
class Found:
    """What the files hold, by kind.

    Attributes:
        queries: What `trtexec --exportTimes` wrote.
        layers: What `--exportLayerInfo` wrote.
        profile: What `--exportProfile` wrote: iterations, and the time of each layer.
        runners: Outputs that Polygraphy saved.
        inputs: Inputs that Polygraphy saved.
        trtexec: The files of trtexec.
        polygraphy: The files of Polygraphy.
        started_s: When the newest file was written, in seconds since 1970.
    """

    queries: Queries | None = None
    layers: tuple[Layer, ...] | None = None
    profile: tuple[int, tuple[LayerTime, ...]] | None = None
    runners: list[Runner] = field(default_factory=list)
    inputs: list[Arrays] = field(default_factory=list)
    trtexec: list[str] = field(default_factory=list)
    polygraphy: list[str] = field(default_factory=list)
    started_s: float = 0.0


def read_files(paths: Sequence[Path], *, warm_up_ms: float) -> Found:
    """Return what files of trtexec and Polygraphy hold.

    Raises:
        ReportError: One cannot be read or recognised, or two are of one kind.
    """
    found = Found()
    for path in paths:
        try:
            found.started_s = max(found.started_s, path.stat().st_mtime)
            if path.is_dir():
                _add_saved(found, path, read_saved(path, memory_bytes() // 4))
                continue
            require_size(path.stat().st_size, memory_bytes() // 8)
            _add(found, path, parse_tolerant(path.read_bytes().decode()), warm_up_ms)
        except RecursionError as error:
            raise _unreadable(path, "it is nested too deeply") from error
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from error
        except ValueError as error:
            raise _unreadable(path, str(error)) from error
    return found


def _add(found: Found, path: Path, data: Any, warm_up_ms: float) -> None:
    if is_saved(data):
        _add_saved(found, path, saved_of(data))
        return
    if is_times(data):
        _require_first(found.queries, path, "--exportTimes")
        found.queries = queries_of(data, warm_up_ms)
    elif is_profile(data):
        _require_first(found.profile, path, "--exportProfile")
        found.profile = profile_of(data)
    elif layers := inspected_layers(data):
        _require_first(found.layers, path, "--exportLayerInfo")
        found.layers = layers
    else:
        raise RecordError("it is none of the files that trtexec and Polygraphy write")
    found.trtexec.append(path.name)


def _add_saved(found: Found, path: Path, saved: Any) -> None:
    found.runners += saved.runners
    found.inputs += saved.inputs
    found.polygraphy.append(path.name)


def _require_first(known: object, path: Path, option: str) -> None:
    if known is not None:
        raise ReportError(
            f"{as_typed(path)} is a second file of {option}: one import is of one engine",
            fix="Import them one at a time, and compare the reports.",
            code="TRT911",
            facts={"file": str(path), "option": option},
        )


def _unreadable(path: Path, reason: str) -> ReportError:
    return ReportError(
        f"{as_typed(path)} cannot be imported: {reason}",
        fix=_READ,
        code="TRT911",
        facts={"file": str(path), "reason": reason},
    )
