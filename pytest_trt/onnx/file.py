"""An ONNX file as facts: inputs, outputs, operators, and a digest of every relevant byte."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from pytest_trt import units
from pytest_trt.diagnostics import Fact, ModelError, Remedy, as_typed
from pytest_trt.files import LFS_POINTER, LFS_PULL, REST_NS, FileStamp, open_regular
from pytest_trt.hashing import LabelledHash
from pytest_trt.onnx.contents import Contents
from pytest_trt.onnx.digest import ByteProgress, model_digest
from pytest_trt.onnx.digest_cache import (
    CHANGED,
    CachedDigest,
    DigestCache,
    changed,
    recall,
    recall_or_hash,
    stamps_of,
)
from pytest_trt.onnx.external import external_regions
from pytest_trt.onnx.functions import NODE_BYTES, expanded_nodes
from pytest_trt.onnx.libraries import Library
from pytest_trt.onnx.proto import Graph, StoredModel, node_names, read_model
from pytest_trt.onnx.wire import Source, WireError
from pytest_trt.tensors.spec import TensorSpec

#: How many bytes of a file `file_kind` needs.
HEAD_BYTES = 4096

_EXPORT = Remedy("name the ONNX file that it was made from, or export the model to ONNX.")

#: First bytes of other kinds of files, the kind, and the remedy.
_BY_PREFIX = (
    (b"ftrt", "a TensorRT plan", Remedy("name the ONNX model that the plan was built from.")),
    (b"vtrt", "a TensorRT-RTX plan", Remedy("name the ONNX model that the plan was built from.")),
    (
        LFS_POINTER,
        "a Git LFS pointer",
        LFS_PULL,
    ),
    (b"PK\x03\x04", "a zip archive (as PyTorch's .pt and .npz files are)", _EXPORT),
    (b"\x1f\x8b", "a gzip archive", Remedy("unpack it first.")),
    (b"\x89PNG", "a PNG image", _EXPORT),
    (b"\xff\xd8\xff", "a JPEG image", _EXPORT),
    (b"\x89HDF", "an HDF5 file (as Keras writes)", _EXPORT),
    (b"\x93NUMPY", "a numpy array", _EXPORT),
    (b"GGUF", "a GGUF model", _EXPORT),
    (b"\x80\x02", "a Python pickle (as older PyTorch files are)", _EXPORT),
    (b"\x80\x04", "a Python pickle", _EXPORT),
    (b"\x7fELF", "a compiled library", _EXPORT),
)

#: The same for flatbuffers, whose mark is at byte 4.
_BY_MARK = (
    (
        b"ORTM",
        "an ONNX Runtime model (.ort)",
        Remedy("name the .onnx file that it was converted from."),
    ),
    (b"TFL3", "a TensorFlow Lite model", _EXPORT),
)

_SAFETENSORS_HEADER_LIMIT = 100_000_000


def file_kind(head: bytes) -> tuple[str, Remedy] | None:
    """Return the kind of a file and a remedy, or None for an unknown kind."""
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
        return "a text file", Remedy(
            "name the binary .onnx file; check that the download is complete."
        )
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


#: The limit of protobuf, whose parsers store sizes as signed 32-bit numbers.
MAX_FILE_BYTES = (1 << 31) - 1

#: Operators of quantised graphs, in any domain (com.microsoft has its own).
_QUANTIZERS = frozenset({"DequantizeLinear", "QuantizeLinear"})


#: Contents of small files, by SHA-256 of their bytes: a model is read when tests are collected, and
#: again before its engine is looked up. Parsing takes ten times as long as hashing.
_parsed: dict[bytes, Contents] = {}
_SMALL_BYTES = 1 << 16
_MOST_PARSED = 10_000


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """Facts of one ONNX file. Its weights are not held in memory.

    Attributes:
        path: The file, absolute.
        digest: Hex SHA-256 over the file and every external-data region that it refers to. Equal
            for a copy of the model in another folder; different for any changed weight byte.
        inputs: The inputs, without initialisers that old models also list as inputs.
        outputs: The outputs, in the graph's order.
        opset: Version of the default operator set.
        ir_version: ONNX IR version.
        size_bytes: The file plus its external-data regions.
        external_files: External data files, absolute, in order of first use.
        is_quantized: Whether the graph holds QuantizeLinear or DequantizeLinear nodes.
        op_types: How many nodes there are of each operator, subgraphs included; operators outside
            the default domain as "domain::Operator".
        index_limits: The number of rows of the constant table that an input indexes (by Gather, as
            for an embedding), or of categories that OneHot encodes, by input name.
        computed_indices: The same of inputs of which such indices are computed, as by an offset,
            and the largest table of inputs whose columns index tables of different sizes.
        shape_inputs: Names of inputs whose values are used as a shape in the main graph.
        condition_inputs: Names of single inputs that decide which branch of an If, or how often a
            Loop runs.
        number_inputs: Names of inputs that are lengths, positions or time steps, and index no
            stored table.
        elements: The number of elements of stored tensors (weights and constants), by type.
        custom_ops: Libraries with its operators for ONNX Runtime.
        plugin_libraries: Libraries with its operators for TensorRT, as plugins.
        stamps: Stamps of its files when they were hashed; the model's own comes first.
        hashed_ns: When that was, in nanoseconds since 1970.
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
    computed_indices: Mapping[str, int] = field(default_factory=dict)
    shape_inputs: tuple[str, ...] = ()
    condition_inputs: tuple[str, ...] = ()
    number_inputs: tuple[str, ...] = ()
    elements: Mapping[str, int] = field(default_factory=dict)
    custom_ops: tuple[Library, ...] = ()
    plugin_libraries: tuple[Library, ...] = ()
    stamps: tuple[FileStamp, ...] = field(default=(), compare=False)
    hashed_ns: int = field(default=0, compare=False)

    @property
    def outputs_digest(self) -> str:
        """The digest of what decides its outputs in ONNX Runtime: the model and `custom_ops`."""
        if not self.custom_ops:
            return self.digest
        state = LabelledHash("pytest-trt model with custom operators 1")
        state.add("model", self.digest)
        for library in self.custom_ops:
            state.add("library", library.digest)
        return state.hexdigest()

    @property
    def sizes(self) -> tuple[str, ...]:
        """Names of inputs whose values decide how much is computed, as shapes do."""
        return tuple(dict.fromkeys(self.shape_inputs + self.condition_inputs))

    def is_untouched(self, rest_ns: int = REST_NS) -> bool:
        """Whether the stamps of its files prove that they hold the bytes that were hashed.

        Args:
            rest_ns: How long they must have been unchanged when they were hashed.
        """
        settled = all(stamp.rested(self.hashed_ns, rest_ns) for stamp in self.stamps)
        return settled and self.stamps_now() == self.stamps

    def stamps_now(self) -> tuple[FileStamp, ...] | None:
        """Return the stamps that its files have now; None if one cannot be opened."""
        return stamps_of((self.path, *self.external_files), self.stamps)


def load_model(
    path: str | Path,
    *,
    progress: Callable[[str], None] = lambda message: None,
    digests: DigestCache | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> OnnxModel:
    """Return the facts of an ONNX file, after hashing every byte that its digest covers.

    Weights are skipped while parsing and hashed in small steps, so memory does not grow with them.

    Args:
        path: The ONNX file, with external data in its folder.
        progress: Called with the state of hashing a large model, a few times a second.
        digests: The digest cache: files that it proves unchanged are not read again.
        clock: Nanoseconds since 1970, compared with modification times.

    Raises:
        ModelError: The file is missing, unreadable, not a complete ONNX model, or too large for
            protobuf, or its external data is missing, too short or outside its folder.
    """
    path = Path(path).absolute()
    started_ns = clock()
    with _opened(path) as (file, own):
        size_bytes = own.size_bytes
        known = recall(digests, own, started_ns=started_ns)
        contents = _contents(known, path, file, size_bytes)
        regions = external_regions(path, contents.external)
        total_bytes = size_bytes + sum(region.length for region in regions)
        external_files = tuple(dict.fromkeys(region.path for region in regions))
        progressing = ByteProgress(path.name, total_bytes, progress)
        digest, stamps = recall_or_hash(
            digests,
            known,
            (path, own),
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
        computed_indices=contents.computed_indices,
        shape_inputs=contents.shape_inputs,
        condition_inputs=contents.condition_inputs,
        number_inputs=contents.number_inputs,
        elements=contents.elements,
        stamps=stamps,
        hashed_ns=started_ns,
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
        digests: The digest cache; None for a file that is read once, whose nodes are stepped over.
        clock: Nanoseconds since 1970.

    Raises:
        ModelError: As `load_model`, except for external data, which is not read.
    """
    path = Path(path).absolute()
    started_ns = clock()
    with _opened(path, real_path=str(path) if digests is None else "") as (file, own):
        if digests is None:
            graph = _read(path, file, own.size_bytes, nodes=False)[1]
            return graph.own_inputs, graph.outputs
        known = recall(digests, own, started_ns=started_ns)
        contents = _contents(known, path, file, own.size_bytes)
        return contents.inputs, contents.outputs


def read_node_names(path: str | Path) -> frozenset[str]:
    """Return the names of all nodes of an ONNX file without reading its weights.

    Raises:
        ModelError: As `read_interface`.
    """
    path = Path(path).absolute()
    with _opened(path, real_path=str(path)) as (file, own):
        try:
            return node_names(Source.of_file(file.fileno(), own.size_bytes))
        except WireError as error:
            raise _not_onnx(path, None, own.size_bytes, error) from error


def _refused(
    path: Path, problem: str, fix: str | Remedy, *, code: str = "TRT200", **facts: Fact
) -> ModelError:
    return ModelError(
        f"{as_typed(path)} {problem}", fix=fix, code=code, facts={"model": str(path), **facts}
    )


@contextmanager
def _opened(path: Path, real_path: str = "") -> Iterator[tuple[FileIO, FileStamp]]:
    """Open a model, and provide its stamp.

    An OSError becomes a ModelError, and so does a change while it is open.

    Args:
        path: The model.
        real_path: What its stamp has for the path with links resolved, which takes as long as to
            read a small model; empty to resolve them.
    """
    try:
        with open_regular(path) as file:
            own = FileStamp.of(path, file, real_path)
            try:
                yield file, own
            except ModelError as error:
                if error.diagnostic.code != CHANGED and stamps_of([path], (own,)) != (own,):
                    raise changed(path) from error
                raise
    except ValueError as error:
        raise _refused(path, f"cannot be read: {error}", "name an ONNX file.") from error
    except OSError as error:
        raise _cannot_open(path, error) from error


def _contents(known: CachedDigest | None, path: Path, file: FileIO, size_bytes: int) -> Contents:
    found = Contents.from_dict(known.contents) if known is not None else None
    if found is not None:
        return found
    if size_bytes > _SMALL_BYTES:
        return Contents.of(*_read(path, file, size_bytes))
    held = os.pread(file.fileno(), size_bytes, 0)
    key = hashlib.sha256(held).digest()
    if key not in _parsed:
        if len(_parsed) >= _MOST_PARSED:
            _parsed.clear()
        _parsed[key] = Contents.of(*_read(path, file, size_bytes, held))
    return _parsed[key]


def _read(
    path: Path, file: FileIO, size_bytes: int, held: bytes | None = None, *, nodes: bool = True
) -> tuple[StoredModel, Graph]:
    """Parse a file, or the bytes that are held of it; see `read_model`."""
    head = file.read(HEAD_BYTES) if held is None else held[:HEAD_BYTES]
    if not head:
        raise _refused(path, "is empty", "export or copy the model again; the last attempt failed.")
    kind = file_kind(head)
    if size_bytes > MAX_FILE_BYTES and not kind:
        raise _refused(
            path,
            f"has {size_bytes:,} bytes, more than protobuf and so any ONNX reader can load "
            f"({MAX_FILE_BYTES:,})",
            Remedy(
                "store the weights as external data:",
                commands=("onnx.save(model, path, save_as_external_data=True)",),
            ),
            code="TRT204",
            size_bytes=size_bytes,
        )
    try:
        if held is None or len(held) < size_bytes:  # it became shorter
            source = Source.of_file(file.fileno(), size_bytes)
        else:
            source = Source.of_bytes(held)
        stored = read_model(source, nodes=nodes)
    except WireError as error:
        raise _not_onnx(path, kind, size_bytes, error) from error
    if stored.graph is None:
        raise _not_onnx(path, kind, size_bytes)
    if not stored.graph.outputs:
        raise _refused(
            path,
            "has no graph outputs, so there is nothing to compare",
            "export the model again with its outputs, or declare them in graph.output.",
            code="TRT205",
        )
    if stored.functions:
        _require_memory(path, stored)
    return stored, stored.graph


def _require_memory(path: Path, stored: StoredModel) -> None:
    """Refuse a model whose functions multiply to more nodes than fit into memory."""
    from pytest_trt.tensors.seeded import memory_bytes

    nodes = expanded_nodes(stored.calls, stored.functions)
    if nodes * NODE_BYTES > memory_bytes():
        raise _refused(
            path,
            f"has {nodes:,} nodes once the calls of its functions are replaced by their bodies: "
            f"about {units.size(nodes * NODE_BYTES)}, and this machine has "
            f"{units.size(memory_bytes())} of memory",
            "export the model again. If a small file needs so much, do not use it unless you trust "
            "its origin.",
            code="TRT214",
            nodes=nodes,
            size_bytes=nodes * NODE_BYTES,
        )


def _cannot_open(path: Path, error: OSError) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return _refused(
            path, "does not exist", "check the path; in markers it is relative to the test file."
        )
    if isinstance(error, PermissionError):
        return _refused(
            path,
            "cannot be read: permission denied",
            Remedy(
                "make it and its folders readable for this user:",
                commands=(f"chmod u+r {shlex.quote(str(path))}",),
            ),
        )
    if isinstance(error, IsADirectoryError) or error.errno == errno.EINVAL:
        what = "a folder" if isinstance(error, IsADirectoryError) else "not a regular file"
        return _refused(path, f"is {what}, not an ONNX file", "name the .onnx file itself.")
    return _refused(path, f"cannot be read: {error.strerror}", "name an ONNX file.")


def _not_onnx(
    path: Path, kind: tuple[str, Remedy] | None, size_bytes: int, error: WireError | None = None
) -> ModelError:
    if kind:
        what, fix = kind
        return _refused(path, f"is {what}, not an ONNX model", fix, code="TRT201", kind=what)
    if error is None:
        return _refused(
            path,
            f"contains no ONNX graph in its {size_bytes:,} bytes",
            "name an ONNX model that `onnx.checker.check_model` accepts.",
            code="TRT201",
        )
    if error.overrun:
        return _refused(
            path,
            f"is truncated or not an ONNX file: at byte {error.position:,} of {size_bytes:,}, "
            f"{error}",
            "download, copy or export the model again.",
            code="TRT201",
            position=error.position,
            size_bytes=size_bytes,
        )
    return _refused(
        path,
        f"is not an ONNX file or is damaged: at byte {error.position:,} of {size_bytes:,}, {error}",
        "name an ONNX model, or download, copy or export it again.",
        code="TRT201",
        position=error.position,
        size_bytes=size_bytes,
    )
