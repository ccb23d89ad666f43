"""What the TensorRT adapters touch exists in every version that is supported.

`trt_api_surface.json` lists the members of the classes that build and run engines, in 21 builds of
TensorRT and TensorRT-RTX, taken from the real bindings. The names that the adapters use are read
from their sources, so a use of something that only newer versions have is found here.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_trt.backends.tensorrt
from pytest_trt.backends.tensorrt import options as trt_options
from pytest_trt.engine.builder_options import (
    BUILDER_OPTIONS,
    CALIBRATOR,
    SERIALIZE_PLUGINS,
    BuilderOption,
)

_LISTED = json.loads(Path(__file__).with_name("trt_api_surface.json").read_text())
VERSIONS: list[str] = _LISTED["versions"]
RTX = [version for version in VERSIONS if version.startswith("rtx")]
TENSORRT = [version for version in VERSIONS if version not in RTX]

#: The class behind each name that the adapters give to an object of the vendor's.
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "config": "IBuilderConfig",
    "cache": "ITimingCache",
    "others": "ITimingCache",
    "registry": "IPluginRegistry",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "serialized": "IHostMemory",
    "runtime": "Runtime",
    "runtime_config": "IRuntimeConfig",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "node_layer": "ILayer",
    "context": "IExecutionContext",
}

#: Results of the vendor's calls, and arguments of any type, that have no members of interest.
PLAIN = {
    "addr",
    "address",
    "done",
    "dtype",
    "handle",
    "layer",
    "layout",
    "location",
    "logger",
    "pointer",
    "reason",
    "severity",
    "shape",
    "stream",
    "text",
    "trt",
    "type",
    "vendor",
}

#: Used where a `hasattr` in another place said that they are there.
ASKED_FOR = {
    "IBuilderConfig.progress_monitor",
    "ICudaEngine.create_runtime_config",
    "IDebugListener",
    "IExecutionContext.set_debug_listener",
    "IExecutionContext.unfused_tensors_debug_state",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
}

#: Only where builder flags choose the precision: TensorRT up to 10.
WEAK_ONLY = {
    "BuilderFlag.PREFER_PRECISION_CONSTRAINTS",
    "IBuilderConfig.int8_calibrator",
    "IBuilderConfig.set_calibration_profile",
    "ILayer.precision",
    "ILayer.set_output_type",
}

#: Only with compute capabilities to build for, which only TensorRT-RTX is given.
RTX_ONLY = {
    "ComputeCapability",
    "ComputeCapability.__members__",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}


def versions_in(runs: str) -> set[str]:
    """Return the versions of "8.6.1 to 10.3.0, rtx1.7"."""
    found: set[str] = set()
    for run in runs.split(", "):
        first, _, last = run.partition(" to ")
        found.update(VERSIONS[VERSIONS.index(first) : VERSIONS.index(last or first) + 1])
    return found


SURFACE: dict[str, set[str]] = {}
for _owner, _class in _LISTED["classes"].items():
    SURFACE[_owner] = versions_in(_class["in"])
    for _runs, _members in _class["members"].items():
        SURFACE.update({f"{_owner}.{member}": versions_in(_runs) for member in _members})


def has(version: str, name: str) -> bool:
    owner, _, member = name.partition(".")
    # Constructors, and the attributes that every Python object has, are not listed.
    return version in SURFACE.get(owner if member.startswith("__") else name, ())


def adapters() -> Iterator[ast.Module]:
    """Return the modules of the backends that hold the vendor's objects in their hands."""
    for path in sorted(Path(pytest_trt.backends.tensorrt.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text())
        if any(is_vendor_module(node) or is_builders(node) for node in ast.walk(tree)):
            yield tree


def is_vendor_module(node: ast.AST) -> bool:
    return getattr(node, "id", None) == "trt" or getattr(node, "attr", None) == "_trt"


def is_builders(node: ast.AST) -> bool:
    """Whether this is an argument that only a builder's objects go by, as `runtime` is not."""
    return isinstance(node, ast.arg) and node.arg in ("builder", "network", "config")


def owner_of(node: ast.AST) -> str | None:
    """Return the class that an expression is an object or the name of; "" for the module."""
    if is_vendor_module(node):
        return ""
    if isinstance(node, ast.Attribute) and is_vendor_module(node.value):
        return node.attr
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return CLASSES.get((name or "").lstrip("_"))


def qualified(owner: str, member: str) -> str:
    return f"{owner}.{member}" if owner else member


def used_in(tree: ast.AST) -> set[str]:
    """Return "Class" or "Class.member" for everything of the vendor's that a module names."""
    return {
        qualified(owner, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (owner := owner_of(node.value)) is not None
    }


def asked_for_in(tree: ast.AST) -> set[str]:
    """Return what a module asks for with `hasattr`, or with a `getattr` that has a default."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name("hasattr" | "getattr"),
                args=[owner, ast.Constant(str(member)), *_],
            ) if owner_of(owner) is not None:
                found.add(qualified(owner_of(owner) or "", member))
    return found


def unnamed_in(tree: ast.AST) -> set[str]:
    """Return names of vendor objects that `CLASSES` does not know, so that nobody looks at them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Call(func=ast.Attribute(owner))):
                if owner_of(owner) is not None:
                    names.add(name)
            case ast.arg(name, annotation=ast.Name("Any")):
                names.add(name)
    return {name for name in names if name.lstrip("_") not in CLASSES.keys() | PLAIN}


USED = set().union(*map(used_in, adapters())) - {"__version__"}
GUARDED = set().union(*map(asked_for_in, adapters())) | ASKED_FOR
#: What has to be there unasked: neither guarded itself, nor a member of a guarded class.
NEEDED = {name for name in USED if name.partition(".")[0] not in GUARDED} - GUARDED


def test_the_names_are_found_at_all() -> None:
    assert {"Builder", "ICudaEngine.get_tensor_mode", "TensorIOMode.OUTPUT"} <= NEEDED
    assert "IProgressMonitor" in GUARDED
    assert len(NEEDED) > 40


@pytest.mark.parametrize("version", TENSORRT)
def test_tensorrt_has_every_name(version: str) -> None:
    weak = has(version, "BuilderFlag.FP16")
    needed = NEEDED - RTX_ONLY - (set() if weak else WEAK_ONLY)
    assert [name for name in sorted(needed) if not has(version, name)] == []


@pytest.mark.parametrize("version", RTX)
def test_tensorrt_rtx_has_every_name(version: str) -> None:
    assert [name for name in sorted(NEEDED - WEAK_ONLY) if not has(version, name)] == []


def test_every_guarded_name_exists_in_some_version() -> None:
    # The lists hold classes; functions of the module are all asked for.
    classes = {name for name in GUARDED if "." in name or not name.islower()}
    assert [name for name in sorted(classes) if not SURFACE.get(name)] == []


def test_every_object_of_the_vendor_has_a_known_name() -> None:
    # Add the name to CLASSES with its class, or to PLAIN if it has no members.
    assert set().union(*map(unnamed_in, adapters())) == set()


def test_a_missing_name_would_be_noticed() -> None:
    (name,) = used_in(ast.parse("builder.max_batch_size"))
    assert has("8.6.1", name)
    assert not has("10.0.1", name)


def test_guarded_names_are_distinguished_from_others() -> None:
    tree = ast.parse('hasattr(self._engine, "x"); getattr(trt, "Y", None); engine.z; other.w')
    assert asked_for_in(tree) == {"ICudaEngine.x", "Y"}
    assert used_in(tree) == {"ICudaEngine.z"}


def test_an_object_under_another_name_would_be_noticed() -> None:
    tree = ast.parse("def f(thing: Any):\n    net = builder.create_network(0)\n    y = thing.x()")
    assert unnamed_in(tree) == {"thing", "net"}


@pytest.mark.parametrize("version", VERSIONS)
def test_builder_flags_reveal_weak_types(version: str) -> None:
    weak = has(version, "BuilderFlag.FP16") and has(version, "BuilderFlag.INT8")
    # TensorRT-RTX 1.4 still had the names; its backend does not ask.
    assert weak == (version.startswith(("8.", "10.")) or version == "rtx1.4.0.76")


def test_explicit_batch_is_there_where_it_is_needed() -> None:
    assert has("8.6.1", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH")
    assert not has("11.0.0.114", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH")


def number(version: str) -> tuple[int, ...]:
    """Return the major and minor version: (10, 8) of "10.8.0.43"."""
    return tuple(int(part) for part in version.removeprefix("rtx").split(".")[:2])


def declared(option: BuilderOption, version: str) -> bool:
    """Whether an option is declared for a version."""
    backend = "tensorrt_rtx" if version in RTX else "tensorrt"
    scopes = [one for one in option.scopes if one.backend == backend]
    if not scopes:
        return False
    (scope,) = scopes
    since = tuple(map(int, scope.since.split("."))) if scope.since else ()
    until = tuple(map(int, scope.until.split("."))) if scope.until else ()
    this = number(version)
    return this >= since and (not until or this[: len(until)] <= until)


@pytest.mark.parametrize(
    "option",
    [one for one in BUILDER_OPTIONS.values() if one.exists("tensorrt") and not one.of_conversion],
    ids=lambda one: one.name,
)
def test_every_builder_option_exists_in_the_versions_that_are_declared(
    option: BuilderOption,
) -> None:
    attribute, enum = trt_options.MEMBERS.get(option.name, (option.name, ""))
    name = f"IBuilderConfig.{attribute}"
    if option.type == "bool":
        name = f"BuilderFlag.{option.name.upper()}"
    if option.name == SERIALIZE_PLUGINS:
        name = "IBuilderConfig.plugins_to_serialize"
    if option.name == CALIBRATOR:
        # TensorRT-RTX 1.4 still had the name; its types choose the precision.
        name = "IBuilderConfig.int8_calibrator"
        assert [version for version in TENSORRT if has(version, name)] == [
            version for version in VERSIONS if declared(option, version)
        ]
        return
    if option.name == "workspace_bytes":
        name = "MemoryPoolType.WORKSPACE"
    having = [version for version in VERSIONS if has(version, name)]
    assert having == [version for version in VERSIONS if declared(option, version)]
    assert not enum or all(has(version, enum) for version in having)
    for choice in option.choices:
        assert any(has(version, f"{enum}.{choice.upper()}") for version in having)
