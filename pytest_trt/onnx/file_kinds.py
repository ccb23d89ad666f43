"""What a file that is no ONNX model is instead, told from its first bytes."""

from __future__ import annotations

#: How many bytes of a file `file_kind` needs.
HEAD_BYTES = 4096

_EXPORT = "give the ONNX file that it was made from, or export the model to ONNX."

#: First bytes, what such a file is, and what to do.
_BY_PREFIX = (
    (b"ftrt", "a TensorRT plan", "give the ONNX model that the plan was built from."),
    (b"vtrt", "a TensorRT-RTX plan", "give the ONNX model that the plan was built from."),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the model itself",
        "run `git lfs pull` in the model's repository.",
    ),
    (b"PK\x03\x04", "a zip archive (as PyTorch's .pt and .npz files are)", _EXPORT),
    (b"\x1f\x8b", "a gzip archive", "unpack it first."),
    (b"\x89PNG", "a PNG image", _EXPORT),
    (b"\xff\xd8\xff", "a JPEG image", _EXPORT),
    (b"\x89HDF", "an HDF5 file (as Keras writes)", _EXPORT),
    (b"\x93NUMPY", "a numpy array", _EXPORT),
    (b"GGUF", "a GGUF model", _EXPORT),
    (b"\x80\x02", "a Python pickle (as older PyTorch files are)", _EXPORT),
    (b"\x80\x04", "a Python pickle", _EXPORT),
    (b"\x7fELF", "a compiled library", _EXPORT),
)

#: The same, for formats (flatbuffers) whose mark stands at byte 4.
_BY_MARK = (
    (b"ORTM", "an ONNX Runtime model (.ort)", "give the .onnx file that it was converted from."),
    (b"TFL3", "a TensorFlow Lite model", _EXPORT),
)

_SAFETENSORS_HEADER_LIMIT = 100_000_000


def file_kind(head: bytes) -> tuple[str, str] | None:
    """Return what a file is and what to do about it, or None for one that shows no known mark."""
    for prefix, kind, fix in _BY_PREFIX:
        if head.startswith(prefix):
            return kind, fix
    for mark, kind, fix in _BY_MARK:
        if head[4:8] == mark:
            return kind, fix
    # safetensors: the length of a JSON header (8 bytes, little-endian), then the header.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _SAFETENSORS_HEADER_LIMIT:
        return "a safetensors file: weights without a graph", _EXPORT
    if head and _is_text(head):
        return "a text file", "give the binary .onnx file; check that the download was complete."
    return None


def _is_text(head: bytes) -> bool:
    try:
        decoded = head.decode()
    except UnicodeDecodeError as error:
        # The head may end in the middle of a character.
        if error.start < len(head) - 3:
            return False
        decoded = head[: error.start].decode()
    return all(character.isprintable() or character in "\t\r\n" for character in decoded)
