from __future__ import annotations

from pytest_trt.benchmark.figure_text import plot_lines


def test_plot_has_both_sides_on_one_scale() -> None:
    head, then, now = plot_lines("p99", (1.0, 1.0, 1.01), (2.0, 1.99, 2.0))
    assert head == "P99 of each round, from 1.00 ms to 2.00 ms (density: . low, @ high):"
    assert len(then) == len(now)
    assert "@" in then.split("|")[1][:3]
    assert now.split("|")[1].endswith("@")
    assert now.split("|")[1].strip() != now.split("|")[1]


def test_plot_of_equal_figures_is_drawn_too() -> None:
    assert len(list(plot_lines("p50", (1.0,), (1.0,)))) == 3
