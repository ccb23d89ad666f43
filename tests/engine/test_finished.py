from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_trt.diagnostics import EngineLoadError
from pytest_trt.engine.finished import opened_plan
from pytest_trt.hashing import digest_file


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "m.plan"
    path.write_bytes(b"first")
    return path


def test_what_is_loaded_is_what_was_hashed_whatever_the_path_leads_to(plan: Path) -> None:
    other = plan.with_name("other")
    other.write_bytes(b"other")
    with opened_plan(plan) as (opened, digest):
        expected = digest_file(plan).digest
        other.replace(plan)
        assert opened.read() == opened.stable_path.read_bytes() == b"first"
        assert digest == expected


def test_plan_that_cannot_be_opened_is_refused(plan: Path) -> None:
    plan.unlink()
    with pytest.raises(EngineLoadError, match=r"m\.plan"), opened_plan(plan):
        pytest.fail("it was opened")
    plan.symlink_to(plan)
    with pytest.raises(EngineLoadError, match="cannot be opened: Too many"), opened_plan(plan):
        pytest.fail("it was opened")


def test_plan_that_is_written_to_while_it_is_loaded_is_refused(plan: Path) -> None:
    with pytest.raises(EngineLoadError, match="changed while") as caught, opened_plan(plan):
        plan.write_bytes(b"other")
    assert caught.value.diagnostic.code == "TRT329"


def test_write_that_sets_the_times_back_is_noticed(plan: Path) -> None:
    before = plan.stat()

    def write_in_secret() -> None:
        plan.write_bytes(b"other")
        os.utime(plan, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(EngineLoadError, match="changed while it was tested"), opened_plan(plan):
        write_in_secret()


def test_plan_that_was_only_touched_is_not_refused(plan: Path) -> None:
    with opened_plan(plan, digest_file(plan).digest):
        plan.touch()


def test_plan_with_another_digest_than_before_is_refused(plan: Path) -> None:
    digest = digest_file(plan).digest
    plan.write_bytes(b"other")
    with (
        pytest.raises(EngineLoadError, match="changed while it was tested"),
        opened_plan(plan, digest),
    ):
        pytest.fail("it was opened")
