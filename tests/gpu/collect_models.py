"""Gather the files of pretrained models from the packages installed here, for a GPU machine.

    PYTHONPATH=.:tests python tests/gpu/collect_models.py PARTS [--part-mb 60]

PARTS gets part.00, part.01, ... of a tar archive, each small enough to be carried alone. On the GPU
machine, when all have come:

    mkdir -p MODELS && cat PARTS/part.* | tar x -C MODELS
    PYTEST_TRT_MODELS=MODELS python tests/gpu/run_all.py

The packages are the ones that `.ci/test-packages` installs; a package that is missing here is
named, and its cases will be skipped there.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import tarfile
from pathlib import Path

from package_cases import CASES


def wanted() -> dict[str, list[str]]:
    """Return the ends of the paths of all files, by package."""
    found: dict[str, list[str]] = {}
    for case in CASES.values():
        files = found.setdefault(case.package, [])
        files += [file for file in case.files if file not in files]
    return found


def located(package: str, ends: list[str]) -> list[Path]:
    """Return the files of an installed package; none where it is not installed."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        print(f"{package}: not installed here, left out")
        return []
    return [
        Path(str(file.locate())) for end in ends for file in files if file.as_posix().endswith(end)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", type=Path, help="folder for the parts; made if it is missing")
    parser.add_argument("--part-mb", type=int, default=60, help="size of a part (default: 60)")
    options = parser.parse_args()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for package, ends in wanted().items():
            for path in located(package, ends):
                tar.add(path, f"{package}/{path.name}")
                print(f"{package}/{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    options.parts.mkdir(parents=True, exist_ok=True)
    content, size = archive.getbuffer(), options.part_mb * 10**6
    for number, start in enumerate(range(0, len(content), size)):
        part = options.parts / f"part.{number:02}"
        part.write_bytes(content[start : start + size])
        print(f"{part}: {part.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
