"""Networks of real size against the FP32 reference, in every precision and all over their profiles.

Each is a project in `tests/networks/projects`, run as a user would run it. One that needs minutes
is marked `heavy`; one precision of one network is `-k "resnet50 and fp16"`.
"""

from __future__ import annotations

from pathlib import Path

import builders_networks
import onnx
import pytest
from networks import NETWORKS, small

from pytest_trt.backends.devices.probe import probe_devices
from pytest_trt.backends.selection import make_backend
from pytest_trt.diagnostics import ConfigurationError, EngineBuildError
from pytest_trt.engine.build import Engine, build_or_load
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import load_model

pytestmark = pytest.mark.gpu

#: FP16 takes longest to build, so it comes first.
PRECISIONS = ("fp16", "tf32", "fp32")

#: Those whose tests all have the precision in their names.
BY_PRECISION = [
    pytest.param(name, marks=pytest.mark.heavy if network.heavy else ())
    for name, network in NETWORKS.items()
    if not network.plain
]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", BY_PRECISION)
def test_network_agrees_with_its_reference(
    gpu, project, inner_pytest, name: str, precision: str
) -> None:
    tests = NETWORKS[name].tests
    result = inner_pytest(project(name), "-k", precision)
    result.assert_outcomes(passed=tests, deselected=2 * tests)
    result.stdout.fnmatch_lines([f"*{gpu.arch} {precision} *"])


def test_small_models_agree_in_every_type_rank_and_size(gpu, project, inner_pytest) -> None:
    inner_pytest(project("small")).assert_outcomes(passed=NETWORKS["small"].all_tests)


@pytest.fixture
def build(gpu, tmp_path: Path):
    """Build a model with TensorRT, without a profile."""
    backend = make_backend("tensorrt", probe=probe_devices(), threads=0)

    def build(proto: onnx.ModelProto) -> Engine:
        onnx.save(proto, tmp_path / "model.onnx")
        return build_or_load(
            model=load_model(tmp_path / "model.onnx"),
            spec=EngineSpec(),
            target=backend.target(gpu.arch),
            backend=backend,
            cache=EngineCache(tmp_path / "cache"),
        )

    return build


def test_an_operator_that_no_product_has_is_named(build) -> None:
    with pytest.raises(EngineBuildError, match="Frobnicate") as caught:
        build(small.foreign())
    assert "model.onnx" in caught.value.message
    assert caught.value.diagnostic.remedy


def test_an_error_about_a_missing_profile_shows_which_one_to_write(build) -> None:
    with pytest.raises(ConfigurationError, match="no range of shapes for image") as caught:
        build(builders_networks.conv_net())
    (command,) = caught.value.diagnostic.remedy.commands
    assert command.startswith('profiles={"image": ((1, 3, 16, 16), ')
