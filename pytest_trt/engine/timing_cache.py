"""Timing caches of builders as files, so that tactics are not timed again in every build.

A builder accepts a timing cache with a valid header, whatever follows, and would choose slow
tactics. So each file begins with the digest of the rest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pytest_trt.engine.spec import Target, Toolchain
from pytest_trt.files import PRIVATE, atomic_write
from pytest_trt.hashing import LabelledHash

#: The first line of every file; the SHA-256 of the rest follows. Another format gets another line.
_MAGIC = b"pytest-trt timing cache 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size

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
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    digest, timings = content[len(_MAGIC) :][:_DIGEST_BYTES], content[len(_MAGIC) + _DIGEST_BYTES :]
    if not content.startswith(_MAGIC):
        raise TimingFileError("it is not a timing cache of pytest-trt")
    if hashlib.sha256(timings).digest() != digest:
        raise TimingFileError("its content does not match its SHA-256")
    return timings


def write_timings(path: Path, timings: bytes) -> None:
    """Replace the timings of a file, at once for every reader.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    atomic_write(path, _MAGIC + hashlib.sha256(timings).digest() + timings, mode=PRIVATE)
