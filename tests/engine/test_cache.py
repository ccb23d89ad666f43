from __future__ import annotations

import math
import os
import signal
import stat
from pathlib import Path

import pytest
from builders import full_disk
from builders_cache import KEY, NAME, as_reader, edit_sidecar, start_process, store

from pytest_trt.diagnostics import CacheError, EngineLoadError
from pytest_trt.engine.cache import CorruptEntry, EngineCache, Entry, entry_name
from pytest_trt.engine.sidecar import SIDECAR_NAME
from pytest_trt.sealed import read_sealed, write_sealed

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def test_stored_engine_is_found_with_its_facts_and_notes(cache: EngineCache) -> None:
    stored = store(cache)
    found = cache.lookup(NAME, KEY)
    assert found == stored
    assert isinstance(found, Entry)
    assert found.plan.read_bytes() == b"plan"
    assert found.facts.build_s == 1.5


def test_engine_that_was_never_stored_is_not_found(cache: EngineCache) -> None:
    assert cache.lookup(NAME, KEY) is None


def test_engine_is_found_by_its_key_alone(cache: EngineCache) -> None:
    stored = store(cache)
    store(cache, name="other", key="o" * 64)
    assert cache.find(KEY) == stored
    assert cache.find("n" * 64) is None
    flip_byte(stored)
    assert cache.find(KEY) is None


def test_cache_is_private_to_its_user(cache: EngineCache) -> None:
    store(cache)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def flip_byte(entry: Entry) -> None:
    entry.plan.write_bytes(b"plAn")


def truncate_plan(entry: Entry) -> None:
    entry.plan.write_bytes(b"pla")


def remove_plan(entry: Entry) -> None:
    entry.plan.unlink()


def empty_sidecar(entry: Entry) -> None:
    (entry.folder / SIDECAR_NAME).write_text("")


def truncate_sidecar(entry: Entry) -> None:
    sidecar = entry.folder / SIDECAR_NAME
    sidecar.write_text(sidecar.read_text()[:-20])


def remove_sidecar(entry: Entry) -> None:
    (entry.folder / SIDECAR_NAME).unlink()


def list_in_sidecar(entry: Entry) -> None:
    write_sealed(entry.folder / SIDECAR_NAME, "engine", KEY, b"[1]")


def pipe_for_sidecar(entry: Entry) -> None:
    (entry.folder / SIDECAR_NAME).unlink()
    os.mkfifo(entry.folder / SIDECAR_NAME)


def pipe_for_plan(entry: Entry) -> None:
    entry.plan.unlink()
    os.mkfifo(entry.plan)


def older_format(entry: Entry) -> None:
    edit_sidecar(entry.folder, schema=3, written_by="pytest-trt 0.0.1")


def newer_format(entry: Entry) -> None:
    edit_sidecar(entry.folder, schema=99, written_by="pytest-trt 9.9")


def other_facts(entry: Entry) -> None:
    content = bytes(read_sealed(entry.folder / SIDECAR_NAME, "engine").content)
    text = content.partition(b"\n}\n")[0] + b"\n}\n"
    write_sealed(entry.folder / SIDECAR_NAME, "engine", KEY, text, b'{"size_bytes": 4}')


def flipped_facts(entry: Entry) -> None:
    sidecar = entry.folder / SIDECAR_NAME
    sidecar.write_text(sidecar.read_text().replace("1.5", "2.5"))


def flipped_date(entry: Entry) -> None:
    sidecar = entry.folder / SIDECAR_NAME
    sidecar.write_text(sidecar.read_text().replace("2026-01", "2026-02"))


def foreign_key(entry: Entry) -> None:
    edit_sidecar(entry.folder, key="f" * 64)


def escaping_file(entry: Entry) -> None:
    files = {"../x": {"digest": "0" * 64, "size_bytes": 1}}
    edit_sidecar(entry.folder, plan_name="../x", files=files)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_byte, "engine.plan has digest"),
        (truncate_plan, "engine.plan has 3 of 4 bytes"),
        (remove_plan, "engine.plan cannot be read"),
        (empty_sidecar, "its sidecar is damaged"),
        (truncate_sidecar, "its sidecar is damaged"),
        (list_in_sidecar, "its sidecar is damaged"),
        (pipe_for_sidecar, "its sidecar cannot be read (it is not a regular file)"),
        (pipe_for_plan, "engine.plan cannot be read (it is not a regular file)"),
        (remove_sidecar, "its sidecar is missing"),
        (older_format, "format 3, written by pytest-trt 0.0.1; this version uses 7"),
        (newer_format, "format 99, written by pytest-trt 9.9; this version uses 7"),
        (foreign_key, "it was stored as engine ffffffffffff"),
        (escaping_file, "does not list its files"),
        (other_facts, "its facts are damaged (RecordError: build_s: "),
        (flipped_facts, "do not match its seal"),
        (flipped_date, "do not match its seal"),
    ],
)
def test_entry_that_is_not_whole_is_never_trusted(cache: EngineCache, damage, message: str) -> None:
    damage(store(cache))
    found = cache.lookup(NAME, KEY)
    assert isinstance(found, CorruptEntry)
    assert message in found.reason


def test_damaged_entry_is_replaced_by_the_next_one(cache: EngineCache) -> None:
    flip_byte(store(cache))
    store(cache, plan=b"better")
    found = cache.lookup(NAME, KEY)
    assert isinstance(found, Entry)
    assert found.plan.read_bytes() == b"better"
    assert list((cache.folder / "building").iterdir()) == []


def test_damage_is_seen_also_after_the_entry_was_once_verified(cache: EngineCache) -> None:
    entry = store(cache)
    assert isinstance(cache.lookup(NAME, KEY), Entry)
    os.utime(entry.plan, ns=(1, 1))
    flip_byte(entry)
    assert isinstance(cache.lookup(NAME, KEY), CorruptEntry)


def test_unpublished_staged_entry_is_removed(cache: EngineCache) -> None:
    with cache.staging(KEY) as folder:
        (folder / "engine.plan").write_bytes(b"half")
    assert cache.lookup(NAME, KEY) is None
    assert list((cache.folder / "building").iterdir()) == []


def test_least_recently_used_engines_go_first(tmp_path: Path) -> None:
    probe = EngineCache(tmp_path / "probe")
    one_bytes = sum(f.stat().st_size for f in store(probe, plan=bytes(5000)).folder.iterdir())
    cache = EngineCache(tmp_path / "cache", max_bytes=2 * one_bytes + 100)
    for age, name in ((30, "a"), (20, "b")):
        entry = store(cache, name=name, key=name * 64, plan=bytes(5000))
        os.utime(entry.folder, (entry.folder.stat().st_mtime - age,) * 2)
    assert cache.lookup("a", "a" * 64) is not None  # used again: now the younger one
    store(cache, name="c", key="c" * 64, plan=bytes(5000))
    left = {entry.folder.name for entry in cache.entries()}
    assert left == {"a", "c"}


def test_a_pinned_engine_is_not_evicted(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache", max_bytes=10)
    baseline = entry_name("model.onnx", "fp16", "sm86", "b" * 64)
    store(cache, name=baseline, key="b" * 64)
    cache.pin(["b" * 64])
    store(cache, name="candidate", key="c" * 64)
    assert {entry.folder.name for entry in cache.entries()} == {baseline, "candidate"}
    store(EngineCache(tmp_path / "cache", max_bytes=10), name="other", key="d" * 64)
    assert {entry.folder.name for entry in cache.entries()} == {"other"}


def test_pinning_marks_an_engine_as_used_for_other_processes(cache: EngineCache) -> None:
    baseline = entry_name("model.onnx", "fp16", "sm86", "b" * 64)
    folder = store(cache, name=baseline, key="b" * 64).folder
    os.utime(folder, (0, 0))
    cache.pin(["b" * 64])
    assert folder.stat().st_mtime > 0


@pytest.mark.parametrize("max_bytes", [0, -5 * 10**9, math.inf, math.nan])
def test_a_cap_that_would_empty_the_cache_or_never_apply_is_refused(
    tmp_path: Path, max_bytes: float
) -> None:
    with pytest.raises(CacheError, match="cannot be limited to") as caught:
        EngineCache(tmp_path / "cache", max_bytes=max_bytes)  # type: ignore[arg-type]
    assert caught.value.diagnostic.code == "TRT804"
    assert not (tmp_path / "cache").exists()


def test_engine_larger_than_the_cap_is_retained_while_it_is_the_newest(
    tmp_path: Path,
) -> None:
    cache = EngineCache(tmp_path / "cache", max_bytes=10)
    store(cache, plan=bytes(5000))
    assert isinstance(cache.lookup(NAME, KEY), Entry)


def test_clear_removes_every_engine_and_leaves_a_usable_cache(cache: EngineCache) -> None:
    store(cache)
    assert cache.clear() == 1
    assert cache.entries() == []
    store(cache)


@pytest.mark.parametrize("mode", [pytest.param(0o770, marks=needs_root), 0o707])
def test_cache_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    cache = EngineCache(tmp_path / "cache")
    cache.folder.chmod(mode)
    if os.geteuid() == 0:  # the user's own group may write: it is that of the user alone
        os.chown(cache.folder, 0, 4242)
    with pytest.raises(CacheError, match=r"other users can write to .* \(mode [\s\S]*chmod 700"):
        EngineCache(tmp_path / "cache")


@needs_root  # its group has one member, as users' own have
def test_cache_that_the_users_own_group_can_write_is_used(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    cache.folder.chmod(0o770)
    store(EngineCache(tmp_path / "cache"))


@needs_root
def test_cache_of_another_user_is_refused(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    os.chown(cache.folder, 4242, 4242)
    with pytest.raises(CacheError, match="belongs to user 4242"):
        EngineCache(tmp_path / "cache")


@pytest.mark.parametrize("part", ["engines", "engines/*", "engines/*/engine.plan"])
def test_what_others_can_write_in_the_cache_is_not_loaded(cache: EngineCache, part: str) -> None:
    plan = store(cache).plan
    (path,) = cache.folder.glob(part)
    path.chmod(0o777)
    if part == "engines":
        with pytest.raises(CacheError, match=r"other users can write to .*engines \(mode 777\)"):
            cache.lookup(NAME, KEY)
        with pytest.raises(CacheError, match="chmod 700"), cache.plan(plan, KEY):
            pass
    else:
        found = cache.lookup(NAME, KEY)
        assert isinstance(found, CorruptEntry)
        assert "other users can write to it (mode 777)" in found.reason
        with pytest.raises(EngineLoadError, match="other users can"), cache.plan(plan, KEY):
            pass


@pytest.mark.parametrize("part", ["engines", "engines/*", "engines/*/engine.plan"])
def test_links_in_the_cache_are_not_followed(cache: EngineCache, part: str) -> None:
    store(cache)
    (path,) = cache.folder.glob(part)
    moved = path.rename(cache.root / "moved")
    path.symlink_to(moved)
    if part == "engines":
        with pytest.raises(CacheError, match="engines cannot be used: it is a symbolic link"):
            cache.lookup(NAME, KEY)
    else:
        found = cache.lookup(NAME, KEY)
        assert isinstance(found, CorruptEntry)
        assert "it is a symbolic link" in found.reason


@pytest.mark.parametrize("name", ["engine.plan", SIDECAR_NAME])
def test_pipes_in_the_cache_block_nobody(cache: EngineCache, name: str) -> None:
    entry = store(cache)
    (entry.folder / name).unlink()
    os.mkfifo(entry.folder / name)
    found = cache.lookup(NAME, KEY)
    assert isinstance(found, CorruptEntry)
    assert "not a regular file" in found.reason


def test_folder_above_that_others_can_write_is_refused_unless_it_leads_to_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = tmp_path / "above"
    store(EngineCache(above / "cache"))
    above.chmod(0o777)
    with pytest.raises(CacheError, match=r"write to .*, above the engine cache [\s\S]*chmod go-w"):
        EngineCache(above / "cache")
    monkeypatch.chdir(above)
    assert isinstance(EngineCache(above / "cache").lookup(NAME, KEY), Entry)


def test_plan_that_is_loaded_is_the_one_that_was_verified(cache: EngineCache) -> None:
    entry = store(cache)
    with cache.plan(entry.plan, KEY) as plan:
        cache.root.rename(cache.root.with_name("moved"))
        entry.folder.mkdir(parents=True)
        entry.plan.write_bytes(b"foreign")
        assert plan.path == entry.plan
        assert plan.read() == plan.stable_path.read_bytes() == b"plan"
        assert plan.read(2) == b"pl"
        assert plan.size_bytes == 4


def test_plan_that_was_removed_or_damaged_meanwhile_is_not_loaded(cache: EngineCache) -> None:
    entry = store(cache)
    flip_byte(entry)
    with pytest.raises(EngineLoadError, match="digest"), cache.plan(entry.plan, KEY):
        pass
    cache.discard(entry.folder)
    with pytest.raises(EngineLoadError, match="it was removed"), cache.plan(entry.plan, KEY):
        pass


def test_files_of_an_entry_are_private_whatever_the_umask(cache: EngineCache) -> None:
    before = os.umask(0)
    try:
        entry = store(cache)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in entry.folder.iterdir()} == {0o600}
    assert isinstance(cache.lookup(NAME, KEY), Entry)


def test_index_that_others_could_lock_is_made_again(cache: EngineCache) -> None:
    store(cache)
    cache.index_new()
    (index,) = cache.folder.glob("*.sqlite")
    index.chmod(0o644)
    store(cache)
    cache.index_new()
    with cache.lock(KEY, lambda seconds, holder: None):
        (lock,) = cache.folder.glob("building/*.lock")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    (index,) = cache.folder.glob("*.sqlite")
    assert stat.S_IMODE(index.stat().st_mode) == 0o600


def test_folders_above_a_new_cache_are_the_users_alone_to_write(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = EngineCache(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "a", cache.root, cache.folder)]
    assert modes == [0o755, 0o755, 0o700]


def test_path_that_is_not_utf_8_is_refused_and_shown(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"caf\\xe9/v1 cannot .*UTF-8[\s\S]*--trt-cache-dir"):
        EngineCache(tmp_path / os.fsdecode(b"caf\xe9"))
    assert list(tmp_path.iterdir()) == []


def test_file_in_the_place_of_the_cache_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CacheError, match="--trt-cache-dir"):
        EngineCache(tmp_path / "cache")


def test_read_only_cache_serves_hits_and_stages_misses_elsewhere(reachable_path: Path) -> None:
    root = reachable_path / "cache"
    store(EngineCache(root))
    out, errors = as_reader(
        """
        cache = EngineCache(root)
        print(cache.writable, type(cache.lookup(NAME, KEY)).__name__)
        entry = store(cache, name="other", key="o" * 64)
        print(entry.plan.read_bytes(), root in entry.plan.parents)
        """,
        root,
    )
    assert out.split() == ["False", "Entry", "b'plan'", "False"], errors


def test_read_only_cache_of_a_version_with_fewer_folders_serves_hits(reachable_path: Path) -> None:
    root = reachable_path / "cache"
    store(EngineCache(root))
    (root / "v1" / "timing").rmdir()
    out, errors = as_reader("print(type(EngineCache(root).lookup(NAME, KEY)).__name__)", root)
    assert out.split() == ["Entry"], errors


def test_full_disk_is_a_clear_error_and_leaves_nothing_behind(cache: EngineCache) -> None:
    # A limit on the size of files is met with the same class of error as a full disk.
    with full_disk(), pytest.raises(CacheError, match="no space left for the engine") as caught:
        store(cache, plan=bytes(5000))
    assert "--trt-cache-dir" in caught.value.fix
    assert cache.lookup(NAME, KEY) is None
    assert list((cache.folder / "building").iterdir()) == []


BUILDER = """
cache = EngineCache(root)
name, key = "m", "m" * 64
with cache.lock(key, lambda *_: print("waiting", flush=True)):
    if cache.lookup(name, key) is None:
        with cache.staging(key) as folder:
            (folder / "half").write_bytes(b"x")
            print("building", flush=True)
            if os.environ.get("HANG"):
                sys.stdin.read()
        store_locked(cache, name, key)
    print("done", flush=True)
"""


@pytest.mark.exhaustive
def test_killed_builder_leaves_nothing_that_is_trusted_and_one_other_builds(
    tmp_path: Path,
) -> None:
    root = tmp_path / "cache"
    EngineCache(root)
    victim = start_process(BUILDER, root, HANG="1")
    assert victim.stdout is not None
    assert victim.stdout.readline() == "building\n"
    others = [start_process(BUILDER, root) for _ in range(7)]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
    assert EngineCache(root).lookup("m", "m" * 64) is None
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    outputs = [other.communicate()[0] for other in others]
    assert all(output.endswith("done\n") for output in outputs)
    assert sum("building" in output for output in outputs) == 1
    assert isinstance(EngineCache(root).lookup("m", "m" * 64), Entry)
    assert list((root / "v1" / "building").iterdir()) == []


def test_entry_name_is_readable_and_safe_as_a_file_name() -> None:
    assert entry_name("../my model!.onnx", "fp16", "sm86", "0123456789abcdef" * 4) == (
        "my_model_-fp16-sm86-0123456789abcdef0123"
    )


def test_a_leftover_of_a_killed_build_goes_when_the_cache_is_opened(cache: EngineCache) -> None:
    building = cache.folder / "building"
    (building / f"{KEY[:20]}.abcd").mkdir()
    (building / f"{KEY[:20]}.lock").touch()
    (building / "trash.0123").mkdir()
    (building / ".a.sealed.0123456789ab").touch()
    EngineCache(cache.root)
    assert list(building.iterdir()) == []


def test_what_another_process_is_building_stays_and_counts(tmp_path: Path) -> None:
    plan = bytes(5000)
    probe = EngineCache(tmp_path / "probe")
    one_bytes = sum(f.stat().st_size for f in store(probe, plan=plan).folder.iterdir())
    cache = EngineCache(tmp_path / "cache", max_bytes=3 * one_bytes + 100)
    with cache.lock("l" * 64, lambda seconds, holder: None), cache.staging("l" * 64) as folder:
        (folder / "engine.plan").write_bytes(bytes(2 * one_bytes))
        other = EngineCache(cache.root, max_bytes=cache.max_bytes)
        assert folder.exists()
        store(other, name="a", key="a" * 64, plan=plan)
        store(other, name="b", key="b" * 64, plan=plan)
        assert {entry.folder.name for entry in other.entries()} == {"b"}
