"""Baselines that other machines recorded, merged into the folder of baselines test by test.

A machine uploads its whole folder, so most of what it holds is what git has already: only entries
that differ from the last commit are what it recorded.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from pytest_trt.baseline.answers import (
    TARGET,
    AnswerEntry,
    AnswerFile,
    Data,
    data_error,
    holds_answers,
    parse_answers,
    parse_data,
    read_data,
    write_answers,
)
from pytest_trt.baseline.artifacts import Read, open_artifact
from pytest_trt.baseline.entry import Entry
from pytest_trt.baseline.file import (
    ANSWERS,
    METRICS,
    baseline_path,
    module_of,
    parse_baselines,
    write_baselines,
)
from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.baseline.metrics import (
    MetricsEntry,
    holds_metrics,
    metrics_target,
    parse_metrics,
)
from pytest_trt.baseline.models import AnyFile, read_stored
from pytest_trt.baseline.staged import only_writer
from pytest_trt.diagnostics import BaselineError, Remedy, as_typed

#: An entry of a baseline file.
AnyEntry: TypeAlias = "Entry | AnswerEntry | MetricsEntry"

#: What happens to a test's baseline.
Status: TypeAlias = Literal["new", "changed", "unchanged", "refused"]


@dataclass(frozen=True, slots=True)
class Found:
    """A valid baseline file of an artifact.

    Attributes:
        source: The artifact, as it was named.
        name: The file's name in it.
        path: The file that it belongs in.
        content: What it holds.
        data: The arrays of answers.
    """

    source: str
    name: str
    path: Path
    content: AnyFile
    data: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collected:
    """What happens to the baseline of one test, or to a file that is refused as a whole.

    Attributes:
        status: What happens to it.
        path: The baseline file, or the file of the artifact.
        test: The test's name in it; empty for a file.
        sources: The artifacts that it comes from.
        error: Why it is refused.
        is_stored: Whether the working tree has it already.
    """

    status: Status
    path: Path
    test: str
    sources: tuple[str, ...]
    error: BaselineError | None = None
    is_stored: bool = False


def read_artifact(
    source: str, folder: BaselineFolder, check: Callable[[Found], None] = lambda found: None
) -> tuple[list[Found], list[Collected]]:
    """Return the valid baseline files of an artifact, and the files that are refused.

    Where it has folders of the name of the folder of baselines, only what is in them is read.

    Args:
        source: A folder, a `.zip` or a `.tar` file.
        folder: The folder of baselines that they are for.
        check: Raises a BaselineError for a file that is not valid for another reason.

    Raises:
        BaselineError: It cannot be read, is not safe to read, or has no baselines.
    """
    found: list[Found] = []
    refused: list[Collected] = []
    with open_artifact(Path(source)) as files:
        inside = [name for name in files if folder.path.name in name.split("/")[:-1]]
        for name in inside or files:
            try:
                if name.endswith(".json"):
                    one = _parsed(source, name, files, folder)
                    check(one)
                    found.append(one)
                elif name.endswith(".npz") and f"{name[:-4]}.json" not in files:
                    raise _misplaced(source, name, "it has no JSON file next to it")
            except BaselineError as error:
                refused.append(Collected("refused", Path(source, name), "", (source,), error))
    if not refused and not any(one.content.tests for one in found):
        raise nothing_to_collect([source], "no baselines in it")
    return found, refused


def nothing_to_collect(sources: Sequence[str], why: str) -> BaselineError:
    """Return the error of artifacts that have nothing to collect."""
    return BaselineError(
        f"nothing to collect from {', '.join(sources)}: {why}",
        fix="Check that the tests in CI ran with --trt-update or --trt-update-new, and passed.",
        code="TRT659",
        facts={"sources": list(sources)},
    )


def _record_again() -> Remedy:
    return Remedy("Record the baselines again on the machine that made the artifact.")


def download_again() -> Remedy:
    """Return what to do about an artifact whose answers lack numbers."""
    return Remedy(
        "Download the artifact again. If it is damaged where CI stores it as well, record the "
        "baselines again on the machine that made it, and upload the whole folder."
    )


def _parsed(source: str, name: str, files: Mapping[str, Read], folder: BaselineFolder) -> Found:
    """Return a file of an artifact.

    Raises:
        BaselineError: It is not valid, or there is no place for it.
    """
    text, shown = files[name](), as_typed(Path(source, name))
    content: AnyFile
    data: Data = {}
    if holds_answers(text):
        content, target = parse_answers(text, shown, fix=_record_again), TARGET
        arrays, read = f"{shown[:-5]}.npz", files.get(f"{name[:-5]}.npz")
        if read is None:
            raise data_error(arrays, "it is not in the artifact", download_again())
        data = parse_data(BytesIO(read()), content.data, arrays, fix=download_again)
    elif holds_metrics(text):
        content = parse_metrics(text, shown, fix=_record_again)
        target = metrics_target(content.target.get("arch", ""))
    else:
        content = parse_baselines(text, shown, fix=_record_again)
        target = content.target
        if _slug(target).partition("-")[0] in (ANSWERS, METRICS):
            raise _misplaced(source, name, "speeds have the target of other baselines")
    return Found(source, name, _place(source, name, target, folder), content, data)


def _slug(target: Mapping[str, str]) -> str:
    """Return the folder of a target; empty for a target without a value."""
    folder, *file = baseline_path(Path(), target, PurePosixPath("x.py")).parts
    return folder if file else ""


def _place(source: str, name: str, target: Mapping[str, str], folder: BaselineFolder) -> Path:
    """Return the file that a file of an artifact belongs in: below that of its own target."""
    *parts, last = PurePosixPath(name).parts
    if folder.path.name in parts:
        parts = parts[parts.index(folder.path.name) + 1 :]
    slug = _slug(target)
    if slug not in parts:
        raise _misplaced(source, name, f"it is not in a folder {slug}, of its own target")
    path = Path(folder.path, *parts[parts.index(slug) :], last)
    module = module_of(folder.path, path)
    if not (folder.base / module).is_file():
        raise BaselineError(
            f"{as_typed(Path(source, name))}: there is no test module {module}",
            fix="Check out the commit that it was recorded with. If the module was moved, move "
            "the baselines where they were recorded.",
            code="TRT657",
            facts={"file": str(Path(source, name)), "module": module},
        )
    return path


def _misplaced(source: str, name: str, problem: str) -> BaselineError:
    return BaselineError(
        f"{as_typed(Path(source, name))} is not a baseline file: {problem}",
        fix="Upload the folder of baselines as it is, with nothing else in it.",
        code="TRT658",
        facts={"file": str(Path(source, name)), "problem": problem},
    )


def collect_baselines(
    root: Path,
    found: Iterable[Found],
    *,
    prefer: str | None,
    committed: Callable[[Path], AnyFile | None],
    dry_run: bool = False,
) -> list[Collected]:
    """Merge baseline files of artifacts into those of the project, each file atomically.

    Args:
        root: The folder of all baselines.
        found: The files.
        prefer: The artifact that is right where two differ, or where a newer baseline is here.
        committed: Returns a file at the last commit; None where there is none.
        dry_run: Whether to write nothing.
    """
    by_path: dict[Path, list[Found]] = {}
    for one in found:
        by_path.setdefault(one.path, []).append(one)
    collected = []
    for path, offers in sorted(by_path.items()):
        try:
            with nullcontext() if dry_run else only_writer(path.parent):
                here = read_stored(root, path)
                merged, tests = _merged(path, offers, here, committed(path), prefer)
                if not dry_run and any(one.status in ("new", "changed") for one in merged):
                    _write(path, offers, tests)
                collected += merged
        except BaselineError as error:
            sources = tuple(dict.fromkeys(one.source for one in offers))
            collected.append(Collected("refused", path, "", sources, error))
    return collected


def _merged(
    path: Path,
    offers: Sequence[Found],
    here: AnyFile | None,
    old: AnyFile | None,
    prefer: str | None,
) -> tuple[list[Collected], Mapping[str, Any]]:
    """Return what happens to each test of a file, and the entries that it holds then."""
    _check_targets(path, [*(one.content for one in offers), *([here] if here else [])])
    tests: dict[str, Any] = dict(here.tests) if here else {}
    collected: list[Collected] = []
    for test in sorted({test for one in offers for test in one.content.tests}):
        given = [
            (one.source, one.content.tests[test]) for one in offers if test in one.content.tests
        ]
        base = old.tests.get(test) if old else None
        # Also what is here already: an earlier call may have collected it.
        recorded = [(source, entry) for source, entry in given if entry != base]
        sources = tuple(dict.fromkeys(source for source, _ in recorded or given))
        try:
            entry = _chosen(path, test, recorded, tests.get(test), base, prefer)
        except BaselineError as error:
            collected.append(Collected("refused", path, test, sources, error))
            continue
        status: Status = "changed" if test in tests else "new"
        stored = tests.get(test) == (base if entry is None else entry)
        same = entry is None or stored
        collected.append(
            Collected("unchanged" if same else status, path, test, sources, is_stored=stored)
        )
        if not same:
            tests[test] = entry
    return collected, tests


def _check_targets(path: Path, files: Sequence[Any]) -> None:
    targets = [dict(one.target) for one in files if not isinstance(one, AnswerFile)]
    for target in targets:
        if target != targets[0]:
            raise BaselineError(
                f"{as_typed(path)}: baselines of different targets: {target} and {targets[0]}",
                fix="Collect them one at a time, and find out which file was edited.",
                code="TRT605",
                facts={"file": str(path), "targets": targets},
            )


def _chosen(
    path: Path,
    test: str,
    recorded: Sequence[tuple[str, Any]],
    here: Any,
    base: Any,
    prefer: str | None,
) -> Any:
    """Return the entry that is to be stored; None where nothing was recorded.

    Raises:
        BaselineError: Artifacts differ, or a newer one is stored.
    """
    preferred = [pair for pair in recorded if pair[0] == prefer]
    chosen = preferred or recorded
    if not chosen:
        return None
    (source, entry), *others = chosen
    if isinstance(entry, AnswerEntry):
        joined = _answers(path, test, chosen, here, prefer)
        given = [*preferred, *(pair for pair in recorded if pair not in preferred)]
        return replace(joined, errors=_errors(path, test, given, joined, base, prefer))
    for other, one in others:
        if one != entry:
            raise _differ(path, test, source, other)
    if here is not None and not preferred and _when(here) > _when(entry):
        raise _newer(path, test, source, here, entry)
    return entry


def _answers(
    path: Path,
    test: str,
    chosen: Sequence[tuple[str, AnswerEntry]],
    here: AnswerEntry | None,
    prefer: str | None,
) -> AnswerEntry:
    """Return the answers to be stored, with the errors that are stored with them."""
    (source, entry), *others = chosen
    for other, one in others:
        if not one.is_same(entry):
            raise _differ(path, test, source, other)
    joined = here if here is not None and here.is_same(entry) else entry
    if joined is entry and here is not None and source != prefer and _when(here) > _when(entry):
        raise _newer(path, test, source, here, entry)
    return joined


def _errors(
    path: Path,
    test: str,
    recorded: Sequence[tuple[str, AnswerEntry]],
    joined: AnswerEntry,
    base: AnswerEntry | None,
    prefer: str | None,
) -> Mapping[str, Mapping[str, float]]:
    """Return the errors of the engines of all machines that ran the same model."""
    known = base.errors if base is not None else {}
    errors = dict(joined.errors)
    given: dict[str, tuple[str, Mapping[str, float]]] = {}
    same_model = [pair for pair in recorded if pair[1].model_digest == joined.model_digest]
    for source, one in same_model:
        for engine, of_it in one.errors.items():
            if known.get(engine) == of_it:  # as committed: not of this machine
                errors.setdefault(engine, of_it)
                continue
            first, value = given.setdefault(engine, (source, of_it))
            if value != of_it and first != prefer:
                raise _differ(path, test, first, source)
            errors[engine] = value
    return errors


def _when(entry: AnyEntry) -> datetime:
    """Return when an entry last changed."""
    if not isinstance(entry, Entry):
        return datetime.fromisoformat(entry.recorded)
    noise = (entry.noise.recorded,) if entry.noise else ()
    return max(map(datetime.fromisoformat, (*noise, *(run.recorded for run in entry.runs))))


def _write(path: Path, offers: Sequence[Found], tests: Mapping[str, Any]) -> None:
    offered: Any = offers[0].content
    content: AnyFile = replace(offered, tests=tests)
    if not isinstance(content, AnswerFile):
        write_baselines(path, content)
    else:
        data = {digest: arrays for one in offers for digest, arrays in one.data.items()}
        here = content.data - data.keys()
        write_answers(path, content, {**data, **(read_data(path, here) if here else {})})


def _differ(path: Path, test: str, one: str, other: str) -> BaselineError:
    fix = Remedy("Name the one that is right:", (_preferring(one, other), _preferring(other, one)))
    if one == other:
        fix = Remedy("Name each folder in it as a source, and the right one with --prefer.")
    return BaselineError(
        f"{as_typed(path)}: {one} and {other} have different baselines of {test}",
        fix=fix,
        code="TRT655",
        facts={"file": str(path), "test": test, "sources": [one, other]},
    )


def _preferring(*sources: str) -> str:
    names = [shlex.quote(one) for one in sources]
    return f"pytest-trt baseline collect --prefer={names[0]} {' '.join(names)}"


def _newer(path: Path, test: str, source: str, here: AnyEntry, entry: AnyEntry) -> BaselineError:
    return BaselineError(
        f"{as_typed(path)}: the baseline of {test} was recorded at {_when(here).isoformat()}, "
        f"later than that of {source}, {_when(entry).isoformat()}",
        fix=Remedy("Keep the newer one, or replace it:", (_preferring(source),)),
        code="TRT656",
        facts={"file": str(path), "test": test, "source": source},
    )
