from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pytest_trt.cli import commands, main
from pytest_trt.codes import CODES


def test_code_is_explained_in_any_case() -> None:
    result = CliRunner().invoke(commands, ["explain", "trt600"])
    assert result.exit_code == 0
    assert result.output.startswith(f"TRT600: {CODES['TRT600'].title}\n")


def test_all_codes_are_listed() -> None:
    listed = CliRunner().invoke(commands, ["explain"]).output.splitlines()
    assert [line[:6] for line in listed] == sorted(CODES)
    as_json = json.loads(CliRunner().invoke(commands, ["explain", "--json"]).output)
    assert as_json.keys() == CODES.keys()


def test_unknown_code_is_an_error(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["pytest-trt", "explain", "TRT60"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "unknown diagnostic code 'TRT60'" in capsys.readouterr().err
