"""A project as the attacks on stored files need it: a model, its engine, references, a baseline."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS)] if str(_TESTS) not in sys.path else []

from builders_baseline import SLUG, save_answers, save_baselines, stored  # noqa: E402
from builders_model import external_model  # noqa: E402
from clocks import much_later  # noqa: E402

from pytest_trt.accuracy.reference_store import ReferenceStore, reference_key  # noqa: E402
from pytest_trt.baseline.answers import read_answers, read_data  # noqa: E402
from pytest_trt.baseline.file import BaselineFile, read_baselines, write_baselines  # noqa: E402
from pytest_trt.baseline.last_run import LastRun, read_last_run, write_last_run  # noqa: E402
from pytest_trt.engine.build import Engine, build_or_load  # noqa: E402
from pytest_trt.engine.cache import EngineCache  # noqa: E402
from pytest_trt.engine.digest_records import DigestRecords  # noqa: E402
from pytest_trt.engine.protocols import BuildRequest, BuildResult  # noqa: E402
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain  # noqa: E402
from pytest_trt.engine.timing_cache import read_timings, timing_file, write_timings  # noqa: E402
from pytest_trt.onnx.file import OnnxModel, load_model  # noqa: E402
from pytest_trt.onnx.unchanged import of_hashed_bytes  # noqa: E402

TARGET = Target("cpu")
TOOLCHAIN = Toolchain("Copier", {"copier": "1"})
INPUTS = "0" * 64


class Copier:
    """A backend whose plans are the bytes of the model's files: what was built is seen in them.

    Args:
        pause: Called between two reads.
    """

    name = "copier"

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self.pause = pause

    def toolchain(self) -> Toolchain:
        return TOOLCHAIN

    def target(self, arch: str) -> Target:
        return Target(arch)

    def route(self, model: OnnxModel, spec: EngineSpec) -> Route:
        return Route("copied", needs_calibration=spec.precision == "int8")

    def build(self, request: BuildRequest) -> BuildResult:
        (request.directory / "engine.plan").write_bytes(content_of(request.model, self.pause))
        for number, sample in enumerate(request.calibration):
            (request.directory / f"sample.{number}").write_bytes(sample["x"].tobytes())
            self.pause()
        return BuildResult("engine.plan")


def content_of(model: OnnxModel, pause: Callable[[], None] = lambda: None) -> bytes:
    """Return the bytes of a model's files, as they are now."""
    content = b""
    for path in (model.path, *model.external_files):
        pause()
        content += path.read_bytes()
    pause()
    return content


@dataclass
class Scene:
    """A project in a folder.

    Attributes:
        folder: The folder.
        max_bytes: The cap of its cache.
    """

    folder: Path
    max_bytes: int = 10**9

    @property
    def model(self) -> Path:
        return self.folder / "models" / "model.onnx"

    @property
    def baseline(self) -> Path:
        return self.folder / "trt_baselines" / "a.json"

    @property
    def cache(self) -> EngineCache:
        """The cache, as a new process sees it."""
        return EngineCache(self.folder / "cache", max_bytes=self.max_bytes)

    def write_model(self, number: int) -> None:
        self.model.parent.mkdir(parents=True, exist_ok=True)
        external_model(self.model.parent, weights=bytes([number % 256]) * 64)

    def load(self, cache: EngineCache) -> OnnxModel:
        """Read the model, with what the cache remembers of it."""
        records = DigestRecords(
            cache.digests.folder, lambda path: "ext4", cache.stored, cache.damaged
        )
        return load_model(self.model, digests=records, clock=much_later)

    def build(self, cache: EngineCache, model: OnnxModel, backend: Copier | None = None) -> Engine:
        return build_or_load(
            model=model,
            spec=EngineSpec("fp32"),
            target=TARGET,
            backend=backend or Copier(),  # type: ignore[arg-type]
            cache=cache,
        )

    def reference(
        self, cache: EngineCache, model: OnnxModel, pause: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """Return the digest of the model's bytes, as reference outputs, stored."""

        def compute() -> dict[str, np.ndarray]:
            content = of_hashed_bytes(model, lambda: content_of(model, pause))
            return {"y": outputs_of(content)}

        store = ReferenceStore(cache.references, stored=cache.stored, damaged=cache.damaged)
        return store.get(self.reference_key(model), compute)["y"]

    def reference_key(self, model: OnnxModel) -> str:
        return reference_key(model_digest=model.digest, inputs_digest=INPUTS, producer="copier")

    def write_timings(self, cache: EngineCache, timings: bytes) -> None:
        write_timings(timing_file(cache.timing, TOOLCHAIN, TARGET), timings)

    def timings(self, cache: EngineCache) -> bytes:
        return read_timings(timing_file(cache.timing, TOOLCHAIN, TARGET))

    def write_last_run(self, cache: EngineCache, finished: str) -> None:
        write_last_run(cache.last_runs, LastRun(self.folder, finished, ()))

    def last_run(self, cache: EngineCache) -> str | None:
        found = read_last_run(cache.last_runs, self.folder)
        return None if found is None else found.finished

    def write_baseline(self, *tests: str) -> None:
        write_baselines(self.baseline, BaselineFile({"arch": "cpu"}, {t: stored() for t in tests}))

    def write_answers(self, **tests: int) -> None:
        """Store answers of tests: the number is what their outputs consist of."""
        outputs = {
            name: {"1" * 20: {"y": np.full((4, 3), number, np.float32)}}
            for name, number in tests.items()
        }
        save_answers(self.folder / "trt_baselines", outputs, module="test_a")

    def write_speed(self) -> None:
        """Store the speed of a test in the module of the answers."""
        save_baselines(self.folder / "trt_baselines", {"a": stored()}, module="test_a")

    def speeds(self, module: str) -> set[str]:
        found = read_baselines(self.folder / "trt_baselines" / SLUG / f"{module}.json")
        return set() if found is None else set(found.tests)

    def answers(self, module: str = "test_a") -> dict[str, int]:
        """Return what is stored: whatever the JSON file names has to be in the `.npz`."""
        path = self.folder / "trt_baselines" / "answers" / f"{module}.json"
        found = read_answers(path)
        data = read_data(path, found.data) if found else {}
        return {
            name: int(data[digest]["values"][0, 0])
            for name, entry in (found.tests.items() if found else ())
            for digest in entry.data
        }

    def baselines(self) -> set[str]:
        found = read_baselines(self.baseline)
        return set() if found is None else set(found.tests)


def outputs_of(content: bytes) -> np.ndarray:
    """Return what stands for the outputs of a model with these bytes."""
    return np.frombuffer(hashlib.sha256(content).digest(), np.uint8).copy()
