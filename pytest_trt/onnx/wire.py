"""The protobuf wire format, read in place: positions of payloads, not the payloads.

Only what ONNX files use is here. A message is a span (start, end) of a source; payloads are stepped
over, so that weights of any size cost nothing.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

VARINT = 0
FIXED64 = 1
LENGTH = 2
FIXED32 = 5

#: A varint carries 64 bits, seven in each byte.
VARINT_MAX_BYTES = 10

#: The longest that a field's tag and length can be.
HEADER_BYTES = 2 * VARINT_MAX_BYTES

#: Some tens of nodes, and little to read in vain before a large weight is stepped over.
WINDOW_BYTES = 1 << 14

_UINT64_MASK = (1 << 64) - 1


class WireError(ValueError):
    """The bytes are not a protobuf message.

    Attributes:
        position: Offset in the buffer at which reading became impossible.
        overrun: Whether the bytes ended too soon, as those of a truncated file do.
    """

    def __init__(self, message: str, position: int, *, overrun: bool = False) -> None:
        super().__init__(message)
        self.position = position
        self.overrun = overrun


class Source:
    """Bytes that are read in small windows as parsing advances.

    Not a memory map: the kernel maps whole large pages around every touched byte, which made 200 MB
    of weights 100 MB of resident memory, and a file that shrinks under a map kills the interpreter.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, window_bytes: int) -> None:
        self.size = size
        self._read = read
        self._window_bytes = window_bytes
        #: The bytes held now, where they start and end. `fields` and `text` look at them without a
        #: call: a walk is little else than these looks.
        self.held = b""
        self.held_start = 0
        self.held_end = 0

    @classmethod
    def of_bytes(cls, data: bytes) -> Source:
        """Return a source over bytes in memory."""
        return cls(lambda start, count: data[start : start + count], len(data), len(data))

    @classmethod
    def of_file(cls, descriptor: int, size: int) -> Source:
        """Return a source over the first `size` bytes of an open file."""
        return cls(lambda start, count: os.pread(descriptor, count, start), size, WINDOW_BYTES)

    def hold(self, position: int) -> None:
        """Read the window that starts at `position`."""
        end = min(position + self._window_bytes, self.size)
        self.held = self.read(position, end)
        self.held_start, self.held_end = position, end

    def read(self, start: int, end: int) -> bytes:
        """Return a copy of one span.

        Raises:
            WireError: The file ends before, though it was as long as that when it was opened.
        """
        if self.held_start <= start and end <= self.held_end:
            return self.held[start - self.held_start : end - self.held_start]
        data = self._read(start, end - start)
        if len(data) < end - start:
            raise WireError("the file became shorter while it was read", start, overrun=True)
        return data


def fields(source: Source, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield every field of one message as (tag, value, position).

    The tag is ``number << 3 | wire type``: a field of an unexpected wire type matches nothing, and
    protobuf's own parsers skip it too. `LENGTH`: value and position are the payload's start and
    end. `VARINT`: value is the unsigned number. Fixed sizes: value is where the payload starts.

    Raises:
        WireError: The message is malformed, or a field reaches beyond its end.
    """
    window, base, held_end = source.held, source.held_start, source.held_end
    position, size = start, source.size
    while position < end:
        # A field's tag and length, or all that is left, must be in the window.
        if position < base or (position + HEADER_BYTES > held_end and held_end < size):
            source.hold(position)
            window, base, held_end = source.held, source.held_start, source.held_end
        field_start, at, last = position, position - base, end - base
        tag = window[at]
        at += 1
        # One-byte tags and values are nearly all there are: no call for those.
        if tag >= 0x80:
            tag, at = varint(window, at - 1, last)
        wire_type = tag & 7
        if wire_type in (LENGTH, VARINT):
            if at < last and window[at] < 0x80:
                value, at = window[at], at + 1
            else:
                value, at = varint(window, at, last)
            position = base + at
            if wire_type == LENGTH:
                value, position = position, position + value
        elif wire_type in (FIXED32, FIXED64):
            value = base + at
            position = value + (4 if wire_type == FIXED32 else 8)
        else:
            raise WireError(f"wire type {wire_type} is not in use", field_start)
        if tag < 8:
            raise WireError("field number 0 is not in use", field_start)
        if position > end:
            raise _overrun(value, position, end, field_start)
        yield tag, value, position


def _overrun(value: int, position: int, end: int, field_start: int) -> WireError:
    return WireError(
        f"a field has {position - value:,} bytes, but {max(end - value, 0):,} are left",
        field_start,
        overrun=True,
    )


def varint(buffer: bytes, start: int, end: int) -> tuple[int, int]:
    """Return the unsigned number that starts at `start`, and where the next byte is.

    Raises:
        WireError: It does not end before `end`, or is longer than 64 bits need.
    """
    value = 0
    for index in range(VARINT_MAX_BYTES):
        if start + index >= end:
            raise WireError("a number is cut off", start, overrun=True)
        byte = buffer[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & _UINT64_MASK, start + index + 1
    raise WireError("a number has more than ten bytes", start)


def signed(value: int) -> int:
    """Return an int64 or int32 field's value; negative ones are 64-bit complements."""
    return value - (1 << 64) if value >= 1 << 63 else value


def packed(source: Source, start: int, end: int) -> Iterator[int]:
    """Yield the signed numbers of a packed repeated field."""
    data = source.read(start, end)
    position = 0
    while position < len(data):
        value, position = varint(data, position, len(data))
        yield signed(value)


def text(source: Source, start: int, end: int) -> str:
    """Return a string field; bytes that are not UTF-8 become escapes."""
    base = source.held_start
    if base <= start and end <= source.held_end:
        return source.held[start - base : end - base].decode("utf-8", "backslashreplace")
    return source.read(start, end).decode("utf-8", "backslashreplace")
