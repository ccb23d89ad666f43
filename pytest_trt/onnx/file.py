"""An ONNX file as a value: what it takes, what it gives, a digest of every byte that matters."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from pytest_trt.diagnostics import ModelError
from pytest_trt.onnx.contents import Contents
from pytest_trt.onnx.digest import ByteProgress, model_digest
from pytest_trt.onnx.digest_cache import CachedDigest, DigestCache, recall, recall_or_hash
from pytest_trt.onnx.external import external_regions
from pytest_trt.onnx.proto import Graph, StoredModel, read_model
from pytest_trt.onnx.wire import Source, WireError
from pytest_trt.tensors.spec import TensorSpec

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


#: What protobuf can read: sizes are signed 32-bit numbers in its parsers.
MAX_FILE_BYTES = (1 << 31) - 1

#: Operators that say that a graph is quantised already, in any domain (com.microsoft has its own).
_QUANTIZERS = frozenset({"DequantizeLinear", "QuantizeLinear"})


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """Facts of one ONNX file. Nothing of its weights is held in memory.

    Attributes:
        path: The file, absolute.
        digest: Hex SHA-256 over the file and every external-data region that it refers to. Equal
            for a copy of the model in another folder; another for any changed weight byte.
        inputs: What must be fed (initialisers that old models also list as inputs are left out).
        outputs: What comes back, in the graph's order.
        opset: Version of the default operator set.
        ir_version: ONNX IR version.
        size_bytes: The file plus its external-data regions.
        external_files: External data files, absolute, in order of first use.
        is_quantized: Whether the graph holds QuantizeLinear or DequantizeLinear nodes.
        op_types: How many nodes there are of each operator, subgraphs included; operators outside
            the default domain as "domain::Operator".
        index_limits: For integer inputs that index a constant table (a Gather, as an embedding
            does): how many rows the table has, so that valid indices are known.
        shape_inputs: Names of the inputs whose values are a shape, as far as the main graph tells.
        elements: How many elements its stored tensors (weights and constants) have, by type.
    """

    path: Path
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    ir_version: int
    size_bytes: int
    external_files: tuple[Path, ...]
    is_quantized: bool
    op_types: Mapping[str, int]
    index_limits: Mapping[str, int]
    shape_inputs: tuple[str, ...] = ()
    elements: Mapping[str, int] = field(default_factory=dict)


def load_model(
    path: str | Path,
    *,
    progress: Callable[[str], None] = lambda message: None,
    digests: DigestCache | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> OnnxModel:
    """Return the facts of an ONNX file, after reading every byte that its digest covers.

    Only the descriptions in the file are parsed, weights are stepped over, and all bytes are hashed
    in small steps: memory does not grow with weights.

    Args:
        path: The ONNX file. External data is looked for in its folder.
        progress: Told how far the hashing of a large model is, a few times a second.
        digests: What was found out of files before: those that are unchanged, see
            `digest_memory`, are not read again.
        clock: Nanoseconds since 1970, by which files are told to have been left alone.

    Raises:
        ModelError: The file is missing, unreadable, no complete ONNX model, too large for protobuf,
            or its external data is missing, too short or outside the model's folder.
    """
    path = Path(path).absolute()
    started_ns = clock()
    with _opened(path) as (file, size_bytes):
        known = recall(digests, (path, file), started_ns=started_ns)
        contents = _contents(known, path, file, size_bytes)
        regions = external_regions(path, contents.external)
        total_bytes = size_bytes + sum(region.length for region in regions)
        external_files = tuple(dict.fromkeys(region.path for region in regions))
        progressing = ByteProgress(path.name, total_bytes, progress)
        digest = recall_or_hash(
            digests,
            known,
            (path, file),
            external_files,
            started_ns=started_ns,
            hash_files=lambda: model_digest(path, file, size_bytes, regions, progressing),
            contents=contents.to_dict,
        )
    return OnnxModel(
        path=path,
        digest=digest,
        inputs=contents.inputs,
        outputs=contents.outputs,
        opset=contents.opset,
        ir_version=contents.ir_version,
        size_bytes=total_bytes,
        external_files=external_files,
        is_quantized=any(
            operator.rpartition("::")[2] in _QUANTIZERS for operator in contents.op_types
        ),
        op_types=contents.op_types,
        index_limits=contents.index_limits,
        shape_inputs=contents.shape_inputs,
        elements=contents.elements,
    )


def read_interface(
    path: str | Path,
    *,
    digests: DigestCache | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of an ONNX file without reading its weights.

    Args:
        path: The ONNX file.
        digests: What `load_model` has remembered of files.
        clock: Nanoseconds since 1970.

    Raises:
        ModelError: As `load_model`, but for external data, which is not looked at.
    """
    path = Path(path).absolute()
    started_ns = clock()
    with _opened(path) as (file, size_bytes):
        known = recall(digests, (path, file), started_ns=started_ns)
        contents = _contents(known, path, file, size_bytes)
        return contents.inputs, contents.outputs


def read_node_names(path: str | Path) -> frozenset[str]:
    """Return the names of all nodes of an ONNX file without reading its weights.

    Raises:
        ModelError: As `read_interface`.
    """
    path = Path(path).absolute()
    with _opened(path) as (file, size_bytes):
        return frozenset(_read(path, file, size_bytes)[0].node_names)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[FileIO, int]]:
    """Open a model; what the file system says against it becomes a ModelError."""
    try:
        # Before it is opened: opening a pipe that nobody writes to would wait for ever.
        _require_regular(path)
        with path.open("rb", buffering=0) as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _cannot_open(path, error) from error


def _require_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise ModelError(
            f"{str(path)!r} cannot be read: {error}.", fix="give the path of an ONNX file."
        ) from error
    if not stat.S_ISREG(mode):
        raise ModelError(
            f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not an ONNX "
            "file.",
            fix="give the path of the .onnx file itself.",
        )


def _contents(known: CachedDigest | None, path: Path, file: FileIO, size_bytes: int) -> Contents:
    found = Contents.from_dict(known.contents) if known is not None else None
    return found or Contents.of(*_read(path, file, size_bytes))


def _read(path: Path, file: FileIO, size_bytes: int) -> tuple[StoredModel, Graph]:
    head = file.read(HEAD_BYTES)
    if not head:
        raise ModelError(
            f"{path} is empty.", fix="export or copy the model again; the last attempt failed."
        )
    kind = file_kind(head)
    if size_bytes > MAX_FILE_BYTES and not kind:
        raise ModelError(
            f"{path} has {size_bytes:,} bytes; protobuf, and with it every ONNX reader, ends at "
            f"{MAX_FILE_BYTES:,}.",
            fix="keep the weights in external data: onnx.save(model, path, "
            "save_as_external_data=True).",
        )
    try:
        stored = read_model(Source.of_file(file.fileno(), size_bytes))
    except WireError as error:
        raise _not_onnx(path, kind, size_bytes, error) from error
    if stored.graph is None:
        raise _not_onnx(path, kind, size_bytes)
    if not stored.graph.outputs:
        raise ModelError(
            f"{path} has a graph without outputs: nothing of it could be compared.",
            fix="export the model again with its outputs, or declare them in graph.output.",
        )
    return stored, stored.graph


def _cannot_open(path: Path, error: OSError) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return ModelError(
            f"{path} does not exist.",
            fix="check the path; in markers it is relative to the test file.",
        )
    if isinstance(error, PermissionError):
        return ModelError(
            f"{path} cannot be read: permission denied.",
            fix=f"make it and its folders readable for this user: chmod u+r {path}",
        )
    return ModelError(
        f"{path} cannot be read: {error.strerror}.", fix="give the path of an ONNX file."
    )


def _not_onnx(
    path: Path, kind: tuple[str, str] | None, size_bytes: int, error: WireError | None = None
) -> ModelError:
    if kind:
        what, fix = kind
        return ModelError(f"{path} is {what}, not an ONNX model.", fix=fix)
    if error is None:
        return ModelError(
            f"{path} holds no ONNX graph in its {size_bytes:,} bytes.",
            fix="give an ONNX model; `onnx.checker.check_model` must accept it.",
        )
    if error.overrun:
        return ModelError(
            f"{path} is cut short, or no ONNX file: at byte {error.position:,} of {size_bytes:,}, "
            f"{error}.",
            fix="download, copy or export the model again.",
        )
    return ModelError(
        f"{path} is not an ONNX file, or damaged: at byte {error.position:,} of {size_bytes:,}, "
        f"{error}.",
        fix="give an ONNX model, or download, copy or export it again.",
    )
