"""The command as users run it: in processes of its own, in a project, on machines that are odd."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pytest
from builders_doctor import NO_GPU, machine, modules
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from pytest_trt.cli import commands
from pytest_trt.cli.doctor import lines
from pytest_trt.diagnostics import Remedy
from pytest_trt.doctor.abilities import abilities
from pytest_trt.doctor.examine import examine
from pytest_trt.doctor.finding import (
    DOCTOR_SCHEMA,
    Examination,
    Finding,
    Level,
    schema_text,
    to_document,
)
from pytest_trt.doctor.machine import gpu_findings
from pytest_trt.doctor.products import product_findings
from pytest_trt.doctor.requirements import WORDS
from pytest_trt.extras import install_command
from pytest_trt.workers.question import Answer, ask

#: A machine with an H200: the driver and NVML answer, in whatever process asks them.
H200 = """
import ctypes, sys
from backends.fake_nvml import Device, FakeDriver, FakeNvml
class Driver(FakeDriver):
    def cuDriverGetVersion(self, version):
        super().cuDriverGetVersion(version)
        return 0
real = ctypes.CDLL
sys.modules["pynvml"] = FakeNvml(Device())
ctypes.CDLL = lambda name, *rest, **more: (
    Driver() if name == "libcuda.so.1" else real(name, *rest, **more)
)
"""

#: By its name in the package, the module is hidden by the command.
DOCTOR = sys.modules["pytest_trt.cli.doctor"]

#: Questions of an examination; those about a vendor's module have the module's name.
MACHINE = "pytest_trt.doctor.machine:machine_facts_data"
PROJECT = "pytest_trt.plugin.inspection:project_facts"
CACHE = "pytest_trt.doctor.places:look_at_cache"
BASELINES = "pytest_trt.doctor.places:look_at_baselines"

TENSORRT = "__version__ = '10.16.1.11'\n"

BINDINGS = "def cudaRuntimeGetVersion():\n    return 0, 13000\n"


class Machine:
    """A folder that is first on Python's path, and a project to run the command in.

    Attributes:
        path: The folder.
        project: The project.

    Args:
        answers: What was answered to other tests, by question; it is added to.
    """

    def __init__(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]
    ) -> None:
        self.path, self.project = tmp_path / "path", tmp_path / "project"
        self.home = tmp_path / "home"
        self._monkeypatch, self._answers = monkeypatch, answers
        self.path.mkdir()
        self.project.mkdir()
        self.ini()

    def ini(self, *options: str) -> None:
        (self.project / "pytest.ini").write_text("\n".join(["[pytest]", *options]))

    def plant(self, module: str, source: str, version: str = "") -> None:
        """Put a module in the place of the vendor's."""
        path = self.path.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        if version:
            name = module.partition(".runtime")[0].replace(".", "_")
            info = self.path / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command, without any setting of this process that would change it."""
        left = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTEST_ADDOPTS", "CUDA_VISIBLE_DEVICES")
        kept = {name: value for name, value in os.environ.items() if name not in left}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, "doctor", *options],
            cwd=self.project,
            env={
                **kept,
                "PYTHONPATH": os.pathsep.join([str(self.path), *sys.path]),
                "XDG_CACHE_HOME": str(self.home),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def run_here(self, *options: str, changed: Collection[str], **environ: str) -> Result:
        """Run the command in this process.

        Args:
            *options: Its options.
            changed: The questions whose answers are about this test; the others are asked once for
                all tests.
            **environ: Its environment variables.
        """

        def question(name: str, **arguments: object) -> Answer:
            subject = str(arguments.get("module", name))
            if subject in changed:
                return ask(name, **arguments)
            if subject not in self._answers:
                self._answers[subject] = ask(name, **arguments)
            return self._answers[subject]

        with self._monkeypatch.context() as patched:
            patched.chdir(self.project)
            patched.syspath_prepend(self.path)
            patched.setenv("PYTHONPATH", os.pathsep.join(sys.path))
            patched.setenv("XDG_CACHE_HOME", str(self.home))
            patched.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            patched.setattr(DOCTOR, "examine", partial(examine, question=question))
            return CliRunner().invoke(commands, ["doctor", *options], env=environ)

    def document(self, *options: str, changed: Collection[str], **environ: str) -> dict:
        """Return what `run_here` prints as JSON, after checking it and the exit status."""
        result = self.run_here("--json", *options, changed=changed, **environ)
        document = json.loads(result.stdout)
        Draft202012Validator(json.loads(schema_text())).validate(document)
        assert document["exit_status"] == result.exit_code
        return document

    def finding(self, name: str, *options: str, changed: Collection[str], **environ: str) -> dict:
        findings = self.document(*options, changed=changed, **environ)["findings"]
        (found,) = [one for one in findings if one["name"] == name]
        return found


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    return {}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]) -> Machine:
    return Machine(tmp_path, monkeypatch, answers)


def on_h200(host: Machine) -> Machine:
    host.plant("sitecustomize", H200)
    return host


#: Runs the command as its entry point does, and shows what that imported.
PROGRAM = """
import sys
from pytest_trt.extras import install_command
from pytest_trt.cli import main
try:
    main()
finally:
    loaded = {'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda', 'pytest', 'pynvml'}
    print('loaded:', sorted(loaded & sys.modules.keys()))
"""


@pytest.mark.exhaustive
def test_this_machine_is_well_and_stays_as_it_was(host: Machine) -> None:
    done = host.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(r"ok +ONNX Runtime +[\d.]+, builds and runs on the CPU", done.stdout)
    assert re.search(r"build, run +cpu by ONNX Runtime", done.stdout)
    assert done.stdout.endswith("\nloaded: []\n")
    assert not (host.home / "pytest-trt").exists()
    assert [path.name for path in host.project.iterdir()] == ["pytest.ini"]


@pytest.mark.exhaustive
def test_a_gpu_machine_is_reported_as_one(host: Machine) -> None:
    on_h200(host).plant("tensorrt", TENSORRT, "10.16.1.11")
    host.plant("cuda.bindings.runtime", BINDINGS, "13.0.1")
    changed = {MACHINE, PROJECT, "tensorrt", "cuda.bindings.runtime"}
    document = host.document("--require=gpu,tensorrt,sm90", changed=changed)
    assert document["level"] == "ok"
    found = {one["name"]: one["what"] for one in document["findings"]}
    assert found["driver"] == "580.159.04, supports CUDA 13.0"
    assert found["GPU 0"].startswith("NVIDIA H200 (sm90)")
    assert found["cuda-bindings"] == "13.0.1, CUDA runtime 13.0"
    able = {one["arch"]: one for one in document["abilities"]}
    assert (able["sm90"]["runs"], able["sm90"]["backend"]) == (True, "tensorrt")
    assert not able["sm70"]["builds"]


@pytest.mark.exhaustive
def test_a_gpu_without_tensorrt_gets_the_line_for_its_driver(host: Machine) -> None:
    found = on_h200(host).finding("TensorRT", changed={MACHINE, "tensorrt"})
    if found["what"] == "not installed":
        assert found["level"] == "warn"
        assert found["fix"] == install_command("tensorrt-cu13")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "raise ImportError('libnvinfer.so.10: cannot open shared object file')",
            "ImportError: libnvinfer.so.10: cannot open shared object file",
        ),
        ("import ctypes; ctypes.string_at(0)", "crashes Python (SIGSEGV), in "),
        ("import os; os._exit(9)", "ends Python with status 9"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("import threading; threading.Event().wait()", "gives no answer within 5 s"),
    ],
)
def test_a_broken_tensorrt_is_reported_and_breaks_nothing(host: Machine, source, why) -> None:
    host.plant("tensorrt", source, "10.16.1.11")
    # Whoever imports it in the project's own process would crash that, too.
    changed = {"tensorrt", PROJECT} if "SIGSEGV" in why else {"tensorrt"}
    document = host.document("--timeout=5", changed=changed)
    (found,) = [one for one in document["findings"] if one["name"] == "TensorRT"]
    has_gpu = any(one["name"] == "GPU 0" for one in document["findings"])
    assert found["level"] == ("error" if has_gpu else "warn")
    assert found["what"] == "10.16.1.11 cannot be imported"
    assert why in found["why"]
    assert found["fix"]
    # All else is told as ever.
    assert {"ONNX Runtime", "plugin", "cache"} <= {one["name"] for one in document["findings"]}


def test_a_broken_tensorrt_next_to_a_gpu_is_an_error(host: Machine) -> None:
    on_h200(host).plant("tensorrt", "import ctypes; ctypes.string_at(0)", "10.16.1.11")
    found = host.finding("TensorRT", changed={MACHINE, PROJECT, "tensorrt"})
    assert found["level"] == "error"


def test_a_driver_that_crashes_its_callers_is_reported(host: Machine) -> None:
    host.plant("sitecustomize", H200.replace("return 0", "ctypes.string_at(0)"))
    found = host.finding("GPU", changed={MACHINE, PROJECT})
    assert found["level"] == "error"
    assert "looking for GPUs crashes Python (SIGSEGV)" in found["why"]


@pytest.mark.exhaustive
def test_the_projects_own_cache_and_baselines_are_looked_at(host: Machine) -> None:
    host.ini("trt_cache_dir = engines", "trt_cache_size = 3GB", "trt_baseline_dir = stored")
    (host.project / "stored" / "cpu").mkdir(parents=True)
    (host.project / "stored" / "cpu" / "test_speed.json").write_text("{ damaged")
    document = host.document(changed={PROJECT, CACHE, BASELINES})
    cache, *stored = [one for one in document["findings"] if one["section"] == "places"]
    assert cache["what"].startswith(str(host.project / "engines"))
    assert [one["level"] for one in stored] == ["ok", "error"]
    assert document["exit_status"] == 1
    elsewhere = str(host.home / "other")
    found = host.finding("cache", f"--cache-dir={elsewhere}", changed={PROJECT, CACHE, BASELINES})
    assert elsewhere in found["what"]


@pytest.mark.exhaustive
def test_a_project_that_blocks_the_plugin_is_an_error(host: Machine) -> None:
    host.ini("addopts = -p no:trt")
    found = host.finding("plugin", changed={PROJECT})
    assert (found["level"], "-p no:trt" in found["fix"]) == ("error", True)
    host.ini()
    without = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    assert host.finding("plugin", changed={PROJECT}, **without)["level"] == "error"


def test_what_is_required_and_not_there_is_exit_status_1(host: Machine) -> None:
    done = host.run_here("--require=onnxruntime,sm133", changed=())
    assert done.exit_code == 1
    assert re.search(r"ok +onnxruntime ", done.stdout)
    assert re.search(r"error sm133 ", done.stdout)
    assert done.stdout.endswith("1 error\n")


def test_schema_is_one() -> None:
    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == DOCTOR_SCHEMA


def example(*extra: Finding) -> Examination:
    facts, host = modules(tensorrt_rtx="1.7.1"), machine("sm90")
    found = [*gpu_findings(host), *product_findings(facts, host, (3, 11)), *extra]
    return Examination(found, abilities(host.probe, facts))


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch):
    """Run the command on findings that were made before; nothing is asked."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path = Finding("places", "cache", Level.OK, f"/home/{'long/' * 20}cache: 0 engines, 1 GB free")
    monkeypatch.setattr(DOCTOR, "examine", lambda *args, **kwargs: example(path))

    def run(*options: str, **environ: str) -> Result:
        return CliRunner().invoke(commands, ["doctor", *options], env=environ)

    return run


def test_colours_are_for_terminals_that_want_them(show) -> None:
    wanted = {"FORCE_COLOR": "1", "TERM": "xterm"}
    assert "\x1b" not in show().output
    assert "\x1b[32m" in show(**wanted).output
    assert "\x1b" not in show("--no-color", **wanted).output
    assert "\x1b" not in show(NO_COLOR="1", **wanted).output


def test_in_a_pipe_a_finding_is_a_line_unless_columns_are_given(show) -> None:
    free = show().output
    assert f"/home/{'long/' * 20}cache: 0 engines, 1 GB free\n" in free
    narrow = show(COLUMNS="80").output.splitlines()
    # Only a word that is longer than its place sticks out, and a command.
    assert {len(line) > 80 for line in narrow} == {True, False}
    sticking_out = [one for one in narrow if len(one) > 80 and "pip install" not in one]
    assert all(f"/home/{'long/' * 20}cache:" in line for line in sticking_out)


def test_unknown_requirement_is_a_usage_error_before_any_check(show) -> None:
    done = show("--require=everything")
    assert done.exit_code == 2
    assert "Fix: Name gpu" in done.output


def test_help_says_what_can_be_required_and_the_schema_is_printed(show) -> None:
    reported = show("--help").output
    assert all(word in reported for word in WORDS)
    assert show("--json-schema").output == schema_text()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_keep_to_the_width_and_lose_no_word(width: int) -> None:
    wide = " ".join(str(line) for line in lines(example(), None)).split()
    fitted = [str(line) for line in lines(example(), width)]
    assert max(len(line) for line in fitted if "pip install" not in line) <= width
    assert " ".join(fitted).split() == wide


def test_brackets_in_texts_are_not_markup() -> None:
    odd = Finding(
        "places",
        "cache",
        Level.WARN,
        "/tmp/[red]x[/]",
        "[bold",
        Remedy(commands=("pip install 'a[b]'",)),
    )
    reported = "\n".join(str(line) for line in lines(example(odd), None))
    assert "/tmp/[red]x[/]" in reported
    assert "pip install 'a[b]'" in reported


def test_last_line_counts_what_is_wrong() -> None:
    def last(*found: Finding) -> str:
        able = abilities(NO_GPU.probe, modules())
        return str([*lines(Examination(found, able), 80)][-1])

    ok, warn, error = (
        Finding("places", "x", level, "x") for level in (Level.OK, Level.WARN, Level.ERROR)
    )
    assert last(ok) == "No problems found."
    assert last(ok, warn) == "1 warning"
    assert last(warn, error, error) == "2 errors, 1 warning"
    assert to_document(Examination((warn,), ()))["exit_status"] == 0
