"""Timing caches of builders as files: what a builder measured once, it need not measure again.

A builder believes a timing cache whose header is right, whatever follows, and would choose slow
tactics by it. So each file begins with the digest of the rest.
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

#: What the names of the files end in.
_SUFFIX = ".timing"


class TimingFileError(Exception):
    """A timing cache is not whole. The text says what is wrong with it; it can be deleted."""


def timing_file(folder: Path, toolchain: Toolchain, target: Target) -> Path:
    """Return the file of the timings that builders of one kind share.

    Timings hold for one version of one product on one GPU model. The driver is left out: a builder
    refuses timings that its driver makes invalid by itself, and others stay worth having.
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
    """Return what a timing cache holds; nothing where there is none.

    Raises:
        TimingFileError: It is cut off, changed, or something else.
        OSError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    digest, timings = content[len(_MAGIC) :][:_DIGEST_BYTES], content[len(_MAGIC) + _DIGEST_BYTES :]
    if not content.startswith(_MAGIC):
        raise TimingFileError("it is no timing cache of pytest-trt")
    if hashlib.sha256(timings).digest() != digest:
        raise TimingFileError("its content does not have the SHA-256 that it begins with")
    return timings


def write_timings(path: Path, timings: bytes) -> None:
    """Replace the timings of a file, at once for every reader.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    atomic_write(path, _MAGIC + hashlib.sha256(timings).digest() + timings, mode=PRIVATE)
