"""Libraries of native code that have operators of a model, as files: what is loaded was hashed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pytest_trt.diagnostics import ModelError, Remedy, as_typed
from pytest_trt.files import LFS_POINTER, LFS_PULL, FileStamp, open_regular
from pytest_trt.hashing import digest_open

#: First bytes of libraries: ELF, Mach-O (64 bit, and of several machines), and Windows's.
#: Source: elf(5); Apple's loader.h and fat.h; Microsoft's PE format.
_LIBRARY_PREFIXES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")

#: The digests of the libraries that this process has loaded, by path.
_loaded: dict[Path, str] = {}


@dataclass(frozen=True, slots=True)
class Library:
    """A library.

    Attributes:
        path: The file, absolute.
        digest: Hex BLAKE3 of its bytes.
        stamp: Its stamp when it was hashed.
        hashed_ns: When that was, in nanoseconds since 1970.
    """

    path: Path
    digest: str
    stamp: FileStamp = field(compare=False)
    hashed_ns: int = field(compare=False)

    @classmethod
    def read(cls, path: Path, clock: Callable[[], int] = time.time_ns) -> Library:
        """Return a library after hashing it.

        Raises:
            ModelError: It cannot be read, or was changed meanwhile.
        """
        path, started_ns = path.absolute(), clock()
        try:
            with open_regular(path) as file:
                before = FileStamp.of(path, file)
                digest = digest_open(file).digest
                after = FileStamp.of(path, file, before.path)
        except OSError as error:
            raise _refused(path, f"cannot be read: {error.strerror}") from error
        if after != before:
            raise _changed(path)
        return cls(path, digest, before, started_ns)

    def is_untouched(self) -> bool:
        """Whether its stamp proves that it holds the bytes that were hashed."""
        return self.stamp.rested(self.hashed_ns) and self._stamp_now() == self.stamp

    @contextmanager
    def loading(self, product: str) -> Iterator[None]:
        """Load it in the block: an error is raised where other bytes than the hashed ones may be.

        Raises:
            ModelError: It was replaced, this process has loaded another file from its path, or the
                block raised an exception: it cannot be loaded.
        """
        before = self if self.is_untouched() else Library.read(self.path)
        if before.digest != self.digest or _loaded.get(self.path, self.digest) != self.digest:
            raise _changed(self.path)
        try:
            yield
        except Exception as error:  # the loaders' exceptions have no other common base class
            kind, fix = self._kind()
            raise ModelError(
                f"{product} cannot load {as_typed(self.path)}{kind and f', which is {kind}'}",
                fix=fix,
                code="TRT231",
                facts={"library": str(self.path), "product": product},
                details=[str(error).partition("\n")[0]],
            ) from error
        if self._stamp_now() != before.stamp:
            raise _changed(self.path)
        _loaded[self.path] = self.digest

    def _stamp_now(self) -> FileStamp | None:
        try:
            with open_regular(self.path) as file:
                return FileStamp.of(self.path, file, self.stamp.path)
        except OSError:
            return None

    def _kind(self) -> tuple[str, Remedy]:
        """Return what it is, if it is no library, and what to do."""
        with open_regular(self.path) as file:
            head = file.read(len(LFS_POINTER))
        if head.startswith(LFS_POINTER):
            return "a Git LFS pointer", LFS_PULL
        return "" if head.startswith(_LIBRARY_PREFIXES) else "no library", _FIX


_FIX = Remedy(
    "name a shared library that was compiled for this machine and this version of the product, "
    "with all libraries that it needs where the loader finds them."
)


def _refused(path: Path, problem: str) -> ModelError:
    return ModelError(
        f"the library {as_typed(path)} {problem}",
        fix="correct the path.",
        code="TRT231",
        facts={"library": str(path)},
    )


def _changed(path: Path) -> ModelError:
    return ModelError(
        f"the library {as_typed(path)} was replaced after it was hashed",
        fix="run again once the process that writes the file has finished.",
        code="TRT232",
        facts={"library": str(path)},
    )
