"""Facts of a built engine: how large it is, what it is made of, in which precisions it computes."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pytest_trt.diagnostics import Remedy, UnknownFactError
from pytest_trt.records import from_data, to_data
from pytest_trt.tensors.calibration import CalibrationStatistics

#: The precision of layers and constants of integers and booleans.
INTEGER = "integer"

#: The precision of layers that compute nothing: casts, copies, changes of format, Q/DQ.
CONVERSION = "conversion"

#: Excluded from shares: neither computes in a precision that could be requested.
_EXCLUDED = frozenset({INTEGER, CONVERSION})

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

#: Shares are reported where the precision of at least this much of an engine is known. Not all of
#: it: a batch normalisation that TensorRT folds into its convolution takes weights of the model
#: with it, a tenth of those of a 3x3 convolution from 3 to 32 channels and less of larger ones.
LEAST_REPORTED_PCT = 80.0


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
        kind: The product's name of such layers: "CaskConvolution", "QLinearConv".
        precision: What it computes in: "half", "int8", "float", another name such as "bfloat16",
            `INTEGER` or `CONVERSION`; None where the engine does not report it.
        origins: Names of the model's nodes that were fused into it, as far as reported.
        weights: Number of elements of its constants by their precision.
    """

    name: str
    kind: str
    precision: str | None
    origins: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Timings:
    """What one process measured of an engine; only the first measurement of each counts.

    Attributes:
        load_s: Seconds that loading it took.
        first_inference_s: Seconds of its first inference.
    """

    load_s: float | None = None
    first_inference_s: float | None = None

    def loaded(self, seconds: float) -> None:
        """Note how long a load took."""
        if self.load_s is None:
            self.load_s = seconds

    def ran(self, seconds: float) -> None:
        """Note how long an inference took."""
        if self.first_inference_s is None:
            self.first_inference_s = seconds


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a built engine is.

    A fact that the engine does not report is never 0. Facts to compare with a limit
    (`device_memory_bytes`, `load_s`, `first_inference_s`, `half_weights_pct` and its like) raise
    `UnknownFactError` then; `get` returns None instead. All others are None then.

    Shares are percentages of what the engine reports, and not reported where that is less than
    `LEAST_REPORTED_PCT` of it: TensorRT makes one opaque layer of much of a transformer. Integers
    and layers that only convert are in no share.

    Attributes:
        size_bytes: Size of the plan and of the files that belong to it.
        build_s: Seconds that the build took, in this process or the one that cached it; None for a
            finished plan.
        memory_bytes: `device_memory_bytes`, or None.
        layers: The layers in the order of the engine, or None.
        hidden_weights: About how many weights the layers do not account for.
        fp32_weights_bytes: What the model's floating-point weights take in FP32.
        timings: What this process measured.
        calibration: What it was calibrated on; None where no samples set its ranges.
    """

    size_bytes: int
    build_s: float | None
    memory_bytes: int | None = None
    layers: tuple[Layer, ...] | None = None
    hidden_weights: int = 0
    fp32_weights_bytes: int = 0
    timings: Timings = field(default_factory=Timings)
    calibration: CalibrationStatistics | None = None

    def get(self, name: str) -> Any:
        """Return a fact by name, or None where it is not reported."""
        try:
            return getattr(self, name)
        except UnknownFactError:
            return None

    @property
    def device_memory_bytes(self) -> int:
        """Scratch memory that one execution context needs on the GPU."""
        __tracebackhide__ = True
        if self.memory_bytes is None:
            raise _unknown("device_memory_bytes", "this engine does not report it")
        return self.memory_bytes

    @property
    def load_s(self) -> float:
        """Seconds that loading the engine took, the first time in this process."""
        __tracebackhide__ = True
        if self.timings.load_s is None:
            raise _unknown("load_s", "this process has not loaded the engine yet")
        return self.timings.load_s

    @property
    def first_inference_s(self) -> float:
        """Seconds of the first inference in this process."""
        __tracebackhide__ = True
        if self.timings.first_inference_s is None:
            raise _unknown("first_inference_s", "this process has not run the engine yet")
        return self.timings.first_inference_s

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
        """Share of the layers whose precision is not reported."""
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
        """Share of all weights whose precision is not reported."""
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
        """Number of layers whose precision is not reported."""
        return sum(layer.precision is None for layer in self.layers or ())

    @property
    def layer_counts(self) -> Counter[str]:
        """Number of layers by precision; empty where nothing is reported."""
        return _computing(
            (layer.precision, 1) for layer in self.layers or () if layer.precision is not None
        )

    @property
    def float_kinds(self) -> dict[str, int]:
        """Number of layers that compute in float32 by kind, the most frequent first."""
        kinds = Counter(one.kind for one in self.layers or () if one.precision == "float")
        return dict(sorted(kinds.items(), key=lambda entry: (-entry[1], entry[0])))

    @property
    def weight_counts(self) -> Counter[str]:
        """Number of weights by precision; empty where nothing is reported."""
        return _computing(entry for layer in self.layers or () for entry in layer.weights.items())

    def _share(self, kind: Literal["layers", "weights"], precision: str) -> float:
        __tracebackhide__ = True
        shares = self.layers_pct if kind == "layers" else self.weights_pct
        if shares is None:
            raise _unknown(f"{precision}_{kind}_pct", self._why_unknown(kind))
        return shares.get(precision, 0.0)

    def _why_unknown(self, kind: Literal["layers", "weights"]) -> str:
        hidden = self.unknown_layers_pct if kind == "layers" else self.unknown_weights_pct
        if self.layers is None:
            return "this engine does not report its layers, like all cross-built TensorRT-RTX plans"
        if hidden is None:
            return f"this engine has no {kind} with a precision"
        return f"this engine does not report the precision of {hidden:.0f}% of its {kind}"

    def to_json(self) -> str:
        """Return all but the timings as the text of a file, a line per layer."""
        plain = to_data(replace(self, layers=None))
        del plain["timings"], plain["layers"]
        # Not with `indent=`, for which Python has no compiled encoder.
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in plain.items()]
        rows = ",\n".join(f"    {json.dumps(to_data(layer))}" for layer in self.layers or ())
        layers = "null" if self.layers is None else f"[\n{rows}\n  ]"
        return "{\n" + ",\n".join([*lines, f'  "layers": {layers}']) + "\n}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "EngineFacts":
        """Return the facts that `to_json` encoded.

        Raises:
            ValueError: It is another text; a `RecordError` names the field.
        """
        return from_data(cls, json.loads(text))


def _unknown(name: str, why: str) -> UnknownFactError:
    return UnknownFactError(
        f"facts.{name} is unknown: {why}",
        facts={"fact": name, "why": why},
        fix=Remedy(
            "Skip the test where the fact is not reported:",
            (f'if trt_engine.facts.get("{name}") is None: pytest.skip("not reported")',),
        ),
    )


def _computing(entries: Iterable[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for precision, count in entries:
        if precision not in _EXCLUDED:
            counts[precision] += count
    return counts


def _part(unknown: int, known: Counter[str]) -> float | None:
    everything = unknown + known.total()
    return 100.0 * unknown / everything if everything else None


def _shares(known: Counter[str], unknown_pct: float | None) -> dict[str, float] | None:
    if unknown_pct is None or 100.0 - unknown_pct < LEAST_REPORTED_PCT:
        return None
    return {precision: 100.0 * count / known.total() for precision, count in known.most_common()}
