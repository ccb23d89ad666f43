"""What every command that prints a table does for scripts: JSON, and names that are whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from builders import save_linear
from builders_cli import run_command

#: Wider than any terminal.
NAME = "answers_" + "of_a_model_whose_name_is_long_" * 5

TESTS = f"""
import pytest

pytestmark = pytest.mark.trt_model("{NAME}.onnx", profiles={{"image": (2, 8)}})

@pytest.mark.trt_consistency(against="both")
def test_{NAME}(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""

#: Stands for the engine in the cache.
PLAN = "PLAN"

#: Commands that print tables, with arguments that the project has.
TABLES = {
    "baseline-diff": ["baseline", "diff", "old.json", "new.json"],
    "baseline-list": ["baseline", "list"],
    "baseline-show": ["baseline", "show", f"test_{NAME}"],
    "cache-explain": ["cache", "explain"],
    "cache-list": ["cache", "list"],
    "inspect": ["inspect", PLAN, "--layers"],
    "inspect-model": ["inspect", f"{NAME}.onnx"],
    "report-compare": ["report", "compare", "report.json", "later.json", "--all"],
    "report-merge": ["report", "merge", "report.json"],
    "report-show": ["report", "show", "report.json", "--all"],
    "verify": ["verify", "dist"],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project after a run, with a report, stored answers and an exported plan."""
    folder = tmp_path_factory.mktemp("project")
    save_linear(folder / f"{NAME}.onnx")
    (folder / "pytest.ini").write_text("[pytest]\ntrt_cache_dir = cache\n")
    # Imported by this process: no other test has a module of this name.
    (folder / "test_shown.py").write_text(TESTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("CI", raising=False)  # records what is missing
        options = ["-pno:cacheprovider", "-q", "--trt-arch=cpu", "--trt-report=report.json"]
        assert pytest.main([*options, "--rootdir=."]) == 0
        run_command("export", "test_shown.py", "--output", "dist")
        report = json.loads(Path("report.json").read_text())
        report["runs"][0]["id"] = "another"
        Path("later.json").write_text(json.dumps(report))
        stored = next(Path("trt_baselines").rglob("*.json"))
        for name in ("old", "new"):
            (folder / f"{name}.json").write_bytes(stored.read_bytes())
        yield folder


@pytest.fixture(params=TABLES.values(), ids=TABLES)
def line(request: pytest.FixtureRequest, project: Path, monkeypatch) -> Sequence[str]:
    monkeypatch.delenv("COLUMNS", raising=False)
    return [
        str(next(Path("cache").rglob("*.onnx"))) if one == PLAN else one for one in request.param
    ]


def test_json_is_all_of_standard_output_and_has_no_colours(
    line: Sequence[str], monkeypatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run_command(*line, "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert "\x1b" not in done.stdout + done.stderr


def test_names_are_whole_in_a_pipe(line: Sequence[str], monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run_command(*line)
    assert done.returncode == 0, done.stderr
    # Nothing differs, and a folder of the cache has the beginning of a long name.
    if line[:2] not in (["baseline", "diff"], ["cache", "explain"]):
        assert NAME in done.stdout
    assert "…" not in done.stdout
