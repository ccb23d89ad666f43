"""Damages the files that pytest-trt reads, and gives them to every command that reads them.

Each file is valid but for one change: a value of another type, a number that is none, nesting, a
field that is missing or there twice, or bytes that are not JSON. Files of numbers (`.npz`) have
members that are missing, of another type or size, compressed, pickled, or changed bytes. A command
may refuse the file with an error of ours, or read it. "lost" counts damaged files that a command
overwrote, and "trusted" baselines that were written where no test has one. The commands run in this
process, runs of pytest in processes of their own. `--long` makes 10,000 files.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from attacks.runner import Attack, main
from builders import save_linear
from builders_baseline import TARGET, save_answers, save_baselines, stored, stored_run
from builders_hostile import hostile_report
from builders_report import check, document, reported, skipped, speed
from click.testing import CliRunner

from pytest_trt.baseline.answers import (
    data_path,
    parse_answers,
    read_answers,
    read_data,
)
from pytest_trt.baseline.entry import StoredNoise
from pytest_trt.baseline.file import parse_baselines
from pytest_trt.baseline.last_run import Candidate, LastRun, write_last_run
from pytest_trt.baseline.staged import Staged, entry_digest
from pytest_trt.baseline.staged_answers import StagedAnswers, write_draft
from pytest_trt.cli import commands
from pytest_trt.cli.ini import read_project
from pytest_trt.diagnostics import Diagnostic, PytestTrtError, Remedy
from pytest_trt.doctor.places import look_at_baselines
from pytest_trt.engine.cache import EngineCache
from pytest_trt.report.files import write_report
from pytest_trt.sealed import read_sealed, sealed

#: Texts that JSON can hold where Python's writer would not write them.
_RAW = ("1e999", "-1e999", "NaN", "Infinity", "9" * 400, "-" + "9" * 400, "9" * 5000, "1e-400")

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 1e308, -1e308, 5e-324, -0.0, 0.5,
    "", " ", "\x00", "a\x00b", "\ud800", "nan", "inf", "-inf", "x" * 10_000, "\u202e", "../../x",
    "/etc/passwd", "1", "passed", "p99", [], {}, [[]], [None], {"": None}, [0] * 2000, ["x"] * 3,
)  # fmt: skip

_NAMES = ("", "x", "schema", "\x00", "__class__", "tests", "x" * 5000, "a.b[0]")


class Nested:
    """So many lists, or objects, around nothing."""

    def __init__(self, levels: int, opens: str = "[", closes: str = "]") -> None:
        self.text = opens * levels + "null" * (opens != "[") + closes * levels


_DEEP = (Nested(30), Nested(900), Nested(100_000), Nested(900, '{"a":', "}"))


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return a file with one change."""
    if chance.random() < 0.2:
        return _mutated_bytes(content, chance)
    data = json.loads(content)
    raw: dict[str, str] = {}

    def evil() -> Any:
        kind = chance.random()
        if kind < 0.65:
            return deepcopy(chance.choice(_VALUES))
        mark = f"@raw{len(raw)}@"
        raw[mark] = chance.choice(_RAW) if kind < 0.9 else chance.choice(_DEEP).text
        return mark

    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = _mutate(data, chance, evil)
    text = json.dumps(data)
    for mark, value in raw.items():
        text = text.replace(f'"{mark}"', value)
    if chance.random() < 0.05:  # a field twice
        text = text.replace("{", '{"schema": 1, ', 1)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _places(one, (*path, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _places(one, (*path, index))


def _mutate(data: Any, chance: random.Random, evil: Callable[[], Any]) -> Any:
    place = chance.choice(list(_places(data)))
    if not place:
        return evil() if chance.random() < 0.1 else data
    holder = data
    for step in place[:-1]:
        holder = holder[step]
    last, kind = place[-1], chance.random()
    if kind < 0.6:
        holder[last] = evil()
    elif kind < 0.75:
        del holder[last]
    elif isinstance(holder, list):
        holder += [holder[last]] * chance.choice((1, 3, 300))
    elif kind < 0.85:
        holder[chance.choice(_NAMES)] = evil()
    else:
        holder[chance.choice(_NAMES)] = holder.pop(last)
    return data


def _mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return chance.choice(
        (
            b"",
            content[:at],
            content[at:],
            content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :],
            content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :],
            content[:at] + b"\x00" + content[at:],
            content[:at] + b"\xff\xfe" + content[at:],
            b"\xef\xbb\xbf" + content,
            content.decode().encode("utf-16"),
            content[:at] + b"\n<<<<<<< HEAD\n" + content[at:],
            content + content,
            content.replace(b"\n", b"\r\n"),
            b"[" * 100_000,
            b'{"a":' * 50_000,
        )
    )


def mutated_numbers(content: bytes, chance: random.Random) -> bytes:
    """Return an `.npz` with one change."""
    if chance.random() < 0.4:
        at = chance.randrange(len(content))
        return chance.choice(
            (
                b"",
                content[:at],
                content[at:],
                content[:at]
                + bytes([content[at] ^ (1 << chance.randrange(8))])
                + content[at + 1 :],
                content[:at] + chance.randbytes(9) + content[at + 9 :],
                content + content,
                b"version https://git-lfs.github.com/spec/v1\n",
            )
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    name = chance.choice(list(members))
    other = io.BytesIO()
    array = chance.choice(
        (np.zeros(3), np.zeros(0), np.array([{}]), np.array(["a"]), np.ones((9, 9)))
    )
    np.save(other, array, allow_pickle=True)
    huge = members[name].replace(b"(", b"(99999999999999, ", 1)
    change = chance.choice(
        (other.getvalue(), huge, members[name][:-1], b"", None, "twice", "renamed")
    )
    names = {"renamed": chance.choice(("../../x", "x", "x\x00", name.upper(), "x" * 5000))}
    kind = zipfile.ZIP_DEFLATED if chance.random() < 0.1 else zipfile.ZIP_STORED
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for one, data in members.items():
            if one != name:
                archive.writestr(one, data)
            elif isinstance(change, str):
                archive.writestr(one, data)
                archive.writestr(names.get(change, f"{one}.npy"), data)
            elif change is not None:
                archive.writestr(one, change)
    return made.getvalue()


def _resealed(path: Path, chance: random.Random) -> bytes:
    """Return a damaged last run: within its seal, where only its reader finds it, or as it lies."""
    if chance.random() < 0.3:
        return _mutated_bytes(path.read_bytes(), chance)
    content = mutated(bytes(read_sealed(path, "last-run").content), chance)
    return b"".join(sealed("last-run", path.stem, content))


class Project:
    """A project with baselines, reports and a last run, in the current folder."""

    def __init__(self) -> None:
        Path("pytest.ini").write_text("[pytest]\n")
        noise = StoredNoise("2026-11-01T10:00:00+00:00", 3, 0.01, {"p50": 0.01, "p99": 0.02})
        layers = (("Conv", "fp16", "conv1", "relu1"), ("Gemm", "fp16", "linear"))
        runs = [stored_run(1), stored_run(2)]
        old = stored(*runs, noise=noise, layers=layers, accepted={"p99": 0.5})
        root = Path("trt_baselines").absolute()
        self.baseline = save_baselines(root, {"test_a": old, "test_b": stored()})
        self.other = Path("other.json").absolute()
        self.other.write_bytes(self.baseline.read_bytes())
        outputs = {"y": np.ones((4, 3), np.float32), "large": np.zeros((64, 900), np.float32)}
        answers = {"1" * 20: outputs, "2" * 20: {"y": np.zeros((2, 3), np.float32)}}
        tests = {"test_a": answers, "test_b": answers}
        self.answers = save_answers(root, tests, most_bytes=20_000).absolute()
        self.numbers = data_path(self.answers)
        changed = {"1" * 20: {name: one + 1 for name, one in outputs.items()}}
        save_answers(Path(), {"test_a": changed}, module="other")
        # Files that commands may write, with what is in them.
        self.files = {one: one.read_bytes() for one in root.rglob("*") if one.is_file()}
        self.last_run = self._last_run(root, old)
        self.report, self.report2 = Path("report.json").absolute(), Path("second.json").absolute()
        self.full = Path("full.json").absolute()
        checked = check(verdict="failed", used=24.5)
        facts = {
            "model": "digits.onnx",
            "precision": "fp16",
            "used": 24.5,
            "offer": {"logits": {"rtol": 0.01, "atol": 0.5}},
        }
        off = Diagnostic("TRT401", "logits is off", facts, ("row",), Remedy("Look.", ("pytest",)))
        slow = Diagnostic("TRT501", "P99 +20%", {"model": "digits.onnx", "beyond_limit": 0.2})
        tests = {
            "test_e": reported("failed", "off", checks=(checked,), diagnostics=(off,)),
            "test_f": reported("failed", "off", checks=(checked,), diagnostics=(off, slow)),
            "test_a": reported(checks=(check(),), speeds=(speed(),)),
            "test_b": reported("failed", "logits is off", checks=(checked,)),
            "test_c": skipped("no GPU"),
            "test_d": None,
        }
        write_report(self.report, document(tests, required=("sm86", "sm89")))
        write_report(self.report2, document(tests, id="2"))
        write_report(self.full, hostile_report(["name", "name2"], "3"))

    def _last_run(self, root: Path, old: Any) -> Path:
        path, new = self.baseline, stored(stored_run(3, 0.6))
        staged = [
            Staged(path, path.name, TARGET, "test_a", new, against=entry_digest(old)),
            Staged(path, path.name, TARGET, "test_new", new),
        ]
        found = [Candidate(f"tests/test_speed.py::{one.test}", one, failed=True) for one in staged]
        entry = read_answers(self.answers).tests["test_a"]
        numbers = read_data(self.answers, entry.data)
        draft = write_draft(EngineCache(Path("cache").absolute()).last_runs, numbers)
        for test, against in (("test_a", entry), ("test_new", None)):
            answers = StagedAnswers(
                self.answers, "answers", test, entry, draft, entry_digest(against)
            )
            found.append(Candidate(f"tests/test_speed.py::{test}", answers, failed=True))
        cache = EngineCache(Path("cache").absolute()).last_runs
        write_last_run(cache, LastRun(Path.cwd(), "2026-11-20T10:00:00+00:00", found))
        (written,) = cache.glob("*.run")
        return written

    def may_be_replaced(self, path: Path, content: bytes) -> bool:
        """Whether a command may have replaced a file with this content: it was valid.

        Numbers that are damaged may be replaced by whole ones, such as those of the last run.
        """
        if path == self.numbers:
            now = read_answers(self.answers)
            return now is not None and _is_read(partial(read_data, self.answers, now.data))
        parse = parse_answers if path == self.answers else parse_baselines
        return _is_read(partial(parse, content, "a", fix=lambda: Remedy("b")))

    def restore(self) -> bool:
        """Undo what a command wrote; return whether it wrote files that no test has."""
        found = {one for one in Path("trt_baselines").absolute().rglob("*") if one.is_file()}
        for one in found - self.files.keys():
            one.unlink()
        for path, content in self.files.items():
            path.write_bytes(content)
        return bool(found - self.files.keys())


def readers(of: Project) -> dict[str, tuple[Path, list[list[str]]]]:
    """Return the file of each kind, and the commands that read it."""
    report, second, full = (one.name for one in (of.report, of.report2, of.full))
    accept = ["baseline", "--cache-dir=cache", "accept"]
    reads = [
        ["report", "show", "@", "--all"],
        ["report", "merge", "@", "-o", "out.json", "-o", "out.html", "-o", "out.prom"],
        ["report", "merge", "@", "other.json", "--mixed", "--require-arch=sm86"],
        ["report", "compare", "@", "other.json", "--all", "-o", "out.md", "-o", "out.html"],
        ["report", "compare", "other.json", "@", "--format=markdown", "-o", "out.json"],
    ]

    def reading(name: str, other: str) -> list[list[str]]:
        names = {"@": name, "other.json": other}
        return [[names.get(word, word) for word in words] for words in reads]

    rename = ["baseline", "rename", "tests/test_speed.py::test_a"]
    of_answers = [
        ["baseline", "list"],
        ["baseline", "show", "test_a"],
        ["baseline", "diff", "answers/other.json", str(of.answers)],
        ["baseline", "diff", str(of.answers), "answers/other.json", "--json"],
        [*accept, "--all", "--reason", "it is better"],
        [*rename, "tests/test_speed.py::test_z"],
    ]
    return {
        "answers": (of.answers, of_answers),
        "numbers": (of.numbers, of_answers[2:]),
        "baseline": (
            of.baseline,
            [
                ["baseline", "list"],
                ["baseline", "list", "--json"],
                ["baseline", "show", "test_a"],
                ["baseline", "diff", "other.json", str(of.baseline)],
                ["baseline", "diff", str(of.baseline), "other.json", "--json"],
                [*accept, "--all", "--reason", "it is better"],
                ["doctor of baselines"],
            ],
        ),
        "report": (of.report, reading(report, second)),
        "full report": (of.full, reading(full, report)),
        "last run": (of.last_run, [accept, [*accept, "--all", "--reason", "it is better"]]),
    }


#: Files that configure pytest, which the command reads as well: no JSON, but edited as often.
_INI = {
    "pytest.ini": '[pytest]\naddopts = --trt-cache-dir=a "b c"\ntrt_baseline_dir = ~/x\n',
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["-q"]\ntrt_baseline_dir = "b"\n',
    "pytest.toml": '[pytest]\naddopts = ["-q", "--trt-baseline-dir=c"]\ntrt_cache_dir = "b"\n',
    "setup.cfg": "[tool:pytest]\naddopts = -q\ntrt_cache_dir = b\n",
}

_INI_PARTS = (
    b'"', b"'", b"\\", b"\x00", b"\xff", b"[pytest]", b"= 5\n", b"= [1, {}]\n", b"~nobody/x", b"\n",
    b"[", b"]", b"[" * 5000, b"trt_baseline_dir = \x00", b'trt_cache_dir = "a\\u0000b"\n',
    b"addopts = --trt-baseline-dir=a\x00b\n", b"[tool]\npytest = 5\n", b"tool = 5\n",
    b"pytest = 5\n",
)  # fmt: skip


def attack_commands(kind: str) -> Callable[[Attack], None]:
    """Return the attack on the commands that read one kind of file."""

    def attack(of: Attack) -> None:
        os.chdir(of.folder)
        project = Project()
        path, commands_of = readers(project)[kind]
        valid = path.read_bytes()
        damages = {
            "last run": lambda: _resealed(path, of.chance),
            "numbers": lambda: mutated_numbers(valid, of.chance),
        }
        damage = damages.get(kind, lambda: mutated(valid, of.chance))
        for _ in range(2250 if of.is_long else 15):
            content = damage()
            for words in commands_of:
                path.write_bytes(content)
                with of.attempt(" ".join(words)):
                    run_command(words)
                # What is read may be replaced by `accept`, and moved.
                replaced = {"accept", "rename"} & set(words) and project.may_be_replaced(
                    path, content
                )
                if not replaced and _bytes_of(path) != content:
                    of.outcomes.add("lost", " ".join(words))
                if project.restore():
                    of.outcomes.add("trusted", " ".join(words))
                path.write_bytes(valid)

    return attack


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def run_command(words: list[str]) -> None:
    """Run a command; an error of ours is printed as `main` prints it."""
    if words == ["doctor of baselines"]:
        look_at_baselines(str(Path("trt_baselines").absolute()))
        return
    error = CliRunner().invoke(commands, words).exception
    if isinstance(error, PytestTrtError):
        str(error)
    elif error is not None and not isinstance(error, SystemExit):
        raise error


def _is_read(read: Callable[[], object]) -> bool:
    try:
        read()
    except PytestTrtError:
        return False
    return True


def attack_ini(of: Attack) -> None:
    """Read damaged files that configure pytest."""
    os.chdir(of.folder)
    for _ in range(1000 if of.is_long else 20):
        name = of.chance.choice(list(_INI))
        content = _INI[name].encode()
        at = of.chance.randrange(len(content))
        left = at if of.chance.random() < 0.7 else min(at + 10, len(content))
        path = of.folder / name
        path.write_bytes(content[:at] + of.chance.choice(_INI_PARTS) + content[left:])
        with of.attempt(name):
            try:
                project = read_project(of.folder)
                project.baselines()
                project.cache()
            except PytestTrtError as error:
                str(error)
        path.unlink()


_TESTS = """
import numpy as np
import pytest

@pytest.mark.trt_model("linear.onnx", profiles={"image": ((1, 8), (4, 8), (16, 8))})
@pytest.mark.trt_benchmark(p50="900%")
def test_speed(trt_benchmark):
    trt_benchmark({"image": np.zeros((4, 8), np.float32)})
"""

_UPDATES = ([], ["--trt-update-new"], ["--trt-update", "--trt-update-reason=it is better"])


def attack_runs(of: Attack) -> None:
    """Run pytest with a damaged baseline and a damaged last run."""
    if not of.is_long:
        return
    os.chdir(of.folder)
    Path("pytest.ini").write_text("[pytest]\n")
    Path("test_it.py").write_text(_TESTS)
    save_linear(Path("linear.onnx"))
    _run_pytest([])
    (baseline,) = Path("trt_baselines").rglob("*.json")
    valid = baseline.read_bytes()
    for _ in range(40):
        content, update = mutated(valid, of.chance), of.chance.choice(_UPDATES)
        baseline.write_bytes(content)
        for last_run in Path("cache").rglob("last_runs/*"):
            last_run.write_bytes(b"damaged")
        with of.attempt(f"pytest {' '.join(update)}"):
            printed = _run_pytest(["--trt-report=out.json", *update])
            assert "INTERNALERROR" not in printed, printed
            assert "Traceback" not in printed, printed
        read = partial(parse_baselines, content, "a", fix=lambda: Remedy("b"))
        if baseline.read_bytes() != content and not _is_read(read):
            of.outcomes.add("lost", f"pytest {' '.join(update)}")


def _run_pytest(options: list[str]) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--trt-arch=cpu"]
    done = subprocess.run(
        [*command, "--trt-cache-dir=cache", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode(errors="replace")


KINDS = ("baseline", "answers", "numbers", "report", "full report", "last run")

ATTACKS: dict[str, Callable[[Attack], None]] = {
    **{
        one: attack_commands(one)
        for one in ("baseline", "answers", "numbers", "report", "full report", "last run")
    },
    "ini": attack_ini,
    "runs of pytest": attack_runs,
}

if __name__ == "__main__":
    sys.exit(main(ATTACKS))
