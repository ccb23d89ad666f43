"""Engines that are wrong, in tests as users write them: each run is red, and its twin is green.

Faults of the vendor's library are planted by a conftest.py, which changes what an execution context
does. Others are files: plans, engine caches, timings, and tables of calibrators.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders_networks as networks
import numpy as np
import onnx
import pytest
from builders_cache import edit_sidecar
from gpu.test_plans import network_flags
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.engine.cache import EngineCache, Entry
from pytest_trt.engine.timing_cache import read_timings, timing_files, write_timings
from pytest_trt.files import locked
from pytest_trt.hashing import digest_file
from pytest_trt.records import to_data

pytestmark = pytest.mark.gpu

SHAPE = (256, 28, 28)

#: Changes what execution contexts of TensorRT do, as the variable PLANT says.
CONFTEST = '''
import os

import numpy as np
import pytest
import tensorrt as trt
from cuda.bindings import runtime as cuda

Context = trt.IExecutionContext
execute, set_shape = Context.execute_async_v3, Context.set_input_shape
get_shape, set_address = Context.get_tensor_shape, Context.set_tensor_address
set_allocator = Context.set_output_allocator
first = {}  # what contexts were given or did at first; it refers to them, so that ids stay theirs
retained = []

def done(answer):
    status, *results = answer
    assert int(status) == 0, status
    return results[0] if results else None

def tensors(context, mode):
    engine = context.engine
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [name for name in names if engine.get_tensor_mode(name) == mode]

def size(context, name):
    return int(np.prod(get_shape(context, name))) * 4  # all of these are float32

def is_capturing(stream):
    return int(done(cuda.cudaStreamIsCapturing(stream))) == 1

def at_first(context, what, make):
    key = id(context), what
    if key not in first:
        retained.append(context)
        first[key] = make()
    return first[key]

class Plants:
    """Each returns what it puts in place of the vendor's."""

    def stale(self):
        """Only the first run computes."""
        Context.execute_async_v3 = lambda self, stream: at_first(
            self, "run", lambda: execute(self, stream)
        )

    def empty_graph(self):
        """What is captured is nothing."""
        Context.execute_async_v3 = lambda self, stream: (
            True if is_capturing(stream) else execute(self, stream)
        )

    def other_input(self):
        """What is captured reads a copy of the inputs, at another address."""

        def run(context, stream):
            (name,) = tensors(context, trt.TensorIOMode.INPUT)
            bytes_ = size(context, name)
            own = at_first(context, bytes_, lambda: done(cuda.cudaMalloc(bytes_)))
            address = context.get_tensor_address(name)
            kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
            if not is_capturing(stream):
                done(cuda.cudaMemcpyAsync(own, address, bytes_, kind, stream))
                return execute(context, stream)
            set_address(context, name, int(own))
            result = execute(context, stream)
            set_address(context, name, address)
            return result

        Context.execute_async_v3 = run

    def other_stream(self):
        """It computes on a stream that nobody waits for."""

        def run(context, stream):
            flags = cuda.cudaStreamNonBlocking
            own = at_first(context, "s", lambda: done(cuda.cudaStreamCreateWithFlags(flags)))
            return execute(context, int(own))

        Context.execute_async_v3 = run

    def half(self):
        """It computes the first half of each output."""

        def run(context, stream):
            result = execute(context, stream)
            for name in tensors(context, trt.TensorIOMode.OUTPUT):
                rest = size(context, name) // 2
                done(cuda.cudaMemsetAsync(context.get_tensor_address(name) + rest, 0, rest, stream))
            return result

        Context.execute_async_v3 = run

    def elsewhere(self):
        """It writes its outputs to other memory."""

        def put(context, name, address):
            if name in tensors(context, trt.TensorIOMode.OUTPUT):
                address = int(done(cuda.cudaMalloc(size(context, name))))
            return set_address(context, name, address)

        Context.set_tensor_address = put

    def older_shape(self):
        """It computes with the first shape it got."""
        Context.set_input_shape = lambda self, name, shape: at_first(
            self, name, lambda: set_shape(self, name, shape)
        )

    def older_output_shape(self):
        """It reports the first shape of an output."""
        Context.get_tensor_shape = lambda self, name: at_first(
            self, name, lambda: get_shape(self, name)
        )

    def no_switch(self):
        """It does not switch profiles."""
        Context.set_optimization_profile_async = lambda self, index, stream: True

    def older_count(self):
        """It reports the shape of an output that depends on the data once."""

        class Once(trt.IOutputAllocator):
            def __init__(self, inner):
                trt.IOutputAllocator.__init__(self)
                self.inner, self.told = inner, False

            def reallocate_output(self, *args):
                return self.inner.reallocate_output(*args)

            def notify_shape(self, *args):
                if not self.told:
                    self.inner.notify_shape(*args)
                self.told = True

        Context.set_output_allocator = lambda self, name, inner: set_allocator(
            self, name, at_first(self, name, lambda: Once(inner))
        )

if os.environ.get("PLANT"):
    getattr(Plants(), os.environ["PLANT"])()
'''

TESTS = f"""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

SHAPE = {SHAPE}
LEVEL = {{"builder_optimization_level": 1}}

chain = pytest.mark.trt_model(
    "chain.onnx", profiles={{"x0": ((1, *SHAPE), (8, *SHAPE), (8, *SHAPE))}}, builder_options=LEVEL
)

def batches(*sizes):
    return {{"image": tuple((size, 3, 16, 16) for size in sizes)}}

small = pytest.mark.trt_model(
    "small.onnx", profiles=[batches(1, 1, 2), batches(8, 16, 32)], builder_options=LEVEL
)

def rows(count, seed):
    return {{"x0": np.random.default_rng(seed).random((count, *SHAPE), np.float32)}}

def images(count, seed):
    return {{"image": np.random.default_rng(seed).random((count, 3, 16, 16), np.float32)}}

@chain
@pytest.mark.trt_consistency
def test_inputs(trt_session):
    for seed in range(4):
        trt_session.run(rows(8, seed))

@chain
@pytest.mark.trt_consistency
def test_one_input(trt_session):
    for _ in range(4):
        trt_session.run(rows(8, 0))

@chain
@pytest.mark.trt_consistency
def test_shapes(trt_session):
    for seed, count in enumerate((8, 8, 8, 2, 8, 4, 4, 4)):
        outputs = trt_session.run(rows(count, seed))
        assert len(outputs["x3"]) == count

@small
@pytest.mark.trt_consistency
def test_profiles(trt_session):
    for seed, count in enumerate((1, 32, 2, 8, 8, 8, 1, 1, 1)):
        trt_session.run(images(count, seed))

@small
@pytest.mark.trt_consistency
def test_threads(trt_session):
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(trt_session.run, images(8, seed % 5)) for seed in range(40)]
        found = [job.result()["logits"] for job in jobs]
    for seed in range(40):
        assert np.array_equal(found[seed], found[seed % 5])
    assert not np.array_equal(found[0], found[1])

@pytest.mark.trt_consistency
def test_engines_in_threads(trt_engines):
    sessions = [
        trt_engines("small.onnx", profiles=batches(1, 8, size), builder_options=LEVEL)
        for size in (32, 16)
    ]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(sessions[seed % 2].run, images(1 + seed % 3, seed)) for seed in range(40)
        ]
        for job in jobs:
            job.result()

@pytest.mark.trt_model("found.onnx", profiles={{"x": ((1, 4), (4, 4), (64, 4))}})
@pytest.mark.trt_consistency
def test_found(trt_session):
    for count, shift in ((64, 0.1), (4, 0.5), (4, 0.5), (64, 0.9), (1, 2.0), (4, 0.2)):
        x = np.random.default_rng(count).random((count, 4), np.float32) - np.float32(shift)
        trt_session.run({{"x": x}})
"""

#: How a wrong output is reported, or is seen by the test's own assertions.
WRONG_OUTPUT = r"\[TRT4\d\d\]|^E +assert "

#: A fault, the test that has to notice it, and how.
PLANTED = [
    ("stale", "test_inputs", WRONG_OUTPUT),
    ("stale", "test_threads", WRONG_OUTPUT),
    ("other_input", "test_inputs", WRONG_OUTPUT),
    ("other_stream", "test_inputs", WRONG_OUTPUT),
    ("other_stream", "test_one_input", WRONG_OUTPUT),
    ("half", "test_one_input", WRONG_OUTPUT),
    ("half", "test_engines_in_threads", WRONG_OUTPUT),
    ("elsewhere", "test_one_input", WRONG_OUTPUT),
    ("older_shape", "test_shapes", WRONG_OUTPUT),
    ("older_output_shape", "test_shapes", WRONG_OUTPUT),
    ("no_switch", "test_profiles", "did not run|TRT224"),
    ("older_count", "test_found", WRONG_OUTPUT),
]


def nonzero() -> onnx.ModelProto:
    """The positions of what is positive: as many as there are."""
    return networks.model(
        [
            helper.make_node("Greater", ["x", "zero"], ["positive"]),
            helper.make_node("NonZero", ["positive"], ["found"]),
            helper.make_node("Mul", ["x", "two"], ["doubled"]),
        ],
        inputs=[networks.value("x", ["n", 4])],
        outputs=[
            networks.value("found", [2, "k"], TensorProto.INT64),
            networks.value("doubled", ["n", 4]),
        ],
        initialisers=[networks.constant("zero", 0.0), networks.constant("two", 2.0)],
    )


def scaled(proto: onnx.ModelProto, **factors: float) -> onnx.ModelProto:
    """Return a copy of a model with some of its weights multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in factors:
            values = numpy_helper.to_array(tensor) * np.float32(factors[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder, one worker of xdist for all."""
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            part = folder.with_suffix(".part")
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder


@pytest.fixture(scope="module")
def project(gpu, shared: Path) -> Path:
    """A project with all of its models."""

    def make(folder: Path) -> None:
        chain = networks.conv_chain(3, batch="batch")
        onnx.save(chain, folder / "chain.onnx")
        # Equal in FP32, but what the first convolution gives is beyond FP16.
        onnx.save(scaled(chain, w0=1e5, w2=1e-5), folder / "hot.onnx")
        onnx.save(scaled(chain, w1=-1), folder / "other.onnx")
        onnx.save(networks.conv_net(), folder / "small.onnx")
        onnx.save(nonzero(), folder / "found.onnx")
        (folder / "conftest.py").write_text(CONFTEST)
        (folder / "test_it.py").write_text(TESTS)

    return once(shared / "planted", make)


def test_without_a_fault_all_tests_pass(project: Path, inner_pytest) -> None:
    inner_pytest(project, "test_it.py").assert_outcomes(passed=7)


@pytest.mark.parametrize(("plant", "test", "how"), PLANTED)
def test_fault_of_an_engine_is_red(
    project: Path, inner_pytest, plant: str, test: str, how: str
) -> None:
    result = inner_pytest(project, f"test_it.py::{test}", env={"PLANT": plant})
    outcomes = result.parseoutcomes()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not outcomes.keys() & {"passed", "skipped"}, outcomes
    assert re.search(how, result.stdout.str(), re.MULTILINE)


# Reduced precision.

REDUCED = f"""
import os

import numpy as np
import pytest

SHAPE = {SHAPE}
SCALE = float(os.environ.get("SCALE", "1"))

def rows(seed):
    return {{"x0": np.random.default_rng(seed).random((8, *SHAPE), np.float32)}}

def model(name, precision, **options):
    return pytest.mark.trt_model(
        name,
        precision=precision,
        profiles={{"x0": ((1, *SHAPE), (8, *SHAPE), (8, *SHAPE))}},
        builder_options={{"builder_optimization_level": 1, **options}},
    )

@pytest.fixture
def trt_calibration():
    return [{{"x0": rows(seed)["x0"] * np.float32(SCALE)}} for seed in range(3)]

@model("chain.onnx", "int8")
@pytest.mark.trt_consistency
def test_converted(trt_session):
    trt_session.run(rows(99))

@model("chain.onnx", "int8", calibrator="minmax")
@pytest.mark.trt_consistency
def test_calibrated(trt_session):
    trt_session.run(rows(99))

@model("hot.onnx", ("fp32", "fp16"))
@pytest.mark.trt_consistency
def test_hot(trt_session):
    trt_session.run(rows(99))

@model("chain.onnx", "fp16")
@pytest.mark.trt_consistency
def test_mild(trt_session):
    trt_session.run(rows(99))
"""


@pytest.fixture(scope="module")
def reduced(project: Path) -> Path:
    """The project, with tests of reduced precision."""
    (project / "test_reduced.py").write_text(REDUCED)
    return project


def test_overflow_of_fp16_is_red_and_the_same_model_in_fp32_green(
    reduced: Path, inner_pytest
) -> None:
    result = inner_pytest(reduced, "test_reduced.py", "-k", "hot or mild")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*FAILED test_reduced.py::test_hot*fp16*"])


@pytest.mark.parametrize("test", ["converted", "calibrated"])
def test_int8_with_a_clipped_range_is_red(reduced: Path, inner_pytest, test: str) -> None:
    words = ("test_reduced.py", "-k", test)
    inner_pytest(reduced, *words).assert_outcomes(passed=1)
    inner_pytest(reduced, *words, env={"SCALE": "0.02"}).assert_outcomes(failed=1)


def test_tables_of_other_data_are_not_used(reduced: Path, inner_pytest, tmp_path: Path) -> None:
    cache, words = tmp_path / "cache", ("test_reduced.py", "-k", "calibrated")
    inner_pytest(reduced, *words, cache=cache).assert_outcomes(passed=1)
    inner_pytest(reduced, *words, cache=cache, env={"SCALE": "0.02"}).assert_outcomes(failed=1)
    one, other = sorted(cache.glob("v1/timing/*.calibration"))
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(before)
    shutil.rmtree(cache / "v1/engines")
    inner_pytest(reduced, *words, cache=cache).assert_outcomes(passed=1)


# Finished plans.

POINTS = ((1, *SHAPE), (8, *SHAPE), (8, *SHAPE))


def build(
    model: Path,
    points: tuple[tuple[int, ...], ...] = POINTS,
    configure: Callable[[Any, Any, Any], None] = lambda trt, network, config: None,
) -> bytes:
    """Build a plan as a script of a user's does, with TensorRT's own API and its defaults."""
    trt: Any = importlib.import_module("tensorrt")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse(model.read_bytes())
    config = builder.create_builder_config()
    config.builder_optimization_level = 1
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, *points)
    config.add_optimization_profile(profile)
    configure(trt, network, config)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)


def in_fp32(trt: Any, network: Any, config: Any) -> None:
    config.clear_flag(trt.BuilderFlag.TF32)


def in_fp16(trt: Any, network: Any, config: Any) -> None:
    config.set_flag(trt.BuilderFlag.FP16)


def with_formats(trt: Any, network: Any, config: Any) -> None:
    """trtexec --fp16 --inputIOFormats=fp16:hwc8 --outputIOFormats=fp16:hwc8."""
    in_fp16(trt, network, config)
    for tensor in (network.get_input(0), network.get_output(0)):
        tensor.dtype = trt.float16
        tensor.allowed_formats = 1 << int(trt.TensorFormat.HWC8)


def with_half_inputs(trt: Any, network: Any, config: Any) -> None:
    """trtexec --fp16 --inputIOFormats=fp16:chw --outputIOFormats=fp16:chw."""
    in_fp16(trt, network, config)
    for tensor in (network.get_input(0), network.get_output(0)):
        tensor.dtype = trt.float16
        tensor.allowed_formats = 1 << int(trt.TensorFormat.LINEAR)


FINISHED = f"""
import numpy as np
import pytest

SHAPE = {SHAPE}

def rows(seed):
    return {{"x0": np.random.default_rng(seed).random((8, *SHAPE), np.float32)}}

def plan(name, precision):
    marker = pytest.mark.trt_model("chain.onnx", precision=precision, plan=f"dist/{{name}}.plan")
    return pytest.param(name, marks=marker, id=f"{{name}}-as-{{precision}}")

RIGHT = [plan("fp32", "fp32"), plan("tf32", "tf32"), plan("fp16", "fp16"), plan("half", "fp16")]
WRONG = [
    plan("fp16", "fp32"),
    plan("fp16", "tf32"),
    plan("fp32", "fp16"),
    plan("tf32", "fp32"),
    plan("narrow", "fp32"),
    plan("other", "fp32"),
    plan("cut", "fp32"),
    plan("padded", "fp32"),
    plan("formats", "fp16"),
]
# Of another precision than it is named: its speed is that of another engine.
MISNAMED = [plan("fp16", "fp32"), plan("fp16", "tf32"), plan("fp32", "fp16")]

@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.trt_consistency
def test_right(trt_session, name):
    for seed in range(3):
        trt_session.run(rows(seed))

@pytest.mark.parametrize("name", WRONG)
@pytest.mark.trt_consistency
def test_wrong(trt_session, name):
    for seed in range(3):
        trt_session.run(rows(seed))

@pytest.mark.parametrize("name", MISNAMED)
@pytest.mark.trt_benchmark(p50=None, p95=None, p99=None, throughput=None, p99_ms=1000.0)
def test_misnamed(trt_benchmark, name):
    trt_benchmark(rows(0))
"""


@pytest.fixture(scope="module")
def finished(project: Path, shared: Path) -> Path:
    """A project with plans that another tool built."""

    def make(folder: Path) -> None:
        trt: Any = importlib.import_module("tensorrt")
        if not hasattr(trt.BuilderFlag, "FP16"):
            pytest.skip("this version of TensorRT has no builder flag for FP16")
        (folder / "dist").mkdir()
        for name in ("chain", "other"):
            shutil.copy(project / f"{name}.onnx", folder)
        chain, narrow = folder / "chain.onnx", ((1, *SHAPE), (4, *SHAPE), (4, *SHAPE))
        plans = {
            "fp32": build(chain, configure=in_fp32),
            "tf32": build(chain),
            "fp16": build(chain, configure=in_fp16),
            "half": build(chain, configure=with_half_inputs),
            "formats": build(chain, configure=with_formats),
            "narrow": build(chain, narrow, configure=in_fp32),
            "other": build(folder / "other.onnx", configure=in_fp32),
        }
        plans |= {"cut": plans["fp32"][:-100], "padded": plans["fp32"] + bytes(100)}
        for name, plan in plans.items():
            (folder / f"dist/{name}.plan").write_bytes(plan)
        (folder / "test_plans.py").write_text(FINISHED)

    return once(shared / "finished", make)


def test_plan_of_something_else_is_red_and_one_of_the_model_green(
    finished: Path, inner_pytest
) -> None:
    result = inner_pytest(finished, "-rA")
    outcomes = result.parseoutcomes()
    passed = [line for line in result.outlines if line.startswith("PASSED")]
    assert all("test_right" in line for line in passed), passed
    assert outcomes["passed"] == 4, outcomes


# The engine cache.

CACHED = """
import numpy as np
import pytest

@pytest.mark.trt_model(
    ["a.onnx", "b.onnx"],
    precision=("fp32", "fp16"),
    profiles={"image": ((1, 3, 16, 16), (8, 3, 16, 16), (32, 3, 16, 16))},
    builder_options={"builder_optimization_level": 1},
)
# On an H200 the logits of fp16 differ by up to 0.025.
@pytest.mark.trt_consistency(by_precision={"fp16": {"rtol": 0.01, "atol": 0.05}})
def test_it(trt_session):
    for seed, count in enumerate((8, 32, 32, 32)):
        image = np.random.default_rng(seed).random((count, 3, 16, 16), np.float32)
        trt_session.run({"image": image})
"""


class Cached:
    """A project and a copy of its engine cache, to be damaged."""

    def __init__(self, folder: Path, cache: Path, run: Callable[..., pytest.RunResult]) -> None:
        self.folder, self.cache, self._run = folder, cache, run

    def run(self, test: str = "a.onnx-fp32") -> pytest.RunResult:
        return self._run(self.folder, f"test_it.py::test_it[{test}]", cache=self.cache)

    def entry(self, model: str, precision: str) -> Entry:
        (found,) = (
            entry
            for entry in EngineCache(self.cache).entries()
            if isinstance(entry, Entry)
            and entry.sidecar.model_name == f"{model}.onnx"
            and entry.sidecar.key_fields["precision"] == precision
        )
        return found

    def forge(self, content: bytes) -> None:
        """Replace the plan of a.onnx in fp32, and the digest of it."""
        entry = self.entry("a", "fp32")
        entry.plan.write_bytes(content)
        edit_sidecar(entry.folder, files={entry.plan.name: to_data(digest_file(entry.plan))})


@pytest.fixture
def cached(gpu, shared: Path, inner_pytest, tmp_path: Path) -> Cached:
    def make(folder: Path) -> None:
        proto = networks.conv_net(channels=128)
        onnx.save(proto, folder / "a.onnx")
        onnx.save(scaled(proto, b3=3), folder / "b.onnx")
        (folder / "test_it.py").write_text(CACHED)
        inner_pytest(folder, cache=folder / "cache").assert_outcomes(passed=4)

    # The paths of models are not part of an engine's key.
    folder = once(shared / "cached", make)
    shutil.copytree(folder / "cache", tmp_path / "cache")
    (tmp_path / "cache").chmod(0o700)
    return Cached(folder, tmp_path / "cache", inner_pytest)


def test_engines_are_found_in_a_copied_cache(cached: Cached) -> None:
    result = cached.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["a.onnx*cached*"])


def test_plan_of_another_model_under_this_name_is_replaced(cached: Cached) -> None:
    shutil.copy(cached.entry("b", "fp32").plan, cached.entry("a", "fp32").plan)
    result = cached.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["note*a.onnx fp32*the cached engine was damaged*"])


def test_entry_of_another_model_under_this_name_is_replaced(cached: Cached) -> None:
    mine, other = cached.entry("a", "fp32").folder, cached.entry("b", "fp32").folder
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    result = cached.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["note*a.onnx fp32*the cached engine was damaged*"])


@pytest.mark.parametrize("model", ["b", "a"])
def test_plan_of_another_model_or_precision_with_its_digest_is_red(
    cached: Cached, model: str
) -> None:
    cached.forge(cached.entry(model, "fp32" if model == "b" else "fp16").plan.read_bytes())
    result = cached.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TRT401*"])


def test_plan_of_other_profiles_with_its_digest_is_red(cached: Cached) -> None:
    points = tuple((size, 3, 16, 16) for size in (1, 8, 16))
    cached.forge(build(cached.folder / "a.onnx", points, configure=in_fp32))
    result = cached.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TRT224*"])


def test_truncated_plan_with_its_digest_is_red(cached: Cached) -> None:
    cached.forge(cached.entry("a", "fp32").plan.read_bytes()[:-1000])
    result = cached.run()
    assert "passed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines(["*TRT322*"])


@pytest.mark.parametrize("damage", ["another file", "half of it"])
def test_engine_is_right_after_a_build_with_wrong_timings(cached: Cached, damage: str) -> None:
    (path,) = timing_files(cached.cache / "v1" / "timing")
    timings = read_timings(path)
    wrong = {"another file": b"no timing cache" * 100, "half of it": timings[: len(timings) // 2]}
    write_timings(path, wrong[damage])
    shutil.rmtree(cached.cache / "v1" / "engines")
    cached.run().assert_outcomes(passed=1)
