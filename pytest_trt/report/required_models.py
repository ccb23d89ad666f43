"""Models that must have a test: every file that matches a pattern, with exceptions and reasons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path

from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.wording import count

#: Models that are named; further ones are counted.
_NAMED = 20


def files_of(patterns: Iterable[Path]) -> dict[str, Path]:
    """Return the files that patterns match, by their real paths."""
    found = (Path(one) for pattern in patterns for one in _matches(pattern))
    return {os.path.realpath(one): one for one in sorted(found) if one.is_file()}


def _matches(pattern: Path) -> list[str]:
    return glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern


def _below(root: Path, path: Path) -> str:
    path = Path(os.path.normpath(path))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def parse_exceptions(lines: Iterable[str]) -> dict[Path, str]:
    """Return the reasons of models without a test, by path or pattern: "PATH: REASON".

    Raises:
        ValueError: A line has another form.
    """
    found = {}
    for line in filter(None, map(str.strip, lines)):
        path, _, reason = line.partition(": ")
        if not (path and any(map(str.isalnum, reason))):
            raise ValueError('lines "PATH: REASON", such as models/old.onnx: retired in June')
        found[Path(path).absolute()] = reason.strip()
    return found


def untested_models(
    patterns: Sequence[Path],
    exceptions: Mapping[Path, str],
    tested: Iterable[Path],
    lack: str,
    *,
    root: Path,
) -> Diagnostic | None:
    """Return which models have no test; None where all have one, or a reason for none.

    Args:
        patterns: Patterns of the models that must have one.
        exceptions: Reasons, by path or pattern.
        tested: The models that have one.
        lack: What the others lack: "a test".
        root: The ini file's folder: paths are shown as trt_untested_models has them.
    """
    files = files_of(patterns)
    known = {os.path.realpath(one) for one in tested} | files_of(exceptions).keys()
    missing = [_below(root, path) for real, path in files.items() if real not in known]
    empty = [_below(root, one) for one in patterns if not files_of([one])]
    if not (missing or empty):
        return None
    lines = [f"no file matches {one}" for one in empty]
    lines += missing[:_NAMED]
    if len(missing) > _NAMED:
        lines.append(f"and {len(missing) - _NAMED} more")
    if missing:
        which = f"{count(len(missing), 'model')} of {len(files)}"
        message = f"{which} {'lacks' if len(missing) == 1 else 'lack'} {lack}"
    else:
        message = "a pattern of required models matches no file"
    return Diagnostic(
        "TRT686",
        message,
        {"models": missing, "patterns": [str(one) for one in patterns]},
        tuple(lines),
        Remedy(
            "Let a test name them, correct the pattern, or give a reason in the ini file, a line "
            "for each model: trt_untested_models = models/old.onnx: retired in June"
        ),
    )


def stale_exceptions(
    exceptions: Mapping[Path, str], tested: Iterable[Path], *, root: Path
) -> Diagnostic | None:
    """Return the exceptions that no model without a test needs any more; None for none.

    Args:
        exceptions: Reasons, by path or pattern.
        tested: The models that have a test.
        root: The ini file's folder: paths are shown as trt_untested_models has them.
    """
    known = {os.path.realpath(one) for one in tested}
    stale: dict[str, str] = {}
    for path in exceptions:
        files = files_of([path]).keys()
        if files <= known:
            stale[_below(root, path)] = "has a test" if files else "no such file"
    if not stale:
        return None
    lines = [f"{entry}: {why}" for entry, why in stale.items()]
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    many = "entry outlives its reason" if len(stale) == 1 else "entries outlive their reasons"
    return Diagnostic(
        "TRT687",
        f"trt_untested_models: {len(stale)} {many}",
        {"entries": [*stale]},
        (*lines[:_NAMED], *more),
        Remedy("Remove these lines from trt_untested_models in the ini file, or correct the path."),
    )
