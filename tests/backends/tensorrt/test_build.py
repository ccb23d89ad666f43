"""How TensorRT's builder is asked: routes to precisions, targets, profiles, versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest
from builders_model import remedy

from pytest_trt.backends.conversion.int8 import to_int8
from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.tensorrt import api as trt_api
from pytest_trt.backends.tensorrt import backend as tensorrt
from pytest_trt.backends.tensorrt import backend as tensorrt_rtx
from pytest_trt.backends.tensorrt.log import LogTail
from pytest_trt.backends.tensorrt.plan_header import same_version
from pytest_trt.backends.tensorrt.product import TENSORRT, Product
from pytest_trt.diagnostics import (
    BackendUnavailableError,
    ConfigurationError,
    EngineLoadError,
    UnsupportedError,
)
from pytest_trt.engine.protocols import BuildRequest, Plan
from pytest_trt.engine.spec import CALIBRATED, EngineSpec, Target
from pytest_trt.onnx.file import load_model
from pytest_trt.tensors.profiles import parse_profiles


@pytest.fixture
def model(tmp_path: Path):
    return networks.saved(networks.conv_net(batch=1), tmp_path / "model.onnx")


#: The precision flags of TensorRT 8.6, and of 10.
FLAGS_OF_8 = ("FP16", "INT8", "FP8")
FLAGS = (*FLAGS_OF_8, "BF16", "INT4")


@pytest.mark.parametrize(
    ("precision", "weak_types", "name", "convert", "flags"),
    [
        ("fp32", True, "as the model is", None, ()),
        ("fp32", False, "as the model is", None, ()),
        ("tf32", True, "as the model is", None, ()),
        ("fp16", True, "builder flags", None, ("FP16",)),
        ("fp16", False, "converted model", "fp16", ()),
        ("bf16", True, "builder flags", None, ("BF16",)),
        ("bf16", False, "converted model", "bf16", ()),
        ("int8", True, "converted model, builder flags", "int8", ("INT8",)),
        ("int8", False, "converted model", "int8", ()),
        ("fp8", True, "converted model, builder flags", "fp8", ("FP8",)),
        ("fp8", False, "converted model", "fp8", ()),
        ("int4", True, "converted model, builder flags", "int4", ("INT4",)),
        ("int4", False, "converted model", "int4", ()),
        ("mixed", True, "converted model, builder flags", "int8", ("INT8", "FP16")),
        ("mixed", False, "converted model", "mixed", ()),
    ],
)
def test_the_route_to_a_precision(
    precision: str, weak_types: bool, name: str, convert: str | None, flags: tuple[str, ...], model
) -> None:
    chosen = trt_api.precision_route(model, precision, FLAGS if weak_types else ())
    assert (chosen.route.name, chosen.convert, chosen.flags) == (name, convert, flags)
    assert chosen.route.needs_calibration == (precision in CALIBRATED)
    assert chosen.route.builder_chooses == bool(flags)
    assert bool(chosen.route.versions) == (convert is not None)


def test_calibrators_are_a_route_of_their_own_up_to_tensorrt_10(model, tmp_path: Path) -> None:
    chosen = trt_api.precision_route(model, "int8", FLAGS_OF_8, calibrator="entropy")
    assert (chosen.convert, chosen.flags, chosen.calibrator) == (None, ("INT8",), "entropy")
    assert chosen.route.needs_calibration
    spec = EngineSpec("int8", builder_options={"calibrator": "entropy"})
    trt_api.check_spec("tensorrt", model, spec, chosen)
    # Nothing is converted, so options of the conversion would change nothing.
    spec = EngineSpec("int8", builder_options={"calibrator": "entropy", "per_channel": True})
    with pytest.raises(ConfigurationError, match="per_channel"):
        trt_api.check_spec("tensorrt", model, spec, chosen)
    with pytest.raises(UnsupportedError, match=r"needs TensorRT 8\.6 to 10") as caught:
        trt_api.precision_route(model, "int8", calibrator="minmax")
    assert "calibration_method" in remedy(caught.value)


def test_a_quantised_model_has_no_calibrator(model, tmp_path: Path) -> None:
    images = np.ones(model.inputs[0].shape, np.float32)
    to_int8(model, [{"image": images}], tmp_path / "quantised.onnx")
    quantised = load_model(tmp_path / "quantised.onnx")
    with pytest.raises(ConfigurationError, match="quantised already"):
        trt_api.precision_route(quantised, "int8", FLAGS_OF_8, calibrator="entropy")


def test_a_calibrator_gets_samples_in_a_file_and_needs_one_shape(model, tmp_path: Path) -> None:
    from pytest_trt.backends.tensorrt.calibrator import prepared_calibrator
    from pytest_trt.tensors.stored import StoredSamples

    (spec,) = model.inputs
    image = np.ones(spec.shape, np.float32)
    request = BuildRequest(model, EngineSpec("int8"), Target("sm86"), tmp_path, [{"image": image}])
    tables = []
    for algorithm, product in (
        ("entropy", "1"),
        ("entropy", "1"),
        ("minmax", "1"),
        ("minmax", "2"),
    ):
        with prepared_calibrator(request, algorithm, product, 0, tmp_path) as calibrator:
            (sample,) = StoredSamples(calibrator.samples)
            np.testing.assert_equal(sample["image"], image)
            tables.append(calibrator.table)
        assert not calibrator.samples.exists()
    assert tables[0] == tables[1]
    assert len(set(tables)) == 3
    dynamic = networks.saved(networks.conv_net(), tmp_path / "dynamic.onnx")
    samples = [{"image": np.repeat(image, rows, axis=0)} for rows in (1, 2)]
    several = replace(request, model=dynamic, calibration=samples)
    with (
        pytest.raises(ConfigurationError, match="samples of one shape"),
        prepared_calibrator(several, "entropy", "1", 0, None),
    ):
        pass


@pytest.mark.parametrize("precision", ["bf16", "fp8", "int4"])
def test_a_version_without_a_precision_says_so(precision: str, model) -> None:
    with pytest.raises(UnsupportedError) as caught:
        trt_api.precision_route(model, precision, FLAGS_OF_8, version="TensorRT 8.6.0")
    assert caught.value.message == f"TensorRT 8.6.0 has no {precision}"
    assert caught.value.diagnostic.facts["precision"] == precision


def test_without_the_module_the_error_says_what_to_install() -> None:
    product = Product("tensorrt_of_the_future", "TensorRT", ("pip install it",))
    with pytest.raises(BackendUnavailableError, match="TensorRT cannot be imported") as caught:
        product.load()
    assert remedy(caught.value).endswith("\npip install it")


def test_tensorrt_without_a_gpu_neither_builds_nor_opens(model, tmp_path: Path) -> None:
    backend = tensorrt.TensorRtBackend(DeviceProbe((), "no NVIDIA driver"))
    request = BuildRequest(model, EngineSpec(), Target("sm86"), tmp_path)
    with pytest.raises(BackendUnavailableError, match=r"no NVIDIA GPU \(no NVIDIA driver"):
        backend.build(request)
    with pytest.raises(EngineLoadError, match=r"is for sm86; no NVIDIA GPU \(no NVIDIA driver"):
        backend.open(Plan(tmp_path / "engine.plan"), model, EngineSpec(), Target("sm86"))


def test_a_target_of_tensorrt_names_the_gpu() -> None:
    gpu = Gpu("NVIDIA A10", "sm86", "GPU-1", 72, 24 << 30, "580", mig=False)
    backend = tensorrt.TensorRtBackend(DeviceProbe((gpu,), ""))
    assert backend.target("sm86") == Target("sm86", {"gpu": "NVIDIA A10", "sm_count": "72"})
    assert backend.target("sm89") == Target("sm89")
    assert tensorrt_rtx.TensorRtRtxBackend(DeviceProbe((gpu,), "")).target("sm86") == Target("sm86")


@pytest.mark.parametrize(
    ("header", "installed", "same"),
    [
        ("8.6.0.12", "8.6.0", True),
        ("10.16.1.11", "10.16.1.11", True),
        ("10.0.0.6", "10.0.0b6", True),
        ("10.0.1.6", "10.0.0b6", False),
        ("1.7.1.116", "1.6.1.120", False),
        ("10.16.1.11", "10.16.1.12", False),
    ],
)
def test_versions_agree_as_far_as_both_go(header: str, installed: str, same: bool) -> None:
    assert same_version(header, installed) == same


def test_a_log_tail_keeps_the_last_lines_and_no_repeats() -> None:
    tail = LogTail()
    for line in ["same", "same", *map(str, range(50))]:
        tail.add(line)
    assert len(tail.lines) == 40
    assert tail.lines[-1] == "49"
    tail.raise_pending()
    tail.raised = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tail.raise_pending()


def test_an_error_about_a_missing_profile_shows_one_to_paste(tmp_path: Path) -> None:
    model = networks.saved(networks.encoder(), tmp_path / "encoder.onnx")
    chosen = trt_api.precision_route(model, "fp32", FLAGS)
    with pytest.raises(ConfigurationError) as caught:
        trt_api.check_spec("tensorrt", model, EngineSpec(), chosen)
    assert caught.value.message == (
        "there is no range of shapes for ids: int64[batch, length]; mask: int64[batch, length]; "
        "TensorRT builds only for a range of shapes"
    )
    pasted = remedy(caught.value).partition("profiles=")[2].partition(" (min")[0]
    profiles = parse_profiles(eval(pasted), model.inputs, where="the test")
    trt_api.check_spec("tensorrt", model, EngineSpec(profiles=profiles), chosen)


def test_a_fixed_model_needs_no_profile(model) -> None:
    trt_api.check_spec(TENSORRT, model, EngineSpec(), trt_api.precision_route(model, "fp32", FLAGS))
