"""BERT sentence encoders as ONNX graphs, from the weights that a package ships as safetensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from builders_networks import INT64, constant, model, value
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

#: What is added to the attention scores of padding, as exporters of BERT write it.
MASKED = -10000.0


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read float32 and int64 tensors by name.

    The format: the header's length as little-endian uint64, the header as JSON, the raw data
    (https://huggingface.co/docs/safetensors).
    """
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        values = np.frombuffer(content[begin:end], {"F32": "<f4", "I64": "<i8"}[entry["dtype"]])
        found[name] = values.reshape(entry["shape"])
    return found


class WordPiece:
    """Lower-case greedy WordPiece (Devlin et al. 2018), for text in ASCII."""

    def __init__(self, vocabulary: Path | str) -> None:
        words = Path(vocabulary).read_text(encoding="utf-8").splitlines()
        self._ids = {word: number for number, word in enumerate(words)}

    def pieces(self, sentence: str) -> list[str]:
        words = re.findall(r"[^\W_]+|[^\w\s]|_", sentence.lower())
        return [piece for word in words for piece in self._split(word)]

    def _split(self, word: str) -> list[str]:
        found: list[str] = []
        while word:
            prefix = "##" if found else ""
            ends = range(len(word), 0, -1)
            end = next((end for end in ends if prefix + word[:end] in self._ids), 0)
            if not end:
                return ["[UNK]"]
            found.append(prefix + word[:end])
            word = word[end:]
        return found

    def encode(self, sentences: Sequence[str], length: int) -> dict[str, np.ndarray]:
        """Return input_ids, attention_mask and token_type_ids, int64 [sentences, length]."""
        ids = np.full((len(sentences), length), self._ids["[PAD]"], np.int64)
        mask = np.zeros_like(ids)
        for row, sentence in enumerate(sentences):
            pieces = ["[CLS]", *self.pieces(sentence)[: length - 2], "[SEP]"]
            ids[row, : len(pieces)] = [self._ids[piece] for piece in pieces]
            mask[row, : len(pieces)] = 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def bert(weights: dict[str, np.ndarray], config: dict[str, Any]) -> ModelProto:
    """Build the encoder, mean pooling over the mask and L2 normalisation.

    Inputs input_ids, attention_mask and token_type_ids, int64 [batch, sequence]; outputs
    last_hidden_state [batch, sequence, hidden] and sentence_embedding [batch, hidden].
    """
    graph = _Graph(weights, config)
    hidden = graph.embeddings()
    mask = graph.additive_mask()
    for number in range(config["num_hidden_layers"]):
        hidden = graph.layer(f"encoder.layer.{number}", hidden, mask)
    graph.add("Identity", [hidden], "last_hidden_state")
    graph.pooled(hidden, "sentence_embedding")
    shape = ["batch", "sequence"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    return model(
        graph.nodes,
        [value(name, shape, INT64) for name in names],
        [
            value("last_hidden_state", [*shape, config["hidden_size"]]),
            value("sentence_embedding", ["batch", config["hidden_size"]]),
        ],
        graph.tensors,
        name="bert",
    )


class _Graph:
    """Nodes and tensors as an exporter of opset 17 lays them out."""

    def __init__(self, weights: dict[str, np.ndarray], config: dict[str, Any]) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self._weights = weights
        self._config = config
        self._scope = ""

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        name = f"{self._scope}/{op}_{len(self.nodes)}"
        output = output or f"{name}_output"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=name, **attributes))
        return output

    def const(self, content: object, dtype: str = "float32") -> str:
        name = f"const_{len(self.tensors)}"
        self.tensors.append(constant(name, content, dtype))
        return name

    def weight(self, name: str, *, transposed: bool = False) -> str:
        values = self._weights[name]
        values = np.ascontiguousarray(values.T) if transposed else values
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def size(self, tensor: str, axis: int) -> str:
        """Return int64 [1]: the length of one axis."""
        shape = self.add("Shape", [tensor])
        length = self.add("Gather", [shape, self.const(axis, "int64")], axis=0)
        return self.add("Unsqueeze", [length, self.const([0], "int64")])

    def linear(self, name: str, tensor: str) -> str:
        product = self.add("MatMul", [tensor, self.weight(f"{name}.weight", transposed=True)])
        return self.add("Add", [self.weight(f"{name}.bias"), product])

    def norm(self, name: str, tensor: str) -> str:
        mean = self.add("ReduceMean", [tensor], axes=[-1], keepdims=1)
        centred = self.add("Sub", [tensor, mean])
        square = self.add("Pow", [centred, self.const(2.0)])
        variance = self.add("ReduceMean", [square], axes=[-1], keepdims=1)
        safe = self.add("Add", [variance, self.const(self._config["layer_norm_eps"])])
        unit = self.add("Div", [centred, self.add("Sqrt", [safe])])
        scaled = self.add("Mul", [unit, self.weight(f"{name}.weight")])
        return self.add("Add", [scaled, self.weight(f"{name}.bias")])

    def gelu(self, tensor: str) -> str:
        half = self.add("Div", [tensor, self.const(math.sqrt(2))])
        bell = self.add("Add", [self.add("Erf", [half]), self.const(1.0)])
        return self.add("Mul", [self.add("Mul", [tensor, bell]), self.const(0.5)])

    def embeddings(self) -> str:
        self._scope = "/embeddings"
        end = self.size("input_ids", 1)
        positions = np.arange(self._config["max_position_embeddings"])[None]
        bounds = [self.const([0], "int64"), end, self.const([1], "int64")]
        used = self.add("Slice", [self.const(positions, "int64"), *bounds])
        indices = {"word": "input_ids", "token_type": "token_type_ids", "position": used}
        word, kind, position = (
            self.add("Gather", [self.weight(f"embeddings.{name}_embeddings.weight"), index], axis=0)
            for name, index in indices.items()
        )
        added = self.add("Add", [self.add("Add", [word, kind]), position])
        return self.norm("embeddings.LayerNorm", added)

    def additive_mask(self) -> str:
        self._scope = "/mask"
        wide = self.add("Unsqueeze", ["attention_mask", self.const([1, 2], "int64")])
        given = self.add("Cast", [wide], to=TensorProto.FLOAT)
        padding = self.add("Sub", [self.const(1.0), given])
        return self.add("Mul", [padding, self.const(MASKED)])

    def layer(self, name: str, hidden: str, mask: str) -> str:
        self._scope = f"/{name.replace('.', '/')}"
        attended = self.attention(f"{name}.attention.self", hidden, mask)
        attended = self.linear(f"{name}.attention.output.dense", attended)
        added = self.add("Add", [attended, hidden])
        hidden = self.norm(f"{name}.attention.output.LayerNorm", added)
        inner = self.gelu(self.linear(f"{name}.intermediate.dense", hidden))
        outer = self.linear(f"{name}.output.dense", inner)
        return self.norm(f"{name}.output.LayerNorm", self.add("Add", [outer, hidden]))

    def attention(self, name: str, hidden: str, mask: str) -> str:
        heads = self._config["num_attention_heads"]
        width = self._config["hidden_size"] // heads
        query = self.heads(self.linear(f"{name}.query", hidden), heads, width, [0, 2, 1, 3])
        key = self.heads(self.linear(f"{name}.key", hidden), heads, width, [0, 2, 3, 1])
        scores = self.add("MatMul", [query, key])
        scaled = self.add("Div", [scores, self.const(math.sqrt(width))])
        shares = self.add("Softmax", [self.add("Add", [scaled, mask])], axis=-1)
        values = self.heads(self.linear(f"{name}.value", hidden), heads, width, [0, 2, 1, 3])
        mixed = self.add("Transpose", [self.add("MatMul", [shares, values])], perm=[0, 2, 1, 3])
        return self.reshaped(mixed, [heads * width])

    def heads(self, tensor: str, heads: int, width: int, order: list[int]) -> str:
        return self.add("Transpose", [self.reshaped(tensor, [heads, width])], perm=order)

    def reshaped(self, tensor: str, last: list[int]) -> str:
        """Keep the first two axes and lay the others out as `last`."""
        first = [self.size(tensor, axis) for axis in (0, 1)]
        shape = self.add("Concat", [*first, self.const(last, "int64")], axis=0)
        return self.add("Reshape", [tensor, shape])

    def pooled(self, hidden: str, output: str) -> str:
        self._scope = "/pooling"
        wide = self.add("Unsqueeze", ["attention_mask", self.const([-1], "int64")])
        given = self.add("Cast", [wide], to=TensorProto.FLOAT)
        one = self.const([1], "int64")
        total = self.add("ReduceSum", [self.add("Mul", [hidden, given]), one], keepdims=0)
        count = self.add("ReduceSum", [given, one], keepdims=0)
        mean = self.add("Div", [total, self.add("Clip", [count, self.const(1e-9)])])
        length = self.add("ReduceL2", [mean], axes=[-1], keepdims=1)
        return self.add("Div", [mean, self.add("Clip", [length, self.const(1e-12)])], output)
