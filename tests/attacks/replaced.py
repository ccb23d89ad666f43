"""Models, references and calibration data are replaced at random moments while they are read.

What is stored afterwards must be made of the bytes that its key was made of; a file that changes
meanwhile is an error that says so. See `runner` for how to run it. With `--unchecked` nothing is
compared after a build: it shows that the attacks work.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from runner import Attack, main
from scene import TARGET, Copier, Scene, content_of, outputs_of

from pytest_trt.diagnostics import ModelError
from pytest_trt.engine.build import build_or_load
from pytest_trt.engine.cache import Entry
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.calibration_data import CalibrationData

#: How long a reader is busy between two reads, so that most moments lie in the middle of a build.
_PAUSE_S = 0.002

#: Codes of errors that say what happened.
_TOLD = {"TRT200", "TRT201", "TRT202", "TRT207"}


def _pause() -> None:
    time.sleep(_PAUSE_S)


@contextlib.contextmanager
def _meanwhile(seconds: float, deed: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(seconds, deed)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _deeds(scene: Scene, number: int) -> list[Callable[[], None]]:
    """Return ways to replace the model or its data by others of the same size."""
    data, model = scene.model.with_name("w.bin"), scene.model
    other = bytes([number % 251 + 1]) * 64

    def in_place() -> None:
        data.write_bytes(other)

    def renamed() -> None:
        aside = data.with_name("aside")
        aside.write_bytes(other)
        aside.replace(data)

    def times_set_back(change: Callable[[], None]) -> Callable[[], None]:
        def deed() -> None:
            before = data.stat()
            change()
            os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))

        return deed

    def there_and_back() -> None:
        before = data.read_bytes()
        data.write_bytes(other)
        time.sleep(_PAUSE_S)
        data.write_bytes(before)

    def model_itself() -> None:
        content = model.read_bytes()
        aside = model.with_name("aside.onnx")
        aside.write_bytes(content.replace(b"graph", b"other", 1))
        aside.replace(model)

    def removed() -> None:
        data.unlink()

    deeds = [in_place, renamed, there_and_back, model_itself, removed]
    return [*deeds, times_set_back(in_place), times_set_back(renamed)]


def model(attack: Attack) -> None:
    """The model and its data, while the engine is built and the reference is computed."""
    for number in range(400 if attack.is_long else 12):
        scene = Scene(attack.folder / str(number))
        scene.write_model(0)
        deeds = _deeds(scene, number)
        deed = deeds[number % len(deeds)]
        with attack.attempt(f"{number}, {deed.__name__}"):
            with _meanwhile(attack.chance.uniform(0, 12 * _PAUSE_S), deed):
                _use(scene)
            _check(attack, scene, number)
            scene.write_model(number)
            if not _use(scene):
                attack.outcomes.add("lost", f"{number}: the next run fails")
            _check(attack, scene, number)


def _use(scene: Scene) -> bool:
    """Read, build and compute; return whether no error said that the model changed."""
    cache = scene.cache
    try:
        found = load_model(scene.model)
        _pause()
        scene.build(cache, found, Copier(_pause))
        scene.reference(cache, found, _pause)
    except ModelError as error:
        if error.diagnostic.code not in _TOLD:
            raise
        return False
    return True


def _check(attack: Attack, scene: Scene, number: int) -> None:
    """Check every engine and the references against the model that has their key's digest."""
    cache = scene.cache
    for entry in cache.entries():
        assert isinstance(entry, Entry)
        # The plan is the model and its data, one after the other.
        plan, copy = entry.plan.read_bytes(), attack.folder / "copy"
        copy.mkdir(exist_ok=True)
        (copy / "model.onnx").write_bytes(plan[:-64])
        (copy / "w.bin").write_bytes(plan[-64:])
        try:
            digest = load_model(copy / "model.onnx").digest
        except ModelError:
            digest = "none"
        if digest != entry.sidecar.key_fields["model digest"]:
            attack.outcomes.add("trusted", f"{number}: engine")
            continue
        copied = load_model(copy / "model.onnx")
        file = cache.references / f"{scene.reference_key(copied)}.outputs"
        if file.exists() and list(scene.reference(cache, copied)) != list(outputs_of(plan)):
            attack.outcomes.add("trusted", f"{number}: reference")


def calibration(attack: Attack) -> None:
    """Calibration data in a memory map of a file that is written to while an engine is built."""
    for number in range(100 if attack.is_long else 4):
        scene = Scene(attack.folder / str(number))
        scene.write_model(0)
        file = scene.folder / "calibration.npy"
        np.save(file, np.zeros((8, 4), np.float32))
        samples = [{"x": np.load(file, mmap_mode="r")} for _ in range(3)]

        def overwritten(file: Path = file, value: int = number + 1) -> None:
            np.load(file, mmap_mode="r+")[:] = value

        with attack.attempt(f"{number}"):
            with (
                _meanwhile(attack.chance.uniform(0, 8 * _PAUSE_S), overwritten),
                contextlib.suppress(ModelError),
            ):
                build_or_load(
                    model=load_model(scene.model),
                    spec=EngineSpec("int8"),
                    target=TARGET,
                    backend=Copier(_pause),  # type: ignore[arg-type]
                    cache=scene.cache,
                    calibration=lambda samples=samples: samples,
                )
            for entry in scene.cache.entries():
                assert isinstance(entry, Entry)
                used = [path.read_bytes() for path in sorted(entry.folder.glob("sample.*"))]
                arrays = [{"x": np.frombuffer(one, np.float32).reshape(8, 4)} for one in used]
                digest = CalibrationData(arrays, load_model(scene.model).inputs).digest
                if digest != entry.sidecar.key_fields["calibration digest"]:
                    attack.outcomes.add("trusted", f"{number}")


def reference(attack: Attack) -> None:
    """The model that gives the reference, while it is read, and nothing else is built."""
    for number in range(100 if attack.is_long else 4):
        scene = Scene(attack.folder / str(number))
        scene.write_model(0)
        deeds = _deeds(scene, number)
        with attack.attempt(f"{number}"):
            found = load_model(scene.model)
            right = list(outputs_of(content_of(found)))
            with (
                _meanwhile(attack.chance.uniform(0, 4 * _PAUSE_S), deeds[number % len(deeds)]),
                contextlib.suppress(ModelError),
            ):
                scene.reference(scene.cache, found, _pause)
            for file in scene.cache.references.iterdir():
                assert file.stem == scene.reference_key(found)
                if list(scene.reference(scene.cache, found)) != right:
                    attack.outcomes.add("trusted", f"{number}")


ATTACKS = {"model": model, "reference": reference, "calibration": calibration}

if __name__ == "__main__":
    given = [one for one in sys.argv[1:] if one != "--unchecked"]
    with contextlib.ExitStack() as patches:
        if len(given) < len(sys.argv) - 1:
            for name in ("scene", "pytest_trt.engine.build"):
                patches.enter_context(
                    patch(f"{name}.of_hashed_bytes", lambda model, make, **_: make())
                )
        sys.exit(main(ATTACKS, given))
