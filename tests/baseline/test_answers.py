"""Files of stored answers: equal bytes, order of writing, and what is damaged."""

from __future__ import annotations

import io
import json
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_trt.baseline import answers as module
from pytest_trt.baseline.answers import (
    AnswerEntry,
    AnswerFile,
    StoredAnswer,
    StoredOutput,
    as_text,
    data_bytes,
    data_digest,
    data_path,
    parse_data,
    read_answers,
    read_data,
    read_intact,
    write_answers,
)
from pytest_trt.baseline.staged import entry_digest
from pytest_trt.baseline.staged_answers import (
    StagedAnswers,
    write_draft,
    write_staged_answers,
)
from pytest_trt.diagnostics import BaselineError, Remedy
from pytest_trt.files import LFS_POINTER


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    return {"values": np.random.default_rng(seed).standard_normal((4, 3)).astype(np.float32)}


def entry(seed: int = 0, inputs: str = "0" * 20) -> AnswerEntry:
    stored = StoredOutput("float32", (4, 3), "all", data_digest(arrays(seed)), {"min": -1.0})
    answer = StoredAnswer(inputs, {"x": "float32 [4, 8]"}, {"probs": stored})
    return AnswerEntry("m.onnx", "ab", "ONNX Runtime", "2026-01-02T03:04:05+00:00", (answer,))


def data(*seeds: int) -> dict[str, dict[str, np.ndarray]]:
    return {data_digest(arrays(seed)): arrays(seed) for seed in seeds}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers" / "test_a.json"


@pytest.fixture
def stored(path: Path) -> Path:
    write_answers(path, AnswerFile({"test_a": entry(0), "test_b": entry(1)}), data(0, 1))
    return path


def test_what_is_written_is_read(stored: Path) -> None:
    found = read_answers(stored)
    assert found == AnswerFile({"test_a": entry(0), "test_b": entry(1)})
    for digest, parts in read_data(stored, found.data).items():
        assert data_digest(parts) == digest


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3, 2)])
def test_any_shape_is_read_as_it_was_written(shape: tuple[int, ...]) -> None:
    array = np.asarray(np.arange(6, dtype=np.float32)[: int(np.prod(shape))].reshape(shape).T)
    written = {data_digest({"values": array}): {"values": array}}
    file = io.BytesIO(data_bytes(written))
    (parts,) = parse_data(file, written, "test_a.npz", fix=Remedy).values()
    assert parts["values"].shape == array.shape
    assert np.array_equal(parts["values"], array)


def test_equal_data_are_equal_bytes(stored: Path) -> None:
    before = stored.read_bytes(), data_path(stored).read_bytes()
    write_answers(stored, AnswerFile({"test_b": entry(1), "test_a": entry(0)}), data(1, 0))
    assert (stored.read_bytes(), data_path(stored).read_bytes()) == before


def test_what_no_test_has_any_more_is_removed(stored: Path) -> None:
    write_answers(stored, AnswerFile({"test_a": entry(0)}), data(0))
    with pytest.raises(BaselineError, match="lacks"):
        read_data(stored, data(1))
    write_answers(stored, AnswerFile({}), {})
    assert not stored.exists()
    assert not data_path(stored).exists()


@pytest.mark.parametrize("writes", range(3))
def test_a_writer_that_ends_between_two_files_loses_nothing(
    stored: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    class KilledError(BaseException):
        pass

    done = 0

    def killing(function):
        def write(*args: object) -> None:
            nonlocal done
            if done == writes:
                raise KilledError
            done += 1
            function(*args)

        return write

    for name in ("_write_data", "atomic_write"):
        monkeypatch.setattr(module, name, killing(getattr(module, name)))
    with pytest.raises(KilledError):
        write_answers(stored, AnswerFile({"test_a": entry(2)}), data(2))
    found = read_answers(stored)
    assert found is not None
    assert len(read_data(stored, found.data)) == len(found.data)


def test_damaged_numbers_are_refused_and_never_taken(stored: Path) -> None:
    content, rng = data_path(stored).read_bytes(), random.Random(0)
    (digest,) = data(0)
    for _ in range(2000):
        damaged = bytearray(content)
        kind = rng.randrange(3)
        if kind == 0:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            begin = rng.randrange(len(damaged))
            damaged[begin : begin + 8] = rng.randbytes(rng.randrange(16))
        with suppress(BaselineError):
            file = io.BytesIO(bytes(damaged))
            found = parse_data(file, [digest], "test_a.npz", fix=Remedy)
            assert data_digest(found[digest]) == digest


def test_compressed_and_pickled_members_are_refused(stored: Path) -> None:
    (digest,) = data(0)
    np.savez_compressed(data_path(stored), **{f"{digest}/values": arrays(0)["values"]})
    with pytest.raises(BaselineError, match="compressed"):
        read_data(stored, [digest])
    np.savez(data_path(stored), **{f"{digest}/values": np.array([{}], dtype=object)})
    with pytest.raises(BaselineError, match="damaged"):
        read_data(stored, [digest])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"stored": "all"', '"stored": "some"', "stored"),
        ('"shape": [4, 3]', '"shape": [-4, 3]', "shape"),
        ('"recorded": "2026', '"recorded": "soon 2026', "recorded"),
        ('"data": "', '"data": "XYZ', "data"),
        ('"schema": 1', '"schema": 2', "format 2"),
        ('"producer"', '"maker"', "producer"),
    ],
)
def test_a_wrong_field_is_named(stored: Path, old: str, new: str, problem: str) -> None:
    stored.write_text(stored.read_text().replace(old, new))
    with pytest.raises(BaselineError, match=problem):
        read_answers(stored)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda one: one["answers"].clear(), r"tests\.test_a\.answers: empty"),
        (lambda one: one["answers"].extend(one["answers"]), "expected each set of inputs once"),
        (lambda one: one.update(errors={"a": {"y": -1.0}}), r"errors\.a\.y: expected 0 or more"),
        (lambda one: one.update(errors={"a": {"y": "inf"}}), r"errors\.a\.y: expected 0 or more"),
        (lambda one: one["answers"][0]["outputs"].clear(), r"answers\[0\]\.outputs: empty"),
    ],
)
def test_answers_that_would_compare_less_are_refused(stored: Path, edit, problem: str) -> None:
    content = json.loads(stored.read_text())
    edit(content["tests"]["test_a"])
    stored.write_text(json.dumps(content))
    with pytest.raises(BaselineError, match=problem):
        read_answers(stored)


def test_numbers_of_other_answers_are_damaged(stored: Path) -> None:
    (digest,) = data(0)
    np.savez(data_path(stored), **{f"{digest}/values": arrays(1)["values"]})
    with pytest.raises(BaselineError, match=f"the answers {digest} are damaged"):
        read_data(stored, [digest])
    assert read_intact(stored, [digest]) == {}


def test_a_pointer_to_numbers_is_neither_missing_nor_damaged(stored: Path) -> None:
    data_path(stored).write_bytes(LFS_POINTER)
    with pytest.raises(BaselineError, match="Git LFS pointer"):
        read_intact(stored, data(0))


def test_answers_that_cannot_be_written_are_an_error(path: Path) -> None:
    data_path(path).mkdir(parents=True)
    with pytest.raises(BaselineError, match="cannot be written: Is a directory"):
        write_answers(path, AnswerFile({"test_a": entry(0)}), data(0))
    assert not path.exists()


def test_an_output_is_on_a_line_for_reviewers(stored: Path) -> None:
    assert as_text(read_answers(stored)) == stored.read_text()
    (line,) = (line for line in stored.read_text().splitlines() if data_digest(arrays(0)) in line)
    assert '"dtype": "float32", "shape": [4, 3]' in line


class TestStaging:
    def staged(self, tmp_path: Path, path: Path, seed: int, test: str = "test_a", **given):
        draft = write_draft(tmp_path / "drafts", data(seed))
        return StagedAnswers(path, "shown", test, entry(seed, **given), draft, update=True)

    def test_tests_of_other_precisions_are_one(self, tmp_path: Path, path: Path) -> None:
        one = self.staged(tmp_path, path, 0)
        more = self.staged(tmp_path, path, 1, inputs="1" * 20)
        written, errors, overtaken = write_staged_answers([one, one, more])
        assert (len(written), errors, overtaken) == (1, [], [])
        found = read_answers(path).tests["test_a"]
        assert [answer.inputs for answer in found.answers] == ["0" * 20, "1" * 20]

    def test_what_another_run_changed_meanwhile_stays(self, tmp_path: Path, stored: Path) -> None:
        new = self.staged(tmp_path, stored, 2)
        written, _, overtaken = write_staged_answers([new])
        assert (written, overtaken) == ([], [new])
        seen = replace(new, against=entry_digest(entry(0)))
        assert len(write_staged_answers([seen])[0]) == 1
        assert read_answers(stored).tests.keys() == {"test_a", "test_b"}
        assert len(read_data(stored, data(1, 2))) == 2

    @pytest.mark.parametrize("intact", [(1,), ()])
    def test_numbers_of_other_tests_that_are_missing_do_not_prevent_it(
        self, tmp_path: Path, stored: Path, intact: tuple[int, ...]
    ) -> None:
        data_path(stored).write_bytes(data_bytes(data(*intact)))
        new = self.staged(tmp_path, stored, 0)
        seen = replace(new, against=entry_digest(entry(0)), repair=True)
        ((written,), errors, _) = write_staged_answers([seen])
        assert not errors
        assert written.text.endswith("unchanged, their numbers recorded again")
        assert read_intact(stored, data(0, 1)).keys() == data(0, *intact).keys()
        assert read_answers(stored).tests.keys() == {"test_a", "test_b"}

    def test_a_draft_that_is_damaged_is_not_stored(self, tmp_path: Path, path: Path) -> None:
        new = self.staged(tmp_path, path, 0)
        new.draft.write_bytes(new.draft.read_bytes()[:-9])
        written, (error,), _ = write_staged_answers([new])
        assert not written
        assert error.diagnostic.code == "TRT673"
        assert not path.exists()
