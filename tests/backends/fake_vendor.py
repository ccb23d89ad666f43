"""A TensorRT that does what its model says: crash, hang, print, end. No product code knows of it.

Its models are text files of commands, a line each; a name such as `segfault.onnx` is a command too,
for tests that need a real ONNX file. Builds run in a process of their own, which imports this
module by name, so it has to be on the search path.
"""

from __future__ import annotations

import ctypes
import enum
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

__version__ = "1.7.0"


class BuilderFlag(enum.Enum):
    TF32 = 0
    DISABLE_TIMING_CACHE = 1


class ComputeCapability(enum.Enum):
    SM86 = 86


class ProfilingVerbosity(enum.Enum):
    DETAILED = 0


class NetworkDefinitionCreationFlag(enum.Enum):
    STRONGLY_TYPED = 0


class LayerInformationFormat(enum.Enum):
    JSON = 1


class ILogger:
    class Severity(enum.IntEnum):
        ERROR = 1
        WARNING = 2

    WARNING = Severity.WARNING

    def log(self, severity: Severity, message: str) -> None: ...


class Network:
    num_inputs = 0
    num_outputs = 1
    commands: list[str]


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network = network

    def parse_from_file(self, path: str) -> bool:
        file = Path(path)
        self._network.commands = (
            [file.stem] if file.suffix == ".onnx" else file.read_text().splitlines()
        )
        return True


class ITimingCache:
    """Timings are words: what was built before."""

    def __init__(self, words: set[bytes]) -> None:
        self.words = words

    def combine(self, other: ITimingCache, ignore_mismatch: bool) -> bool:
        self.words |= other.words
        return True

    def serialize(self) -> bytes | None:
        return None if b"unserializable" in self.words else b"\n".join(sorted(self.words))


class Config:
    num_compute_capabilities = 0
    timing_cache: ITimingCache | None = None

    def create_timing_cache(self, blob: bytes) -> ITimingCache | None:
        return None if blob == b"no timings" else ITimingCache(set(blob.split(b"\n")) - {b""})

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if b"of another GPU" in cache.words:
            return False
        self.timing_cache = cache
        return True

    def set_flag(self, flag: BuilderFlag) -> None: ...

    def clear_flag(self, flag: BuilderFlag) -> None: ...

    def set_compute_capability(self, capability: ComputeCapability, index: int) -> None: ...


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> Network:
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        for command in network.commands:
            name, _, argument = command.partition(" ")
            _obey(name, argument, self._logger)
            if config.timing_cache is not None:
                if command.encode() in config.timing_cache.words:
                    self._logger.log(ILogger.Severity.WARNING, f"knew {command}")
                config.timing_cache.words.add(command.encode())
        return b"plan of " + " ".join(network.commands).encode()


class EngineInspector:
    def __init__(self, commands: str) -> None:
        self._commands = commands

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        return "{" if "garbled" in self._commands else '{"Layers": ["a"], "Scale": -nan}'


class Engine:
    device_memory_size = 4096

    def __init__(self, commands: str) -> None:
        self._commands = commands

    def create_engine_inspector(self) -> EngineInspector | None:
        return None if "uninspected" in self._commands else EngineInspector(self._commands)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        commands = plan.decode()
        if "crash when loaded" in commands:
            ctypes.string_at(0)
        if "refused when loaded" in commands:
            self._logger.log(ILogger.Severity.ERROR, "wrong magic tag")
            return None
        return Engine(commands)


def _obey(name: str, argument: str, logger: ILogger) -> None:
    match name:
        case "log":
            logger.log(ILogger.Severity.ERROR, argument)
        case "process":
            logger.log(ILogger.Severity.ERROR, f"process {os.getpid()}")
        case "impatient":  # wait for no other job
            sys.modules["pytest_trt.workers.child"].WARM_S = 0.0  # type: ignore[attr-defined]
        case "environment":
            logger.log(ILogger.Severity.ERROR, f"{argument}={os.environ.get(argument)}")
        case "print":  # from Python, past Python, and from C
            print(argument)
            os.write(1, f'{{"event": "error", "from": "{argument}"}}\n'.encode())
            ctypes.CDLL(None).puts(argument.encode())
        case "complain":
            os.write(2, argument.encode() + b"\n")
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "rename":
            Path(argument.split()[0]).replace(argument.split()[1])
        case "exit":
            os._exit(int(argument))
        case "raise":
            raise TypeError(argument)
        case "hold":  # until this process ends, whoever reads the pipe waits
            os.write(os.open(argument, os.O_WRONLY), b"x")
        case "hold-in-a-child":
            held, holds = os.pipe()
            code = "import os, sys, time; os.write(os.open(sys.argv[1], os.O_WRONLY), b'x'); "
            code += "os.close(int(sys.argv[2])); time.sleep(600)"
            command = [sys.executable, "-c", code, argument, str(holds)]
            child = subprocess.Popen(command, pass_fds=[holds])
            os.close(holds)
            os.read(held, 1)  # nothing, once the child has closed it
            assert child.poll() is None
        case "ignore-termination":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "hang":
            time.sleep(600)
