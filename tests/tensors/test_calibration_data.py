"""Samples from lists, files, generators and functions: read one at a time, and checked."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from builders_model import remedy

from pytest_trt.diagnostics import InputError, ModelError
from pytest_trt.files import LFS_POINTER
from pytest_trt.tensors.calibration_data import CalibrationData, Spooled
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.stored import StoredSamples, write_samples

_SPECS = (
    TensorSpec("image", "float32", ("batch", 3)),
    TensorSpec("ids", "int64", None),
)
_IMAGE = np.zeros((2, 3), np.float32)
_IDS = np.zeros(5, np.int64)

_SAMPLE = {"image": _IMAGE, "ids": _IDS}

POLYGRAPHY = Path(__file__).parents[1] / "files" / "polygraphy"


@pytest.mark.parametrize("samples", [[_SAMPLE], (_SAMPLE, _SAMPLE)], ids=["list", "tuple"])
def test_samples_that_fit_pass(samples):
    CalibrationData(samples, _SPECS)


def test_sample_without_elements_is_refused():
    empty = np.zeros((0, *_IMAGE.shape[1:]), _IMAGE.dtype)
    specs = [TensorSpec("image", str(_IMAGE.dtype), None)]
    CalibrationData([{"image": _IMAGE}], specs)
    with pytest.raises(InputError, match="0 elements") as caught:
        CalibrationData([{"image": _IMAGE}, {"image": empty}], specs)
    assert caught.value.diagnostic.code == "TRT225"


def test_samples_of_types_without_infinities_pass():
    specs = [TensorSpec("t", "string", None), TensorSpec("s", "sequence(float32)", None)]
    CalibrationData([{"t": np.array(["nan"]), "s": [_IMAGE]}], specs)


def _uncalibrated(match, samples, specs=_SPECS):
    with pytest.raises(InputError, match=match) as caught:
        CalibrationData(samples, specs)
    return remedy(caught.value)


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (_SAMPLE, "dict"),
        (None, "NoneType"),
        (3, "int"),
        (_IMAGE, "numpy.ndarray"),
        (b"image", "bytes"),
    ],
    ids=["dict", "None", "number", "array", "bytes"],
)
def test_what_has_no_samples_is_refused_with_what_to_paste(samples, kind):
    fix = _uncalibrated(rf"a list of \{{input: array\}}.*; got a {kind}", samples)

    assert '[{"image": array, "ids": array}, ...]' in fix


def test_no_sample_is_refused():
    _uncalibrated("returned no sample", [])


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (_IMAGE, "must be a mapping .* got a numpy.ndarray"),
        ({**_SAMPLE, "image": np.zeros((2, 3))}, "input .image. is float64, .* float32"),
        ({"ids": _IDS}, "missing inputs: image"),
        (
            {**_SAMPLE, "image": np.array([[1, np.nan, np.nan]], "f4")},
            "has 2 NaN values of 3",
        ),
        ({**_SAMPLE, "image": np.array([[-np.inf, 0, np.nan]], "f4")}, "1 NaN and 1 infinite"),
    ],
    ids=["array", "dtype", "missing", "NaN", "infinite"],
)
def test_a_wrong_sample_is_named_by_its_number(wrong, match):
    fix = _uncalibrated(f"^calibration sample 1:? .*{match}", [_SAMPLE, wrong])

    assert fix


def test_bfloat16_samples_must_be_finite_too():
    specs = [TensorSpec("x", "bfloat16", (2,))]
    CalibrationData([{"x": np.zeros(2, ml_dtypes.bfloat16)}], specs)

    _uncalibrated("1 NaN", [{"x": np.array([np.nan, 0], ml_dtypes.bfloat16)}], specs)


_ONE = (TensorSpec("image", "float32", ("batch", 3)),)
_BATCHES = [np.full((2, 3), number, np.float32) for number in range(4)]


def _samples():
    return ({"image": batch} for batch in _BATCHES)


class _Loader:
    def __iter__(self):
        return _samples()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the same samples, in files of both kinds."""
    path = tmp_path / "samples"
    path.mkdir()
    (path / ".gitignore").write_text("*")
    for number, batch in enumerate(_BATCHES):
        if number % 2:
            np.savez(path / f"{number}.npz", image=batch)
        else:
            np.save(path / f"{number}.npy", batch)
    return path


@pytest.mark.parametrize(
    "given",
    [
        list(_samples()),
        _samples(),
        _samples,
        lambda: list(_samples()),
        _Loader(),
    ],
    ids=["list", "generator", "function", "function of a list", "iterable"],
)
def test_every_kind_of_data_can_be_read_repeatedly_and_has_one_digest(given, folder) -> None:
    data = CalibrationData(given, _ONE)
    for _ in range(2):
        np.testing.assert_equal([one["image"] for one in data], _BATCHES)
    assert len(data) == 4
    assert data.digest == CalibrationData(folder, _ONE).digest
    assert data.digest == CalibrationData(str(folder), _ONE).digest


def test_the_digest_depends_on_values_and_order() -> None:
    samples = list(_samples())
    digests = {
        CalibrationData(given, _ONE).digest
        for given in (samples, samples[::-1], samples[1:], [*samples, samples[0]])
    }
    assert len(digests) == 4


def test_one_file_is_one_sample(folder) -> None:
    (sample,) = CalibrationData(folder / "1.npz", _ONE)
    np.testing.assert_equal(sample["image"], _BATCHES[1])


def test_bfloat16_survives_a_file(tmp_path: Path) -> None:
    values = np.array([1, 2.5], ml_dtypes.bfloat16)
    np.savez(tmp_path / "a.npz", x=values)
    (sample,) = CalibrationData(tmp_path, [TensorSpec("x", "bfloat16", (2,))])
    assert sample["x"].dtype == values.dtype
    np.testing.assert_equal(sample["x"].tolist(), [1, 2.5])


def test_a_generator_holds_one_sample_at_a_time() -> None:
    import weakref

    alive: list[weakref.ref] = []
    most = 0

    def made():
        nonlocal most
        for number in range(6):
            most = max(most, sum(one() is not None for one in alive))
            array = np.full((2, 3), number, np.float32)
            alive.append(weakref.ref(array))
            yield {"image": array}
            del array

    data = CalibrationData(made(), _ONE)
    assert len(data) == 6
    assert sum(1 for _ in data) == 6
    assert most <= 2  # the one before may live until the next is made


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    folder, size_bytes = tmp_path / "samples", 1 << 20
    folder.mkdir()
    for number in range(16):
        np.save(folder / f"{number:02}.npy", np.full((1, size_bytes // 12, 3), number, np.float32))
    specs = [TensorSpec("x", "float32", (1, "n", 3))]
    tracemalloc.start()
    try:
        write_samples(tmp_path / "stored", CalibrationData(folder, specs))
        assert sum(len(sample) for sample in StoredSamples(tmp_path / "stored")) == 16
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 6 * size_bytes


def _bytes(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_bytes("labels.csv", b"1,2"), "holds labels.csv, which is no .npz, .npy or .json file"),
        (lambda folder: (folder / "sub").mkdir(), "holds sub, which is no"),
        (_bytes("1.npz", b"PK nothing"), r"samples/1\.npz cannot be read: "),
        (_bytes("2.npy", b""), r"samples/2\.npy cannot be read: "),
        (
            lambda folder: np.savez(folder / "1.npz", image=np.array([{}], object)),
            r"1\.npz cannot be read: .*Python objects",
        ),
        (
            lambda folder: np.savez(folder / "1.npz", picture=_BATCHES[0]),
            r"^calibration sample 1 \(.*samples/1\.npz\): .*no input 'picture'",
        ),
        (
            lambda folder: np.save(folder / "2.npy", np.zeros((2, 3))),
            r"^calibration sample 2 \(.*2\.npy\): input 'image' is float64",
        ),
        (
            lambda folder: np.save(folder / "2.npy", np.zeros((2, 4), "f4")),
            r"2\.npy\): input 'image' has shape \(2, 4\)",
        ),
        (
            lambda folder: np.save(folder / "2.npy", np.full((2, 3), np.nan, "f4")),
            r"2\.npy\): input 'image' has 6 NaN",
        ),
    ],
    ids=["foreign", "folder", "no zip", "empty", "pickle", "name", "dtype", "shape", "NaN"],
)
def test_a_file_that_is_no_sample_is_named(folder, damage, match: str) -> None:
    damage(folder)
    assert _uncalibrated(match, folder, _ONE)


def test_a_truncated_file_is_named(folder) -> None:
    path = folder / "3.npz"
    path.write_bytes(path.read_bytes()[:-40])
    assert _uncalibrated(r"3\.npz cannot be read", folder, _ONE)


@pytest.mark.parametrize("name", ["1.npz", "1.npy", "1.json"])
def test_a_git_lfs_pointer_is_downloaded_not_written_again(folder, name) -> None:
    (folder / name).write_bytes(LFS_POINTER + b".github.com/spec/v1\n")
    assert "git lfs pull" in _uncalibrated("it is a Git LFS pointer", folder, _ONE)


def test_an_array_alone_does_not_say_which_of_two_inputs_it_is(folder) -> None:
    fix = _uncalibrated(r"0\.npy holds one array, and the model has 2 inputs", folder)
    assert "numpy.savez(file, image=array, ...)" in fix


def test_a_path_without_samples_is_refused(tmp_path: Path) -> None:
    _uncalibrated("samples does not exist", tmp_path / "samples", _ONE)
    (tmp_path / "empty").mkdir()
    _uncalibrated("empty is empty", tmp_path / "empty", _ONE)
    (tmp_path / "a.png").touch()
    _uncalibrated(r"a\.png is neither", tmp_path / "a.png", _ONE)


def _failing():
    yield {"image": _BATCHES[0]}
    raise OSError("the disk is gone")


@pytest.mark.parametrize("given", [_failing(), _failing], ids=["generator", "function"])
def test_a_generator_that_raises_half_way_is_reported_with_its_line(given) -> None:
    with pytest.raises(
        InputError, match="raised OSError after 1 sample: the disk is gone"
    ) as found:
        CalibrationData(given, _ONE)
    assert "test_calibration_data.py" in found.value.diagnostic.details[0]


def test_an_iterator_that_failed_half_way_is_not_taken_for_the_rest_of_it() -> None:
    """Tests of one module share what the fixture returned."""
    spooled = Spooled(iter(_failing()))
    with pytest.raises(OSError, match="the disk is gone"):
        list(spooled)
    with pytest.raises(InputError, match="was read in part before, and failed"):
        list(spooled)


@pytest.mark.parametrize("given", [iter(()), list, lambda: iter(())], ids=["iterator", "type", "f"])
def test_a_generator_that_yields_nothing_is_refused(given) -> None:
    _uncalibrated("returned no samples|got a type", given, _ONE)


def test_a_function_that_returns_no_samples_is_refused() -> None:
    _uncalibrated("gave a dict", lambda: _SAMPLE)


def test_samples_that_change_between_readings_are_an_error(folder) -> None:
    numbers = iter(range(9))
    changing = CalibrationData(lambda: [{"image": _BATCHES[next(numbers)]}], _ONE)
    of_files = CalibrationData(folder, _ONE)
    np.save(folder / "4.npy", _BATCHES[0])
    array = np.zeros((2, 3), np.float32)
    of_arrays = CalibrationData([{"image": array}], _ONE)
    array[:] = 1
    for data in (changing, of_files, of_arrays):
        with pytest.raises(ModelError, match="calibration inputs were changed") as found:
            list(data)
        assert found.value.diagnostic.code == "TRT207"


def test_inputs_that_polygraphy_saved_are_samples() -> None:
    data = CalibrationData(POLYGRAPHY / "inputs.json", [TensorSpec("image", "float32", ("n", 8))])
    assert [sample["image"].shape for sample in data] == [(2, 8), (2, 8)]
    with pytest.raises(
        InputError, match=r"^calibration sample 0 \(.*outputs\.json, iteration 0\): "
    ):
        CalibrationData(POLYGRAPHY / "outputs.json", [TensorSpec("image", "float32", ("n", 8))])
