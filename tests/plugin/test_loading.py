from __future__ import annotations

import gc

import pytest

from pytest_trt.plugin.loading import no_garbage


def test_search_is_paused_and_goes_on_whatever_happens() -> None:
    def load() -> None:
        with no_garbage():
            assert not gc.isenabled()
            raise ImportError

    assert gc.isenabled()
    with pytest.raises(ImportError):
        load()
    assert gc.isenabled()


def test_search_that_a_project_has_stopped_stays_stopped() -> None:
    gc.disable()
    try:
        with no_garbage():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
