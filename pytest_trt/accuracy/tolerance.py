"""How far an output may be from its reference: the type, and the defaults by precision."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from pytest_trt.diagnostics import ConfigurationError

#: What happens with NaN and infinities: `forbid` fails on any, `match` lets them be where the
#: reference has the same kind, `ignore` leaves those positions out.
NanPolicy: TypeAlias = Literal["forbid", "match", "ignore"]

NAN_POLICIES: tuple[NanPolicy, ...] = get_args(NanPolicy)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far one output may be from its reference. Immutable.

    An element passes when ``|actual - reference| <= atol + rtol * |reference|`` in float64: NumPy's
    rule (`numpy.isclose`), asymmetric, with the reference on the right.

    Attributes:
        rtol: Allowed difference as a share of |reference|.
        atol: Allowed difference in the output's own unit.
        nan: What happens with NaN and infinities, one of `NAN_POLICIES`.
        max_mismatch_pct: Percentage of the compared elements that may exceed rtol and atol.
        cosine: Least cosine similarity, of every row along axis 0. None: not checked.
        top1: Least share of rows (last axis) whose largest element is at the same index as the
            reference's. None: not checked.
        topk: k, and the least mean share of the k largest elements of a row (last axis) that are
            among the reference's k largest. None: not checked.
        elementwise: Whether elements are compared at all: False leaves the judgement to cosine,
            top1, topk and the metrics of a test. NaN and infinities are judged all the same.
        origin: Where rtol and atol come from, as failures and reports show it.

    Raises:
        ConfigurationError: A value is not a number, not finite, outside its range, or allows
            everything.
    """

    rtol: float
    atol: float
    nan: NanPolicy = "forbid"
    max_mismatch_pct: float = 0.0
    cosine: float | None = None
    top1: float | None = None
    topk: tuple[int, float] | None = None
    elementwise: bool = True
    origin: str = "given in code"

    def __post_init__(self) -> None:
        _check_number("rtol", self.rtol, least=0.0)
        _check_number("atol", self.atol, least=0.0)
        _check_number("max_mismatch_pct", self.max_mismatch_pct, least=0.0, most=100.0)
        if self.cosine is not None:
            _check_number("cosine", self.cosine, least=-1.0, most=1.0, above=True)
        if self.top1 is not None:
            _check_number("top1", self.top1, least=0.0, most=1.0, above=True)
        if self.topk is not None:
            _check_topk(self.topk)
        if self.nan not in NAN_POLICIES:
            raise invalid_tolerance(
                f"nan={self.nan!r} is not a policy for NaN and infinities",
                f"Use one of {', '.join(map(repr, NAN_POLICIES))}.",
                field="nan",
            )
        if not isinstance(self.elementwise, bool):
            raise invalid_tolerance(
                f"elementwise={self.elementwise!r} is not True or False",
                "Give False to let metrics alone judge an output.",
                field="elementwise",
            )
        if self.max_mismatch_pct == 100.0 and self.elementwise and not self.has_measure:
            raise invalid_tolerance(
                "max_mismatch_pct=100 lets every element differ, and no other measure is given: "
                "wrong values could not fail",
                "Give less than 100, or a measure of the whole output, such as cosine=0.99.",
                field="max_mismatch_pct",
            )

    @property
    def has_measure(self) -> bool:
        """Whether it limits a measure of the whole output: cosine, top1 or topk."""
        return (self.cosine, self.top1, self.topk) != (None, None, None)

    @property
    def only_cosine(self) -> bool:
        """Whether the direction of an output is all that is judged, apart from metrics."""
        return not self.elementwise and self.cosine is not None and not (self.top1 or self.topk)

    @property
    def allowance(self) -> str:
        """The two figures in the notation of the marker, e.g. ``atol=0.01, rtol=0.01``."""
        return f"atol={self.atol:g}, rtol={self.rtol:g}"


_INTEGER = re.compile(r"u?int(\d+)")

#: A tuple: `int | float` is made again in each call.
_NUMBERS = (int, float)


def _check_number(
    name: str, value: object, *, least: float, most: float = math.inf, above: bool = False
) -> None:
    """Refuse what is not a number of a range; `above`: its least value allows everything."""
    if (
        not isinstance(value, bool)
        and isinstance(value, _NUMBERS)
        and math.isfinite(value)
        and least <= value <= most
        and not (above and value == least)
    ):
        return
    wanted = (
        f"a finite number of at least {least:g}"
        if most == math.inf
        else f"a number {'above' if above else 'from'} {least:g} {'and up ' * above}to {most:g}"
    )
    raise invalid_tolerance(
        f"{name}={value!r} is not {wanted}", f"Give {name} {wanted}.", field=name
    )


def _check_topk(topk: object) -> None:
    if not isinstance(topk, tuple) or len(topk) != 2:
        raise invalid_tolerance(
            f"topk={topk!r} is not a pair of k and the least share",
            "Write topk=(5, 0.9): on average, 90% of each row's five largest elements must agree.",
            field="topk",
        )
    k, share = topk
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise invalid_tolerance(
            f"topk={topk!r}: k={k!r} is not an integer of at least 1",
            "Write topk=(5, 0.9): k first, then the least share.",
            field="topk",
        )
    _check_number("the share in topk", share, least=0.0, most=1.0, above=True)


def field_that_cannot_fail(
    tolerance: Tolerance, dtype: str, last_axis: int | None
) -> tuple[str, str] | None:
    """Return a field of a tolerance that lets anything pass on an output, and why; None if none.

    Args:
        tolerance: The output's tolerance.
        dtype: The output's element type, by numpy's name.
        last_axis: Length of the output's last axis; None where it is unknown, or there is none.
    """
    integer = _INTEGER.fullmatch(dtype)
    bits = 1 if dtype == "bool" else int(integer[1]) if integer else 0
    if bits and tolerance.elementwise and tolerance.atol >= 2**bits - 1:
        return (
            "atol",
            f"allows {tolerance.atol:g}, but {dtype} elements differ by at most {2**bits - 1:g}",
        )
    if tolerance.top1 is not None and last_axis == 1:
        return "top1", "ranks a last axis of length 1"
    if tolerance.topk is not None and last_axis and not topk_can_fail(tolerance.topk, last_axis):
        k, share = tolerance.topk
        shared = f", of which any two rankings share {2 * k - last_axis}" * (k < last_axis)
        return (
            "topk",
            f"asks for {share:g} of the {k} largest of a last axis of length {last_axis}{shared}",
        )
    return None


def topk_can_fail(topk: tuple[int, float], last_axis: int) -> bool:
    """Whether two rankings of so many elements may have less than the share in common."""
    k, share = topk
    return 2 * k - last_axis < share * k


def invalid_tolerance(message: str, fix: str, *, field: str) -> ConfigurationError:
    """Return the error of a tolerance that cannot be used."""
    return ConfigurationError(message, code="TRT140", facts={"field": field}, fix=fix)


#: rtol and atol for floating-point outputs by the engine's precision, where none are given.
#: A default is a starting point: it catches engines that are wrong, not every loss of quality.
DEFAULT_TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        #: Both sides compute in FP32 and differ by the order of their sums. The published figures
        #: are rtol 1e-3 with atol 1e-3 (NVIDIA aitune, TENSORRT_FP32, because SM120 differs by
        #: 3e-4) and rtol 1e-3 with atol 1e-4 (tensorrt-upgrade-guard, FP32); the stricter is ours.
        "fp32": Tolerance(rtol=1e-3, atol=1e-4, origin="default for fp32"),
        #: TF32 multiplies with FP16's 10-bit mantissa and adds in FP32. Measured on an H200: 0.12
        #: for a ResNet-50 whose largest output is 114, i.e. 1e-3 of it and a fifth of what FP16
        #: gave. No published elementwise figure: half of FP16's rtol and a fifth of its atol.
        "tf32": Tolerance(rtol=5e-3, atol=2e-3, origin="default for tf32"),
        #: tensorrt-upgrade-guard's ceiling for FP16. Measured on an H200: 0.61 of 114 for the same
        #: ResNet-50 (5e-3 of the largest output), 1.2e-3 of 1.9 for a small CNN.
        "fp16": Tolerance(rtol=1e-2, atol=1e-2, origin="default for fp16"),
        #: Our own choice, five times the tolerance of fp16. BF16 has 8 bits of significand and FP16
        #: 11, so a rounding is 8 times as coarse. Measured on the embedded backend, logits of the
        #: digit classifier, which reach 5.8: off by 0.048 in BF16, by 0.0080 in FP16.
        "bf16": Tolerance(rtol=5e-2, atol=5e-2, origin="default for bf16"),
        #: Our own choice; published for Q/DQ is only 1e-2 against a reference that is quantised
        #: too. Against FP32, every quantised tensor is rounded by up to 0.4% of its range (half of
        #: 1/127), which adds up over layers. Elementwise this is coarse: top1, topk or cosine on
        #: the output that matters is a better test of an INT8 engine.
        "int8": Tolerance(rtol=1e-1, atol=1e-1, origin="default for int8"),
        #: Our own choice: 3.5 times the tolerance of int8. E4M3 rounds a value by up to 6% of
        #: itself, INT8 by 0.4% of the range. Measured on the embedded backend, logits of the digit
        #: classifier, which reach 5.8: off by 0.52 in FP8, by 0.15 in INT8.
        "fp8": Tolerance(rtol=3.5e-1, atol=3.5e-1, origin="default for fp8"),
        #: Our own choice. A weight is rounded by up to 7% of the largest in its block, half of 1/7.
        #: Measured on the embedded backend with blocks of 16: 0.29 for logits of up to 5.8 (digit
        #: classifier, last layer), 0.15 for logits of up to 3.0 (an encoder, all products).
        "int4": Tolerance(rtol=2e-1, atol=2e-1, origin="default for int4"),
        #: INT8 decides: what it leaves is rounded to FP16, which is 20 times as fine.
        "mixed": Tolerance(rtol=1e-1, atol=1e-1, origin="default for mixed"),
    }
)

#: Element types coarser than the fp32 default: one step between neighbours, relative to the value
#: (2 to the minus mantissa bits). An output of such a type cannot agree better than that.
STEP_BY_DTYPE: Mapping[str, float] = MappingProxyType(
    {
        "bfloat16": 2.0**-7,
        "float8e4m3fn": 2.0**-3,
        "float8e4m3fnuz": 2.0**-3,
        "float8e5m2": 2.0**-2,
        "float8e5m2fnuz": 2.0**-2,
    }
)
