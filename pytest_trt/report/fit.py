"""What of the summary's table fits into a terminal: names are shortened, nothing is wrapped."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

#: Columns that a name keeps as long as anything else can give way.
_MODEL_LEAST = 12
_OUTPUT_LEAST = 9

#: Columns below which a model's name says nothing; a terminal that has not even these gets longer
#: lines than it has columns.
_MODEL_FLOOR = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """How much of a line's parts is shown.

    Attributes:
        model: Columns of the model's name.
        output: Columns of the name of the output that used most of its tolerance; 0 leaves it out.
        bar: Whether the bar is drawn.
    """

    model: int
    output: int
    bar: bool


def fit(room: int, *, model: int, output: int, bar: int, least: int) -> Fit:
    """Return how a line's parts share their columns: what says least gives way first.

    Args:
        room: Columns there are for all of them.
        model: Columns of the longest model's name.
        output: Columns of the longest output's name, with the blank before it.
        bar: Columns of the bar and the share beside it.
        least: Columns of what remains without the bar.
    """
    shortest = min(output, _OUTPUT_LEAST)
    # The model in full, and as much of the output as that leaves.
    shown = min(output, room - model - bar)
    if shown >= shortest:
        return Fit(model, shown, True)
    least_model = min(model, _MODEL_LEAST)
    for shown in (shortest, 0):
        if room - bar - shown >= least_model:
            return Fit(min(room - bar - shown, model), shown, True)
    return Fit(max(min(room - least, model), _MODEL_FLOOR), 0, False)


def shortened(text: str, columns: int, mark: str) -> str:
    """Return a text of so many columns at most: both ends of it, and a mark between them.

    Args:
        text: What to shorten; versions and numbers are at the end of many names.
        columns: How much of the terminal it may take.
        mark: What stands for what is left out.
    """
    if cell_len(text) <= columns:
        return text
    kept = max(columns - cell_len(mark), 0)
    tail = kept // 2
    end = set_cell_size(text[::-1], tail)[::-1].strip()
    return f"{set_cell_size(text, kept - tail).strip()}{mark}{end}"
