from __future__ import annotations

import pytest

from pytest_trt.cli.table import print_table

LONG = "test_with_a_name_that_says_very_much[of-its-parameters]"


def printed(capsys, *rows, columns: str | None, monkeypatch) -> list[str]:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    print_table(("test", "P50", "why"), rows, giving_way=(0, 2))
    return capsys.readouterr().out.splitlines()


def test_columns_are_aligned_and_separated_by_lines(capsys, monkeypatch) -> None:
    rows = (("a", "1.0", "x"), "a line across all of them", (("bcd", "red"), "20.0", ""))
    assert printed(capsys, *rows, columns="80", monkeypatch=monkeypatch) == [
        "test  P50   why",
        "a     1.0   x",
        "a line across all of them",
        "bcd   20.0",
    ]


@pytest.mark.parametrize("columns", ["80", "60", "40"])
def test_names_give_way_to_a_narrow_terminal_and_nothing_is_folded(
    capsys, monkeypatch, columns
) -> None:
    lines = printed(capsys, (LONG, "1.0 ms", LONG), columns=columns, monkeypatch=monkeypatch)
    assert len(lines) == 2
    assert all(len(line) <= int(columns) for line in lines)
    assert lines[1].startswith("test")
    assert "1.0 ms" in lines[1]


def test_pipe_has_all_of_it(capsys, monkeypatch) -> None:
    lines = printed(capsys, (LONG, "1.0 ms", LONG), columns=None, monkeypatch=monkeypatch)
    assert lines[1].split() == [LONG, "1.0", "ms", LONG]


def test_what_cannot_be_shortened_makes_a_longer_line(capsys, monkeypatch) -> None:
    lines = printed(capsys, ("a", "1" * 90, "b"), columns="40", monkeypatch=monkeypatch)
    assert lines[1].split() == ["a", "1" * 90, "b"]


def test_table_of_which_nothing_may_be_shortened_is_printed_whole(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    print_table(("option", "type"), [("workspace_bytes", "int")], giving_way=())
    assert capsys.readouterr().out.splitlines()[1].split() == ["workspace_bytes", "int"]
