"""Facts of a built engine: how large it is, what it is made of, in which precisions it computes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_trt.diagnostics import UnknownFactError

#: The precision of layers and constants of integers and booleans.
INTEGER = "integer"

#: The precision of layers that compute nothing: casts, copies, changes of format, Q/DQ.
CONVERSION = "conversion"

#: What no share is about: neither computes in a precision that could be asked for.
_APART = frozenset({INTEGER, CONVERSION})

#: Element types that stand for a precision under another name; see `precision_of`.
_PRECISIONS: Mapping[str, str] = {
    "float16": "half",
    "float32": "float",
    "float64": "float",
    "int8": "int8",
    "uint8": "int8",
    "bfloat16": "bfloat16",
    "float8": "fp8",
    "float4": "fp4",
    "int4": "int4",
    "uint4": "int4",
}

#: Shares are given where at least this much of an engine is told. All of it is not asked for: a
#: batch normalisation that TensorRT folds into its convolution takes weights of the model with it,
#: a tenth of those of a 3x3 convolution from 3 to 32 channels and less of larger ones.
LEAST_TOLD_PCT = 80.0


def precision_of(element: str) -> str | None:
    """Return the precision that an element type stands for: "half" for "float16".

    Args:
        element: One of the package's names of ONNX element types.

    Returns:
        "half", "int8", "float", "bfloat16", "fp8", "fp4", "int4", or `INTEGER`; None where the
        type is not known.
    """
    if element == "undefined":
        return None
    short = element[:6] if element.startswith(("float8", "float4")) else element
    return _PRECISIONS.get(short, INTEGER)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an engine, as the engine's own product divides it.

    Attributes:
        name: Its name in the engine.
        kind: What its product calls such layers: "CaskConvolution", "QLinearConv".
        precision: What it computes in: "half", "int8", "float", another name such as "bfloat16",
            `INTEGER` or `CONVERSION`. None where the engine does not tell.
        origins: Names of the model's nodes that were fused into it, as far as the engine tells.
        weights: Elements of its constants by their precision.
    """

    name: str
    kind: str
    precision: str | None
    origins: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as JSON-simple data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "precision": self.precision,
            "origins": list(self.origins),
            "weights": dict(self.weights),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layer:
        """Return the layer that `to_dict` made this data of."""
        return cls(
            name=data["name"],
            kind=data["kind"],
            precision=data["precision"],
            origins=tuple(data["origins"]),
            weights=data["weights"],
        )


@dataclass(slots=True)
class Timings:
    """What one process measured of an engine. The first measurement stays.

    Attributes:
        load_s: Seconds that loading it took.
        first_inference_s: Seconds of its first inference.
    """

    load_s: float | None = None
    first_inference_s: float | None = None

    def loaded(self, seconds: float) -> None:
        """Note how long a loading took."""
        if self.load_s is None:
            self.load_s = seconds

    def ran(self, seconds: float) -> None:
        """Note how long an inference took."""
        if self.first_inference_s is None:
            self.first_inference_s = seconds


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a built engine is. A figure is None where the engine does not tell it.

    Shares are percentages of what the engine tells, and None where that is less than
    `LEAST_TOLD_PCT` of it: TensorRT makes one opaque layer of much of a transformer. Integers and
    layers that only convert are in no share. The share of one precision, `half_weights_pct` and its
    like, is there to be asserted: where it is None, asking for it raises `UnknownFactError`.

    Attributes:
        size_bytes: Size of the plan and of the files that belong to it.
        build_s: Seconds that the build took, whoever made it.
        device_memory_bytes: Scratch memory that one execution context needs on the GPU.
        layers: The layers in the order of the engine.
        hidden_weights: About how many weights the layers do not account for.
        fp32_weights_bytes: What the model's floating-point weights take in FP32.
        load_s: Seconds that loading the engine took, the first time in this process; None until
            then.
        first_inference_s: Seconds of the first inference in this process; None until then.
    """

    size_bytes: int
    build_s: float
    device_memory_bytes: int | None = None
    layers: tuple[Layer, ...] | None = None
    hidden_weights: int = 0
    fp32_weights_bytes: int = 0
    load_s: float | None = None
    first_inference_s: float | None = None

    @property
    def layers_pct(self) -> dict[str, float] | None:
        """Shares of the layers by precision."""
        return _shares(self.layer_counts, self.unknown_layers_pct)

    @property
    def half_layers_pct(self) -> float:
        """Share of the layers that compute in float16."""
        return self._share("layers", "half")

    @property
    def int8_layers_pct(self) -> float:
        """Share of the layers that compute in INT8."""
        return self._share("layers", "int8")

    @property
    def float_layers_pct(self) -> float:
        """Share of the layers that compute in float32."""
        return self._share("layers", "float")

    @property
    def unknown_layers_pct(self) -> float | None:
        """Share of the layers whose precision the engine does not tell."""
        return None if self.layers is None else _part(self.unknown_layers, self.layer_counts)

    @property
    def weights_pct(self) -> dict[str, float] | None:
        """Shares of the weights by precision, by number of elements."""
        return _shares(self.weight_counts, self.unknown_weights_pct)

    @property
    def half_weights_pct(self) -> float:
        """Share of the weights that are float16."""
        return self._share("weights", "half")

    @property
    def int8_weights_pct(self) -> float:
        """Share of the weights that are INT8."""
        return self._share("weights", "int8")

    @property
    def float_weights_pct(self) -> float:
        """Share of the weights that are float32."""
        return self._share("weights", "float")

    @property
    def unknown_weights_pct(self) -> float | None:
        """Share of all weights whose precision the engine does not tell."""
        return None if self.layers is None else _part(self.hidden_weights, self.weight_counts)

    @property
    def size_vs_fp32_pct(self) -> float | None:
        """Size of the plan as a share of the model's weights in FP32: about 50 for large FP16 ones.

        Evidence where layers hide their weights. Kernels count too, so that a small model's plan
        is much larger than its weights; None for a model without weights.
        """
        if not self.fp32_weights_bytes:
            return None
        return 100.0 * self.size_bytes / self.fp32_weights_bytes

    @property
    def unknown_layers(self) -> int:
        """How many layers do not tell what they compute in."""
        return sum(layer.precision is None for layer in self.layers or ())

    @property
    def layer_counts(self) -> Counter[str]:
        """How many layers compute in each precision; empty where nothing is known of them."""
        return _computing(
            (layer.precision, 1) for layer in self.layers or () if layer.precision is not None
        )

    @property
    def weight_counts(self) -> Counter[str]:
        """How many weights are held in each precision; empty where nothing is known of them."""
        return _computing(entry for layer in self.layers or () for entry in layer.weights.items())

    def _share(self, kind: Literal["layers", "weights"], precision: str) -> float:
        __tracebackhide__ = True
        shares = self.layers_pct if kind == "layers" else self.weights_pct
        if shares is None:
            raise self._unknown(kind, f"{precision}_{kind}_pct")
        return shares.get(precision, 0.0)

    def _unknown(self, kind: Literal["layers", "weights"], name: str) -> UnknownFactError:
        hidden = self.unknown_layers_pct if kind == "layers" else self.unknown_weights_pct
        if self.layers is None:
            why = "does not tell its layers; none does that TensorRT-RTX built for another GPU"
        elif hidden is None:
            why = f"has no {kind} with a precision"
        else:
            why = f"does not tell the precision of {hidden:.0f}% of its {kind}"
        return UnknownFactError(
            f"{name} is not known: this engine {why}.",
            fix=f"assert it of engines that tell it, and pass over others with `if "
            f"trt_engine.facts.{kind}_pct is None: pytest.skip(...)`.",
        )

    def to_json(self) -> str:
        """Return all but what this process measured as the text of a file, a line per layer."""
        plain = {
            "size_bytes": self.size_bytes,
            "build_s": round(self.build_s, 3),
            "device_memory_bytes": self.device_memory_bytes,
            "hidden_weights": self.hidden_weights,
            "fp32_weights_bytes": self.fp32_weights_bytes,
        }
        head = json.dumps(plain, indent=2).removesuffix("\n}")
        if self.layers is None:
            return f'{head},\n  "layers": null\n}}\n'
        rows = ",\n".join(f"    {json.dumps(layer.to_dict())}" for layer in self.layers)
        return f'{head},\n  "layers": [\n{rows}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, text: str | bytes) -> EngineFacts:
        """Return the facts that `to_json` made this text of.

        Raises:
            ValueError, TypeError, KeyError: It is another text.
        """
        data = json.loads(text)
        layers = data["layers"]
        if layers is not None:
            layers = tuple(Layer.from_dict(layer) for layer in layers)
        return cls(**{**data, "layers": layers})


def _computing(entries: Iterable[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for precision, count in entries:
        if precision not in _APART:
            counts[precision] += count
    return counts


def _part(unknown: int, told: Counter[str]) -> float | None:
    everything = unknown + told.total()
    return 100.0 * unknown / everything if everything else None


def _shares(told: Counter[str], unknown_pct: float | None) -> dict[str, float] | None:
    if unknown_pct is None or 100.0 - unknown_pct < LEAST_TOLD_PCT:
        return None
    return {precision: 100.0 * count / told.total() for precision, count in told.most_common()}
