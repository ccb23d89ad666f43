"""Where the baseline of a test is stored: the folder of all baselines, the file, the name in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import baseline_path, how_to_restore, read_baselines
from pytest_trt.baseline.staged import Staged
from pytest_trt.diagnostics import BaselineError
from pytest_trt.files import sweep

#: The folder's name where neither option nor ini file names one.
DEFAULT_FOLDER = "trt_baselines"


@dataclass(frozen=True, slots=True)
class BaselineFolder:
    """The folder of all baselines, as seen from one place.

    Attributes:
        path: The folder; it need not exist yet.
        base: The folder that test modules and models are named relative to.
        above: Another folder of baselines further up, if this one does not exist yet.
    """

    path: Path
    base: Path
    above: Path | None = None


def find_folder(
    start: Path, *, rootdir: Path, has_ini: bool, configured: Path | None
) -> BaselineFolder:
    """Return the folder of all baselines for tests in one folder.

    It is the configured one; else, with an ini file, `trt_baselines` in pytest's root folder.
    Without an ini file pytest's root folder depends on where it is started, so the nearest
    `trt_baselines` above the tests is used if there is one.

    Args:
        start: Where the tests are.
        rootdir: pytest's root folder.
        has_ini: Whether an ini file determined it.
        configured: The folder that the command line or the ini file names.
    """
    if configured is not None:
        return BaselineFolder(configured, rootdir)
    default = rootdir / DEFAULT_FOLDER
    if has_ini:
        above = None if default.is_dir() else next(_nearest(rootdir), None)
        return BaselineFolder(default, rootdir, above)
    path = next(_nearest(start), default)
    return BaselineFolder(path, path.parent)


def _nearest(start: Path) -> Iterator[Path]:
    """Yield folders of baselines in a folder and above it, up to the top of the repository."""
    for folder in (start, *start.parents):
        if (folder / DEFAULT_FOLDER).is_dir():
            yield folder / DEFAULT_FOLDER
        if (folder / ".git").exists():
            return


@dataclass(frozen=True, slots=True)
class BaselineLocation:
    """Where the baseline of one test is stored.

    Attributes:
        folder: The folder of all baselines.
        path: The file.
        shown: The file as messages name it: relative to pytest's root folder if it is close.
        target: What is measured on.
        test: The test's name in the file.
    """

    folder: BaselineFolder
    path: Path
    shown: str
    target: Mapping[str, str]
    test: str

    @classmethod
    def of(
        cls,
        folder: BaselineFolder,
        module: Path,
        test: str,
        target: Mapping[str, str],
        *,
        rootdir: Path,
    ) -> BaselineLocation:
        """Return where a test's baseline is stored.

        Args:
            folder: The folder of all baselines.
            module: The file that the test is in; it may lie anywhere.
            test: The test's name in it.
            target: What is measured on: "arch" first, then the device.
            rootdir: pytest's root folder, which messages name files relative to.
        """
        path = baseline_path(folder.path, target, PurePosixPath(_relative(module, folder.base)))
        close = path.is_relative_to(rootdir) or rootdir.is_relative_to(folder.path.parent)
        return cls(folder, path, _relative(path, rootdir) if close else str(path), target, test)

    def model_name(self, model: Path) -> str:
        """Return a model's name in specs: its path if it is below the base, else its file name.

        Models elsewhere are often temporary files, whose path is another in each run.
        """
        if model.is_relative_to(self.folder.base):
            return model.relative_to(self.folder.base).as_posix()
        return model.name

    @property
    def device(self) -> str:
        """The name of the folder for this target."""
        return self.path.relative_to(self.folder.path).parts[0]

    def devices(self) -> list[str]:
        """Return the folders of all targets on which this test module has baselines."""
        _, *module = self.path.relative_to(self.folder.path).parts
        found = self.folder.path.glob("*")
        return sorted(path.name for path in found if path.joinpath(*module).is_file())

    def read(self) -> Entry | None:
        """Return the test's baseline, or None if there is none.

        Raises:
            BaselineError: The file cannot be read, or is of another target.
        """
        sweep(self.path.parent)  # what a run left that was killed while it wrote the file
        found = read_baselines(self.path)
        if found is not None and dict(found.target) != dict(self.target):
            raise BaselineError(
                f"baseline file {self.shown} was recorded on {_listed(found.target)}, but this is "
                f"{_listed(self.target)}: it was renamed or edited",
                fix=how_to_restore(self.path),
                code="TRT605",
                facts={
                    "file": str(self.path),
                    "stored": dict(found.target),
                    "target": dict(self.target),
                },
            )
        return found.tests.get(self.test) if found else None

    def staged(
        self,
        entry: Entry,
        *,
        add: bool,
        why: str = "",
        against: str = "",
        limited: Iterable[str] = (),
    ) -> Staged:
        """Return a new baseline for the process that writes.

        Args:
            entry: The baseline, with its new runs.
            add: Whether they are added to the stored ones.
            why: Why they replace the stored ones.
            against: Digest of the entry that it was compared with.
            limited: The metrics that the test limits.
        """
        return Staged(
            path=self.path,
            shown=self.shown,
            target=self.target,
            test=self.test,
            entry=entry,
            add=add,
            why=why,
            against=against,
            above=self.folder.above,
            limited=tuple(limited),
        )


def _relative(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, also with ".."; absolute on another drive of Windows."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.relative_to(path.anchor).as_posix()


def _listed(target: Mapping[str, str]) -> str:
    return ", ".join(filter(None, target.values()))
