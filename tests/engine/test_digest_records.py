from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from builders_model import external_model
from clocks import much_later
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.digest_records import DigestRecords
from pytest_trt.files import FileStamp
from pytest_trt.onnx.digest_cache import CachedDigest, Stamps
from pytest_trt.onnx.file import load_model
from pytest_trt.sealed import read_sealed, write_sealed

CONTENTS = {"schema": 1, "inputs": [{"name": "é", "shape": [1, "n"]}], "op_types": {"Add": 2}}
DIGEST = "0123456789abcdef" * 4
STAMPS = (
    FileStamp("/models/m.onnx", 1, 2, 3, 4, 5),
    FileStamp('/models/w\udc80 "é.bin', 6, 7, 8, 9, 10),
)


def local(path: str) -> str:
    return "ext4"


@pytest.fixture
def records(tmp_path: Path) -> DigestRecords:
    return DigestRecords(tmp_path, local)


def remember(records: DigestRecords, stamps: Stamps, digest: str) -> None:
    records.remember(CachedDigest(stamps, digest, CONTENTS))


def recalled(records: DigestRecords, stamps: Stamps) -> str | None:
    """Return the digest of exactly these files, as `recall_or_hash` would."""
    found = records.recall(stamps[0])
    return found.digest if found is not None and found.stamps == stamps else None


def the_record(records: DigestRecords) -> Path:
    (path,) = records.folder.iterdir()
    return path


def test_cached_digest_is_used(records: DigestRecords) -> None:
    assert recalled(records, STAMPS) is None
    remember(records, STAMPS, DIGEST)
    found = DigestRecords(records.folder).recall(STAMPS[0])
    assert found == CachedDigest(STAMPS, DIGEST, CONTENTS)


def test_small_models_have_no_record(tmp_path: Path) -> None:
    size_bytes = sum(stamp.size_bytes for stamp in STAMPS)
    records = DigestRecords(tmp_path, local, least_bytes=size_bytes + 1)
    remember(records, STAMPS, DIGEST)
    assert recalled(records, STAMPS) is None
    records = DigestRecords(tmp_path, local, least_bytes=size_bytes)
    remember(records, STAMPS, DIGEST)
    assert recalled(records, STAMPS) == DIGEST


def test_a_record_is_private_and_can_be_read_by_people(records: DigestRecords) -> None:
    remember(records, STAMPS, DIGEST)
    record = the_record(records)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    content = json.loads(record.read_text().splitlines()[2])
    assert content["digest"] == DIGEST
    assert content["files"][0]["path"] == "/models/m.onnx"


def test_a_model_has_one_record_which_is_replaced(records: DigestRecords) -> None:
    remember(records, STAMPS, DIGEST)
    changed = (replace(STAMPS[0], ctime_ns=11), STAMPS[1])
    remember(records, changed, "f" * 64)
    the_record(records)
    assert recalled(records, changed) == "f" * 64
    assert recalled(records, STAMPS) is None


@pytest.mark.parametrize(
    "other",
    [
        *((replace(STAMPS[0], **{field: 99}), STAMPS[1]) for field in ("device", "inode")),
        *((STAMPS[0], replace(STAMPS[1], **{f: 99})) for f in ("size_bytes", "mtime_ns")),
        (STAMPS[0], replace(STAMPS[1], ctime_ns=99)),
        (STAMPS[0], replace(STAMPS[1], path="/models/v.bin")),
        (replace(STAMPS[0], path="/models/n.onnx"), STAMPS[1]),
        STAMPS[:1],
        (*STAMPS, STAMPS[1]),
    ],
)
def test_changed_file_stamps_invalidate_the_digest(records: DigestRecords, other) -> None:
    remember(records, STAMPS, DIGEST)
    assert recalled(records, other) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"format": [0, "pytest-trt 0.1.0", "pytest-trt model 1"]},
        {"format": None},
        {"files": [{"path": "/models/m.onnx"}]},
        {"files": []},
    ],
)
def test_a_record_of_another_format_is_not_read(records: DigestRecords, changes) -> None:
    remember(records, STAMPS, DIGEST)
    record = the_record(records)
    content = json.loads(bytes(read_sealed(record, "digest").content))
    write_sealed(record, "digest", record.stem, json.dumps({**content, **changes}).encode())
    assert recalled(records, STAMPS) is None


def test_a_record_in_the_place_of_another_is_not_read_and_reported(tmp_path: Path) -> None:
    reported: list[str] = []
    records = DigestRecords(tmp_path, local, damaged=lambda path, reason: reported.append(reason))
    remember(records, STAMPS, DIGEST)
    other = (replace(STAMPS[0], path="/models/n.onnx"),)
    record = the_record(records)
    remember(records, other, "f" * 64)
    (second,) = set(tmp_path.iterdir()) - {record}
    second.replace(record)
    assert recalled(records, STAMPS) is None
    (reason,) = reported
    assert reason.startswith("it was stored as digest")


@given(data=st.data())
def test_a_damaged_record_is_not_trusted(records: DigestRecords, data) -> None:
    remember(records, STAMPS, DIGEST)
    record = the_record(records)
    whole = bytearray(record.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    record.write_bytes(whole)
    assert recalled(records, STAMPS) is None
    remember(records, STAMPS, DIGEST)
    assert recalled(records, STAMPS) == DIGEST


@pytest.mark.parametrize("content", [b"", b"[]", b"[1]", b"{}", b"\xff", b"[" * 100_000])
def test_something_else_in_place_of_a_record_is_not_trusted(records, content: bytes) -> None:
    remember(records, STAMPS, DIGEST)
    the_record(records).write_bytes(content)
    assert recalled(records, STAMPS) is None


@pytest.mark.parametrize("kind", ["nfs4", "tmpfs", "fuse.sshfs", "9p", ""])
def test_models_on_other_file_systems_are_not_cached(tmp_path: Path, kind: str) -> None:
    def kind_of(path: str) -> str:
        return kind if path == STAMPS[1].path else "ext4"

    remember(DigestRecords(tmp_path, kind_of), STAMPS, DIGEST)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_costs_only_the_memory(tmp_path: Path) -> None:
    records = DigestRecords(tmp_path / "none", local)
    remember(records, STAMPS, DIGEST)
    assert recalled(records, STAMPS) is None


def test_clearing_the_cache_forgets_every_digest(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    records = DigestRecords(cache.digests.folder, local)
    remember(records, STAMPS, DIGEST)
    cache.clear()
    assert recalled(cache.digests, STAMPS) is None
    remember(records, STAMPS, DIGEST)
    assert recalled(cache.digests, STAMPS) == DIGEST


# What the file system refuses, and many processes.

PROGRAM = f"""
import os, sys
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from pathlib import Path
from clocks import much_later
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.digest_records import DigestRecords
from pytest_trt.onnx.file import load_model
root, model = map(Path, sys.argv[1:3])

def load():
    records = DigestRecords(EngineCache(root).digests.folder, lambda path: "ext4")
    return load_model(model, digests=records, clock=much_later).digest
"""


def start(program: str, root: Path, model: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + program, root, model],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("has_digests", [True, False])
def test_a_read_only_cache_serves_what_it_has(reachable_path: Path, has_digests: bool) -> None:
    """Also one of a release that kept no digests."""
    root, model = reachable_path / "cache", external_model(reachable_path)
    digests = EngineCache(root).digests.folder
    if not has_digests:
        digests.rmdir()
    folders = [root, root / "v1", *(root / "v1").glob("*/")]
    for folder in folders:
        folder.chmod(0o555)
    try:
        drop = "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534))\n"
        program = f"{drop}print(EngineCache(root).writable, load(), load())"
        printed = output(start(program, root, model)).split()
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert printed == ["False", *[load_model(model).digest] * 2]
    assert digests.exists() == has_digests


def test_a_full_disk_costs_only_the_memory(tmp_path: Path) -> None:
    # A limit on the size of files is met with the same class of error as a full disk.
    program = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))\nprint(load())"
    model = external_model(tmp_path)
    EngineCache(tmp_path / "cache")
    assert output(start(program, tmp_path / "cache", model)).split() == [load_model(model).digest]
    assert list((tmp_path / "cache" / "v1" / "digests").iterdir()) == []


def test_many_processes_share_one_record(tmp_path: Path) -> None:
    model, root = external_model(tmp_path), tmp_path / "cache"
    program = """
os.umask(0)
for _ in range(50):
    digest = load()
    for record in root.glob("v1/digests/*.digest"):
        record.unlink(missing_ok=True)
print(digest, load())
"""
    processes = [start(program, root, model) for _ in range(3)]
    digest = load_model(model).digest
    assert [output(process).split() for process in processes] == [[digest, digest]] * 3
    record = the_record(EngineCache(root).digests)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600

    # What they left is whole: with another digest in it, no bytes are looked at.
    (model_stamp, _) = (
        FileStamp(**one) for one in json.loads(record.read_text().splitlines()[2])["files"]
    )
    records = DigestRecords(record.parent, local)
    found = records.recall(model_stamp)
    assert found is not None
    assert found.digest == digest
    records.remember(replace(found, digest="f" * 64))
    assert load_model(model, digests=records, clock=much_later).digest == "f" * 64
