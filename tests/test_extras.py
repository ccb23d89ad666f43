from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pytest_trt.extras import EXTRAS, INSTALL_TENSORRT, install_command

PROJECT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
@pytest.mark.parametrize("extra", EXTRAS)
def test_commands_install_what_the_extras_of_the_project_do(extra: str) -> None:
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(EXTRAS[extra]) == project["project"]["optional-dependencies"][extra]


def test_limits_and_options_are_part_of_the_command() -> None:
    assert install_command("rtx") == f"pip install '{EXTRAS['rtx'][0]}'"
    assert install_command("rtx", "-U", below="2") == f"pip install -U '{EXTRAS['rtx'][0]},<2'"
    assert [one.partition("#")[2] for one in INSTALL_TENSORRT] == [" CUDA 12", " CUDA 13"]


def test_no_message_names_an_extra_of_a_package_that_no_index_has() -> None:
    files = (PROJECT / "pytest_trt").rglob("*.py")
    naming = [path for path in files if re.search(r"pytest-trt\[", path.read_text("utf-8"))]
    assert not naming
