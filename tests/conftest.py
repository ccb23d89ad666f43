from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import os
import pkgutil
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from remembered import installed_packages_remembered

import pytest_trt
from pytest_trt.plugin.options.values import CI_VARIABLES

# Runs that tests start would add themselves to the summary of the step that runs the tests.
os.environ.pop("GITHUB_STEP_SUMMARY", None)

# Tests say themselves what runs in CI; pytest reads the first two.
for _name in CI_VARIABLES[2:]:
    os.environ.pop(_name, None)

if sys.dont_write_bytecode:
    # Hundreds of child processes would each compile all that they import, which takes longer than
    # what they do. Nothing is written next to the sources, and what is compiled of the projects
    # that tests write is removed.
    _bytecode = Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode"
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(_bytecode)
    _of_projects = _bytecode / Path(tempfile.gettempdir()).relative_to("/")
    atexit.register(shutil.rmtree, _of_projects, ignore_errors=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run the tests that are marked as exhaustive, too; they take longer than all others",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test the checkout where the installed wheel is to be tested."""
    # A worker has the options of the process that started it.
    is_worker = hasattr(config, "workerinput")
    if not is_worker and config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        config.option.exhaustive = True
    _let_hypothesis_take_its_time(50 if not config.option.exhaustive else 100)
    checkout = Path(__file__).resolve().parent.parent
    if os.environ.get("PYTEST_TRT_REQUIRE_WHEEL") == "1":
        package = Path(pytest_trt.__file__).resolve()
        if package.parent.parent == checkout:
            raise pytest.UsageError(f"PYTEST_TRT_REQUIRE_WHEEL=1, but {package} would be tested")


def _let_hypothesis_take_its_time(examples: int) -> None:
    """Let no property depend on how busy the host is. Some environments have no hypothesis."""
    with contextlib.suppress(ImportError):
        from hypothesis import HealthCheck, settings

        without = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
        settings.register_profile(
            "any_host", deadline=None, suppress_health_check=without, max_examples=examples
        )
        settings.load_profile("any_host")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out exhaustive tests unless they are asked for, or files or folders are named."""
    if config.option.exhaustive:
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.fixture(autouse=True)
def _own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs that tests start be runs of their own, whichever worker starts them, also in CI."""
    workers = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID")
    for name in (*workers, "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _without_known_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failures read alike on every CPU, whichever ONNX Runtime is installed."""
    monkeypatch.setattr("pytest_trt.engine.known_faults.CPUINFO", Path("/no/cpuinfo"))


#: What inner runs import, besides this package.
_IMPORTED_BY_RUNS = (
    "blake3",
    "hypothesis",
    "ml_dtypes",
    "onnx.inliner",
    "onnx.version_converter",
    "onnxruntime.quantization",
    "rich._emoji_codes",
    "sqlite3",
    "tensorrt_rtx",
)


@pytest.fixture(scope="session")
def _imported() -> Iterator[None]:
    """Import once what inner runs import: pytester removes what each of them imports."""
    package = pkgutil.walk_packages(pytest_trt.__path__, "pytest_trt.")
    for name in (*_IMPORTED_BY_RUNS, *(module.name for module in package)):
        if importlib.util.find_spec(name.partition(".")[0]) is not None and "__main__" not in name:
            importlib.import_module(name)
    with installed_packages_remembered():
        yield


@pytest.fixture
def _no_open_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the server that pytest-rerunfailures starts in each run and leaves open.

    A thousand runs in one process would have more sockets than select() can wait for.
    """
    reruns = sys.modules.get("pytest_rerunfailures")
    started = []

    if hasattr(reruns, "ServerStatusDB"):

        class Server(reruns.ServerStatusDB):
            def __init__(self) -> None:
                super().__init__()
                started.append(self)

            def run_server(self) -> None:
                with contextlib.suppress(OSError):
                    super().run_server()

        monkeypatch.setattr(reruns, "ServerStatusDB", Server)
    yield
    for server in started:
        with contextlib.suppress(OSError):
            server.sock.shutdown(socket.SHUT_RDWR)
        server.sock.close()


@pytest.fixture
def pytester(
    _imported: None,
    _no_open_servers: None,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> pytest.Pytester:
    """Start runs that find everything imported, and trust no bytecode of files a test rewrites.

    Bytecode is identified by the size of its source and the second in which that was written.
    """
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return pytester


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """A temporary folder that another user can enter; pytest's own are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def torch_project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder in which PyTorch is imported by runs in processes of their own, with `network.py`.

    A test is skipped without PyTorch, and fails where PYTEST_TRT_REQUIRE_TORCH=1 says that it must
    be there. Its exporter needs no other package than onnx with dynamo=False.
    """
    if importlib.util.find_spec("torch") is None:
        if os.environ.get("PYTEST_TRT_REQUIRE_TORCH") == "1":
            pytest.fail("torch is not installed, but PYTEST_TRT_REQUIRE_TORCH=1", pytrace=False)
        pytest.skip("torch is not installed")
    pytester.makepyfile(
        network="""
        import torch

        torch.manual_seed(0)
        layers = torch.nn.Linear(8, 16), torch.nn.Dropout(), torch.nn.Linear(16, 4)
        network = torch.nn.Sequential(*layers).eval()
        """
    )
    return pytester
