"""A BERT encoder of the published size with seeded weights, laid out as exporters lay it out."""

from __future__ import annotations

import math

import builders_bert
import numpy as np
from onnx import ModelProto

#: BERT-base. Source: Devlin et al. 2019, section 3; google-bert/bert-base-uncased, config.json.
BASE = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}


def bert_base(*, seed: int = 0, **sizes: int) -> ModelProto:
    """Return token ids, mask and types [batch, sequence] -> hidden states, sentence embedding.

    Inputs and outputs are those of `builders_bert.bert`. 436 MB as it stands.

    Args:
        seed: Seed of the weights.
        sizes: Entries of `BASE` to change.
    """
    config = {**BASE, **sizes}
    return builders_bert.bert(_weights(config, seed), config)


def _weights(config: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    """Return what a checkpoint would hold, under the same names.

    Linear layers keep the variance of what they are given: with the 0.02 that training starts from,
    attention would be uniform, and an encoder that lost its layers would give nearly the same. What
    attention adds is scaled down, for it averages: untrained, all tokens would become one.
    """
    random = np.random.default_rng(seed)
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    found: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        values = random.standard_normal(shape, np.float32) * np.float32(scale)
        found[name] = values + np.float32(mean) if mean else values

    def linear(name: str, inputs: int, outputs: int, gain: float = 1.0) -> None:
        normal(f"{name}.weight", outputs, inputs, scale=gain / math.sqrt(inputs))
        normal(f"{name}.bias", outputs, scale=0.1)

    def norm(name: str) -> None:
        normal(f"{name}.weight", hidden, scale=0.1, mean=1.0)
        normal(f"{name}.bias", hidden, scale=0.1)

    for name, rows in (
        ("word", "vocab_size"),
        ("position", "max_position_embeddings"),
        ("token_type", "type_vocab_size"),
    ):
        normal(f"embeddings.{name}_embeddings.weight", int(config[rows]), hidden)
    norm("embeddings.LayerNorm")
    for number in range(int(config["num_hidden_layers"])):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", hidden, hidden)
        linear(f"{layer}.attention.output.dense", hidden, hidden, gain=0.3)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", hidden, inner)
        linear(f"{layer}.output.dense", inner, hidden)
        norm(f"{layer}.output.LayerNorm")
    return found
