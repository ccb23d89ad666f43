"""`kill -9` at every event of the file system, and at random moments, while something is stored.

After each kill the next process must find what was stored before or after, and nothing else; it
must succeed, and leave nothing behind. See `runner` for how to run it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runner import Attack, in_child, main
from scene import Scene, content_of, outputs_of

from pytest_trt.baseline.renaming import rename_baselines
from pytest_trt.diagnostics import BaselineError
from pytest_trt.engine.cache import Entry
from pytest_trt.files import atomic_write
from pytest_trt.report.files import write_report

#: Events of the interpreter that touch files. Source: Python documentation, "Audit events table".
_PREFIXES = ("open", "os.", "shutil.", "fcntl.", "sqlite3.", "tempfile.")

#: In the short form, every so many events.
_STRIDE = 7

_REPORT = {"schema": 1, "written_by": "pytest-trt", "engines": {}}


def _killed_at_event(number: int, work: Callable[[], object]) -> bool:
    """Do something in a child that is killed at an event; return whether it was."""

    def killed() -> None:
        seen = [0]

        def hook(event: str, _: object) -> None:
            if event.startswith(_PREFIXES):
                seen[0] += 1
                if seen[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()

    return in_child(killed) == -signal.SIGKILL


def _killed_after(seconds: float, work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _kill_everywhere(
    attack: Attack,
    work: Callable[[], object],
    check: Callable[[int], None],
    prepare: Callable[[int], object] = lambda number: None,
) -> None:
    """Kill `work` at every event, then at random moments, and check after each kill."""
    number, step, killed = 0, 1 if attack.is_long else _STRIDE, True
    while killed:
        number += step
        with attack.attempt(f"event {number}"):
            prepare(number)
            killed = _killed_at_event(number, work)
            check(number)
    began_s = time.monotonic()
    in_child(work)
    took_s = time.monotonic() - began_s
    for moment in range(number, number + (120 if attack.is_long else 3)):
        with attack.attempt(f"moment {moment}"):
            prepare(moment)
            _killed_after(attack.chance.uniform(0, took_s), work)
            check(moment)


def build(attack: Attack, damage: Callable[[Scene], None] = lambda scene: None) -> None:
    """Build an engine into a full cache, with its references, digest, timings and last run."""
    scene = Scene(attack.folder, max_bytes=9_000)  # room for two or three
    scene.write_model(0)
    _build_all(scene)

    def prepare(number: int) -> None:
        scene.write_model(number)
        damage(scene)

    def check(number: int) -> None:
        _check_cache(attack, scene)
        _build_all(scene)
        _check_cache(attack, scene)
        left = [*(scene.cache.folder / "building").iterdir(), *scene.cache.folder.glob("*/.*")]
        if left:
            attack.outcomes.add("leftovers", f"{number}: {left}")

    _kill_everywhere(attack, lambda: _build_all(scene), check, prepare)


def _build_all(scene: Scene) -> None:
    cache = scene.cache
    model = scene.load(cache)
    scene.reference(cache, model)
    scene.build(cache, model)
    scene.write_timings(cache, b"timings")
    scene.write_last_run(cache, "now")


def rebuild(attack: Attack) -> None:
    """Replace a damaged engine, with a damaged index and damaged references."""

    def damage(scene: Scene) -> None:
        for file in (
            *scene.cache.folder.glob("*/*/engine.plan"),
            *scene.cache.references.iterdir(),
        ):
            file.write_bytes(b"damaged")
        for file in scene.cache.folder.glob("index*.sqlite"):
            file.write_bytes(b"damaged")

    build(attack, damage)


def _check_cache(attack: Attack, scene: Scene) -> None:
    """Check what a new process would use: the current model's engine and references."""
    cache = scene.cache
    model = scene.load(cache)
    content = content_of(model)
    for entry in cache.entries():
        if isinstance(entry, Entry) and entry.sidecar.key_fields["model digest"] == model.digest:
            found = cache.lookup(entry.folder.name, entry.sidecar.key_digest)
            if isinstance(found, Entry) and found.plan.read_bytes() != content:
                attack.outcomes.add("trusted", entry.folder.name)
    if list(scene.reference(cache, model)) != list(outputs_of(content)):
        attack.outcomes.add("trusted", "reference")
    if scene.timings(cache) not in (b"", b"timings"):
        attack.outcomes.add("trusted", "timings")
    if scene.last_run(cache) not in (None, "now"):
        attack.outcomes.add("trusted", "last run")


def baseline(attack: Attack) -> None:
    """Replace a file of baselines in a repository."""
    scene = Scene(attack.folder)
    scene.write_baseline("first")
    _in_git(attack.folder)

    def check(number: int) -> None:
        if scene.baselines() not in ({"first"}, {"first", "second"}):
            attack.outcomes.add("lost", f"{number}: {scene.baselines()}")
        _check_git(attack, scene.baseline, number)
        scene.write_baseline("first")

    _kill_everywhere(attack, lambda: scene.write_baseline("first", "second"), check)


def answers(attack: Attack) -> None:
    """Replace the two files of stored answers in a repository."""
    scene = Scene(attack.folder)
    scene.write_answers(a=1, b=1)
    _in_git(attack.folder)
    whole = ({"a": 1, "b": 1}, {"a": 2, "c": 3})

    def check(number: int) -> None:
        try:
            found = scene.answers()
        except BaselineError as error:
            found = error
        if found not in whole:
            attack.outcomes.add("lost", f"{number}: {found}")
        scene.write_answers(a=1, b=1)
        _check_git(attack, scene.folder / "trt_baselines" / "answers" / "test_a.json", number)

    _kill_everywhere(attack, lambda: scene.write_answers(a=2, c=3), check)


def renaming(attack: Attack) -> None:
    """Move stored answers and a speed to another module, and complete what was interrupted."""
    scene = Scene(attack.folder)
    root, was = attack.folder / "trt_baselines", {"a": 1, "b": 2}

    def begin() -> None:
        shutil.rmtree(root, ignore_errors=True)
        scene.write_answers(**was)
        scene.write_speed()

    def work() -> None:
        rename_baselines(root, "test_a.py", "test_z.py")

    def check(number: int) -> None:
        found = {**scene.answers("test_a"), **scene.answers("test_z")}
        if found != was or not (scene.speeds("test_a") or scene.speeds("test_z")):
            attack.outcomes.add("lost", f"{number}: {found}")
        if scene.answers("test_a") or scene.speeds("test_a"):
            work()
        left = scene.answers("test_a") or scene.speeds("test_a")
        if scene.answers("test_z") != was or not scene.speeds("test_z") or left:
            attack.outcomes.add("lost", f"{number}: not completed")
        begin()

    begin()
    _kill_everywhere(attack, work, check)


def report(attack: Attack) -> None:
    """Replace a report in a repository."""
    path = attack.folder / "report.json"
    atomic_write(path, "old")
    _in_git(attack.folder)

    def check(number: int) -> None:
        content = path.read_text()
        if content != "old" and not content.endswith("}\n"):
            attack.outcomes.add("lost", f"{number}: {content[-20:]}")
        _check_git(attack, path, number)
        atomic_write(path, "old")

    _kill_everywhere(attack, lambda: write_report(path, _REPORT), check)


def _in_git(folder: Path) -> None:
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "all")):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)


def _check_git(attack: Attack, path: Path, number: int) -> None:
    """Check that git shows at most the file itself, and that the next write cleans up."""
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(command, cwd=attack.folder, capture_output=True, text=True, check=True)
    others = [line for line in shown.stdout.splitlines() if not line.endswith(path.name)]
    if others:
        attack.outcomes.add("leftovers", f"{number}: git shows {others}")
    atomic_write(path, path.read_bytes())
    left = [one for one in path.parent.iterdir() if one.name.startswith(".pytest-trt")]
    if left:
        attack.outcomes.add("leftovers", f"{number}: {left}")


ATTACKS = {
    "build": build,
    "rebuild": rebuild,
    "baseline": baseline,
    "answers": answers,
    "renaming": renaming,
    "report": report,
}

if __name__ == "__main__":
    sys.exit(main(ATTACKS))
