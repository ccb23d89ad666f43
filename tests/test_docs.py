"""What the README and docs/ show is run here, so that it cannot drift from what happens."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import onnx
import onnxruntime
import pytest
from builders_networks import save_flat
from builders_processes import commit_all
from click.testing import CliRunner
from onnx import numpy_helper
from plugin.conftest import LIGHT
from quiet_host import SOON, FixedHost

from pytest_trt import cli
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES
from pytest_trt.benchmark import sampling
from pytest_trt.engine.build import BUILD_ENVIRONMENT
from pytest_trt.engine.key import engine_key
from pytest_trt.engine.spec import EngineSpec, Route, Target, Toolchain
from pytest_trt.files import FileStamp
from pytest_trt.onnx.libraries import Library
from pytest_trt.statistics.decide import LOOKS, check_error, first_rounds
from pytest_trt.tensors.profiles import ShapeRange
from pytest_trt.tensors.value_ranges import ValueRange

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

CPU = ("-p", "no:cacheprovider", "--trt-arch=cpu")


class Done(NamedTuple):
    """What came of a run."""

    returncode: int
    stdout: str
    stderr: str


def page(name: str) -> str:
    (path,) = (ROOT / "docs").rglob(name)
    return path.read_text(encoding="utf-8")


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for block in blocks("sh", text) for line in block.splitlines()]


def shape(text: str) -> list[str]:
    """Return lines without what differs from machine to machine: figures, bars and spacing."""
    bare = re.sub(r"[0-9][0-9.,e+-]*|[█░]+|\b(ms|s)\b", "", text)
    return [" ".join(line.split()) for line in bare.splitlines() if line.strip()]


class Folder:
    """A project with the example's models and data; all tests share an engine cache."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.path, self._pytester = pytester.path, pytester
        for part in ("models", "data"):
            shutil.copytree(ROOT / "example_project" / part, self.path / part)

    def run(self, *args: str) -> Done:
        """Run pytest on the CPU of a host without other work."""
        # In this process, the filters of the outer run would hold for the inner one.
        warn = "-Wdefault::pytest_trt.diagnostics.PytestTrtWarning"
        result = self._pytester.runpytest_inprocess(*CPU, warn, *args, plugins=[FixedHost()])
        return Done(int(result.ret), result.stdout.str(), result.stderr.str())

    def command(self, *args: str) -> str:
        """Return what a `pytest-trt` command prints; it has to exit with 0."""
        done = CliRunner().invoke(cli.commands, args)
        assert done.exit_code == 0, done.output
        return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def folder(pytester, home, monkeypatch) -> Folder:
    monkeypatch.setattr(sampling, "STORED_S", 0.0)
    monkeypatch.setattr(sampling, "ON_CPU", SOON)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    return Folder(pytester)


@pytest.fixture
def digits(folder) -> Folder:
    """The README's first test."""
    (folder.path / "test_digits.py").write_text(blocks("python", README)[0])
    return folder


@pytest.fixture
def speed(folder) -> Folder:
    """The test of speed-tests.md, with a baseline and a model whose calls take microseconds."""
    save_flat(folder.path / "models" / "digits.onnx")
    (folder.path / "test_speed.py").write_text(blocks("python", page("speed-tests.md"))[0])
    recorded = folder.run("test_speed.py")
    assert "2 passed" in recorded.stdout
    assert "trt_baselines/" in recorded.stdout
    return folder


def test_front_page_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_links_lead_somewhere() -> None:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_first_test_passes_in_fp16_and_fails_in_int8_as_shown(digits) -> None:
    printed = digits.run().stdout
    assert "1 failed, 1 passed" in printed
    (shown,) = blocks("text", README)
    assert [line for line in shape(shown) if line not in shape(printed)] == []
    code = [line for line in blocks("python", README)[0].splitlines() if line.strip()]
    assert len(code) <= 20


@pytest.mark.parametrize(("precision", "outcome"), [("fp16", "passed"), ("fp32", "failed")])
def test_facts_are_asserted_as_shown(folder, precision: str, outcome: str) -> None:
    (shown,) = blocks("python", page("engine-facts.md"))
    (folder.path / "test_facts.py").write_text(shown.replace('"fp16"', f'"{precision}"'))
    assert f"1 {outcome}" in folder.run("test_facts.py").stdout


def test_model_that_a_fixture_makes_is_compared(folder) -> None:
    (made,) = blocks("python", page("model-fixture.md"))
    (folder.path / "test_made.py").write_text(made)
    assert "3 passed" in folder.run("test_made.py").stdout


def test_invariants_hold_as_shown(folder) -> None:
    (shown,) = blocks("python", page("invariants.md"))
    (folder.path / "test_invariants.py").write_text(shown)
    assert "3 passed" in folder.run("test_invariants.py").stdout


@pytest.mark.exhaustive
@pytest.mark.parametrize(("least", "outcome"), [("30", "passed"), ("300", "failed")])
def test_metrics_are_judged_as_shown(folder, least: str, outcome: str) -> None:
    shown, *_ = blocks("python", page("metrics.md"))
    (folder.path / "test_quality.py").write_text(shown.replace(">= 30", f">= {least}"))
    printed = folder.run("test_quality.py").stdout
    assert f"3 {outcome}" in printed
    assert f"snr_db * dB (limit >= {least} dB)" in re.sub(r"snr_db [0-9.]+", "snr_db *", printed)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("threshold", "outcome"), [("0.5", "passed"), ("1e-5", "failed")])
def test_labels_are_compared_as_shown(folder, threshold: str, outcome: str) -> None:
    (shown,) = blocks('python title="test_labels.py"', page("metrics.md"))
    wrong = shown.replace("(outputs > 0.5)", f"(outputs > {threshold})")
    (folder.path / "test_labels.py").write_text(wrong)
    assert f"1 {outcome}" in folder.run("test_labels.py").stdout


def test_task_metric_is_recorded_and_compared_as_shown(folder) -> None:
    *_, shown = blocks("python", page("metrics.md"))
    test = folder.path / "test_task.py"
    test.write_text(shown)
    assert "1 passed" in folder.run("test_task.py").stdout
    assert "1 passed" in folder.run("test_task.py", "--trt-missing-baseline=fail").stdout
    test.write_text(shown.replace('["labels"]', '["labels"][::-1]'))
    assert "1 failed" in folder.run("test_task.py").stdout


def test_portable_suite_skips_on_the_cpu_what_only_gpus_have(folder) -> None:
    (marker,) = blocks("python", page("several-backends.md"))
    test = "def test_builds(trt_engine):\n    assert trt_engine.spec.builder_options\n"
    (folder.path / "test_portable.py").write_text(f"{marker}\n\n{test}")
    assert "2 passed, 1 skipped" in folder.run("test_portable.py").stdout


@pytest.mark.parametrize(("off", "outcome"), [(0, "passed"), (1, "failed")])
def test_references_are_given_as_shown(folder, off: int, outcome: str) -> None:
    shown, version, save, golden, *_ = blocks("python", page("references.md"))
    returned = "    return outputs\n"
    assert returned in shown
    # What is stored of a version serves all tests of this file.
    computed = shown.replace(returned, version.replace("digits 3", f"digits {off}") + returned)
    wrong = f"[a + np.float32({off}) for a in network.run"
    computed = computed.replace("network.run", wrong).replace("inputs)  #", "inputs)]  #")
    (folder.path / "test_computed.py").write_text(f"import numpy as np\n{computed}")
    head, _, rest = shown.partition("@pytest.fixture\n")
    fed = rest.partition("\n\n\n")[2].replace("run(trt_inputs)", "run({'image': images})")
    test = fed.replace("trt_inputs", "images")
    images = np.load(folder.path / "data" / "digits.npz")["images"][:8]
    network = onnxruntime.InferenceSession(folder.path / "models" / "digits.onnx")
    logits, probs = network.run(None, {"image": images})
    known = {"np": np, "images": images, "logits": logits + np.float32(off), "probs": probs}
    exec(save.replace('"golden.npz"', "path"), {**known, "path": folder.path / "golden.npz"})
    given = "@pytest.fixture\ndef images():\n    return np.load('golden.npz')['inputs/image']\n"
    (folder.path / "test_golden.py").write_text(f"{head}import numpy as np\n{given}{golden}{test}")
    printed = folder.run("-rA", "test_computed.py", "test_golden.py").stdout
    assert f"4 {outcome}" in printed
    assert f"{outcome.upper()} test_golden.py" in printed


def test_engine_is_shared_as_shown(folder) -> None:
    (folder.path / "test_shared.py").write_text(blocks("python", page("ways.md"))[0])
    assert "1 passed" in folder.run("test_shared.py").stdout


@pytest.mark.exhaustive
def test_ini_table_is_understood(digits) -> None:
    (digits.path / "pytest.ini").write_text(blocks("ini", page("comparison.md"))[0])
    assert "1 failed, 1 passed" in digits.run().stdout


def test_speed_is_compared_and_accepted_as_shown(speed) -> None:
    assert "2 passed" in speed.run("test_speed.py").stdout
    for args in commands(page("speed-tests.md")):
        done = speed.run(*args)
        assert done.returncode == 0, done.stdout
    assert '"reason": "twice the classes"' in next(speed.path.glob("trt_baselines/*/*")).read_text()


def test_engine_is_compared_with_another_precision_as_shown(folder) -> None:
    save_flat(folder.path / "models" / "digits.onnx")
    (folder.path / "test_faster.py").write_text(blocks("python", page("speed-tests.md"))[1])
    # Which of the two is faster is the machine's affair.
    assert "1 test collected" in folder.run("--co", "test_faster.py").stdout


@pytest.mark.exhaustive
def test_commands_of_the_baselines_page_work(speed) -> None:
    assert "2 passed" in speed.run("test_speed.py").stdout
    commit_all(speed.path)
    for args in commands(page("baselines.md")):
        assert speed.command(*args).strip()


def test_answers_are_stored_updated_and_compared_as_shown(folder) -> None:
    shown = page("stored-answers.md")
    (folder.path / "test_digits.py").write_text(blocks("python", shown)[0])
    record, update, *reading, _ = commands(shown)
    assert "first answers to 1 set of inputs" in folder.run(*record).stdout
    commit_all(folder.path)
    save_flat(folder.path / "models" / "digits.onnx")
    failed = folder.run().stdout
    assert "2 failed" in failed
    assert "the model's own answers changed" in failed
    assert "2 passed" in folder.run(*update).stdout
    printed = [folder.command(*args) for args in reading]
    assert all(printed)
    assert blocks("text", shown)[0] in printed[0]


def test_the_run_after_an_upgrade_records_nothing_and_needs_every_verdict() -> None:
    after = page("upgrade.md").partition("## After")[2]
    runs = [args for args in commands(after) if "--trt-report=after.json" in args]
    assert runs
    for args in runs:
        assert {"--trt-missing-baseline=fail", "--trt-require-arch=sm86"} <= {*args}
    accepting = [args for args in commands(after) if "--trt-update" in args]
    speed = [args for args in accepting if "trt_benchmark" in args]
    assert speed
    assert all("--trt-baseline-runs=5" in args for args in speed)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("drift", "outcome"), [("", "1 failed, 1 passed"), ("2x", "2 failed")])
def test_small_change_of_the_model_is_detected_as_described(folder, drift, outcome) -> None:
    shown = page("stored-answers.md")
    test = blocks("python", shown)[0]
    if drift:
        test = test.replace('against="both"', f'against="both", drift="{drift}"')
    (folder.path / "test_digits.py").write_text(test)
    record, *_, both = commands(shown)
    folder.run(*record)
    path = folder.path / "models" / "digits.onnx"
    model = onnx.load(path)
    (head,) = (one for one in model.graph.initializer if one.name == "head.weight")
    scaled = numpy_helper.to_array(head) * np.float32(1.01)
    head.CopyFrom(numpy_helper.from_array(scaled, head.name))
    onnx.save(model, path)
    failed = folder.run().stdout
    assert outcome in failed
    assert "14.2x over tolerance (digits.onnx, fp32" in failed
    assert "using 95" in failed
    assert "errors of cpu fp16 changed: logits 0." in folder.run(*both).stdout


def test_commands_of_the_cache_section_work(digits) -> None:
    digits.run("-k", "fp16")
    shown = commands(page("cache.md"))
    assert len(shown) == 5
    for args in shown:
        assert digits.command(*args).strip()


def test_plans_are_exported_verified_and_tested_as_shown(digits) -> None:
    (digits.path / "tests").mkdir()
    (digits.path / "test_digits.py").write_text(
        blocks("python", README)[0].replace('"fp16", "int8"', '"fp32", "fp16"')
    )
    digits.run()
    export, verify = commands(page("plans.md"))[1:]
    assert digits.command(*(word.replace("tests/", ".") for word in export)).count("wrote ") == 2
    assert "2 of 2 plans hold." in digits.command(*verify)
    (shown,) = blocks("python", page("plans.md"))
    (digits.path / "test_shipped.py").write_text(shown)
    assert "2 passed" in digits.run("test_shipped.py").stdout


def test_cache_that_others_only_read_is_made_as_shown(digits, tmp_path) -> None:
    build, share, verify = commands_with_names(
        page("security.md"), "/srv/trt-cache", tmp_path / "c"
    )
    assert digits.run(*build[1:]).returncode == 0
    subprocess.run(share, check=True)
    assert "2 of 2 engines are intact" in digits.command(*verify[1:])
    assert all(
        path.stat().st_mode & 0o055 in (0o055, 0o044) for path in (tmp_path / "c").rglob("*")
    )


def commands_with_names(text: str, place: str, instead: Path) -> list[list[str]]:
    lines = [line for block in blocks("sh", text) for line in block.splitlines()]
    return [shlex.split(line.replace(place, str(instead))) for line in lines]


def test_selftest_proves_the_checks_of_the_first_test(digits) -> None:
    (args,) = commands(section(page("reports.md"), "Self-test: checks that can fail"))
    printed = digits.run("-k", "fp16", *args).stdout
    assert "1 effective, 0 ineffective" in printed


@pytest.mark.exhaustive
def test_commands_of_the_reports_page_work(digits) -> None:
    path = digits.path
    first, *others = commands(page("reports.md").partition("\n## ")[0])
    args = [word.replace("sm86", "cpu") for word in first]
    done = digits.run(*args, "-k", "fp16")
    assert "cpu: no verdict for 1 of 2 tests" in done.stdout  # the one that -k left out
    fp16_alone = blocks("python", README)[0].replace('("fp16", "int8")', '"fp16"')
    (path / "test_digits.py").write_text(fp16_alone)
    assert digits.run(*args).returncode == 0
    report = (path / "report.json").read_text()
    for number, arch in enumerate(("sm86", "sm120")):  # as if it had run there
        elsewhere = report.replace('"cpu"', f'"{arch}"').replace('"id":"', f'"id":"{number}')
        (path / f"{arch}.json").write_text(elsewhere)
    for number, name in enumerate(("before", "after")):
        again = report.replace('"id":"', f'"id":"{number}')
        (path / f"{name}.json").write_text(again)
    for args in others:
        assert digits.command(*args).strip()
    assert "the same" in (path / "upgrade.md").read_text()


@pytest.mark.exhaustive
def test_commands_of_the_doctor_section_work(folder) -> None:
    shown = commands(page("doctor.md"))
    assert len(shown) == 4
    for args in shown:
        here = [word.replace("tensorrt,sm86,speed", "onnxruntime,cpu") for word in args]
        assert folder.command(*here).strip()


@pytest.mark.exhaustive
def test_precisions_of_the_example_are_suggested_as_shown(folder) -> None:
    split, metric = blocks("python", section(page("precision.md"), "Which precision"))
    (folder.path / "accuracy.py").write_text(metric)
    subprocess.run([sys.executable, "-c", split], cwd=folder.path, check=True)
    (args,) = commands(section(page("precision.md"), "Which precision"))
    printed = folder.command(*args, "--arch=cpu", "--time=0.1")
    (shown,) = blocks("text", section(page("precision.md"), "Which precision"))
    # Other machines time it otherwise, and the best of several that pass with it.
    lines = [text.partition("\n\n")[0].splitlines() for text in (shown, printed)]
    assert lines[0][0].split() == lines[1][0].split()
    names = [[line.split()[0] for line in one[1:]] for one in lines]
    assert names[0] == names[1] == ["fp32", "fp16", "bf16", "int8", "fp8", "mixed", "int4:"]
    assert "fastest precision within tolerance" in printed
    assert "<svg" in (folder.path / "precision.html").read_text()


@pytest.mark.exhaustive
def test_tolerances_of_the_example_are_proposed_as_shown(folder) -> None:
    split, _ = blocks("python", section(page("precision.md"), "Which precision"))
    subprocess.run([sys.executable, "-c", split], cwd=folder.path, check=True)
    text = section(page("precision.md"), "Which tolerances")
    (folder.path / "test_answers.py").write_text(blocks("python", text)[0])
    (args,) = commands(text)
    printed = folder.command(*args, "--trt-arch=cpu")
    (shown,) = blocks("text", text)
    assert shape(printed) == shape(shown)


@pytest.mark.exhaustive
def test_nodes_of_the_example_are_found_as_shown(folder) -> None:
    text = section(page("precision.md"), "Which nodes stay in FP32")
    (folder.path / "test_int8.py").write_text(blocks("python", text)[0])
    (args,) = commands(text)
    printed = folder.command(*args, "--trt-arch=cpu", "--no-trade-off")
    (shown,) = blocks("text", text)
    assert printed.splitlines()[-2:] == shown.splitlines()[-2:]
    ranking = shown.partition("\n\nin FP32")[0].splitlines()
    assert shape("\n".join(ranking)) == shape(printed.partition("\n\nin FP32")[0])
    assert (folder.path / "tuned.html").read_text().count("<svg") == 1


def test_two_commands_install_and_run_what_they_say() -> None:
    installs = [line for block in blocks("sh", README) for line in block.splitlines()]
    assert [line.partition(" && ")[2] for line in installs] == [
        "python -m pytest example_project",
        "pytest -n 2",
    ]


@pytest.mark.exhaustive
def test_example_project_passes_as_the_first_command_runs_it(folder, monkeypatch) -> None:
    baselines = f"--trt-baseline-dir={folder.path / 'baselines'}"
    # In a process of its own, which finds what the tests import as a user's does.
    words = ["-p", "quiet_host", *LIGHT, *CPU, "example_project", baselines]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "30 passed" in done.stdout


def test_snippets_of_the_example_project_are_its_tests() -> None:
    example = ROOT / "example_project"
    tests = " ".join(
        " ".join(path.read_text().split()) for path in sorted(example.glob("tests/*.py"))
    )
    snippets = blocks("python", (example / "README.md").read_text())
    assert len(snippets) == 5
    for snippet in snippets:
        assert " ".join(re.sub(r"  #.*", "", snippet).split()) in tests


@pytest.mark.parametrize("name", ["comparison.md", "tolerances.md"])
def test_table_of_default_tolerances_is_the_plugins(name: str) -> None:
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|", page(name), re.MULTILINE)
    assert rows == [
        (precision, f"{tolerance.rtol:g}", f"{tolerance.atol:g}")
        for precision, tolerance in DEFAULT_TOLERANCES.items()
    ]


#: What follows a field's first words is a name of the user's, or of a component.
_OPEN_LABELS = (
    *("device", "TensorRT", "converter", "builder option", "profile values", "profile"),
    *("environment", "library"),
)


def test_table_of_key_fields_is_the_keys() -> None:
    image, values = ShapeRange((1, 3), (4, 3), (8, 3)), ValueRange((8,), (8,), (16,))
    library = Library(
        Path("/project/libops.so"), "2" * 64, FileStamp("libops.so", 1, 2, 3, 4, 5), 6
    )
    everything: dict[str, Any] = {
        "model_digest": "1" * 64,
        "backend": "tensorrt",
        "spec": EngineSpec("int8", ({"image": image, "size": values},), {"refit": True}, ("fc",)),
        "target": Target("sm86", {"gpu": "NVIDIA A10"}),
        "toolchain": Toolchain("TensorRT", {"tensorrt": "10.16.1", "cuda": "12"}),
        "route": Route("converted model", {"onnx": "1.20"}, True, (library,)),
        "platform": "Linux x86_64",
        "calibration_digest": "3" * 64,
        "environment": {"NVIDIA_TF32_OVERRIDE": "0"},
        "plan_digest": "4" * 64,
    }
    assert list(everything) == list(inspect.signature(engine_key).parameters)
    for one in (everything["spec"], everything["target"], everything["toolchain"]):
        assert all(getattr(one, field.name) for field in fields(one))

    def shown_as(label: str) -> str:
        begins = next((one for one in _OPEN_LABELS if label.startswith(f"{one} ")), None)
        return f"{begins} ..." if begins else label

    text = page("cache-key.md")
    rows = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    shown = {name for row in rows for name in re.findall(r"`(.*?)`", row)}
    assert shown == {shown_as(label) for label, _ in engine_key(**everything).fields}
    (row,) = re.findall(r"^\| `environment \.\.\.` .*$", text, flags=re.MULTILINE)
    assert all(f"`{name}`" in row for name in BUILD_ENVIRONMENT)


def test_table_of_the_error_budget_is_the_rules() -> None:
    rows = re.findall(
        r"^\| (\d+) \| (\S+) \| (\S+) \| (\d+) \|$", page("speed.md"), flags=re.MULTILINE
    )
    assert len(rows) == 5
    for checks, error, look, rounds in rows:
        each = check_error(int(checks))
        assert (error, look) == (f"{each:.3g}", f"{each / len(LOOKS):.2g}")
        assert int(rounds) == first_rounds(each)


def test_pictures_are_small_and_follow_the_theme() -> None:
    pictures = sorted((ROOT / "docs" / "explanation" / "images").glob("*.svg"))
    assert [path.stem for path in pictures] == ["bounds", "power", "processes", "rounds"]
    for path in pictures:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 60_000
        assert "prefers-color-scheme:dark" in text
        assert ElementTree.fromstring(text).find("{http://www.w3.org/2000/svg}title") is not None
        assert f"](images/{path.name})" in page("speed.md")


@pytest.mark.exhaustive
def test_pictures_are_drawn_from_traces(tmp_path, monkeypatch) -> None:
    pytest.importorskip("matplotlib", reason="only the group docs needs it")
    random = np.random.default_rng(0)
    names = [f"r50_b8{graph}_{clock}" for graph in ("", "_graph") for clock in ("gpu", "wall")]
    for at in range(6):
        calls = {name: random.lognormal(0.0, 0.01, 1400) for name in names}
        np.savez(tmp_path / f"trace{at}.npz", **calls)
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(tmp_path), f"--out={tmp_path / 'out'}"])
    spec.loader.exec_module(module)
    module.DRAWS = 2
    module.main()
    drawn = {path.name for path in (tmp_path / "out").iterdir()}
    assert drawn == {path.name for path in (ROOT / "docs/explanation/images").iterdir()}


def shown_value(name: str, value: object) -> str:
    """Return the value of a constant as the table of constants has it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one:g}" for key, one in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"{one:g}" for one in value)
    if name.endswith("_LOG"):
        return f"×{math.exp(value):g}"
    return str(value) if isinstance(value, int) else f"{value:g}"


def test_table_of_statistical_constants_is_complete_and_the_codes() -> None:
    folder = ROOT / "pytest_trt" / "statistics"
    known = {}
    for path in sorted(folder.glob("[!_]*.py")):
        module = importlib.import_module(f"pytest_trt.statistics.{path.stem}")
        for name in re.findall(r"^(_?[A-Z][A-Z_]+)\b.* = ", path.read_text(), flags=re.MULTILINE):
            value = getattr(module, name)
            parts = value.values() if isinstance(value, Mapping) else value
            numbers = parts if isinstance(parts, Iterable) else [value]
            if all(isinstance(one, int | float) for one in numbers):
                known[f"{path.stem}.{name}"] = shown_value(name, value)
    rows = re.findall(
        r"^\| `([a-z]+\.\w+)` \| (.*?) \| (.+?) \| (.+?) \|$", page("constants.md"), re.MULTILINE
    )
    assert {name: value for name, value, *_ in rows} == known
    assert len(rows) == len(known)


DECISIONS = sorted((ROOT / "docs" / "explanation" / "decisions").glob("[0-9]*.md"))


def test_decisions_are_short_and_listed_in_order() -> None:
    index = (DECISIONS[0].parent / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\d+\. \[.*\]\((.*)\)$", index, re.MULTILINE) == [p.name for p in DECISIONS]
    for number, path in enumerate(DECISIONS, 1):
        text = path.read_text(encoding="utf-8")
        assert path.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == [
            *("Context", "Decision", "Consequences", "Sources")
        ]
        assert len(text.splitlines()) <= 40
        # What a decision names in the code is there.
        for name in re.findall(r"`((?:pytest_trt|tests|\.ci)/[^` ]*)`", text):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_architecture_names_what_there_is() -> None:
    text = page("architecture.md")
    paths = [path for top in ("pytest_trt", "tests", "docs") for path in (ROOT / top).rglob("*")]
    known = [f"{path.relative_to(ROOT)}/" for path in (*paths, ROOT / "tests", ROOT / "docs")]
    for name in re.findall(r"`([\w./]+(?:\.py|/))`", text):
        assert any(f"/{one}".endswith(f"/{name.rstrip('/')}/") for one in known), name
    (rooms,) = re.findall(r"\A.*?\n```\n(.*?)```", text, flags=re.DOTALL)
    named = {name for line in rooms.splitlines() for name in line.partition("  ")[0].split(", ")}
    modules = (path for path in (ROOT / "pytest_trt").iterdir() if path.name[0] not in "_.")
    assert {path.stem for path in modules} - {"py"} == named - {""}


@pytest.mark.exhaustive
def test_first_tests_are_written_as_shown(folder) -> None:
    init, run = commands(page("first-tests.md"))
    assert folder.command(*init).startswith(blocks("text", page("first-tests.md"))[0])
    assert folder.run(*run).returncode == 0


def test_commands_of_the_shell_page_work(folder) -> None:
    text = page("shell.md")
    for args in commands(text):
        printed = folder.command(*args)
        assert "--json" not in args or json.loads(printed)
    for shell in re.findall(r"pytest-trt completion (\w+)", text):
        assert f"{shell}_complete" in folder.command("completion", shell)
