"""Faults of the plugin itself: no run without a test of ours ends by one, and none turns green."""

from __future__ import annotations

import pkgutil
import traceback
from collections.abc import Callable

import pytest

FAULT = "RuntimeError: planted"

PLAIN = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail(strict=True)
def test_fails_as_expected():
    raise ValueError
"""

OURS = """
import pytest

@pytest.mark.trt_model("models/linear.onnx", precision="fp32")
@pytest.mark.trt_consistency()
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""

#: What fails, and within which hook, by the hook.
PLACES = {
    "collection_modifyitems": "uses_plugin",
    "runtest_makereport": "_complete",
    "sessionfinish": "_updates",
    "terminal_summary": "results.ledger.Ledger.not_run",
}

Planter = Callable[[str, str], None]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Planter:
    """Let a function of the plugin fail in one of its hooks."""

    def planted(hook: str, name: str) -> None:
        path = f"pytest_trt.plugin.{name}"
        *owner, attribute = path.split(".")
        had = getattr(pkgutil.resolve_name(".".join(owner)), attribute)

        def fail(*args: object, **options: object) -> object:
            if any(frame.name == f"pytest_{hook}" for frame in traceback.extract_stack()):
                raise RuntimeError("planted")
            return had(*args, **options)

        monkeypatch.setattr(path, fail)

    return planted


#: The filters of the run outside apply inside too.
SHOWN = "-Wdefault::pytest_trt.diagnostics.PytestTrtWarning"


#: Takes a process of its own.
IN_A_WORKER = pytest.mark.exhaustive

#: Hooks that run in workers, where nothing is planted.
OF_WORKERS = ("collection_modifyitems", "runtest_makereport")


@pytest.mark.parametrize(
    "options",
    [(SHOWN,), (SHOWN, "-q"), pytest.param((SHOWN, "-n1"), marks=IN_A_WORKER), ("-Werror",)],
)
@pytest.mark.parametrize("hook", PLACES)
def test_run_without_our_tests_ends_as_without_the_plugin_plus_one_warning(
    pytester: pytest.Pytester, plant: Planter, hook: str, options: tuple[str, ...]
) -> None:
    if "-n1" in options:
        pytest.importorskip("xdist")
        if hook in OF_WORKERS:
            pytest.skip("workers have no fault")
    pytester.makepyfile(PLAIN)
    plant(hook, PLACES[hook])
    result = pytester.runpytest(*options)
    assert result.ret == 0
    text = result.stdout.str() + result.stderr.str()
    assert text.count(f"pytest-trt failed ({FAULT}") == 1
    result.assert_outcomes(passed=1, xfailed=1, warnings=1 if SHOWN in options else 0)


@pytest.mark.parametrize(
    "options", [(), ("-q",), pytest.param(("-n1",), marks=IN_A_WORKER)], ids=" ".join
)
@pytest.mark.parametrize(
    ("hook", "name"),
    [
        ("collection_modifyitems", "collection.plan_changed_tests"),
        ("runtest_makereport", "results.attached.attach"),
        ("sessionfinish", "_updates"),
        ("terminal_summary", "results.ledger.Ledger.not_run"),
    ],
)
def test_run_with_our_tests_is_not_green(
    project, plant: Planter, hook: str, name: str, options: tuple[str, ...]
) -> None:
    if "-n1" in options:
        pytest.importorskip("xdist")
        if hook in OF_WORKERS:
            pytest.skip("workers have no fault")
    project.test_file(OURS)
    assert project.run().ret == 0
    plant(hook, name)
    result = project.run(*options)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert FAULT in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()
