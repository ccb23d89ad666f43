"""The engines of the last run with the results of its tests: decides what may be exported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_trt.engine.build import Engine
from pytest_trt.engine.manifest import LibraryDigest, Range
from pytest_trt.engine.spec import OptionValue, Target, Toolchain
from pytest_trt.run_files import RunFiles
from pytest_trt.tensors.profiles import profile_to_json


@dataclass(frozen=True, slots=True)
class TestedEngine:
    """An engine that a test of the run requested.

    Attributes:
        key: Digest of its key.
        plan_digest: Digest of the plan that was tested.
        model: The model's file, absolute.
        model_digest: Its digest.
        backend: The backend's name.
        precision: The requested precision.
        profiles: Its profiles, as users write them.
        keep_fp32: What stayed in FP32.
        libraries: The operator libraries that it was built with.
        options: Builder options by name, with the level at which ONNX Runtime loads it.
        toolchain: What built it.
        target: What it runs on.
        finished: The file of a finished plan; empty for a cached engine.
    """

    __test__ = False

    key: str
    plan_digest: str
    model: str
    model_digest: str
    backend: str
    precision: str
    profiles: tuple[Mapping[str, Range | Mapping[str, Range]], ...]
    options: Mapping[str, OptionValue]
    toolchain: Toolchain
    target: Target
    finished: str = ""
    keep_fp32: tuple[str, ...] = ()
    libraries: tuple[LibraryDigest, ...] = ()

    @property
    def file_name(self) -> str:
        """The name under which it is exported."""
        return f"{Path(self.model).stem}.{self.precision}.{self.target.arch}.plan"

    def __str__(self) -> str:
        name = Path(self.model).name
        return f"{name} {self.precision} for {self.target.arch}, key {self.key[:8]}"


@dataclass(frozen=True, slots=True)
class TestOfEngines:
    """A test of the run.

    Attributes:
        test: Its node id.
        outcome: pytest's outcome, such as "passed"; "not run" for a selected test that did not run.
        engines: Keys of the engines that it requested; empty if it did not run.
        verdicts: Verdicts of its checks, by engine key.
        use: For a test that requested no engine: the model (empty where a fixture provides it),
            precision and architecture that it would have used.
    """

    __test__ = False

    test: str
    outcome: str
    engines: tuple[str, ...] = ()
    verdicts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    use: tuple[str, str, str] = ("", "", "")

    def may_use(self, engine: TestedEngine) -> bool:
        """Whether a test that requested no engine would have requested this one."""
        model, precision, arch = self.use
        same = (precision, arch) == (engine.precision, engine.target.arch)
        return same and model in ("", engine.model)


@dataclass(frozen=True, slots=True)
class TestedRun:
    """The last run that requested engines.

    Attributes:
        root: pytest's root folder.
        finished: When it ended, ISO 8601 in UTC.
        commit: The commit that was checked out; None if unknown.
        report: The report that it wrote; empty for none.
        engines: Its engines by key.
        tests: Its tests that requested engines, or would have.
    """

    __test__ = False

    root: Path
    finished: str
    commit: str | None
    report: str
    engines: Mapping[str, TestedEngine]
    tests: tuple[TestOfEngines, ...]

    def refusal(self, key: str) -> str:
        """Return why the plan of an engine cannot be exported; empty if it can."""
        engine = self.engines[key]
        if engine.finished:
            return f"it is a finished plan already: {engine.finished}"
        if not engine.plan_digest:
            return "tests of the run used different plans of it"
        for one in self.tests:
            of_engine = key in one.engines or one.may_use(engine)
            if of_engine and one.outcome not in ("passed", "skipped"):
                return f"{one.test}: {one.outcome}"
        skipped = [
            one.test for one in self.tests if key in one.engines and not one.verdicts.get(key)
        ]
        if not list(self.passed(key)):
            which = f": {skipped[0]}" if skipped else ""
            return f"no test compared or measured it{which}"
        return ""

    def passed(self, key: str) -> Iterator[TestOfEngines]:
        """Yield the tests that passed with an engine, and compared or measured it."""
        return (
            one
            for one in self.tests
            if one.outcome == "passed" and "passed" in one.verdicts.get(key, {}).values()
        )


#: Where it is stored.
TESTED_RUNS = RunFiles(TestedRun, "tested-engines", ".engines")


def tested_engine(engine: Engine, backend: str, options: Mapping[str, Any]) -> TestedEngine:
    """Return the record of an engine."""
    return TestedEngine(
        key=engine.key.digest,
        plan_digest=engine.plan_digest,
        model=str(engine.model.path),
        model_digest=engine.model.digest,
        backend=backend,
        precision=engine.spec.precision,
        profiles=tuple(map(profile_to_json, engine.spec.profiles)),
        options={**engine.spec.builder_options, **options},
        toolchain=engine.toolchain,
        target=engine.target,
        keep_fp32=engine.spec.keep_fp32,
        libraries=tuple(LibraryDigest(one.path.name, one.digest) for one in engine.route.libraries),
        finished=str(engine.plan) if engine.finished else "",
    )


def merged(engines: Iterable[TestedEngine]) -> dict[str, TestedEngine]:
    """Return engines by key; the digest is empty where tests used different plans."""
    found: dict[str, TestedEngine] = {}
    for one in engines:
        other = found.setdefault(one.key, one)
        if other.plan_digest != one.plan_digest:
            found[one.key] = replace(other, plan_digest="")
    return found
