"""Timings outlive builds, and no trouble with them fails one. The builder is a fake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import builders_networks as networks
import pytest
from builders import full_disk

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.tensorrt import backend as tensorrt
from pytest_trt.backends.tensorrt.build_job import BuildJob, Built
from pytest_trt.backends.tensorrt.build_process import build_in_child
from pytest_trt.backends.tensorrt.product import Product
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.engine.timing_cache import read_timings, timing_files, write_timings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "timing").mkdir()
    return tmp_path / "timing" / "a.timing"


def build(job: BuildJob) -> Built:
    return build_in_child(job, timeout_s=0, progress=lambda text: None)


def test_a_second_build_uses_the_timings_of_the_first(job, path: Path) -> None:
    assert build(job("conv", timing_cache=path)) == Built()
    assert read_timings(path) == b"conv"
    assert build(job("conv", "gemm", timing_cache=path)).log_tail == ("[WARNING] knew conv",)
    assert read_timings(path) == b"conv\ngemm"


def test_what_others_measured_in_the_meantime_is_retained(job, path: Path, tmp_path: Path) -> None:
    write_timings(path, b"old")
    theirs = tmp_path / path.name
    write_timings(theirs, b"old\ntheirs")
    build(job(f"rename {theirs} {path}", "conv", timing_cache=path))
    assert {b"old", b"theirs", b"conv"} < set(read_timings(path).split(b"\n"))


def test_processes_that_build_at_once_keep_the_timings_of_all(job, path: Path) -> None:
    jobs = [job(f"conv{n}", name=f"engine{n}", timing_cache=path) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(build, jobs)) == [Built()] * 4
    assert read_timings(path) == b"conv0\nconv1\nconv2\nconv3"


@pytest.mark.parametrize(
    ("timings", "message"),
    [
        (b"no timings", "the builder rejects it"),
        (b"of another GPU", "the builder rejects it"),
        (None, "it has no seal of this version"),
    ],
)
def test_a_refused_or_damaged_file_is_deleted_and_replaced(
    job, path: Path, timings: bytes | None, message: str
) -> None:
    if timings is None:
        path.write_bytes(b"rubbish")
    else:
        write_timings(path, timings)
    (note,) = build(job("conv", timing_cache=path)).notes
    assert note == f"the timing cache {path} was deleted: {message}; tactics are timed again"
    assert read_timings(path) == b"conv"


def test_a_failed_build_leaves_the_timings_as_they_were(job, path: Path) -> None:
    write_timings(path, b"old")
    with pytest.raises(Exception, match="exit status 3"):
        build(job("conv", "exit 3", timing_cache=path))
    assert read_timings(path) == b"old"


def test_a_full_disk_does_not_fail_the_build(job, path: Path) -> None:
    write_timings(path, bytes(10_000))
    asked = job("impatient", timing_cache=path)
    with full_disk():
        (note,) = build(asked).notes
    assert "was not written: [Errno 27] File too large" in note
    assert read_timings(path) == bytes(10_000)
    assert asked.plan.output.exists()


def test_timings_that_the_builder_does_not_give_do_not_fail_the_build(job, path: Path) -> None:
    write_timings(path, b"old")
    asked = job("unserializable", timing_cache=path)
    (note,) = build(asked).notes
    assert note.endswith("was not written: the builder returns none")
    assert asked.plan.output.exists()
    assert read_timings(path) == b"old"


def test_a_folder_that_cannot_be_written_does_not_fail_the_build(job) -> None:
    (note,) = build(job("conv", timing_cache=Path("/proc/timing/a.timing"))).notes
    assert note.startswith("the timing cache /proc/timing/a.timing was not written: ")


@pytest.fixture
def backend(tmp_path: Path, fake_product: Product, fake_cuda: None) -> Callable[..., list[Path]]:
    """Build one engine with the TensorRT backend over the fake; return the timing caches."""
    gpu = Gpu("NVIDIA H200", "sm90", "GPU-1", 132, 141 << 30, "580", mig=False)
    timing = tmp_path / "timing"
    timing.mkdir()
    made = tensorrt.TensorRtBackend(
        DeviceProbe((gpu,), ""), timing_folder=timing, product=fake_product
    )
    model = networks.saved(networks.conv_net(batch=1), tmp_path / "conv.onnx")

    def run(**options: bool) -> list[Path]:
        (tmp_path / "staging").mkdir()
        spec = EngineSpec(builder_options=options)
        request = BuildRequest(model, spec, made.target("sm90"), tmp_path / "staging")
        made.build(request)
        assert [file.name for file in request.directory.iterdir()] == ["engine.plan"]
        return timing_files(timing)

    return run


def test_the_backend_keeps_one_file_for_its_version_and_gpu(backend) -> None:
    (path,) = backend()
    assert path.name.startswith("TensorRT-1.7.0-sm90-NVIDIA_H200-132-")
    assert read_timings(path) == b"conv"
    # Nothing but the probe looked at the GPU here; the builder's process started CUDA.
    assert "cuda.bindings.runtime" not in sys.modules


def test_no_file_is_touched_where_an_option_disables_it(backend) -> None:
    assert backend(disable_timing_cache=True) == []


def test_the_option_set_to_false_disables_nothing(backend) -> None:
    assert len(backend(disable_timing_cache=False)) == 1
