"""`pytest-trt report import`: evidence of other tools in reports that every command reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from builders_cli import run_command
from builders_report import check_schema, document, reported, speed
from builders_trtexec import profile, times
from click.testing import CliRunner
from mutations import changed, changed_bytes

from pytest_trt.cli import commands
from pytest_trt.diagnostics import ReportError
from pytest_trt.report.files import read_document, write_report
from pytest_trt.report.importing.files import read_files

TESTS = Path(__file__).parents[1]
POLYGRAPHY = TESTS / "files" / "polygraphy"
#: What trtexec --exportLayerInfo writes is what the inspector returns.
LAYERS = TESTS / "backends" / "tensorrt" / "inspections"
LAYER_INFO = LAYERS / "tensorrt_8.6_static_fp16.json"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    shutil.copytree(POLYGRAPHY, tmp_path, dirs_exist_ok=True)


def call(*args: str, status: int = 0) -> str:
    result = CliRunner().invoke(commands, ["report", *args])
    assert result.exit_code == status, result.output or result.exception
    return result.output


def imported(*files: str | Path, **options: str) -> dict[str, Any]:
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    call("import", *map(str, files), "-o", "imported.json", *given)
    found = read_document(Path("imported.json"))
    check_schema(found)
    return found


def only_result(found: dict[str, Any]) -> dict[str, Any]:
    (test,) = found["tests"]
    (result,) = test["results"]
    return result


def test_files_of_trtexec_are_one_test_that_is_not_judged() -> None:
    layers = [("slow", "30"), ("fast", "10")]
    found = imported(
        times(Path("t.json")),
        profile(Path("p.json"), layers),
        LAYER_INFO,
        arch="9.0",
        model="resnet.onnx",
        precision="fp16",
        mode="graph",
        batch="8",
    )
    (test,) = found["tests"]
    assert (test["status"], test["imported_from"]) == ("not measured", "trtexec")
    assert test["reason"] == "imported from trtexec, not judged"
    assert not test["on_engine"]
    assert [note["code"] for note in test["notes"]] == ["TRT940", "TRT941", "TRT941"]
    result = only_result(found)
    assert [result[name] for name in ("model", "precision", "arch")] == [
        "resnet.onnx",
        "fp16",
        "sm90",
    ]
    measured = result["speed"]
    assert measured["verdict"] == "not measured"
    assert (measured["mode"], measured["batch"], measured["calls"]) == ("graph", 8, 70)
    assert measured["candidate"]["p50_ms"] == pytest.approx(1.515, rel=0.01)
    engine = found["engines"][result["engine"]]
    assert engine["layers"] == len(json.loads(LAYER_INFO.read_text())["Layers"])
    assert [one["share"] for one in engine["layer_times"]] == [0.75, 0.25]


@pytest.mark.parametrize("path", sorted(LAYERS.glob("*.json")), ids=lambda path: path.stem)
def test_layers_of_every_version_are_imported(path: Path) -> None:
    found = imported(path)
    assert found["engines"][only_result(found)["engine"]]["layers"] > 0


def test_layers_that_are_only_names_are_counted() -> None:
    """What trtexec writes without --profilingVerbosity=detailed."""
    Path("layers.json").write_text('{"Layers": ["conv1 + relu1"\n,"fc"\n],"Bindings": ["x"]}')
    found = imported("layers.json")
    assert found["engines"][only_result(found)["engine"]]["layers"] == 2


def test_outputs_of_runners_are_compared_with_the_first() -> None:
    found = imported("inputs.json", "outputs.json", "nudged.json")
    reference, other = found["tests"]
    assert reference["results"][0]["accuracy"] is None
    (result,) = other["results"]
    accuracy = result["accuracy"]
    assert (accuracy["verdict"], accuracy["runs"], accuracy["failed_runs"]) == (
        "not measured",
        2,
        0,
    )
    logits, _ = accuracy["outputs"]
    assert float(logits["worst_abs"]["value"]) == pytest.approx(0.01, rel=0.9)
    assert logits["mismatched"] > 0
    assert not logits["findings"]
    assert found["runs"][0]["counts"] == {"not measured": 2}
    assert "2 sets of inputs: image [2, 8]" in [note["message"] for note in other["notes"]]


def test_runtimes_of_many_iterations_are_speed_by_the_hosts_clock() -> None:
    content = json.loads(Path("outputs.json").read_text())
    content["lst"][0][1] *= 10
    Path("outputs.json").write_text(json.dumps(content))
    measured = only_result(imported("outputs.json"))["speed"]
    assert (measured["mode"], measured["calls"], measured["rounds"]) == ("end_to_end", 5, 4)


@pytest.mark.parametrize("runtime", ["1e306", "1e-320", "1e999", "NaN", "-1.0"])
def test_runtime_that_no_inference_has_is_unknown(runtime: str) -> None:
    content = json.loads(Path("outputs.json").read_text())
    content["lst"][0][1] *= 10
    for one in content["lst"][0][1]:
        one["runtime"] = "RUNTIME"
    Path("outputs.json").write_text(json.dumps(content).replace('"RUNTIME"', runtime))
    assert only_result(imported("outputs.json"))["speed"] is None


def test_outputs_of_another_form_are_named() -> None:
    content = json.loads(Path("nudged.json").read_text())
    for iteration in content["lst"][0][1]:
        iteration["outputs"]["logit"] = iteration["outputs"].pop("logits")
    del content["lst"][0][1][1]
    Path("nudged.json").write_text(json.dumps(content))
    call("import", "outputs.json", "nudged.json", "-o", "a.json")
    shown = call("show", "a.json")
    assert "logit" in shown
    assert "the numbers of iterations differ: 1 and 2" in shown


def test_reports_of_imports_are_shown_compared_merged_and_exported() -> None:
    name = "--name=test_it.py::test_speed"
    slower = times(Path("slower.json"), compute_ms=3.0, seed=2)
    call("import", str(times(Path("t.json"))), "-o", "a.json", name)
    call("import", str(slower), "-o", "b.json", name)
    assert "not measured: p99 1.5" in call("show", "a.json")
    compared = call("compare", "a.json", "b.json")
    assert "worse" in next(line for line in compared.splitlines() if "P50" in line)
    call("import", str(slower), "-o", "page.html")
    call("export", "a.json")
    assert call("merge", "a.json", "-o", "merged.json")


def test_import_is_compared_with_a_test_and_never_replaces_its_verdict() -> None:
    rounds = {"p50": (3.0,) * 20, "p95": (3.0,) * 20, "p99": (3.0,) * 20}
    own = speed(candidate_rounds=rounds, candidate={"p50_ms": 3.0}, mode="enqueue", batch=1)
    write_report(Path("own.json"), document({"test_a": reported(speeds=(own,))}))
    options = ("--name=test_it.py::test_a", "--arch=sm86", "--model=digits.onnx")
    call("import", str(times(Path("t.json"))), "-o", "a.json", "--precision=fp16", *options)
    compared = call("compare", "a.json", "own.json", "--all")
    assert "worse" in next(line for line in compared.splitlines() if "P50" in line)
    # What trtexec does not report is neither nothing nor zero.
    (engine,) = read_document(Path("a.json"))["engines"].values()
    assert engine["size_bytes"] is None
    assert not any(word in compared for word in ("none ->", "0 B", "plan ", "commit", "not inst"))
    call("merge", "a.json", "own.json", "--mixed", "-o", "both.json")
    (test,) = read_document(Path("both.json"))["tests"]
    assert test["status"] == "passed"


def test_imported_evidence_is_no_verdict_that_a_merge_requires() -> None:
    call("import", str(times(Path("t.json"))), "-o", "a.json", "--arch=sm86")
    (test,) = read_document(Path("a.json"))["tests"]
    assert test["status"] == "not measured"
    write_report(Path("own.json"), document({"test_a": reported()}))
    call("merge", "own.json", "a.json", "--mixed", "--require-arch=sm86")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("none.json",), "none.json cannot be imported: No such file or directory [TRT911]"),
        (("text.json",), "text.json cannot be imported: "),
        (("report.json",), "it is none of the files that trtexec and Polygraphy write [TRT911]"),
        (("t.json", "t.json"), "t.json is a second file of --exportTimes: one import is of one"),
    ],
)
def test_other_files_are_errors_with_a_code(files: tuple[str, ...], message: str) -> None:
    times(Path("t.json"))
    Path("text.json").write_text("Hello\n")
    write_report(Path("report.json"), document({"test_a": reported()}))
    done = run_command("report", "import", *files, "-o", "a.json")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("a.json").exists()


def test_report_of_another_suffix_is_refused_before_anything_is_read() -> None:
    assert ".json, .html, .prom" in call("import", "none.json", "-o", "a.pdf", status=2)


def test_damaged_files_are_imported_or_refused() -> None:
    """Whatever is changed, in the bytes or in the JSON: no other error, and a valid report."""
    from pytest_trt.report.importing.document import Named, imported_document

    paths = [
        times(Path("t.json"), queries=20),
        profile(Path("p.json"), [("a", "1"), ("b", "2")]),
        Path("outputs.json"),
        Path("inputs.json"),
        Path(shutil.copy(LAYERS / "tensorrt_11_fp16.json", "layers.json")),
    ]
    chance, refused = Random(1), 0
    named = Named("imported", "", "", "unknown", "enqueue", 1)
    damaged, nudged = Path("damaged.json"), Path("nudged.json")
    for number in range(400):
        path = paths[number % len(paths)]
        whole = path.read_bytes()
        is_json = b"nan" not in whole
        damaged.write_bytes((changed if number % 2 and is_json else changed_bytes)(whole, chance))
        files = [damaged, nudged] if path.name == "outputs.json" else [damaged]
        try:
            found = read_files(files, warm_up_ms=0)
        except ReportError as error:
            refused += error.diagnostic.code == "TRT911"
            continue
        write_report(Path("a.json"), imported_document(found, named))
        read_document(Path("a.json"))
    assert 100 < refused < 400
