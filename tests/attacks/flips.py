"""Every byte of every file that the cache stores is changed, one after the other.

What was changed must be noticed, and made again. The index may be used as it is where the change
does not matter: it decides only what is evicted, and nothing may be evicted here. See `runner` for
how to run it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from runner import Attack, main
from scene import Scene, content_of, outputs_of

from pytest_trt.diagnostics import BaselineError
from pytest_trt.engine.cache import LAYOUT, Entry
from pytest_trt.engine.cache_index import CacheIndex
from pytest_trt.engine.timing_cache import TimingFileError
from pytest_trt.onnx.file import OnnxModel, load_model

#: In the short form, so many bytes of each file.
_SHORT = 40


def _flip_all(
    attack: Attack, path: Path, check: Callable[[int], None], *, restore: bool = True
) -> None:
    whole = path.read_bytes()
    positions = range(len(whole))
    if not attack.is_long:
        positions = sorted(attack.chance.sample(positions, min(_SHORT, len(whole))))
    for position in positions:
        changed = bytearray(whole)
        changed[position] ^= attack.chance.randrange(1, 256)
        with attack.attempt(f"{path.name}, byte {position}"):
            path.write_bytes(changed)
            check(position)
        path.write_bytes(whole)


def _stored(attack: Attack) -> tuple[Scene, OnnxModel, Entry]:
    """Store one of everything."""
    scene = Scene(attack.folder)
    scene.write_model(1)
    cache = scene.cache
    model = scene.load(cache)
    scene.reference(cache, model)
    engine = scene.build(cache, model)
    scene.write_timings(cache, b"timings" * 20)
    scene.write_last_run(cache, "now")
    found = cache.find(engine.key.digest)
    assert found is not None
    return scene, model, found


def engine(attack: Attack) -> None:
    """The plan and the sidecar."""
    scene, _, entry = _stored(attack)

    def check(position: int) -> None:
        found = scene.cache.lookup(entry.folder.name, entry.sidecar.key_digest)
        if isinstance(found, Entry):
            attack.outcomes.add("trusted", f"byte {position}")
        if scene.cache.entries() == []:
            attack.outcomes.add("lost", f"byte {position}")

    for file in sorted(entry.folder.iterdir()):
        _flip_all(attack, file, check)


def rebuilt(attack: Attack) -> None:
    """A damaged engine is built again."""
    scene, model, entry = _stored(attack)
    _flip_some(attack, entry.plan, lambda: _rebuild(attack, scene, model))


def _flip_some(attack: Attack, path: Path, check: Callable[[], None]) -> None:
    whole = path.read_bytes()
    for _ in range(100 if attack.is_long else 3):
        with attack.attempt(path.name):
            changed = bytearray(whole)
            changed[attack.chance.randrange(len(whole))] ^= attack.chance.randrange(1, 256)
            path.write_bytes(changed)
            check()


def _rebuild(attack: Attack, scene: Scene, model: OnnxModel) -> None:
    built = scene.build(scene.cache, model)
    if built.cached or built.plan.read_bytes() != content_of(model):
        attack.outcomes.add("trusted", "rebuilt engine")
    if [one.code for one in built.warnings] != ["TRT810"]:
        attack.outcomes.add("lost", "the report of the damage")


def reference(attack: Attack) -> None:
    """Reference outputs."""
    scene, model, _ = _stored(attack)
    right = list(outputs_of(content_of(model)))
    (file,) = scene.cache.references.iterdir()

    def check(position: int) -> None:
        cache = scene.cache
        if list(scene.reference(cache, model)) != right:
            attack.outcomes.add("trusted", f"byte {position}")
        if [one.code for one in cache.notes] != ["TRT812"]:
            attack.outcomes.add("lost", f"the report of byte {position}")

    _flip_all(attack, file, check)


def digest(attack: Attack) -> None:
    """The digest and contents of a model."""
    scene, _, _ = _stored(attack)
    (file,) = scene.cache.digests.folder.iterdir()

    def check(position: int) -> None:
        cache = scene.cache
        if scene.load(cache) != load_model(scene.model):
            attack.outcomes.add("trusted", f"byte {position}")
        if [one.code for one in cache.notes] != ["TRT812"]:
            attack.outcomes.add("lost", f"the report of byte {position}")

    _flip_all(attack, file, check)


def timings(attack: Attack) -> None:
    """The timings of a builder."""
    scene, _, _ = _stored(attack)
    (file,) = scene.cache.timing.iterdir()

    def check(position: int) -> None:
        try:
            scene.timings(scene.cache)
        except TimingFileError:
            return
        attack.outcomes.add("trusted", f"byte {position}")

    _flip_all(attack, file, check)


def last_run(attack: Attack) -> None:
    """What the last run measured."""
    scene, _, _ = _stored(attack)
    (file,) = scene.cache.last_runs.iterdir()

    def check(position: int) -> None:
        try:
            scene.last_run(scene.cache)
        except BaselineError:
            return
        attack.outcomes.add("trusted", f"byte {position}")

    _flip_all(attack, file, check)


def index(attack: Attack) -> None:
    """The index, with what SQLite keeps next to it."""
    scene, _, entry = _stored(attack)
    for number in range(2, 5):
        scene.write_model(number)
        scene.build(scene.cache, scene.load(scene.cache))
    engines = set((scene.cache.folder / "engines").iterdir())
    model, fields = Path(entry.sidecar.model_path), entry.sidecar.key_fields
    new = scene.cache.references / "new"
    new.write_bytes(b"new")

    def check(position: int) -> None:
        opened = CacheIndex(scene.folder / "cache" / LAYOUT, writable=True)
        if not set(opened.related(model, fields)) <= engines:
            attack.outcomes.add("trusted", f"byte {position}")
        evicted = opened.add({new: None}, max_bytes=10**9, stays=lambda path: False)
        if evicted:
            attack.outcomes.add("lost", f"byte {position}: {evicted}")

    for file in sorted(scene.cache.folder.glob("index*")):
        _flip_all(attack, file, check)


ATTACKS = {
    "engine": engine,
    "rebuilt": rebuilt,
    "reference": reference,
    "digest": digest,
    "timings": timings,
    "last run": last_run,
    "index": index,
}

if __name__ == "__main__":
    sys.exit(main(ATTACKS))
