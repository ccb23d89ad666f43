"""What the tests of one run share, without pytest around it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import save_linear, settings
from clocks import much_later, next_tick

from pytest_trt.engine.digest_records import TRUSTED_FILE_SYSTEMS, DigestRecords
from pytest_trt.files import FileStamp, file_system
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.plugin.run import TrtRun
from pytest_trt.tensors.spec import TensorSpec


def read(path: Path, cache: Path, clock: Callable[[], int] = much_later) -> OnnxModel:
    """Read a model in a run of its own, by default a while after it was written."""
    chosen = settings(arch=("cpu",), cache_dir=cache)
    return TrtRun(chosen, clock=clock).model(path, lambda text: None)


def test_model_is_hashed_by_the_first_run_only(tmp_path: Path) -> None:
    path, cache = save_linear(tmp_path / "linear.onnx", features=500), tmp_path / "cache"
    if file_system(str(path)) not in TRUSTED_FILE_SYSTEMS:
        pytest.skip(f"models on {file_system(str(path))} are not remembered")
    first = read(path, cache)
    assert read(path, cache) == first

    # A digest that no bytes have, in the place of the one that was remembered.
    (record,) = (cache / "v1" / "digests").iterdir()
    (stamp,) = (FileStamp(**one) for one in json.loads(record.read_text().splitlines()[2])["files"])
    records = DigestRecords(record.parent)
    found = records.recall(stamp)
    assert found is not None
    records.remember(replace(found, digest="f" * 64))
    assert read(path, cache) == replace(first, digest="f" * 64)

    next_tick(tmp_path)
    save_linear(path, features=500, nudge=0.25)
    assert read(path, cache).digest not in (first.digest, "f" * 64)


def test_small_model_is_hashed_by_every_run(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read(save_linear(tmp_path / "linear.onnx"), cache)
    assert list((cache / "v1" / "digests").iterdir()) == []


def test_model_that_was_just_written_is_hashed_by_every_run(tmp_path: Path) -> None:
    path, cache = save_linear(tmp_path / "linear.onnx", features=500), tmp_path / "cache"
    read(path, cache, time.time_ns)
    assert list((cache / "v1" / "digests").iterdir()) == []


@pytest.mark.parametrize(("clock", "again"), [(much_later, False), (time.time_ns, True)])
def test_calibration_files_are_read_once_if_their_stamps_prove_that_nothing_changed(
    tmp_path: Path, clock: Callable[[], int], again: bool
) -> None:
    folder, specs = tmp_path / "samples", [TensorSpec("x", "float32", (2,))]
    folder.mkdir()
    np.save(folder / "0.npy", np.zeros(2, np.float32))
    run = TrtRun(settings(arch=("cpu",), cache_dir=tmp_path / "cache"), clock=clock)
    first = run.calibration(folder, specs)
    assert (run.calibration(folder, specs) is not first) == again
    next_tick(tmp_path)
    np.save(folder / "0.npy", np.ones(2, np.float32))
    changed = run.calibration(folder, specs)
    assert changed.digest != first.digest
    np.save(folder / "1.npy", np.ones(2, np.float32))
    assert run.calibration(str(folder), specs).digest not in (first.digest, changed.digest)


@pytest.mark.parametrize("kind", [iter, lambda samples: map(dict, samples)], ids=["iter", "map"])
def test_what_an_iterator_yields_is_there_for_every_test(tmp_path: Path, kind) -> None:
    specs = [TensorSpec("x", "float32", (2,))]
    given = kind([{"x": np.zeros(2, np.float32)}, {"x": np.ones(2, np.float32)}])
    run = TrtRun(settings(arch=("cpu",), cache_dir=tmp_path / "cache"))
    first = run.calibration(given, specs)
    assert len(first) == 2
    assert run.calibration(given, specs).digest == first.digest
