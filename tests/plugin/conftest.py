"""A project for the plugin to be tried on: a model, inputs, and an engine cache of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import dedent

import pytest
import quiet_host
from builders import save_linear

from pytest_trt.benchmark import sampling

CONFTEST = """
import numpy as np
import pytest

@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
"""

#: The plugin that processes of their own load.
QUIET_HOST = Path(quiet_host.__file__).read_text(encoding="utf-8")

PROFILES = 'profiles={"image": ((1, 8), (4, 8), (16, 8))}'


def _without(*plugins: str) -> tuple[str, ...]:
    return tuple(f"-pno:{plugin}" for plugin in plugins)


#: Runs that leave out plugins of others, which take a third of a small run, and start git.
LIGHT = _without("anyio", "hypothesispytest", "benchmark")
LIGHTEST = (*LIGHT, *_without("pytest-teamcity", "rerunfailures", "xdist", "xdist.looponfail"))

#: Options of these.
OPTIONS_OF_OTHERS = ("-n", "--tx", "--dist", "--benchmark-", "--reruns", "--teamcity")


LINEAR = '"models/linear.onnx"'
RUNS = 'trt_session.run({"image": images})'


def checked(body: str = RUNS, *, model: str = LINEAR, consistency: str = "") -> str:
    """Return the source of one test under a trt_model and a trt_consistency marker."""
    return (
        f"@pytest.mark.trt_model({model})\n"
        f"@pytest.mark.trt_consistency({consistency})\n"
        "def test_it(trt_session, images):\n    " + body.replace("\n", "\n    ")
    )


def assert_shows(result: pytest.RunResult, *lines: str, **outcomes: int) -> None:
    """Require how the tests of a run ended, and lines of its output in this order."""
    __tracebackhide__ = True
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(lines)


def assert_usage_error(result: pytest.RunResult, *lines: str) -> None:
    """Require that a run was refused for its options, with these lines."""
    __tracebackhide__ = True
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(lines)


def collected(result: pytest.RunResult) -> list[str]:
    """Return the names of the tests that `--collect-only -q` has listed."""
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def text(result: pytest.RunResult) -> str:
    """Return what a run showed, in one line."""
    return " ".join(result.stdout.str().split())


class NoOwnTraceback:
    """A plugin for runs whose collection fails: pytest prepares a traceback that it never prints.

    It parses its own files for that, which takes longer than the rest of such a run.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if excinfo.errisinstance(pytest.Session.Interrupted):
            excinfo.traceback = excinfo.traceback[-1:]


class Project:
    """A folder with `models/linear.onnx`, in which tests are written and run.

    Attributes:
        pytester: pytest's own helper, for what is not offered here.
        cache: The engine cache of every run.
        host: The host of runs in this process, and how busy it is.
        light: The options that leave plugins of others out; none for a test that needs one.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.cache = pytester.path / "cache"
        self.host = quiet_host.FixedHost()
        self.light = LIGHT
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(quiet_host=QUIET_HOST)
        save_linear(self.path / "models" / "linear.onnx")

    def test_file(self, source: str, **files: str) -> None:
        """Write test_it.py (and others by name)."""
        self.pytester.makepyfile(
            test_it="import numpy as np\nimport pytest\n" + dedent(source), **files
        )

    def run(
        self,
        *args: str,
        subprocess: bool = False,
        interrupted: bool = False,
        arch: str | None = "cpu",
    ) -> pytest.RunResult:
        """Run pytest on the folder, in this process unless told otherwise.

        Args:
            *args: Further arguments; the last of several that contradict each other wins.
            subprocess: Whether to run it in a process of its own.
            interrupted: Whether a test raises KeyboardInterrupt, which is to end that run alone.
            arch: What to test for, so that a machine with a GPU runs the same test; None to leave
                it to the plugin.
        """
        chosen = [] if arch is None else [f"--trt-arch={arch}"]
        # In this process, the filters of the outer run would hold for the inner one.
        warn = "-Wdefault::pytest_trt.diagnostics.PytestTrtWarning"
        given = [f"--trt-cache-dir={self.cache}", "-p", "no:cacheprovider", warn, *chosen]
        # A search takes longer than the rest of such a run, and few tests are about it.
        given += ["--trt-localize=never", *args]
        needs_others = any(arg.startswith(OPTIONS_OF_OTHERS) for arg in args)
        workers = any(arg.startswith("-n") for arg in args)
        if subprocess or workers:
            given = [*self.light, "-p", "quiet_host", *given]
        elif self.light and not needs_others:
            given = [*LIGHTEST, *given]
        subprocess = subprocess or (workers and _workers_take_an_old_path())
        if subprocess:
            return self.pytester.runpytest_subprocess(*given)
        return self.pytester.runpytest_inprocess(
            *given, plugins=[self.host, NoOwnTraceback()], no_reraise_ctrlc=interrupted
        )

    def check(
        self,
        body: str = RUNS,
        *,
        model: str = LINEAR,
        consistency: str = "",
        args: tuple[str, ...] = (),
    ) -> pytest.RunResult:
        """Run that test alone."""
        self.test_file(checked(body, model=model, consistency=consistency))
        return self.run(*args)

    def refuses(
        self,
        cases: Mapping[str, str | Sequence[str]],
        *args: str,
        where: str = "ERROR collecting ",
    ) -> None:
        """Run a file of each source, all of them at once, and find lines of the error of each.

        Args:
            cases: The lines by source, whose test is `test_it`.
            *args: Further arguments.
            where: What pytest writes before the name of the test or its file: another error is
                "ERROR at setup of ", and a failure has nothing there.
        """
        result = self.ends(cases, *args, where=where)
        result.assert_outcomes(**{"errors" if where else "failed": len(cases)})

    def ends(
        self, cases: Mapping[str, str | Sequence[str]], *args: str, where: str = ""
    ) -> pytest.RunResult:
        """Run a file of each source as `refuses` does; what has no lines has no error either."""
        for number, source in enumerate(cases):
            name = f"test_{number:02}"
            own = dedent(source).replace("test_it", name)
            self.pytester.makepyfile(**{name: f"import numpy as np\nimport pytest\n{own}"})
        result = self.run(*args)
        # What follows the errors repeats them.
        shown, *_ = re.split("^=+ (?:short test|trt|warnings)", result.stdout.str(), flags=re.M)
        _, *parts = re.split(rf"^_+ {where}test_(\d\d)\S* _+$", shown, flags=re.M)
        errors: dict[int, str] = {}
        for number, text in zip(map(int, parts[::2]), parts[1::2], strict=True):
            errors[number] = errors.get(number, "") + text
        assert errors.keys() == {number for number, lines in enumerate(cases.values()) if lines}
        for number, lines in enumerate(cases.values()):
            if lines:
                expected = [lines] if isinstance(lines, str) else lines
                pytest.LineMatcher(errors[number].splitlines()).fnmatch_lines(expected)
        return result

    def plans(self) -> list[Path]:
        """Return the plans in the cache."""
        return sorted(self.cache.glob("v1/engines/*/engine.*x"))


def _workers_take_an_old_path() -> bool:
    """Whether workers search where this process did when it started: they find no quiet_host."""
    try:
        return version("pytest-xdist") < "3.6"
    except PackageNotFoundError:
        return False


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread no rounds over a second, and be warm soon: no verdict hangs on how good they are."""
    monkeypatch.setattr(sampling, "STORED_S", 0.0)
    monkeypatch.setattr(sampling, "ON_CPU", quiet_host.SOON)


@pytest.fixture
def project(pytester: pytest.Pytester, at_once: None) -> Project:
    return Project(pytester)


@pytest.fixture
def save(project: Project) -> Callable[..., Path]:
    """Write another model into the project: `save(builder, name, **options)`."""

    def write(builder: Callable[..., Path], name: str, **options: object) -> Path:
        return builder(project.path / "models" / name, **options)

    return write


@pytest.fixture(scope="session")
def _cache_of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def engines_of_other_tests(project: Project, _cache_of_session: Path) -> None:
    """Find the engines that other tests have built: for tests that are not about building.

    Processes of their own would each start a builder, which takes longer than what they do.
    """
    project.cache = _cache_of_session
