from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pytest_trt.report.table import fit, shortened


@given(st.integers(0, 120), st.integers(5, 60), st.integers(0, 40), st.integers(5, 12))
def test_parts_fit_wherever_they_can(room: int, model: int, output: int, least: int) -> None:
    shown = fit(room, model=model, output=output, bar=16, least=least)
    columns = shown.model + (16 + shown.output if shown.bar else least)
    assert columns <= max(room, least + 4)
    assert shown.model <= model
    assert shown.output <= output
    if room >= model + 16 + output:
        assert (shown.model, shown.output, shown.bar) == (model, output, True)


@given(st.text(), st.integers(4, 30), st.sampled_from(["…", "..."]))
def test_shortened_text_fits_and_short_text_is_left_alone(
    text: str, columns: int, mark: str
) -> None:
    short = shortened(text, columns, mark)
    assert cell_len(short) <= columns
    if cell_len(text) <= columns:
        assert short == text


def test_both_ends_are_retained() -> None:
    assert shortened("detector-large-v2.onnx", 12, "…") == "detect….onnx"
