"""What the TensorRT adapters touch exists in every version that is supported.

`trt_api_surface.json` lists classes and members of 22 builds of TensorRT and TensorRT-RTX,
taken from the real bindings and cut down to the classes that are used here.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import builders_networks as networks
import pytest

import pytest_trt.backends
from pytest_trt.backends import tensorrt, tensorrt_rtx, trt_api, trt_options
from pytest_trt.backends.device import DeviceProbe, Gpu
from pytest_trt.backends.trt_logging import LogTail
from pytest_trt.engine import BuildRequest, EngineSpec, Target
from pytest_trt.errors import BackendUnavailableError, ConfigurationError, EngineLoadError
from pytest_trt.model import parse_profiles

SURFACE: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("trt_api_surface.json").read_text()
)
RTX = [version for version in SURFACE if version.startswith("rtx")]
TENSORRT = [version for version in SURFACE if not version.startswith("rtx")]

#: The class behind each name that the adapters give to an object of the vendor's.
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
}
MODULES = (
    "trt_api",
    "trt_binding",
    "trt_build",
    "trt_logging",
    "trt_options",
    "trt_session",
)

#: Behind a `hasattr` of the adapters: 8.6 has no progress monitor.
ASKED_FOR = {
    "IProgressMonitor",
    "IProgressMonitor.__init__",
    "IBuilderConfig.progress_monitor",
}

#: Only with compute capabilities to build for, which only TensorRT-RTX is given.
RTX_ONLY = {
    "ComputeCapability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}


def used_names() -> set[str]:
    """Return "Class" or "Class.member" for everything of the vendor's that the adapters name."""
    folder = Path(pytest_trt.backends.__path__[0])
    found: set[str] = set()
    for module in MODULES:
        found.update(names_in(ast.parse((folder / f"{module}.py").read_text())))
    return found


def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        if is_vendor_module(owner):
            yield node.attr
        elif isinstance(owner, ast.Attribute) and is_vendor_module(owner.value):
            yield f"{owner.attr}.{node.attr}"
        else:
            name = getattr(owner, "id", None) or getattr(owner, "attr", None)
            if name in CLASSES:
                yield f"{CLASSES[name]}.{node.attr}"


def is_vendor_module(node: ast.AST) -> bool:
    return getattr(node, "id", None) == "trt" or getattr(node, "attr", None) == "_trt"


def has(version: str, name: str) -> bool:
    owner, _, member = name.partition(".")
    members = SURFACE[version].get(owner)
    # Constructors, and the attributes that every Python object has, are not listed.
    return members is not None and (not member or member.startswith("__") or member in members)


USED = sorted(used_names() - {"__version__"})


def test_the_names_are_found_at_all() -> None:
    assert {"Builder", "ICudaEngine.get_tensor_mode", "TensorIOMode.OUTPUT"} <= set(USED)
    assert len(USED) > 40


@pytest.mark.parametrize("version", TENSORRT)
def test_tensorrt_has_every_name(version: str) -> None:
    wanted = set(USED) - RTX_ONLY
    missing = {name for name in wanted if not has(version, name)}
    assert missing <= (ASKED_FOR if version.startswith("8.") else set())


@pytest.mark.parametrize("version", RTX)
def test_tensorrt_rtx_has_every_name(version: str) -> None:
    assert [name for name in USED if not has(version, name)] == []


def test_a_name_that_is_gone_would_be_noticed() -> None:
    (name,) = names_in(ast.parse("builder.max_batch_size"))
    assert has("8.6.1", name)
    assert not has("10.0.1", name)


@pytest.mark.parametrize("version", SURFACE)
def test_builder_flags_tell_weak_types(version: str) -> None:
    weak = has(version, "BuilderFlag.FP16") and has(version, "BuilderFlag.INT8")
    # TensorRT-RTX 1.4 still had the names; its backend does not ask.
    assert weak == (version.startswith(("8.", "10.")) or version == "rtx1.4.0.76")


def test_explicit_batch_is_there_where_it_is_needed() -> None:
    assert has("8.6.1", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH")
    assert not has("11.0.0.114", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH")


@pytest.mark.parametrize("option", trt_options.BUILDER_OPTIONS)
def test_every_builder_option_exists_in_some_version(option: str) -> None:
    attribute, enum, _ = trt_options._MEMBERS.get(option, (option, "", ""))
    flag, _ = trt_options._FLAGS.get(option, ("", ""))
    name = f"BuilderFlag.{flag}" if flag else f"IBuilderConfig.{attribute}"
    if option == "workspace_bytes":
        name = "MemoryPoolType.WORKSPACE"
    versions = [version for version in SURFACE if has(version, name)]
    assert versions
    assert not enum or all(enum in SURFACE[version] for version in versions)


@pytest.fixture
def model(tmp_path: Path):
    return networks.saved(networks.conv_net(batch=1), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("precision", "weak_types", "name", "convert", "flags"),
    [
        ("fp32", True, "as the model is", None, ()),
        ("fp32", False, "as the model is", None, ()),
        ("tf32", True, "as the model is", None, ()),
        ("fp16", True, "builder flags", None, ("FP16",)),
        ("fp16", False, "converted model", "fp16", ()),
        ("int8", True, "converted model, builder flags", "int8", ("INT8",)),
        ("int8", False, "converted model", "int8", ()),
    ],
)
def test_the_route_to_a_precision(
    precision: str, weak_types: bool, name: str, convert: str | None, flags: tuple[str, ...], model
) -> None:
    chosen = trt_api.precision_route(model, precision, weak_types=weak_types)
    assert (chosen.route.name, chosen.convert, chosen.flags) == (name, convert, flags)
    assert chosen.route.needs_calibration == (convert == "int8")
    assert bool(chosen.route.versions) == (convert is not None)


def test_without_the_module_the_error_says_what_to_install() -> None:
    product = trt_api.Product("tensorrt_of_the_future", "TensorRT", "pip install it")
    with pytest.raises(BackendUnavailableError, match="TensorRT cannot be imported") as caught:
        product.load()
    assert caught.value.fix == "pip install it"


def test_tensorrt_without_a_gpu_neither_builds_nor_opens(model, tmp_path: Path) -> None:
    backend = tensorrt.TensorRtBackend(DeviceProbe((), "no NVIDIA driver"))
    request = BuildRequest(model, EngineSpec(), Target("sm86"), tmp_path)
    with pytest.raises(BackendUnavailableError, match="no NVIDIA GPU here: no NVIDIA driver"):
        backend.build(request)
    with pytest.raises(EngineLoadError, match="needs a GPU: no NVIDIA driver"):
        backend.open(tmp_path / "engine.plan", model, EngineSpec())


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
        ("1.7.1.116", "1.6.1.120", False),
        ("10.16.1.11", "10.16.1.12", False),
    ],
)
def test_versions_agree_as_far_as_both_go(header: str, installed: str, same: bool) -> None:
    assert trt_api._same(header, installed) == same


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


def test_a_dynamic_model_without_profile_is_told_which_one_to_paste(tmp_path: Path) -> None:
    model = networks.saved(networks.encoder(), tmp_path / "encoder.onnx")
    chosen = trt_api.precision_route(model, "fp32", weak_types=True)
    with pytest.raises(ConfigurationError) as caught:
        trt_api.check_spec(model, EngineSpec(), chosen)
    assert caught.value.message == (
        "there is no range of shapes for ids: int64[batch, length]; mask: int64[batch, length], "
        "and TensorRT builds for a range of shapes only."
    )
    pasted = caught.value.fix.partition("profiles=")[2].partition(" (min")[0]
    profiles = parse_profiles(eval(pasted), model.inputs, where="the test")
    trt_api.check_spec(model, EngineSpec(profiles=profiles), chosen)


def test_a_fixed_model_needs_no_profile(model) -> None:
    trt_api.check_spec(model, EngineSpec(), trt_api.precision_route(model, "fp32", weak_types=True))
