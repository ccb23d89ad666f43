"""TensorRT-RTX cross-builds for real here; without it installed this file is skipped."""

from __future__ import annotations

import os
import shutil
import signal
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import builders_networks as networks
import numpy as np
import onnx
import pytest
from builders_model import remedy
from onnx import helper

from pytest_trt.backends.devices.gpu import DeviceProbe, Gpu
from pytest_trt.backends.tensorrt.backend import TensorRtRtxBackend
from pytest_trt.backends.tensorrt.build import build_plan
from pytest_trt.backends.tensorrt.build_job import BuildPlan
from pytest_trt.backends.tensorrt.plan_header import read_plan_header
from pytest_trt.diagnostics import (
    ConfigurationError,
    EngineBuildError,
    EngineLoadError,
    ModelError,
    UnsupportedError,
)
from pytest_trt.engine.protocols import BuildRequest, BuildResult, Plan
from pytest_trt.engine.spec import EngineSpec, OptionValue, Target
from pytest_trt.onnx.file import OnnxModel, load_model
from pytest_trt.onnx.libraries import Library
from pytest_trt.tensors.profiles import Profile, ShapeRange, parse_profiles
from pytest_trt.tensors.spec import Tensors
from pytest_trt.workers.warm import warm_builder

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.fixture(scope="module", autouse=True)
def _no_builder_stays() -> Iterator[None]:
    """Let one process build for all tests of this file: it is slow to start."""
    yield
    warm_builder.end()


NO_GPU = DeviceProbe((), "no NVIDIA driver")
BACKEND = TensorRtRtxBackend(NO_GPU)
IMAGES: Profile = {"image": ShapeRange((1, 3, 16, 16), (8, 3, 16, 16), (32, 3, 16, 16))}
TOKENS: Profile = {name: ShapeRange((1, 4), (4, 16), (8, 64)) for name in ("ids", "mask")}
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, OnnxModel]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "conv": networks.saved(networks.conv_net(), folder / "conv.onnx"),
        "encoder": networks.saved(networks.encoder(), folder / "encoder.onnx"),
    }


CALIBRATION: Mapping[str, list[Tensors]] = {
    "conv": [{"image": RANDOM.standard_normal((4, 3, 16, 16)).astype(np.float32)}],
    "encoder": [
        {"ids": RANDOM.integers(0, 100, (2, 16)), "mask": np.ones((2, 16), np.int64)},
    ],
}


def build(
    model: OnnxModel, folder: Path, spec: EngineSpec, arch: str = "sm86", **fields: object
) -> BuildResult:
    return BACKEND.build(BuildRequest(model, spec, Target(arch), folder, **fields))  # type: ignore[arg-type]


#: The precisions, each with options that its models need.
PRECISIONS: Mapping[str, Mapping[str, OptionValue]] = {
    **{name: {} for name in ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "mixed")},
    "int4": {"block_size": 16},
}


@pytest.mark.parametrize(
    "arch",
    [*(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("sm86", "sm89")), "sm120"],
)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["conv", "encoder"])
def test_cross_builds(
    name: str, precision: str, arch: str, models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    profile, options = IMAGES if name == "conv" else TOKENS, PRECISIONS[precision]
    spec = EngineSpec(precision, (profile,), options)
    steps: list[str] = []
    if (precision, arch) == ("fp8", "sm86"):
        with pytest.raises(UnsupportedError, match="sm86 has no fp8") as caught:
            build(models[name], tmp_path, spec, arch, calibration=CALIBRATION[name])
        assert caught.value.diagnostic.facts["precision"] == "fp8"
        return
    result = build(
        models[name],
        tmp_path,
        spec,
        arch,
        calibration=CALIBRATION[name],
        progress=steps.append,
    )
    header = read_plan_header(tmp_path / result.plan_name)
    assert header.archs == (arch,)
    assert header.version == BACKEND.toolchain().version
    assert [path.name for path in tmp_path.iterdir()] == ["engine.plan"]
    assert any("Building engine" in step for step in steps)
    # Only a loaded engine tells of its layers, and this one loads elsewhere.
    assert (result.layers, result.device_memory_bytes, result.hidden_weights) == (None, None, 0)


def test_a_plain_network_builds_to_the_same_bytes(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    plans = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        build(models["conv"], tmp_path / name, EngineSpec(profiles=(IMAGES,)))
        plans.append((tmp_path / name / "engine.plan").read_bytes())
    assert plans[0] == plans[1]


@pytest.mark.parametrize("names", [("?", "?", "?"), ("n", "n", "n")])
def test_dimensions_of_one_name_may_have_several_sizes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    # As paddle2onnx writes them. External data show that the model is still read where it lies.
    batch, height, width = names
    proto = networks.model(
        [helper.make_node("Add", ["x", "bias"], ["y"])],
        [networks.value("x", [batch, 3, height, width])],
        [networks.value("y", [batch, 3, height, width])],
        [networks.weights("bias", 1, 3, 1, 1)],
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    ranges = {"x": ((1, 3, 48, 192), (4, 3, 48, 192), (8, 3, 48, 192))}
    model = load_model(path)
    spec = EngineSpec(profiles=parse_profiles(ranges, model.inputs, where="test"))
    (tmp_path / "plan").mkdir()
    result = build(model, tmp_path / "plan", spec)
    assert read_plan_header(tmp_path / "plan" / result.plan_name).archs == ("sm86",)


def test_the_request_changes_the_plan(models: Mapping[str, OnnxModel], tmp_path: Path) -> None:
    plans = set()
    specs = {
        "plain": EngineSpec(profiles=(IMAGES,)),
        "tf32": EngineSpec("tf32", (IMAGES,)),
        "fp16": EngineSpec("fp16", (IMAGES,)),
        "workspace": EngineSpec(profiles=(IMAGES,), builder_options={"workspace_bytes": 1 << 28}),
        "streamed": EngineSpec(profiles=(IMAGES,), builder_options={"weight_streaming": True}),
    }
    for name, spec in specs.items():
        (tmp_path / name).mkdir()
        build(models["conv"], tmp_path / name, spec)
        plans.add((tmp_path / name / "engine.plan").read_bytes())
    assert len(plans) == len(specs)


def test_every_option_that_needs_no_gpu_is_taken(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    options = {
        "workspace_bytes": 1 << 28,
        "builder_optimization_level": 2,
        "avg_timing_iterations": 2,
        "max_aux_streams": 1,
        "max_num_tactics": 4,
        "tiling_optimization_level": "fast",
        "l2_limit_for_tiling": 1 << 20,
        "sparse_weights": True,
        "strict_nans": True,
        "version_compatible": False,
    }
    build(models["conv"], tmp_path, EngineSpec(profiles=(IMAGES,), builder_options=options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workspace": 1}, r"unknown builder option 'workspace'.*workspace_bytes: limit"),
        ({"workspace_bytes": "1G"}, r"workspace_bytes='1G' is not a whole number"),
        ({"workspace_bytes": -1}, r"workspace_bytes=-1: refused: .*scratch memory"),
        ({"builder_optimization_level": 9}, r"level=9: refused: the builder uses 5.*0 builds fast"),
        ({"max_num_tactics": 0}, r"max_num_tactics=0: refused: the builder uses -1"),
        ({"max_aux_streams": 1 << 40}, r"max_aux_streams=1099511627776: refused: .*auxiliary"),
        ({"refit": 1}, r"refit=1 is not True or False"),
        ({"tiling_optimization_level": "most"}, r"'most' is not one of none, fast, moderate, full"),
        ({"obey_precision_constraints": True}, r"1\.7.* has no builder option 'obey_precision"),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, str | int | bool],
    message: str,
    models: Mapping[str, OnnxModel],
    tmp_path: Path,
) -> None:
    spec = EngineSpec(profiles=(IMAGES,), builder_options=options)
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        build(models["conv"], tmp_path, spec)


def test_an_option_that_the_product_ignores_is_noted(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    options = {"hardware_compatibility": "ampere_plus"}
    result = build(models["conv"], tmp_path, EngineSpec("fp32", (IMAGES,), options))
    assert any("HardwareCompatibilityLevel() is unsupported" in note for note in result.notes)


def test_what_stays_in_fp32_goes_to_the_converter(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    spec = EngineSpec("fp16", (TOKENS,), keep_fp32=("Mul", "Add"))
    assert build(models["encoder"], tmp_path, spec).notes == ()


def test_clamped_constants_are_noted(models: Mapping[str, OnnxModel], tmp_path: Path) -> None:
    result = build(models["encoder"], tmp_path, EngineSpec("fp16", (TOKENS,)))
    assert result.notes == ("constant 'far': -1e+09 became -65504 in float16",)


def test_routes_name_how_precisions_are_reached(models: Mapping[str, OnnxModel]) -> None:
    routes = {
        precision: BACKEND.route(models["conv"], EngineSpec(precision, (IMAGES,)))
        for precision in PRECISIONS
    }
    assert routes["fp32"].name == routes["tf32"].name == "as the model is"
    assert routes["fp16"].name == routes["bf16"].name == "converted model"
    assert "onnxruntime" in routes["fp16"].versions
    assert [p for p, route in routes.items() if route.needs_calibration] == ["int8", "fp8", "mixed"]


def test_a_dynamic_input_without_profile_gets_one_to_paste(
    models: Mapping[str, OnnxModel],
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        BACKEND.route(models["conv"], EngineSpec())
    assert "image: float32[batch, 3, 16, 16]" in caught.value.message
    assert '\nprofiles={"image": ((1, 3, 16, 16), ' in remedy(caught.value)
    pasted = eval(remedy(caught.value).partition("profiles=")[2].partition(" (min")[0])
    profiles = parse_profiles(pasted, models["conv"].inputs, where="the test")
    BACKEND.route(models["conv"], EngineSpec(profiles=profiles))


def test_a_second_profile_without_an_input_is_refused(models: Mapping[str, OnnxModel]) -> None:
    partial = {"ids": TOKENS["ids"]}
    with pytest.raises(ConfigurationError, match="profile 1 has no range of shapes for mask"):
        BACKEND.route(models["encoder"], EngineSpec(profiles=(TOKENS, partial)))


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        ("picture", IMAGES["image"], "names input 'picture'"),
        ("image", ShapeRange((8, 3, 16, 16), (4, 3, 16, 16), (2, 3, 16, 16)), "'image'|profile 0"),
    ],
)
def test_a_profile_that_the_builder_would_ignore_is_refused(
    name: str,
    shapes: ShapeRange,
    message: str,
    models: Mapping[str, OnnxModel],
    tmp_path: Path,
) -> None:
    spec = EngineSpec(profiles=({**IMAGES, name: shapes},))
    with pytest.raises((ConfigurationError, EngineBuildError), match=message):
        build(models["conv"], tmp_path, spec)


def test_several_profiles_build(models: Mapping[str, OnnxModel], tmp_path: Path) -> None:
    large = {"image": ShapeRange((32, 3, 16, 16), (64, 3, 16, 16), (64, 3, 16, 16))}
    build(models["conv"], tmp_path, EngineSpec(profiles=(IMAGES, large)))


def one_node(operator: str, folder: Path, *, domain: str = "", opset: int = 17) -> OnnxModel:
    proto = networks.model(
        [helper.make_node(operator, ["x"], ["y"], name="odd", domain=domain)],
        [networks.value("x", [2, 2])],
        [networks.value("y", None)],
        opset=opset,
    )
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    return networks.saved(proto, folder / "m.onnx")


@pytest.mark.parametrize("opset", [17, 18])
def test_an_operator_that_no_product_has_needs_a_plugin(opset: int, tmp_path: Path) -> None:
    model = one_node("Frobnicate", tmp_path, domain="acme", opset=opset)
    with pytest.raises(EngineBuildError) as caught:
        build(model, tmp_path, EngineSpec())
    assert caught.value.message == (
        f"{BACKEND.toolchain()} cannot parse m.onnx: node 'odd' (Frobnicate): no such operator, "
        "and no such plugin"
    )
    assert remedy(caught.value).startswith(
        "Frobnicate (domain acme) is not an operator of ONNX, so it needs a plugin: name the "
        'library that has it with trt_model(plugin_libraries=["path/to/library.so"]).'
    )


NO_PLUGINS = [("text", "which is no library"), ("library", "it has no plugins of TensorRT")]


@pytest.mark.parametrize(("kind", "reason"), NO_PLUGINS)
def test_a_library_without_plugins_is_refused(kind: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "libmyops.so"
    path.write_text("int main() {}\n")
    if kind == "library":
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        shutil.copy(next((Path(np.__file__).parent / "random").glob(f"*{suffix}")), path)
    model = replace(one_node("Abs", tmp_path), plugin_libraries=(Library.read(path),))
    with pytest.raises(ModelError) as caught:
        build(model, tmp_path, EngineSpec())
    assert caught.value.message.startswith(f"{BACKEND.toolchain()} cannot load {path}")
    assert reason in str(caught.value)
    assert caught.value.diagnostic.code == "TRT231"


def test_plugins_are_part_of_the_route(tmp_path: Path) -> None:
    model = one_node("Abs", tmp_path)
    library = Library.read(model.path)
    model = replace(model, plugin_libraries=(library,))
    assert BACKEND.route(model, EngineSpec()).libraries == (library,)
    converted = replace(model, plugin_libraries=(), custom_ops=(library,))
    assert BACKEND.route(converted, EngineSpec()).libraries == ()
    assert BACKEND.route(converted, EngineSpec("fp16")).libraries == (library,)


def test_there_have_to_be_plugins_to_store_in_plans(tmp_path: Path) -> None:
    spec = EngineSpec(builder_options={"serialize_plugins": True})
    with pytest.raises(ConfigurationError, match="and none is named") as caught:
        BACKEND.route(one_node("Abs", tmp_path), spec)
    assert caught.value.diagnostic.code == "TRT357"


@pytest.mark.parametrize("opset", [17, 18])
def test_an_operator_that_is_not_built_in_is_named(opset: int, tmp_path: Path) -> None:
    model = one_node("Det", tmp_path, opset=opset)
    with pytest.raises(EngineBuildError, match=r"node 'odd' \(Det\): not supported") as caught:
        build(model, tmp_path, EngineSpec())
    assert remedy(caught.value).startswith("Export the model without what it names")


def test_a_model_that_was_emptied_is_distinguished_from_one_that_fails(tmp_path: Path) -> None:
    model = one_node("Relu", tmp_path)
    model.path.write_bytes(b"")  # the parser takes that for a model
    with pytest.raises(EngineBuildError, match=r"network is empty: 0 layers, 0 outputs") as caught:
        build(model, tmp_path, EngineSpec())
    assert "pytest-trt inspect" in remedy(caught.value)


def test_a_missing_profile_of_the_network_is_named(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    # What the model's own facts tell of its inputs is checked before; this is what they do not.
    plan = BuildPlan(
        version="TensorRT-RTX",
        model_name="conv.onnx",
        title="conv.onnx",
        source=models["conv"].path,
        output=tmp_path / "engine.plan",
        compute_capabilities=["SM86"],
    )
    with pytest.raises(EngineBuildError, match="no optimization profile") as caught:
        build_plan(trt, plan, lambda text: None)
    assert remedy(caught.value).startswith("Give every dynamic input a range in every profile")


def test_a_model_without_outputs_is_refused(tmp_path: Path) -> None:
    # The model's facts are read before its outputs go, as no reader would let such a file pass.
    model = networks.saved(networks.conv_net(batch=1), tmp_path / "m.onnx")
    proto = onnx.load(model.path)
    del proto.graph.output[:]
    onnx.save(proto, model.path)
    with pytest.raises(EngineBuildError, match=r"m\.onnx"):
        build(model, tmp_path, EngineSpec())


def test_a_builder_that_fails_shows_its_log(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    with pytest.raises(EngineBuildError, match="could not build conv") as caught:
        build(models["conv"], tmp_path, EngineSpec(profiles=(IMAGES,)), "sm75")
    assert "FP32 GEMM is not supported" in "".join(caught.value.log_tail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arch", ["sm90", "sm100", "cpu"])
def test_what_it_cannot_target_is_refused_with_what_it_can(
    arch: str, models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    spec = EngineSpec(profiles=(IMAGES,))
    with pytest.raises(ConfigurationError, match=r"sm75, sm80, sm86, sm89, sm120") as caught:
        build(models["conv"], tmp_path, spec, arch)
    assert "use TensorRT on a machine with that GPU" in remedy(caught.value)


def test_an_interrupt_in_a_callback_ends_the_build(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    def interrupt(message: str) -> None:
        if "Building" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(models["conv"], tmp_path, EngineSpec(profiles=(IMAGES,)), progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_builder_that_dies_in_the_middle_is_an_error(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    (children,) = Path("/proc/self/task").glob(f"{threading.get_native_id()}/children")
    earlier = set(children.read_text().split())

    def crash(message: str) -> None:
        if message == "building encoder.onnx fp32 for sm86":
            (builder,) = set(children.read_text().split()) - earlier
            os.kill(int(builder), signal.SIGSEGV)

    # Every profile is tuned for, so this takes seconds: nobody is killed who is done already.
    grown = [
        {name: ShapeRange((1, 1 + more), (4, 16 + more), (8, 64 + more)) for name in TOKENS}
        for more in range(16)
    ]
    spec = EngineSpec(profiles=tuple(grown))
    with pytest.raises(EngineBuildError, match=r"TensorRT-RTX crashed \(SIGSEGV\)"):
        build(models["encoder"], tmp_path, spec, progress=crash)
    assert list(tmp_path.iterdir()) == []


def test_external_data_are_found(tmp_path: Path) -> None:
    onnx.save(
        networks.conv_net(batch=1),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    build(load_model(tmp_path / "m.onnx"), tmp_path, EngineSpec())


def test_without_a_gpu_a_plan_is_not_opened(
    models: Mapping[str, OnnxModel], tmp_path: Path
) -> None:
    spec = EngineSpec(profiles=(IMAGES,))
    build(models["conv"], tmp_path, spec)
    with pytest.raises(EngineLoadError, match=r"is for sm86; no NVIDIA GPU \(no NVIDIA driver"):
        BACKEND.open(Plan(tmp_path / "engine.plan"), models["conv"], spec, Target("sm86"))


def test_what_runs_where() -> None:
    gpu = Gpu("NVIDIA A10", "sm86", "GPU-1", 72, 24 << 30, "580", mig=False)
    here = TensorRtRtxBackend(DeviceProbe((gpu,), ""))
    assert here.cannot_run(Target("sm86")) is None
    assert here.cannot_run(Target("sm89")) == (
        "engines for sm89 do not run on the GPU here, NVIDIA A10 (sm86)"
    )
    assert BACKEND.cannot_run(Target("sm86")) == "no NVIDIA GPU (no NVIDIA driver)"


def test_the_toolchain_reports_the_full_version_and_cuda_line() -> None:
    toolchain = BACKEND.toolchain()
    assert str(toolchain) == f"TensorRT-RTX {trt.__version__}"
    assert toolchain.versions["cuda"] in ("cu12", "cu13", "cu12,cu13")
