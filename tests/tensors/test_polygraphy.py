"""Files that Polygraphy saved: read as they are, and refused where they are damaged."""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import save_linear
from mutations import changed, changed_bytes

from pytest_trt import InputError, load_inputs
from pytest_trt.files import LFS_POINTER
from pytest_trt.tensors.polygraphy import is_saved, read_saved

FILES = Path(__file__).parents[1] / "files" / "polygraphy"
INPUTS, OUTPUTS = FILES / "inputs.json", FILES / "outputs.json"
MOST = 100_000


def test_inputs_and_outputs_of_each_iteration_are_read() -> None:
    inputs = read_saved(INPUTS, MOST)
    assert [{name: a.shape for name, a in one.items()} for one in inputs.inputs] == [
        {"image": (2, 8)}
    ] * 2
    assert not inputs.runners
    (runner,) = read_saved(OUTPUTS, MOST).runners
    assert runner.name.startswith("onnxrt-runner-N0")
    assert all(0 < one.runtime_s < 1 for one in runner.iterations)
    for one in runner.iterations:
        assert {name: a.shape for name, a in one.outputs.items()} == dict.fromkeys(
            ("logits", "probs"), (2, 4)
        )
        np.testing.assert_allclose(one.outputs["probs"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.exhaustive
def test_the_installed_polygraphy_writes_what_is_read(tmp_path: Path) -> None:
    save_linear(tmp_path / "linear.onnx")
    saving = "--save-inputs inputs --save-results outputs.json"
    options = f"--onnxrt --onnxrt --input-shapes image:[2,8] --iterations 2 --seed 1 {saving}"
    subprocess.run(
        [Path(sys.executable).with_name("polygraphy"), "run", "linear.onnx", *options.split()],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
    )
    saved = read_saved(tmp_path / "outputs.json", MOST)
    assert [len(runner.iterations) for runner in saved.runners] == [2, 2]
    mine = [one.outputs["probs"] for one in saved.runners[0].iterations]
    stored = [one["probs"] for one in read_saved(OUTPUTS, MOST).samples()]
    np.testing.assert_allclose(mine, stored, rtol=1e-5)
    for one, other in zip(load_inputs(tmp_path / "inputs"), load_inputs(INPUTS), strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    with pytest.raises(ValueError, match="outputs of 2 runners, not one: onnxrt-runner-N0"):
        saved.samples()


def test_folder_has_a_file_for_each_iteration(tmp_path: Path) -> None:
    for number, one in enumerate(json.loads(INPUTS.read_text())):
        (tmp_path / f"{number:010}.json").write_text(json.dumps(one))
    assert len(load_inputs(tmp_path)) == 2
    (tmp_path / "2.json").write_bytes(OUTPUTS.read_bytes())
    with pytest.raises(InputError, match="some of its files have inputs, others results"):
        load_inputs(tmp_path)


def test_folder_without_such_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder has no \.json files"):
        load_inputs(tmp_path)


def test_npz_file_is_one_set_of_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    assert [list(one) for one in load_inputs(str(tmp_path / "a.npz"))] == [["x"]]


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_git_lfs_pointer_is_downloaded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(LFS_POINTER)
    with pytest.raises(InputError, match=r"it is a Git LFS pointer(.|\n)*git lfs pull"):
        load_inputs(tmp_path / name)


def test_missing_file_is_an_error_with_a_code(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file") as refused:
        load_inputs(tmp_path / "none.json")
    assert refused.value.diagnostic.code == "TRT234"


def npy(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()


def an_array(text: str, kind: str = "ndarray", field: str = "array") -> str:
    return json.dumps([{"x": {field: text, "polygraphy_class": kind}}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (an_array(npy(np.array([{}], object))), "Python objects, which are never unpickled"),
        (an_array("gAN9cQAu", "Tensor", "tensor"), r'\[0\]\["?x.*PyTorch.*never unpickled|x'),
        (an_array("%%"), "not Base64"),
        (an_array("AAAA"), "magic|EOF"),
        (an_array("AAAA", "TacticReplayData"), "expected Polygraphy's ndarray, found Tactic"),
        ("[]", "it has no iterations"),
        ("{}", "expected Polygraphy's RunResults, found something else"),
        ("[[[[[", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"polygraphy_class": "RunResults", "lst": [["a", [1]]]}', r"\[0\]\[0\]: expected"),
        ('{"polygraphy_class": "RunResults", "lst": [["a", []]]}', "it has no iterations"),
        ('{"a": 1, "a": 2}', "twice"),
        ("\0", "not JSON"),
    ],
)
def test_something_else_is_refused_with_the_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_saved(tmp_path / "a.json", 10 * MOST)


def test_files_larger_than_allowed_are_not_read() -> None:
    with pytest.raises(ValueError, match="more than the 100 B"):
        read_saved(INPUTS, 100)


def test_only_polygraphys_files_look_like_it() -> None:
    assert is_saved(json.loads(INPUTS.read_text()))
    assert is_saved(json.loads(OUTPUTS.read_text()))
    for other in ([], [{}], [{"count": 1}], {"Layers": []}, [1], None, {"polygraphy_class": 1}):
        assert not is_saved(other)


@pytest.mark.parametrize("path", [INPUTS, OUTPUTS], ids=["inputs", "outputs"])
def test_damaged_files_are_read_or_refused(path: Path, tmp_path: Path) -> None:
    """Whatever is changed, in the bytes or in the JSON: no other error."""
    chance, whole, damaged, refused = random.Random(1), path.read_bytes(), tmp_path / "a.json", 0
    for number in range(500):
        damaged.write_bytes(changed_bytes(whole, chance) if number % 2 else changed(whole, chance))
        try:
            read_saved(damaged, MOST)
        except ValueError as error:
            refused += bool(str(error))
    assert refused > 200
