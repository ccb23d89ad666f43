"""Entries of an engine cache, made without a builder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pytest_trt.engine.cache import EngineCache, Entry
from pytest_trt.engine.facts import EngineFacts
from pytest_trt.engine.sidecar import SIDECAR_NAME, Sidecar
from pytest_trt.hashing import digest_file
from pytest_trt.sealed import read_sealed, write_sealed

KEY = "k" * 64
NAME = f"model-fp16-sm86-{KEY[:20]}"
MODEL = Path("/models/model.onnx")
FIELDS = {"precision": "fp16"}


def store(
    cache: EngineCache,
    *,
    name: str = NAME,
    key: str = KEY,
    plan: bytes = b"plan",
    model: Path = MODEL,
    fields: Mapping[str, str] = FIELDS,
) -> Entry:
    with cache.lock(key, lambda seconds, holder: None):
        return store_locked(cache, name, key, plan, model, fields)


def store_locked(
    cache: EngineCache,
    name: str,
    key: str,
    plan: bytes = b"plan",
    model: Path = MODEL,
    fields: Mapping[str, str] = FIELDS,
) -> Entry:
    with cache.staging(key) as folder:
        (folder / "engine.plan").write_bytes(plan)
        sidecar = Sidecar(
            key_digest=key,
            key_fields=fields,
            model_name=model.name,
            model_path=str(model),
            plan_name="engine.plan",
            files={"engine.plan": digest_file(folder / "engine.plan")},
            built_at="2026-01-01T00:00:00+00:00",
            reason="first build",
        )
        facts = EngineFacts(size_bytes=len(plan), build_s=1.5)
        return cache.publish(folder, name, sidecar, facts)


def edit_sidecar(entry: Path, *, key: str = "", **changes: object) -> None:
    """Change fields of an entry's sidecar, and seal it again."""
    file = entry / SIDECAR_NAME
    found = read_sealed(file, "engine")
    text, end, facts = bytes(found.content).partition(b"\n}\n")
    content = json.dumps({**json.loads(text + end), **changes}).removesuffix("}").encode()
    write_sealed(file, "engine", key or found.key, content, end, facts)


#: Begins a program of another process. Before rights are dropped: another user may not read the
#: environment that packages lie in.
IMPORTS = f"""
import os, sys
import blake3, fcntl, sqlite3
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.cache_index import CacheIndex
from pytest_trt.engine.facts import EngineFacts
from builders_cache import store, store_locked, FIELDS, KEY, MODEL, NAME
root = Path(os.environ["ROOT"])
"""


def start_process(program: str, root: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a program that begins with `IMPORTS`."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPORTS + textwrap.dedent(program)],
        env={"PYTHONPATH": ":".join(sys.path), "ROOT": str(root), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def as_reader(program: str, root: Path) -> tuple[str, str]:
    """Return output and errors of a program of a user who may read the cache but not write it."""
    for folder, _, files in os.walk(root):
        Path(folder).chmod(0o555)
        for file in files:
            (Path(folder) / file).chmod(0o444)
    drop = "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534))\n"
    try:
        return start_process(drop + textwrap.dedent(program), root).communicate()
    finally:
        for folder, _, _ in os.walk(root):
            Path(folder).chmod(0o700)
