"""Two users on one machine: one attacks the cache and the locks of the other, in races.

Run as root, which becomes both: python tests/attacks/two_users.py [--races 500] [--unchecked]

In every race the victim uses a cache, again and again, while the attacker moves folders, files,
links, pipes and locks of their own into its way, as fast as they can and as far as the modes of
the scene permit. Counted is how each attempt of the victim ended: with their own engine, refused
with a message, with the attacker's engine ("foreign") or half of it ("damaged"), or with an
exception that is no message ("crashed"); and each race in which the victim did not finish in time
("blocked"), or created a file where a link of the attacker led ("misled").

`--unchecked` lets the victim load plans as a careless program does: verified by path, then loaded
by path. It shows that the attacks work.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import grp  # noqa: F401 - both are needed once the rights to import them are gone
import json
import os
import pwd  # noqa: F401
import random
import select
import shutil
import signal
import sqlite3  # noqa: F401
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import blake3  # noqa: F401
import numpy as np
import onnxruntime as ort
import platformdirs.unix  # noqa: F401

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS)]

from builders import save_linear  # noqa: E402

from pytest_trt.backends.onnxruntime.backend import OnnxRuntimeBackend  # noqa: E402
from pytest_trt.benchmark.conditions import device_lock  # noqa: E402
from pytest_trt.diagnostics import PytestTrtError  # noqa: E402
from pytest_trt.engine.build import build_or_load  # noqa: E402
from pytest_trt.engine.cache import EngineCache  # noqa: E402
from pytest_trt.engine.protocols import BuildRequest, BuildResult  # noqa: E402
from pytest_trt.engine.sidecar import SIDECAR_NAME, read_entry  # noqa: E402
from pytest_trt.engine.spec import EngineSpec, Target  # noqa: E402
from pytest_trt.hashing import digest_file  # noqa: E402
from pytest_trt.onnx.file import load_model  # noqa: E402
from pytest_trt.private import PrivateFolder  # noqa: E402

VICTIM, ATTACKER = 61001, 61002

#: A race is blocked if the victim does not finish in so many seconds; most take 50 ms.
BLOCKED_S = 60.0

#: How no attempt and no race may end.
HARM = {"foreign", "damaged", "crashed", "blocked", "misled"}

_TARGET, _SPEC = Target("cpu"), EngineSpec("fp32")
_INPUTS = {"image": np.ones((1, 8), np.float32)}

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_SET_DUMPABLE = 4  # linux/prctl.h


class CopyingBackend(OnnxRuntimeBackend):
    """Builds by copying, so that a victim can rebuild an engine in a race."""

    def __init__(self, plan: bytes) -> None:
        super().__init__(threads=1)
        self.plan = plan

    def build(self, request: BuildRequest) -> BuildResult:
        (request.directory / "engine.onnx").write_bytes(self.plan)
        return BuildResult("engine.onnx")


class Stage:
    """The template of every race: a cache of the victim, and the attacker's forgery of it.

    Args:
        folder: Where both lie.
    """

    def __init__(self, folder: Path) -> None:
        self.model = load_model(save_linear(folder / "model.onnx"))
        own, foreign = self.model.path, save_linear(folder / "foreign.onnx", seed=1)
        self.expected, self.forged = (self.outputs(path.read_bytes()) for path in (own, foreign))
        self.backend = CopyingBackend(own.read_bytes())
        self.genuine, self.forgery = folder / "genuine", folder / "forgery"
        self.plan, self.key = self.use(EngineCache(self.genuine))
        shutil.copytree(self.genuine, self.forgery)
        entry = self.forgery / "v1" / "engines" / self.plan.parent.name
        shutil.copy(foreign, entry / "engine.onnx")
        with PrivateFolder.at(entry) as opened:
            sidecar, facts = read_entry(opened)
        files = {**sidecar.files, "engine.onnx": digest_file(entry / "engine.onnx")}
        (entry / SIDECAR_NAME).write_bytes(replace(sidecar, files=files).to_bytes(facts))
        for path in (self.forgery, *self.forgery.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)  # the victim is meant to read it
        for one in (folder, folder / "model.onnx"):
            one.chmod(0o755)

    @staticmethod
    def outputs(plan: bytes | str) -> np.ndarray:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(plan, options, providers=["CPUExecutionProvider"])
        return session.run(None, _INPUTS)[0]

    def use(self, cache: EngineCache) -> tuple[Path, str]:
        """Build the engine or find it."""
        engine = build_or_load(
            model=self.model, spec=_SPEC, target=_TARGET, backend=self.backend, cache=cache
        )
        return engine.plan, engine.key.digest

    def load(self, cache: EngineCache) -> str:
        """Load the engine as the plugin does, and return whose it was."""
        plan, key = self.use(cache)
        with cache.plan(plan, key) as opened:
            session = self.backend.open(opened, self.model, _SPEC, _TARGET)
        return self.whose(session.run(_INPUTS)["logits"])

    def load_unchecked(self, root: Path) -> str:
        """Load the engine as a program does that looks at paths twice."""
        entry = root / "v1" / "engines" / self.plan.parent.name
        try:
            text, end, _ = (entry / SIDECAR_NAME).read_bytes().partition(b"\n}\n")
            listed = json.loads(text[text.index(b"{\n") :] + end)["files"]
            if digest_file(entry / "engine.onnx").digest != listed["engine.onnx"]["digest"]:
                return "refused"
            return self.whose(self.outputs(str(entry / "engine.onnx")))
        except Exception:  # half of each
            return "refused"

    def whose(self, outputs: np.ndarray) -> str:
        if np.allclose(outputs, self.expected):
            return "own"
        return "foreign" if np.allclose(outputs, self.forged) else "damaged"


class Race:
    """The folders of one race.

    Attributes:
        stage: What they were copied from.
        folder: The folder that holds the others; root's.
        root: The victim's cache.
        forged: The attacker's.
        elsewhere: A private folder of the victim, for links to lead to.
        entry: The name of the engine's folder in both caches.
        lock: The lock of the engine's key, below the cache's layout.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        folder.chmod(0o755)
        self.root, self.forged = folder / "cache", folder / "forged"
        self.elsewhere = folder / "elsewhere"
        shutil.copytree(stage.genuine, self.root)
        shutil.copytree(stage.forgery, self.forged)
        self.elsewhere.mkdir()
        self.entry = stage.plan.parent.name
        self.lock = f"building/{stage.key[:20]}.lock"
        give(self.root, VICTIM)
        give(self.forged, ATTACKER)
        give(self.elsewhere, VICTIM)

    def opened_up(self, *parts: str, mode: int = 0o777) -> None:
        """Let others pass through the cache, and give some of it another mode."""
        for path in (self.root, self.root / "v1", self.root / "v1" / "engines"):
            path.chmod(0o755)
        for part in parts:
            (self.root / "v1" / part).chmod(mode)

    def without_entry(self) -> None:
        shutil.rmtree(self.root / "v1" / "engines" / self.entry)


#: Prepares a race and returns what the attacker does, again and again.
Scene = Callable[[Race], Callable[[], None]]


def parent_renamed(race: Race) -> Callable[[], None]:
    os.chown(race.folder, ATTACKER, ATTACKER)
    return lambda: exchange(race.root, race.forged)


def parent_of_the_project_renamed(race: Race) -> Callable[[], None]:
    # The victim works in the folder, so that it is trusted: only what is opened is checked.
    return parent_renamed(race)


def open_parent_renamed(race: Race) -> Callable[[], None]:
    race.folder.chmod(0o777)
    return lambda: exchange(race.root, race.forged)


def cache_swapped_for_link(race: Race) -> Callable[[], None]:
    race.folder.chmod(0o777)
    link = race.folder / "link"
    link.symlink_to(race.forged)
    os.chown(link, ATTACKER, ATTACKER, follow_symlinks=False)
    return lambda: exchange(race.root, link)


def layout_swapped(race: Race) -> Callable[[], None]:
    race.root.chmod(0o777)
    # Into the same folder: only the owner moves a folder to another one.
    theirs = (race.forged / "v1").rename(race.root / "theirs")
    return lambda: exchange(race.root / "v1", theirs)


def engines_open(race: Race) -> Callable[[], None]:
    race.opened_up("engines")
    engines = race.root / "v1" / "engines"
    theirs = (race.forged / "v1" / "engines" / race.entry).rename(engines / "theirs")
    return lambda: exchange(engines / race.entry, theirs)


def engines_swapped_for_link(race: Race) -> Callable[[], None]:
    race.opened_up("")
    link = race.root / "v1" / "link"
    link.symlink_to(race.forged / "v1" / "engines")
    return lambda: exchange(race.root / "v1" / "engines", link)


def entry_open(race: Race) -> Callable[[], None]:
    race.opened_up(f"engines/{race.entry}")
    mine, theirs = (one / "v1" / "engines" / race.entry for one in (race.root, race.forged))

    def act() -> None:
        for name in (SIDECAR_NAME, "engine.onnx"):
            exchange(mine / name, theirs / name)

    return act


def files_open(race: Race) -> Callable[[], None]:
    names = (SIDECAR_NAME, "engine.onnx")
    race.opened_up(*(f"engines/{race.entry}/{name}" for name in names), mode=0o666)
    mine = race.root / "v1" / "engines" / race.entry
    mine.chmod(0o755)
    contents = [
        {name: (one / "v1" / "engines" / race.entry / name).read_bytes() for name in names}
        for one in (race.forged, race.root)
    ]

    def act() -> None:
        for content in contents:
            for name, data in content.items():
                (mine / name).write_bytes(data)

    return act


def pipes_in_entry(race: Race) -> Callable[[], None]:
    race.opened_up(f"engines/{race.entry}")
    mine = race.root / "v1" / "engines" / race.entry

    def act() -> None:
        for name in (SIDECAR_NAME, "engine.onnx"):
            pipe = mine / f"{name}.pipe"
            with contextlib.suppress(FileExistsError):
                os.mkfifo(pipe)
            exchange(mine / name, pipe)

    return act


def locks_open(race: Race) -> Callable[[], None]:
    race.opened_up("building")
    race.without_entry()
    return squatting(race, race.root / "v1" / race.lock)


def readable_lock_held(race: Race) -> Callable[[], None]:
    race.opened_up("building", mode=0o755)
    race.without_entry()
    lock = race.root / "v1" / race.lock
    lock.write_text("")
    lock.chmod(0o644)
    os.chown(lock, VICTIM, VICTIM)
    return holding(lock)


def readable_index_held(race: Race) -> Callable[[], None]:
    race.opened_up()
    race.without_entry()
    index = next((race.root / "v1").glob("*.sqlite"))
    index.chmod(0o644)
    return holding(index)


def building_open(race: Race) -> Callable[[], None]:
    race.opened_up("building")
    race.without_entry()
    building = race.root / "v1" / "building"
    theirs = (race.forged / "v1" / "engines" / race.entry).rename(building / "theirs")

    def act() -> None:
        for staged in building.iterdir():
            if staged != theirs:
                exchange(staged, theirs)

    return act


def cache_made_first(race: Race) -> Callable[[], None]:
    race.folder.chmod(0o1777)
    shutil.rmtree(race.root)

    def act() -> None:
        race.forged.rename(race.root)
        race.root.rename(race.forged)

    return act


def lock_folder_squatted(race: Race) -> Callable[[], None]:
    race.folder.chmod(0o1777)
    return squatting(race, race.folder / f"pytest-trt-{VICTIM}")


def lock_file_squatted(race: Race) -> Callable[[], None]:
    race.folder.chmod(0o1777)
    folder = race.folder / f"pytest-trt-{VICTIM}"
    folder.mkdir()
    give(folder, ATTACKER)
    folder.chmod(0o777)
    return squatting(race, folder / "gpu.lock")


def runtime_folder_of_others(race: Race) -> Callable[[], None]:
    runtime = race.folder / "runtime"
    (runtime / "pytest-trt").mkdir(parents=True)
    race.folder.chmod(0o1777)
    give(runtime, ATTACKER)
    for folder in (runtime, runtime / "pytest-trt"):
        folder.chmod(0o777)
    return squatting(race, runtime / "pytest-trt" / "gpu.lock")


def squatting(race: Race, path: Path) -> Callable[[], None]:
    """Put a file whose lock is held, links, a pipe and a folder in the place of a path."""
    held: list[int] = []

    def file() -> None:
        held.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        os.fchmod(held[-1], 0o666)
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)

    makers = (
        file,
        lambda: path.symlink_to(race.elsewhere / "created"),
        lambda: path.symlink_to(race.elsewhere),
        lambda: os.mkfifo(path, 0o666),
        path.mkdir,
    )
    turn = iter(range(1 << 40))

    def act() -> None:
        with contextlib.suppress(OSError):
            makers[next(turn) % len(makers)]()
        time.sleep(0.0005)
        while held:
            os.close(held.pop())
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()

    return act


def holding(path: Path) -> Callable[[], None]:
    """Hold every kind of lock on a file that one may read."""

    def act() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        fcntl.lockf(descriptor, fcntl.LOCK_SH)
        time.sleep(1000)

    return act


LOADS: tuple[Scene, ...] = (
    parent_renamed,
    parent_of_the_project_renamed,
    open_parent_renamed,
    cache_swapped_for_link,
    layout_swapped,
    engines_open,
    engines_swapped_for_link,
    entry_open,
    files_open,
    pipes_in_entry,
    locks_open,
    readable_lock_held,
    readable_index_held,
    building_open,
    cache_made_first,
)
LOCKS: tuple[Scene, ...] = (lock_folder_squatted, lock_file_squatted, runtime_folder_of_others)

#: What a careless program can be attacked by without waiting for ever.
CARELESS = (parent_renamed, cache_swapped_for_link, layout_swapped, engines_open, entry_open)


def give(path: Path, user: int) -> None:
    for folder, folders, files in os.walk(path):
        for name in ("", *folders, *files):
            os.chown(Path(folder, name), user, user, follow_symlinks=False)


def exchange(first: Path, second: Path) -> None:
    """Swap two names at once."""
    names = os.fsencode(first), os.fsencode(second)
    if _LIBC.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first))


def become(user: int) -> None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    # As after a login: otherwise a process that gave up rights cannot look into its own /proc.
    _LIBC.prctl(_SET_DUMPABLE, 1)
    os.chdir("/")


def child(work: Callable[[], None]) -> int:
    """Do some work in a process of its own, and return its number."""
    process = os.fork()
    if not process:
        _end(work)
    return process


def _end(work: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def attack(act: Callable[[], None]) -> None:
    become(ATTACKER)
    chance = random.Random(os.getpid())
    while True:
        with contextlib.suppress(OSError):
            act()
        time.sleep(chance.uniform(0, 0.003))  # about as long as a load takes


def suffer(race: Race, scene: Scene, attempts: int, unchecked: bool, pipe: int) -> None:
    """Be the victim, and report how each attempt ended."""
    os.umask(0o022)
    become(VICTIM)
    if scene is parent_of_the_project_renamed:
        os.chdir(race.folder)
    os.environ.pop("HOME", None)
    os.environ["XDG_RUNTIME_DIR"] = str(race.folder / "runtime")
    tempfile.tempdir = str(race.folder)
    ended: Counter[str] = Counter()
    for _ in range(attempts):
        try:
            if scene in LOCKS:
                with device_lock("gpu", lambda text: None, most_held_s=1):
                    ended["own"] += 1
            elif unchecked:
                ended[race.stage.load_unchecked(race.root)] += 1
            else:
                ended[race.stage.load(EngineCache(race.root))] += 1
        except PytestTrtError:
            ended["refused"] += 1
        except Exception:
            ended["crashed"] += 1
            traceback.print_exc()
    os.write(pipe, json.dumps(ended).encode())


def run(race: Race, scene: Scene, attempts: int, *, unchecked: bool) -> Counter[str]:
    """Let one race take place."""
    act = scene(race)
    reader, writer = os.pipe()
    attacker = child(lambda: attack(act))
    victim = child(lambda: suffer(race, scene, attempts, unchecked, writer))
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], BLOCKED_S)
    ended: Counter[str] = Counter(json.loads(os.read(reader, 1 << 16) or "{}") if ready else {})
    os.close(reader)
    for process in (attacker, victim):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    if not ended:
        ended["blocked" if not ready else "crashed"] += 1
    ended["misled"] += len(list(race.elsewhere.iterdir()))
    return +ended


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--races", type=int, default=500)
    parser.add_argument("--attempts", type=int, default=20, help="of the victim in each race")
    parser.add_argument("--unchecked", action="store_true", help="load as a careless program does")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("only root can be two users")
    scenes = CARELESS if arguments.unchecked else (*LOADS, *LOCKS)
    total: Counter[str] = Counter()
    results: dict[str, Counter[str]] = {scene.__name__: Counter() for scene in scenes}
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        os.chdir("/")
        (Path(temporary) / "stage").mkdir()
        stage = Stage(Path(temporary) / "stage")
        for number in range(arguments.races):
            scene = scenes[number % len(scenes)]
            with tempfile.TemporaryDirectory(dir=temporary) as folder:
                ended = run(
                    Race(stage, Path(folder)),
                    scene,
                    arguments.attempts,
                    unchecked=arguments.unchecked,
                )
            results[scene.__name__] += ended + Counter(races=1)
            total += ended + Counter(races=1)
    for name, counted in {**results, "total": total}.items():
        print(f"{name:<32}", json.dumps(counted, sort_keys=True))
    if total.keys() & HARM:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
