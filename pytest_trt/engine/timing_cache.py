"""Timing caches of builders as files, so that tactics are not timed again in every build.

A builder accepts a timing cache with a valid header, whatever follows, and would choose slow
tactics. So the files are sealed.
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.hashing import LabelledHash
from pytest_trt.sealed import SealError, read_sealed, write_sealed

_KIND = "timing"

#: Suffix of the files.
_SUFFIX = ".timing"


class TimingFileError(Exception):
    """A timing cache is damaged; the text says how. It can be deleted."""


def timing_file(folder: Path, toolchain: Toolchain, target: Target) -> Path:
    """Return the file of the timings that builders of one kind share.

    Timings are valid for one version of one product on one GPU model. The driver is not part of the
    name: a builder rejects timings that its driver makes invalid.
    Source: TensorRT 10.16 documentation, "Builder Performance", "Timing Cache".
    """
    fields = {**toolchain.versions, "arch": target.arch, **target.device}
    identity = LabelledHash("timing 1")
    for label, text in fields.items():
        identity.add(label, text)
    words = "-".join([toolchain.product, *fields.values(), identity.hexdigest()[:8]])
    return folder / (re.sub(r"[^A-Za-z0-9_.-]+", "_", words) + _SUFFIX)


def timing_files(folder: Path) -> list[Path]:
    """Return every timing cache in a folder."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def read_timings(path: Path) -> bytes:
    """Return the content of a timing cache; empty where there is none.

    Raises:
        TimingFileError: It is truncated, changed, or another kind of file.
        OSError: It cannot be read.
    """
    try:
        return bytes(read_sealed(path, _KIND, path.stem).content)
    except FileNotFoundError:
        return b""
    except SealError as error:
        raise TimingFileError(str(error)) from error


def write_timings(path: Path, timings: bytes) -> None:
    """Replace the timings of a file, at once for every reader.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, _KIND, path.stem, timings)
