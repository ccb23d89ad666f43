"""A missing package is skipped by name, and fails where it is required."""

from __future__ import annotations

import pytest


def test_a_missing_package_skips_and_is_named(
    package_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_TRT_REQUIRE_MODELS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="package no-such-models is not installed"):
        package_file("no-such-models", "model.onnx")


def test_a_missing_package_fails_where_it_is_required(
    package_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_TRT_REQUIRE_MODELS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-models is not installed, but PYTEST"):
        package_file("no-such-models", "model.onnx")
