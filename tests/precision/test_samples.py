from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import images, save_linear

from pytest_trt.diagnostics import InputError
from pytest_trt.files import LFS_POINTER
from pytest_trt.onnx.file import load_model
from pytest_trt.precision.samples import profile_of, read_samples, seeded_samples
from pytest_trt.tensors.profiles import parse_profiles

POLYGRAPHY = Path(__file__).parents[1] / "files" / "polygraphy"


@pytest.fixture
def model(tmp_path: Path):
    return load_model(save_linear(tmp_path / "linear.onnx"))


def test_each_file_of_a_folder_is_a_sample_and_may_have_labels(model, tmp_path: Path) -> None:
    for number in (1, 0):
        batch = images(number + 2)
        np.savez(tmp_path / f"{number}.npz", image=batch, labels=np.arange(number + 2))
    first, second = read_samples(tmp_path, model.inputs)
    assert first.inputs["image"].shape == (2, 8)
    assert second.others["labels"].tolist() == [0, 1, 2]
    assert second.origin.endswith("1.npz")


def test_file_without_an_input_is_refused_with_the_closest_name(model, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images())
    with pytest.raises(InputError, match="has no array 'image'; it has images") as refused:
        read_samples(tmp_path / "a.npz", model.inputs)
    assert "did you mean 'images'?" in str(refused.value).replace("Did", "did")


def test_folder_without_samples_and_a_damaged_file_are_refused(model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no \.npz files"):
        read_samples(tmp_path, model.inputs)
    (tmp_path / "a.npz").write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(tmp_path, model.inputs)


def test_git_lfs_pointer_is_downloaded(model, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(LFS_POINTER)
    with pytest.raises(InputError, match=r"is a Git LFS pointer(.|\n)*git lfs pull"):
        read_samples(tmp_path, model.inputs)


def test_profile_covers_all_samples_and_is_tuned_for_the_first(model) -> None:
    samples = [*seeded_samples(model, parse_profiles({"image": (4, 8)}, model.inputs, where=""))]
    smaller = seeded_samples(model, parse_profiles({"image": (1, 8)}, model.inputs, where=""))
    (profile,) = profile_of(model.inputs, [*samples, *smaller])
    bounds = profile["image"]
    assert (bounds.min, bounds.opt, bounds.max) == ((1, 8), (4, 8), (4, 8))
    assert not np.array_equal(samples[0].inputs["image"], samples[1].inputs["image"])


def test_model_of_fixed_shapes_needs_no_profile(tmp_path: Path) -> None:
    fixed = load_model(save_linear(tmp_path / "fixed.onnx", batch=4))
    assert profile_of(fixed.inputs, seeded_samples(fixed, ())) == ()


def test_inputs_that_polygraphy_saved_are_a_sample_for_each_iteration(model) -> None:
    first, second = read_samples(POLYGRAPHY / "inputs.json", model.inputs)
    assert first.inputs["image"].shape == (2, 8)
    assert second.origin.endswith("inputs.json, iteration 1")
    with pytest.raises(InputError, match="has no array 'image'; it has logits, probs"):
        read_samples(POLYGRAPHY / "outputs.json", model.inputs)
