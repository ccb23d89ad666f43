from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from builders import full_disk
from builders_cache import FIELDS, KEY, MODEL, NAME, as_reader, start_process, store

from pytest_trt.engine.cache import EngineCache, Entry
from pytest_trt.engine.cache_index import INDEX_NAME

USE = {"backend": "tensorrt", "precision": "fp16", "arch": "sm86", "model digest": "a" * 64}


def related(cache: EngineCache, fields=FIELDS, model: Path = MODEL) -> set[str]:
    return {sidecar.key_digest[0] for sidecar in cache.related(model, fields)}


def store_several(cache: EngineCache, names: str, plan: bytes = b"plan") -> None:
    for name in names:
        store(cache, name=name, key=name * 64, plan=plan)


def engines(cache: EngineCache) -> set[str]:
    return {entry.folder.name for entry in cache.entries()}


def indexed(cache: EngineCache) -> tuple[set[str], bool]:
    """Return the names in the index, and whether its total is the sum of their sizes."""
    with closing(sqlite3.connect(cache.folder / INDEX_NAME)) as db:
        names = {os.fsdecode(name) for (name,) in db.execute("SELECT name FROM entries")}
        (equal,) = db.execute("SELECT (SELECT bytes FROM total) = SUM(bytes) FROM entries")
    return names, bool(equal[0])


def size_bytes(tmp_path: Path, plan: bytes) -> int:
    folder = store(EngineCache(tmp_path / "probe"), plan=plan).folder
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def test_engines_of_a_model_are_found_by_its_path_or_its_bytes(cache: EngineCache) -> None:
    copy, changed = Path("/copy/model.onnx"), {**USE, "model digest": "b" * 64}
    store(cache, name="a", key="a" * 64, fields=USE)
    store(cache, name="b", key="b" * 64, fields=changed)
    store(cache, name="c", key="c" * 64, fields=USE, model=copy)
    store(cache, name="d", key="d" * 64, fields=changed, model=copy)
    assert related(cache, USE) == {"a", "b", "c"}
    assert related(cache, {**USE, "model digest": "c" * 64}) == {"a", "b"}


@pytest.mark.parametrize("label", ["backend", "precision", "arch"])
def test_engines_for_another_use_are_not_related(cache: EngineCache, label: str) -> None:
    store(cache, fields={**USE, label: "other"})
    assert related(cache, USE) == set()


def test_engines_used_last_come_first_and_not_all_of_many(cache: EngineCache) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    store_several(cache, names)
    found = [sidecar.key_digest[0] for sidecar in cache.related(MODEL, FIELDS)]
    assert found == list(reversed(names))[: len(found)]
    assert 10 <= len(found) < len(names)


def deleted(index: Path) -> None:
    index.unlink()


def emptied(index: Path) -> None:
    index.write_bytes(b"")


def truncated(index: Path) -> None:
    index.write_bytes(index.read_bytes()[:5000])


def garbage(index: Path) -> None:
    index.write_bytes(b"\xff" * 20_000)


def zeros_behind_the_header(index: Path) -> None:
    content = index.read_bytes()
    index.write_bytes(content[:4096].ljust(len(content), b"\0"))


def other_tables(index: Path) -> None:
    index.unlink()
    with closing(sqlite3.connect(index)) as db:
        db.executescript("CREATE TABLE entries (x); PRAGMA user_version = 1")


def insert(index: Path, part: object, name: object) -> None:
    row = (part, name, 1, 0, os.fsencode(MODEL), None, "None fp16 None")
    checksum = zlib.crc32(repr(row).encode())
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, checksum))


def other_size(index: Path) -> None:
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("UPDATE entries SET bytes = bytes * 1000")


def other_total(index: Path) -> None:
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("UPDATE total SET bytes = bytes * 1000")


def path_that_leads_out(index: Path) -> None:
    insert(index, "engines", b"../../../outside")


def numbers_for_names(index: Path) -> None:
    insert(index, 7, 7)


def foreign_journal(index: Path) -> None:
    content = index.read_bytes()
    index.with_name(f"{index.name}-journal").write_bytes(
        bytes.fromhex("d9d505f920a163d7") + content[8:4096]
    )


@pytest.mark.parametrize("new_process", [True, False], ids=["next run", "same run"])
@pytest.mark.parametrize(
    "damage",
    [
        deleted,
        emptied,
        truncated,
        garbage,
        zeros_behind_the_header,
        other_tables,
        path_that_leads_out,
        numbers_for_names,
        foreign_journal,
    ],
)
def test_damaged_index_is_made_again(
    tmp_path: Path, damage: Callable[[Path], None], new_process: bool
) -> None:
    plan = bytes(3000)
    max_bytes = 3 * size_bytes(tmp_path, plan) + 1000
    (tmp_path / "outside").mkdir()
    cache = EngineCache(tmp_path / "cache", max_bytes=max_bytes)
    store_several(cache, "abc", plan)
    damage(cache.folder / INDEX_NAME)
    if new_process:
        cache = EngineCache(tmp_path / "cache", max_bytes=max_bytes)
    assert related(cache) == {"a", "b", "c"}
    damage(cache.folder / INDEX_NAME)
    store_several(cache, "d", plan)
    assert engines(cache) == {"b", "c", "d"}
    assert indexed(EngineCache(tmp_path / "cache")) == (engines(cache), True)
    assert (tmp_path / "outside").exists()


def test_entries_that_vanished_neither_count_nor_explain(tmp_path: Path) -> None:
    plan = bytes(3000)
    max_bytes = 3 * size_bytes(tmp_path, plan) + 1000
    store_several(EngineCache(tmp_path / "cache", max_bytes=max_bytes), "abc", plan)
    cache = EngineCache(tmp_path / "cache", max_bytes=max_bytes)
    for name in "ab":
        shutil.rmtree(cache.folder / "engines" / name)
    assert related(cache) == {"c"}
    shutil.rmtree(cache.folder / "engines" / "c")  # this process has compared the index already
    assert related(cache) == set()
    store_several(cache, "def", plan)
    assert engines(cache) == {"d", "e", "f"}


def test_entries_of_other_programs_count_and_explain(tmp_path: Path) -> None:
    plan = bytes(3000)
    source = EngineCache(tmp_path / "source")
    store_several(source, "ab", plan)
    (source.folder / "digests" / "old.json").write_bytes(bytes(10))
    for folder in ("engines", "digests"):
        shutil.copytree(
            source.folder / folder, tmp_path / "cache" / "v1" / folder, dirs_exist_ok=True
        )
    (tmp_path / "cache" / "v1" / "engines" / "file").write_bytes(b"no entry")
    cache = EngineCache(tmp_path / "cache", max_bytes=2 * size_bytes(tmp_path, plan) + 100)
    for seconds, path in enumerate(("digests/old.json", "engines/file", "engines/a")):
        os.utime(cache.folder / path, (seconds, seconds))
    assert related(cache) == {"a", "b"}
    store_several(cache, "c", plan)
    assert {path.name for path in (cache.folder / "engines").iterdir()} == {"b", "c"}
    assert list((cache.folder / "digests").iterdir()) == []


def test_reference_outputs_and_digests_are_evicted_too(tmp_path: Path) -> None:
    plan = bytes(3000)
    cache = EngineCache(tmp_path / "cache", max_bytes=size_bytes(tmp_path, plan) + 2500)
    for folder in (cache.references, cache.digests.folder):
        for seconds, name in ((10, "old"), (20, "young")):
            (folder / name).write_bytes(bytes(1000))
            os.utime(folder / name, (seconds, seconds))
            cache.stored(folder / name)
    store_several(cache, "a", plan)
    assert [path.name for path in cache.references.iterdir()] == ["young"]
    assert [path.name for path in cache.digests.folder.iterdir()] == ["young"]
    assert engines(cache) == {"a"}


def test_full_disk_for_the_index_stops_no_build(tmp_path: Path, cache: EngineCache) -> None:
    with full_disk(4000):
        store_several(cache, "ab")
        assert related(cache) == {"a", "b"}
    assert related(EngineCache(tmp_path / "cache")) == {"a", "b"}


def test_clearing_the_cache_clears_its_index(cache: EngineCache) -> None:
    store_several(cache, "ab")
    cache.clear()
    assert related(cache) == set()
    store_several(cache, "c")
    assert related(cache) == {"c"}


@pytest.mark.parametrize("parts", [("engines", "references", "digests"), ("engines",)])
def test_read_only_cache_explains_misses(reachable_path: Path, parts: tuple[str, ...]) -> None:
    root = reachable_path / "cache"
    store_several(EngineCache(root), "ab")
    for part in ("references", "digests"):
        if part not in parts:
            (root / "v1" / part).rmdir()
    out, errors = as_reader(
        """
        cache = EngineCache(root)
        for _ in range(2):
            print(cache.writable, len(cache.related(MODEL, FIELDS)))
        store(cache, name="other", key="o" * 64)
        """,
        root,
    )
    assert out.split() == ["False", "2"] * 2, errors


MANY = """
cache = EngineCache(root)
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    key = f"{os.environ['LETTER']}{number:02}".ljust(64, "0")
    print(len(cache.related(MODEL, FIELDS)), flush=True)
    store(cache, name=key[:20], key=key)
cache.index_new()
"""


def test_two_processes_build_at_once(tmp_path: Path, cache: EngineCache) -> None:
    processes = [start_process(MANY, cache.root, LETTER=letter) for letter in "ab"]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
    assert indexed(cache) == (engines(cache), True)
    assert len(engines(cache)) == 50


KILLED = """
import signal

MAX_BYTES = int(os.environ["MAX_BYTES"])

def put(cache, number):
    key = f"{number:03}".ljust(64, "0")
    store(cache, name=key[:20], key=key, plan=bytes(3000))

def put_killed_at(step, number):
    # Whether it was killed: at the first line that follows `step - 1` others of the cache.
    child = os.fork()
    if child == 0:
        seen = set()
        def trace(frame, event, argument):
            if "pytest_trt/engine/cache" not in frame.f_code.co_filename:
                return None
            seen.add((frame.f_code, frame.f_lineno))
            if len(seen) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        cache = EngineCache(root, max_bytes=MAX_BYTES)
        sys.settrace(trace)
        cache.related(MODEL, FIELDS)
        put(cache, number)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

def numbers(cache):
    return sorted(int(name[:3]) for name in os.listdir(cache.folder / "engines"))

cache = EngineCache(root, max_bytes=MAX_BYTES)
for number in range(3):
    put(cache, number)
killed, step = True, 0
while killed:
    step += 1
    before, after = [step - 1, step, step + 1], [step, step + 1, step + 2]
    if step % 2:
        (cache.folder / "index2.sqlite").unlink()  # the steps that make it are tried too
    killed = put_killed_at(step, step + 2)
    cache = EngineCache(root, max_bytes=MAX_BYTES)
    assert numbers(cache) in (before, [*before, step + 2], after), (step, numbers(cache))
    related = cache.related(MODEL, FIELDS)
    assert sorted(int(one.key_digest[:3]) for one in related) == numbers(cache), step
    put(cache, step + 2)
    assert numbers(cache) == after, (step, numbers(cache))
    assert os.listdir(cache.folder / "building") == [], step
print(step)
"""


@pytest.mark.exhaustive
def test_kill_between_any_two_steps_leaves_a_cache_that_works(tmp_path: Path) -> None:
    """`kill -9` at every line of the cache and its index, while an engine replaces another one."""
    max_bytes = 3 * size_bytes(tmp_path, bytes(3000)) + 1000
    process = start_process(KILLED, tmp_path / "cache", MAX_BYTES=str(max_bytes))
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert int(out) > 50


COUNTED = """
events = []
READS = ("open", "os.listdir", "os.scandir")
sys.addaudithook(lambda event, _: event in READS and events.append(event))
cache = EngineCache(root)
for number in range(61):
    before = len(events)
    key = f"{number:02}".ljust(64, "0")
    model = Path(f"/models/{number}.onnx")
    cache.related(model, FIELDS)
    store(cache, name=key[:20], key=key, model=model)
    if number in (10, 60):
        print(len(events) - before)
"""


def test_a_build_reads_as_much_among_many_engines_as_among_few(tmp_path: Path) -> None:
    out, errors = start_process(COUNTED, tmp_path / "cache").communicate()
    few, many = map(int, out.split())
    assert few == many, errors


def test_index_never_decides_what_is_loaded(cache: EngineCache) -> None:
    entry = store(cache)
    entry.plan.write_bytes(b"plAn")
    assert not isinstance(cache.lookup(NAME, KEY), Entry)
    (cache.folder / INDEX_NAME).write_bytes(b"")
    assert not isinstance(cache.lookup(NAME, KEY), Entry)


NO_SQLITE = """
from pytest_trt.diagnostics import CacheError
for name in [name for name in sys.modules if "sqlite" in name or name.endswith("cache_index")]:
    del sys.modules[name]
sys.modules["_sqlite3"] = None
cache = EngineCache(root)
print(type(cache.lookup(NAME, KEY)).__name__)
try:
    cache.related(MODEL, FIELDS)
except CacheError as error:
    print(error.diagnostic.message)
"""


def test_python_without_sqlite_loads_engines_and_is_named_where_one_is_built(
    cache: EngineCache,
) -> None:
    store(cache)
    out, errors = start_process(NO_SQLITE, cache.root).communicate()
    found, message = out.splitlines()
    assert found == "Entry", errors
    assert message == "this Python has no _sqlite3 module, which the engine cache needs"


def test_new_engines_are_indexed_together_and_those_of_a_killed_process_by_the_next(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_trt.engine.cache._MOST_UNINDEXED", 3)
    store_several(cache, "ab")
    assert not (cache.folder / INDEX_NAME).exists()
    store_several(cache, "c")
    assert indexed(cache) == (engines(cache), True)
    store_several(cache, "d")
    assert len(indexed(cache)[0]) == 3
    other = EngineCache(cache.root)
    assert len(other.related(MODEL, FIELDS)) == 4
    assert indexed(cache) == (engines(cache), True)


def test_the_connection_is_closed_with_its_cache(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    store(cache, name="a")
    related(cache)
    index = str((cache.folder / INDEX_NAME).resolve())
    assert index in opened_files()
    del cache
    gc.collect()
    assert index not in opened_files()


def opened_files() -> set[str]:
    return {str(file.resolve()) for file in Path("/proc/self/fd").iterdir()}
