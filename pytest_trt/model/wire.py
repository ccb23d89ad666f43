"""Reading the protobuf wire format in place: where a field's payload lies, not the payload itself.

Only what ONNX files use is here. A message is a span (start, end) of a buffer; nothing is copied
until text is asked for, so weights of any size cost nothing to step over.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

VARINT = 0
FIXED64 = 1
LENGTH = 2
FIXED32 = 5

#: A varint carries 64 bits, seven in each byte.
_VARINT_MAX_BYTES = 10
_UINT64_MASK = (1 << 64) - 1


class WireError(ValueError):
    """The bytes are no protobuf message.

    Attributes:
        position: Offset in the buffer at which reading became impossible.
        overrun: Whether the bytes ended too soon, as those of a truncated file do.
    """

    def __init__(self, message: str, position: int, *, overrun: bool = False) -> None:
        super().__init__(message)
        self.position = position
        self.overrun = overrun


def fields(buffer: bytes | mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield every field of one message as (tag, value, position).

    The tag is field number and wire type together (``number << 3 | type``), so a field that comes
    with an unexpected wire type matches nothing and is skipped, as protobuf's own parsers do. For
    `LENGTH` fields, value and position are the payload's start and end. For `VARINT` fields, value
    is the unsigned number. For fixed-size fields, value is where the payload starts.

    Raises:
        WireError: The message is malformed, or a field reaches beyond its end.
    """
    position = start
    while position < end:
        field_start = position
        tag = buffer[position]
        position += 1
        # One-byte tags and values are nearly all there are; a call for each would double the time.
        if tag >= 0x80:
            tag, position = varint(buffer, field_start, end)
        wire_type = tag & 7
        if wire_type in (LENGTH, VARINT):
            value, position = (
                (buffer[position], position + 1)
                if position < end and buffer[position] < 0x80
                else varint(buffer, position, end)
            )
            if wire_type == LENGTH:
                value, position = position, position + value
        elif wire_type in (FIXED32, FIXED64):
            value, position = position, position + (4 if wire_type == FIXED32 else 8)
        else:
            raise WireError(f"wire type {wire_type} is not in use", field_start)
        if tag < 8:
            raise WireError("field number 0 is not in use", field_start)
        if position > end:
            raise WireError(
                f"a field has {position - value:,} bytes, but {max(end - value, 0):,} are left",
                field_start,
                overrun=True,
            )
        yield tag, value, position


def varint(buffer: bytes | mmap, start: int, end: int) -> tuple[int, int]:
    """Return the unsigned number that starts at `start`, and where the next byte is.

    Raises:
        WireError: It does not end before `end`, or is longer than 64 bits need.
    """
    value = 0
    for index in range(_VARINT_MAX_BYTES):
        if start + index >= end:
            raise WireError("a number is cut off", start, overrun=True)
        byte = buffer[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & _UINT64_MASK, start + index + 1
    raise WireError("a number has more than ten bytes", start)


def signed(value: int) -> int:
    """Return an int64 or int32 field's value; negative ones travel as 64-bit complements."""
    return value - (1 << 64) if value >= 1 << 63 else value


def packed(buffer: bytes | mmap, start: int, end: int) -> Iterator[int]:
    """Yield the signed numbers of a packed repeated field."""
    position = start
    while position < end:
        value, position = varint(buffer, position, end)
        yield signed(value)


def text(buffer: bytes | mmap, start: int, end: int) -> str:
    """Return a string field; bytes that are not UTF-8 stay visible as escapes."""
    return buffer[start:end].decode("utf-8", "backslashreplace")
