"""Artifacts of CI with bytes changed, removed, repeated: read, or refused by one kind of error."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders_baseline import save_answers, save_baselines, stored

from pytest_trt.baseline.collecting import read_artifact
from pytest_trt.baseline.location import BaselineFolder
from pytest_trt.cli.baseline.collect import _check_answers
from pytest_trt.diagnostics import BaselineError

SEEDS = 200


def mutated(whole: bytes, random_: random.Random) -> bytes:
    content = bytearray(whole)
    for _ in range(random_.choice([1, 1, 2, 5, 20])):
        content = content or bytearray(b"P")
        at, length = random_.randrange(len(content)), random_.randrange(1, 80)
        how = random_.choice(["byte", "byte", "removed", "repeated", "short"])
        if how == "byte":
            content[at] = random_.randrange(256)
        elif how == "removed":
            del content[at : at + length]
        elif how == "repeated":
            content[at:at] = content[at // 2 : at // 2 + length]
        else:
            del content[at:]
    return bytes(content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_mutated_artifact_is_read_or_refused(tmp_path, monkeypatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tests").mkdir()
    Path("tests/test_speed.py").write_text("")
    save_baselines(Path("artifact"), {"test_a": stored()})
    save_answers(Path("artifact"), {"test_a": {"1" * 20: {"y": np.ones((8, 10), np.float32)}}})
    whole = Path(shutil.make_archive("artifact", kind, "artifact")).read_bytes()
    folder, path = BaselineFolder(tmp_path / "trt_baselines", tmp_path), Path("mutated")
    there = sorted(tmp_path.rglob("*"))
    outcomes = set()
    for seed in range(SEEDS):
        path.write_bytes(mutated(whole, random.Random(seed)) if seed else whole)
        try:
            _, refused = read_artifact(str(path), folder, _check_answers)
            outcomes.add("refused" if refused else "read")
        except BaselineError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
    assert sorted(tmp_path.rglob("*")) == sorted([*there, tmp_path / path])
