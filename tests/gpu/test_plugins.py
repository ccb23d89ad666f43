"""Libraries of plugins on a real GPU: TensorRT's own, whose plugin is the operator of a model."""

from __future__ import annotations

import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

import builders_networks as networks
import numpy as np
import pytest
from builders_model import remedy
from onnx import helper

from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.backends.tensorrt.plugins import load_plugins
from pytest_trt.diagnostics import ModelError
from pytest_trt.engine.protocols import BuildRequest
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model
from pytest_trt.onnx.libraries import Library

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]

SOURCE = """
import numpy as np
import pytest

pytestmark = [
    pytest.mark.trt_model("gelu.onnx", plugin_libraries=["libmyplugins.so"]),
    pytest.mark.trt_consistency(rtol=1e-3, atol=1e-3),
]

@pytest.fixture
def trt_reference():
    def gelu(inputs):
        x = inputs["x"].astype(np.float64) * FACTOR
        y = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return {"y": y.astype(np.float32)}

    return gelu

def test_plain(trt_session, trt_inputs):
    trt_session.run(trt_inputs)

@pytest.mark.trt_model(builder_options={"serialize_plugins": True})
def test_stored(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


@pytest.fixture
def library() -> Path:
    """TensorRT's own library of plugins."""
    import tensorrt  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

    mapped = Path("/proc/self/maps").read_text().splitlines()
    return Path(next(line.split()[-1] for line in mapped if "libnvinfer_plugin.so" in line))


@pytest.fixture
def project(tmp_path: Path, library: Path) -> Path:
    """A model of one plugin, and a link to the library that has it."""
    node = helper.make_node(
        "CustomGeluPluginDynamic", ["x"], ["y"], name="gelu", domain="nvidia", type_id=0
    )
    proto = networks.model([node], [networks.value("x", [2, 8])], [networks.value("y", [2, 8])])
    proto.opset_import.append(helper.make_opsetid("nvidia", 1))
    networks.saved(proto, tmp_path / "gelu.onnx")
    (tmp_path / "libmyplugins.so").symlink_to(library)
    return tmp_path


def test_a_model_of_plugins_is_built_and_run(inner_pytest, project: Path) -> None:
    (project / "test_it.py").write_text(SOURCE.replace("FACTOR", "1.0"))
    args = "--trt-backend=tensorrt", "-k", "plain", "-rA"
    inner_pytest(project, *args, cache=project / "cache").assert_outcomes(passed=1)
    (project / "test_it.py").write_text(SOURCE.replace("FACTOR", "1.1"))
    inner_pytest(project, *args, cache=project / "cache").assert_outcomes(failed=1)


def test_a_library_that_plans_cannot_contain_is_named(inner_pytest, project: Path) -> None:
    (project / "test_it.py").write_text(SOURCE.replace("FACTOR", "1.0"))
    args = "--trt-backend=tensorrt", "-k", "stored"
    result = inner_pytest(project, *args, cache=project / "cache")
    result.assert_outcomes(failed=1)
    assert "remove the option serialize_plugins" in " ".join(result.stdout.str().split())


def test_a_library_is_loaded_once(library: Path) -> None:
    import tensorrt

    for _ in range(2):
        load_plugins(tensorrt, [Library.read(library)], "TensorRT")


@pytest.mark.parametrize("kind", ["text", "no plugins"])
def test_what_has_no_plugins_is_refused_in_build_and_run(project: Path, kind: str) -> None:
    import tensorrt

    path = project / "libother.so"
    path.write_text("int main() {}\n")
    if kind != "text":
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        shutil.copy(next((Path(np.__file__).parent / "random").glob(f"*{suffix}")), path)
    library = Library.read(path)
    with pytest.raises(ModelError) as caught:
        load_plugins(tensorrt, [library], "TensorRT")
    assert caught.value.diagnostic.code == "TRT231"
    assert "name a shared library" in remedy(caught.value).lower()
    reason = "which is no library" if kind == "text" else "it has no plugins of TensorRT"
    assert reason in str(caught.value)


def test_the_process_that_builds_refuses_it_too(project: Path, library: Path) -> None:
    text = project / "libother.so"
    text.write_text("int main() {}\n")
    model = load_model(project / "gelu.onnx")
    model = replace(model, plugin_libraries=(Library.read(library), Library.read(text)))
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)
    target = backend.target(probe_devices().gpus[0].arch)
    folder = project / "plan"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"cannot load .*libother\.so, which is no library"):
        backend.build(BuildRequest(model, EngineSpec(), target, folder))
