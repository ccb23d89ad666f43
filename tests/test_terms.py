from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.diagnostics import ConfigurationError
from pytest_trt.terms import (
    EXAMPLES,
    arch_of,
    compute_capability,
    described,
    parse_arch,
    parse_archs,
)


@pytest.mark.parametrize("text", ["sm86", "SM86", "sm_86", "86", "8.6", " sm86 "])
def test_every_spelling_is_one_name(text: str) -> None:
    assert parse_arch(text) == "sm86"


@pytest.mark.parametrize(("text", "name"), [("12.0", "sm120"), ("sm90a", "sm90"), ("CPU", "cpu")])
def test_newer_architectures_and_the_cpu(text: str, name: str) -> None:
    assert parse_arch(text) == name


@pytest.mark.parametrize("text", ["", "ampere", "sm8", "8", "8.", "sm8.6", "sm1234", "gpu", "8.66"])
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)is not a GPU architecture.*sm86") as caught:
        parse_arch(text)
    assert repr(text) in caught.value.message


def test_a_list_keeps_its_order_and_each_name_once() -> None:
    assert parse_archs("sm89, 8.6,sm_89,cpu") == ("sm89", "sm86", "cpu")


@pytest.mark.parametrize("text", ["", " , ", "sm86,foo"])
def test_a_bad_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_archs(text)


@given(st.integers(5, 19), st.integers(0, 9))
def test_names_and_capabilities_are_inverse(major: int, minor: int) -> None:
    assert compute_capability(arch_of(major, minor)) == (major, minor)


def test_the_cpu_has_no_compute_capability() -> None:
    with pytest.raises(ConfigurationError, match="no compute capability"):
        compute_capability("cpu")


def test_examples_are_of_valid_architectures() -> None:
    assert all(parse_arch(arch) == arch for arch in EXAMPLES)
    assert described("sm86") == "sm86 (A10, A40, RTX 30 series)"
    assert described("sm61") == "sm61"
