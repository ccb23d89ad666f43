"""Run everything that needs a GPU, and leave junit XML and a figures file behind.

    python tests/gpu/run_all.py [OUT] [--only tests|benchmarks|STAGE] [-k WORDS] [-m MARKS]

From the project's root on any Linux machine with an NVIDIA driver and a Python that has TensorRT,
cuda-bindings, nvidia-ml-py, pytest and this project's dependencies; pytest-xdist, psutil and
polygraphy are used where they are there. Nothing is fetched, so the machine may be offline, and the
project may be a plain copy (`git archive HEAD | tar x -C FOLDER`) that is not installed. The models
of packages take part where PYTEST_TRT_MODELS names their folder, see collect_models.py.

The stages: `behaviour`, tests one at a time; `networks`, tests that build much, side by side;
`packages`, the models of packages, side by side; `planted`, engines that are wrong, side by side;
`exhausted`, a GPU without memory, lost, or replaying nothing; and each benchmark by the name of its
script. All but `packages` are meant to take less than 8 minutes each on an H200. One network is
`--only networks -k "resnet50 and fp16"`; `-m "gpu and not heavy"` leaves out what takes minutes;
`--within 600` stops what would take longer, for machines that are lent.

OUT (./gpu-results) gets figures.json and figures.txt (device, versions, what each stage came to,
and what the benchmarks measured), junit-*.xml, and the output of each stage; what an earlier run
left there goes. The exit status is 1 if a test failed, a benchmark stopped, or a stage ran into its
time limit; figures that miss their targets are shown and change nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Files of tests by stage; `behaviour` has the others. Those that take longest come first.
FILES = {
    "networks": (
        "test_networks.py",
        "test_example_project.py",
        "test_facts.py",
        "test_wrong_plan.py",
        "test_plans.py",
        "test_plugins.py",
        "test_invariants.py",
    ),
    "packages": ("test_package_models.py",),
    "planted": ("test_planted.py",),
    "exhausted": ("test_exhausted.py",),
}

#: What takes long in these is building, and none asks how fast or how frugal an engine is.
SIDE_BY_SIDE = {"networks", "packages", "planted"}

#: Seconds after which a stage is stopped.
LIMITS_S = {
    "about": 60,
    "behaviour": 540,
    "networks": 540,
    "packages": 900,
    "planted": 420,
    "exhausted": 180,
    "benchmark": 420,
}

#: How long a stage that is stopped may take to write its report.
GRACE_S = 20

#: Exit status of pytest where a selection left nothing to run.
NOTHING_COLLECTED = 5

ABOUT = """
import dataclasses, json, platform
from importlib import import_module, metadata
from pytest_trt.backends.devices.probe import probe_devices
probe = probe_devices()
versions = {"python": platform.python_version(), "machine": platform.platform()}
for name in ("tensorrt", "numpy", "onnx", "onnxruntime", "pytest", "polygraphy"):
    try:
        versions[name] = str(import_module(name).__version__)
    except Exception as error:
        versions[name] = f"{type(error).__name__}: {error}"
for name in ("cuda-bindings", "nvidia-ml-py", "pytest-xdist"):
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        versions[name] = "not installed"
gpus = [dataclasses.asdict(gpu) for gpu in probe.gpus]
print(json.dumps({"gpus": gpus, "why_no_gpu": probe.reason, "versions": versions}))
"""


@dataclass(frozen=True)
class Stage:
    """A command with a time limit, alone or in a group: `tests` or `benchmarks`."""

    name: str
    command: Sequence[str]
    limit_s: float
    group: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a stage: `ok`, `failed`, `no tests`, or `stopped` at its limit."""

    stage: str
    verdict: str
    exit_status: int
    seconds: float
    summary: str


def run(stage: Stage, out: Path) -> Outcome:
    """Run a stage, showing its output and keeping it in OUT/<stage>.log."""
    print(f"== {stage.name}: {' '.join(stage.command)[:300]}", flush=True)
    started_s = time.monotonic()
    process = subprocess.Popen(
        stage.command,
        cwd=ROOT,
        env=environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last = [""]
    reader = threading.Thread(target=_tee, args=(process, out / f"{stage.name}.log", last))
    reader.start()
    stopped = False
    try:
        process.wait(max(stage.limit_s, 0))
    except subprocess.TimeoutExpired:
        stopped = True
        _stop(process)
    finally:
        # Also what a stage left running: it would hold the GPU, and the pipe that is read.
        _signal(process, signal.SIGKILL)
    reader.join()
    status = process.wait()
    verdicts = {0: "ok", NOTHING_COLLECTED: "no tests"}
    verdict = "stopped" if stopped else verdicts.get(status, "failed")
    seconds = round(time.monotonic() - started_s, 1)
    outcome = Outcome(stage.name, verdict, status, seconds, last[0])
    print(f"== {stage.name}: {verdict} after {seconds} s", flush=True)
    return outcome


def _tee(process: subprocess.Popen[str], log: Path, last: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout as pipe, log.open("w") as file:
        for line in pipe:
            file.write(line)
            file.flush()
            print(line, end="", flush=True)
            last[0] = line.strip(" =\n") or last[0]


def _stop(process: subprocess.Popen[str]) -> None:
    """Interrupt first: pytest then still writes its report."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every stage."""
    paths = [str(ROOT), str(ROOT / "tests"), given.get("PYTHONPATH", "")]
    changed = {
        **given,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTEST_TRT_REQUIRE_GPU": "1",
    }
    if not _is_installed():
        changed["PYTEST_TRT_NOT_INSTALLED"] = "1"
    return changed


def _is_installed() -> bool:
    return any(entry.name == "trt" for entry in importlib.metadata.entry_points(group="pytest11"))


def test_stages(out: Path, options: argparse.Namespace) -> Iterator[Stage]:
    """Yield the tests one at a time, then the other stages."""
    # A line for each test: a machine that is taken away leaves what was seen until then.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-ra", "--color=no"]
    if not _is_installed():
        command += ["-p", "pytest_trt.plugin"]
    command += ["--durations=15", "-m", options.marks, *(["-k", options.k] if options.k else [])]
    folder = ROOT / "tests" / "gpu"
    others = [f"--ignore={folder / name}" for files in FILES.values() for name in files]
    jobs = []
    if options.jobs > 1 and importlib.util.find_spec("xdist") is not None:
        # One test a turn: each takes long, and which one takes longest is not known.
        jobs = ["-n", str(options.jobs), "--dist=load", "--maxschedchunk=1"]
    selections = {"behaviour": [str(folder), *others]}
    for stage, files in FILES.items():
        paths = [str(folder / name) for name in files]
        selections[stage] = [*paths, *(jobs if stage in SIDE_BY_SIDE else [])]
    for stage, selection in selections.items():
        junit = f"--junitxml={out / f'junit-{stage}.xml'}"
        yield Stage(stage, [*command, *selection, junit], LIMITS_S[stage], "tests")


def benchmark_stages(out: Path, folder: Path) -> Iterator[Stage]:
    """Yield the benchmarks for GPUs; what they share has names like theirs, but does not run."""
    for script in sorted(folder.glob("gpu_*.py")):
        if "__main__" in script.read_text():
            figures = out / f"{script.stem}.jsonl"
            command = [sys.executable, str(script), "--json", str(figures)]
            yield Stage(script.stem, command, LIMITS_S["benchmark"], "benchmarks")


def read_figures(out: Path) -> list[dict[str, object]]:
    """Return what the benchmarks measured, also those that were stopped."""
    return [
        {"benchmark": path.stem, **json.loads(line)}
        for path in sorted(out.glob("gpu_*.jsonl"))
        for line in path.read_text().splitlines()
        if line.strip()
    ]


def about(out: Path) -> dict[str, object]:
    """Return device, driver, versions and commit."""
    outcome = run(Stage("about", [sys.executable, "-c", ABOUT], LIMITS_S["about"]), out)
    try:
        found: dict[str, object] = json.loads((out / "about.log").read_text().splitlines()[-1])
    except (IndexError, ValueError):
        found = {"why_unknown": outcome.summary}
    return {"commit": _commit(), **found}


def _commit() -> str:
    with contextlib.suppress(OSError):  # git is not installed
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout.strip()
    return "unknown, no git checkout"


def lines(report: Mapping[str, object]) -> Iterator[str]:
    """Yield the report as text."""
    known = report["about"]
    assert isinstance(known, Mapping)
    for gpu in known.get("gpus") or [{"name": f"no GPU: {known.get('why_no_gpu')}"}]:
        yield ", ".join(f"{key} {value}" for key, value in gpu.items())
    yield ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items())
    yield f"commit {known['commit']}"
    yield ""
    for outcome in report["stages"]:  # type: ignore[attr-defined]
        yield "{stage:<16} {verdict:<8} {seconds:>7.1f} s  {summary}".format(**outcome)
    yield ""
    for figure in report["figures"]:  # type: ignore[attr-defined]
        target = f"  ({figure['target']})" if figure.get("target") else ""
        yield f"{figure['name']:<60} {figure['value']:>12.6g} {figure['unit']}{target}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages that were asked for and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, default=Path("gpu-results"))
    parser.add_argument("--only", help="tests, benchmarks, or the name of one stage")
    parser.add_argument("-k", help="as pytest's: which tests")
    parser.add_argument("-m", dest="marks", default="gpu", help="as pytest's (default: gpu)")
    parser.add_argument(
        "--jobs", type=int, default=6, help="tests of networks side by side (default: 6)"
    )
    parser.add_argument(
        "--within", type=float, default=math.inf, metavar="S", help="seconds for all stages"
    )
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for left_over in (*out.glob("*.jsonl"), *out.glob("junit-*.xml"), *out.glob("*.log")):
        left_over.unlink()
    stages = [*test_stages(out, options), *benchmark_stages(out, ROOT / "tests" / "benchmarks")]
    chosen = [stage for stage in stages if options.only in (None, stage.name, stage.group)]
    if not chosen:
        parser.error(f"--only {options.only}: the stages are {', '.join(s.name for s in stages)}")
    started_s = time.monotonic()
    report: dict[str, object] = {"about": about(out), "stages": [], "figures": []}
    outcomes: list[Outcome] = []
    for stage in chosen:
        left_s = options.within - (time.monotonic() - started_s)
        outcomes.append(run(replace(stage, limit_s=min(stage.limit_s, left_s)), out))
        # Written each time: what follows may be cut off.
        report["stages"] = [asdict(outcome) for outcome in outcomes]
        report["figures"] = read_figures(out)
        (out / "figures.json").write_text(json.dumps(report, indent=2) + "\n")
        (out / "figures.txt").write_text("\n".join(lines(report)) + "\n")
    print((out / "figures.txt").read_text(), end="")
    # -k and -m may leave a stage without tests, but not all of them.
    verdicts = {outcome.verdict for outcome in outcomes} - {"no tests"}
    return int(verdicts != {"ok"})


if __name__ == "__main__":
    sys.exit(main())
