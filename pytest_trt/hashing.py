"""SHA-256 over labelled, length-prefixed fields."""

from __future__ import annotations

import hashlib


class LabelledHash:
    """SHA-256 of fields that cannot bleed into each other.

    Every field is its label and its payload, each behind its length (8 bytes, little-endian), so
    that no two different lists of fields give the same bytes. The schema is the first field: a
    digest made by other rules never equals one made by these.
    """

    def __init__(self, schema: str) -> None:
        self._hash = hashlib.sha256()
        self.add("schema", schema)

    def add(self, label: str, payload: str | int | bytes | memoryview) -> None:
        """Add one field: text as UTF-8, an int as its decimal digits, bytes as they are."""
        if isinstance(payload, int):
            payload = str(payload)
        if isinstance(payload, str):
            payload = payload.encode("utf-8", "surrogatepass")
        self.begin(label, len(payload))
        self.update(payload)

    def begin(self, label: str, length: int) -> None:
        """Start a field of `length` bytes, which `update` must then be given."""
        name = label.encode()
        self._hash.update(len(name).to_bytes(8, "little") + name + length.to_bytes(8, "little"))

    def update(self, chunk: bytes | memoryview) -> None:
        """Add the next bytes of the field that `begin` started."""
        self._hash.update(chunk)

    def hexdigest(self) -> str:
        """Return the digest of all fields so far, in hex."""
        return self._hash.hexdigest()
