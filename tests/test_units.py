from __future__ import annotations

import pytest

from pytest_trt import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 ms"),
        (1e-6, "0.001 ms"),
        (0.00009, "0.09 ms"),
        (0.0003, "0.3 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.0123, "12 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.0 s"),
        (63.4, "63.4 s"),
        (99.6, "1 min 39 s"),
        (3725, "62 min 5 s"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (34_000, "34 kB"),
        (999_900, "1.0 MB"),
        (104e6, "104 MB"),
        (2.5e9, "2.5 GB"),
        (5e12, "5.0 TB"),
    ],
)
def test_size(value: float, text: str) -> None:
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.0, "0%"),
        (1e-5, "<0.1%"),
        (0.034, "3.4%"),
        (0.38, "38%"),
        (1.0, "100%"),
        (1.004, "1.00x"),
        (8.846, "8.85x"),
        (9.99, "10x"),
        (517.6, "518x"),
        (1000.0, ">999x"),
        (float("inf"), ">999x"),
    ],
)
def test_share(value: float | None, text: str) -> None:
    assert units.share(value) == text


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (0.5, 0.99, "0.5"),
        (0.123456, 0.99, "0.1235"),
        (0.99987, 0.9999, "0.99987"),
        (0.9998999, 0.9999, "0.9998999"),
        (0.9999 - 1e-16, 0.9999, "0.9998999999999999"),
        (0.99999, 1.0, "0.99999"),
    ],
)
def test_value_below_a_limit_is_never_rounded_to_it(value: float, limit: float, text: str) -> None:
    assert units.below(value, limit) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0231, 0.024), (0.02, 0.02), (1e-7, 1e-7), (99.1, 100.0), (0.0, 0.0), (5e-324, 5e-324)],
)
def test_rounding_up_never_goes_below(value: float, expected: float) -> None:
    assert units.rounded_up(value) == expected


@pytest.mark.parametrize(
    ("pct", "text"), [(0.0, "0%"), (1e-5, "under 0.01%"), (99.99, "over 99.9%"), (100.0, "100%")]
)
def test_percentages_are_never_rounded_to_nothing_or_everything(pct: float, text: str) -> None:
    assert units.percent_of(pct) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.345, "2.35"),
        (999.0, "999"),
        (1250.0, "1,250"),
        (999_999.4, "999,999"),
        (2.5e7, "2.5e+07"),
    ],
)
def test_multiples_have_their_digits(value: float, text: str) -> None:
    assert units.multiple(value) == text
