from __future__ import annotations

import hashlib
import itertools

import pytest
from builders_model import external_model

from pytest_trt.diagnostics import ModelError
from pytest_trt.hashing import LabelledHash
from pytest_trt.onnx.digest import ByteProgress, model_digest
from pytest_trt.onnx.file import load_model


def _digest(*fields, schema="test 1"):
    digest = LabelledHash(schema)
    for label, payload in fields:
        digest.add(label, payload)
    return digest.hexdigest()


def test_the_same_fields_give_the_same_digest():
    assert _digest(("a", "x"), ("b", 2)) == _digest(("a", "x"), ("b", 2))


@pytest.mark.parametrize(
    ("one", "other"),
    list(
        itertools.combinations(
            [
                (("a", "bc"),),
                (("ab", "c"),),
                (("a", "b"), ("", "c")),
                (("a", "b"), ("c", "")),
                (("c", ""), ("a", "b")),
                (),
            ],
            2,
        )
    ),
)
def test_no_field_bleeds_into_another(one, other):
    assert _digest(*one) != _digest(*other)


def test_another_schema_changes_the_digest():
    assert _digest(("a", "x")) != _digest(("a", "x"), schema="test 2")


def test_a_field_may_come_in_pieces():
    whole = _digest(("a", b"xyz"))
    digest = LabelledHash("test 1")
    digest.begin("a", 3)
    digest.update(b"x")
    digest.update(b"yz")

    assert digest.hexdigest() == whole


def test_the_form_of_a_model_digest_is_fixed(tmp_path):
    """Spelled out by hand: whoever changes it must raise the schema's number."""
    path = external_model(tmp_path, weights=b"ab" * 40, offset=8, length=64)
    data = path.read_bytes()
    expected = hashlib.sha256()
    for label, payload in (
        (b"schema", b"pytest-trt model 1"),
        (b"model", data),
        (b"location", b"w.bin"),
        (b"offset", b"8"),
        (b"external", b"ab" * 32),
    ):
        for part in (label, payload):
            expected.update(len(part).to_bytes(8, "little") + part)

    assert load_model(path).digest == expected.hexdigest()


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(10))
    progress = ByteProgress("m", 20, lambda line: None)

    with path.open("rb", buffering=0) as file, pytest.raises(ModelError, match="10 bytes early"):
        model_digest(path, file, 20, (), progress)


def test_progress_speaks_a_few_times_a_second_only():
    reported = []
    # One reading at the start, then one per step of 0.1 s.
    clock = itertools.count().__next__
    progress = ByteProgress("m.onnx", 4_000_000_000, reported.append, clock=lambda: clock() / 10)

    for _ in range(10):
        progress.advance(400_000_000)

    assert reported == [f"hashing m.onnx: {done} of 4.0 GB" for done in ("1.2", "2.4", "3.6")]


def test_progress_of_smaller_models_is_in_megabytes():
    reported = []
    clock = itertools.count().__next__
    ByteProgress("m.onnx", 850_000_000, reported.append, clock=clock).advance(310_000_000)

    assert reported == ["hashing m.onnx: 310.0 of 850.0 MB"]
