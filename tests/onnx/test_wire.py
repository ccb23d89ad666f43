from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, onnx_ml_pb2

from pytest_trt.onnx import fields as onnx_fields
from pytest_trt.onnx.wire import (
    HEADER_BYTES,
    LENGTH,
    VARINT,
    Source,
    WireError,
    fields,
    packed,
    signed,
    text,
    varint,
)
from pytest_trt.tensors.elements import element_name, stored_bytes

#: Wire types of the descriptor's field types: int64, int32, enum; string, message, bytes.
_WIRE_TYPES = {3: VARINT, 5: VARINT, 14: VARINT, 9: LENGTH, 11: LENGTH, 12: LENGTH}

_MESSAGES = {
    "MODEL": "ModelProto",
    "OPERATORSETID": "OperatorSetIdProto",
    "TRAININGINFO": "TrainingInfoProto",
    "FUNCTION": "FunctionProto",
    "GRAPH": "GraphProto",
    "NODE": "NodeProto",
    "ATTRIBUTE": "AttributeProto",
    "TENSOR": "TensorProto",
    "SPARSETENSOR": "SparseTensorProto",
    "STRINGSTRINGENTRY": "StringStringEntryProto",
    "VALUEINFO": "ValueInfoProto",
    "TYPE_TENSOR": "TypeProto.Tensor",
    "TYPE_SEQUENCE": "TypeProto.Sequence",
    "TYPE_MAP": "TypeProto.Map",
    "TYPE": "TypeProto",
    "TENSORSHAPE_DIMENSION": "TensorShapeProto.Dimension",
    "TENSORSHAPE": "TensorShapeProto",
}


def _descriptor(constant):
    """The field that a constant names, by the longest message prefix that has such a field."""
    for prefix in sorted(_MESSAGES, key=len, reverse=True):
        if not constant.startswith(prefix + "_"):
            continue
        outer, *inner = _MESSAGES[prefix].split(".")
        message = onnx_ml_pb2.DESCRIPTOR.message_types_by_name[outer]
        for name in inner:
            message = message.nested_types_by_name[name]
        field = message.fields_by_name.get(constant[len(prefix) + 1 :].lower())
        if field is not None:
            return field
    return None


@pytest.mark.parametrize(
    "constant",
    [
        name
        for name, number in inspect.getmembers(onnx_fields)
        if name.isupper()
        and isinstance(number, int)
        and name not in {"VARINT", "LENGTH", "EXTERNAL", "TENSOR_DIMS_PACKED"}
    ],
)
def test_tags_are_those_of_the_installed_onnx(constant):
    field = _descriptor(constant)

    assert field is not None
    wire_type = LENGTH if field.GetOptions().packed else _WIRE_TYPES[field.type]
    assert getattr(onnx_fields, constant) == field.number << 3 | wire_type


def test_external_is_what_onnx_calls_external():
    assert onnx_fields.EXTERNAL == TensorProto.EXTERNAL


@pytest.mark.parametrize("number", [n for n in TensorProto.DataType.values() if n])
def test_every_element_type_of_the_installed_onnx_has_a_name(number):
    official = TensorProto.DataType.Name(number).lower()

    assert element_name(number) == {"float": "float32", "double": "float64"}.get(official, official)


def test_an_element_type_from_the_future_still_has_a_name():
    assert element_name(99) == "type99"
    assert stored_bytes(99, (3,)) is None


@pytest.mark.parametrize(
    ("number", "dims", "expected"),
    [
        (TensorProto.FLOAT, (2, 3), 24),
        (TensorProto.FLOAT, (), 4),
        (TensorProto.FLOAT, (0, 3), 0),
        (TensorProto.INT4, (3,), 2),
        (TensorProto.FLOAT, (-1,), None),
        (TensorProto.STRING, (3,), None),
    ],
)
def test_stored_bytes_counts_packed_elements(number, dims, expected):
    assert stored_bytes(number, dims) == expected


def _encoded(number):
    encoded = bytearray()
    number &= (1 << 64) - 1
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_survive_the_wire(number):
    encoded = _encoded(number)

    unsigned, end = varint(encoded, 0, len(encoded))

    assert (signed(unsigned), end) == (number, len(encoded))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_numbers_survive_the_wire(numbers):
    encoded = b"".join(map(_encoded, numbers))

    assert list(packed(Source.of_bytes(encoded), 0, len(encoded))) == numbers


def test_fields_are_spans_and_numbers():
    message = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x1d\x00\x00\x80\x3f" + b"\x21" + bytes(8)

    found = list(fields(Source.of_bytes(message), 0, len(message)))

    assert found == [(0x08, 150, 3), (0x12, 5, 8), (0x1D, 9, 13), (0x21, 14, 22)]
    assert text(Source.of_bytes(message), 5, 8) == "abc"


@pytest.mark.parametrize(
    ("message", "overrun"),
    [
        pytest.param(b"\x12\x05abc", True, id="payload longer than the message"),
        pytest.param(b"\x08", True, id="value missing"),
        pytest.param(b"\x08\x80", True, id="number cut off"),
        pytest.param(b"\x1d\x00\x00", True, id="fixed-size value cut off"),
        pytest.param(b"\x80", True, id="tag cut off"),
        pytest.param(b"\x08" + b"\xff" * 10 + b"\x01", False, id="number of eleven bytes"),
        pytest.param(b"\x0b", False, id="group"),
        pytest.param(b"\x00\x01", False, id="field number 0"),
    ],
)
def test_malformed_messages_are_refused(message, overrun):
    with pytest.raises(WireError) as caught:
        list(fields(Source.of_bytes(message), 0, len(message)))

    assert caught.value.overrun is overrun


def test_a_field_ends_with_its_message_even_when_the_buffer_goes_on():
    with pytest.raises(WireError):
        list(fields(Source.of_bytes(b"\x12\x05abcdef"), 0, 5))


def test_bytes_that_are_not_utf8_stay_visible():
    assert text(Source.of_bytes(b"a\xffb"), 0, 3) == "a\\xffb"


def test_a_file_is_read_in_windows_and_payloads_are_not_read(tmp_path):
    payload = bytes(1_000_000)
    message = (b"\x12" + b"\xc0\x84\x3d" + payload + b"\x08\x05") * 3
    reads = []

    def read(start, count):
        reads.append(count)
        return message[start : start + count]

    found = list(fields(Source(read, len(message), 64), 0, len(message)))

    assert [tag for tag, _, _ in found] == [0x12, 0x08] * 3
    assert sum(reads) < 1000


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "message"
    path.write_bytes(b"\x08\x05" * 10)
    with path.open("rb") as file:
        source = Source.of_file(file.fileno(), 20 + HEADER_BYTES)

        with pytest.raises(WireError, match="became shorter"):
            list(fields(source, 0, source.size))
