from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pytest_trt.extras import (
    EXTRAS,
    INSTALL_TENSORRT,
    install_command,
    onnxruntime_distributions,
    upgrade_onnxruntime,
)

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


@pytest.fixture
def installed(tmp_path: Path, monkeypatch):
    """Let these distributions alone be installed: name, version, and a file of each."""

    def install(*distributions: tuple[str, str, str]) -> None:
        for name, version, file in distributions:
            info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
            (info / "RECORD").write_text(f"{file},,\n")
            # Python 3.12 and later leave out files that are not there.
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        standard = [one for one in sys.path if not one.endswith("-packages")]
        monkeypatch.setattr(sys, "path", [str(tmp_path), *standard])

    return install


MODULE = "onnxruntime/__init__.py"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("onnxruntime", "onnxruntime"),
        ("onnxruntime-gpu", "onnxruntime-gpu"),
        ("onnxruntime_migraphx", "onnxruntime-migraphx"),
        ("ort-nightly", "ort-nightly"),
    ],
)
def test_the_distribution_that_contains_onnx_runtime_is_upgraded(
    installed, name: str, expected: str
) -> None:
    installed(
        (name, "1.23.0", MODULE),
        ("onnxruntime-extensions", "0.15.2", "onnxruntime_extensions/a.py"),
    )
    assert onnxruntime_distributions() == {expected: "1.23.0"}
    assert upgrade_onnxruntime() == f"pip install --upgrade {expected}"
    assert upgrade_onnxruntime("1.25") == f"pip install --upgrade '{expected}>=1.25'"


def test_where_none_is_known_onnx_runtime_has_its_own_name(installed) -> None:
    installed()
    assert onnxruntime_distributions() == {}
    assert upgrade_onnxruntime() == "pip install --upgrade onnxruntime"
