from __future__ import annotations

from pathlib import Path

from pytest_trt.engine.loaded_models import LoadedModels


def test_what_was_loaded_is_known_to_the_same_producer_alone(tmp_path: Path) -> None:
    files: list[Path] = []
    LoadedModels(tmp_path, producer="a", stored=files.append).add("model")
    assert files == list(tmp_path.iterdir())
    assert "model" in LoadedModels(tmp_path, producer="a")
    assert "model" not in LoadedModels(tmp_path, producer="b")
    assert "other" not in LoadedModels(tmp_path, producer="a")


def test_an_incomplete_record_does_not_count(tmp_path: Path) -> None:
    loaded = LoadedModels(tmp_path, producer="a")
    loaded.add("model")
    (record,) = tmp_path.iterdir()
    record.write_bytes(record.read_bytes()[:-1])
    assert "model" not in loaded


def test_where_nothing_can_be_written_nothing_is_known(tmp_path: Path) -> None:
    loaded = LoadedModels(tmp_path / "missing", producer="a")
    loaded.add("model")
    assert "model" not in loaded
