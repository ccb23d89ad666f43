"""The same projects cross-built for an RTX GPU: what its parser refuses is known without a GPU."""

from __future__ import annotations

import pytest

import networks

pytestmark = pytest.mark.exhaustive

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")

ARGUMENTS = ("--trt-arch=sm86", "--trt-backend=tensorrt_rtx", "-rs")

#: TensorRT-RTX has no kernel for this operator.
WITHOUT_SUPPRESSION = "detector"


@pytest.mark.parametrize(
    "name", [name for name in networks.NETWORKS if name != WITHOUT_SUPPRESSION]
)
def test_project_builds_in_every_precision(run_project, name: str) -> None:
    network = networks.NETWORKS[name]
    result = run_project(name, *ARGUMENTS)
    result.assert_outcomes(skipped=network.all_tests)
    result.stdout.fnmatch_lines(["SKIPPED *built for sm86, not run: no NVIDIA GPU (*"])


def test_only_the_suppression_of_the_detector_is_refused(run_project) -> None:
    network = networks.NETWORKS[WITHOUT_SUPPRESSION]
    result = run_project(WITHOUT_SUPPRESSION, *ARGUMENTS, "-k", "fp32")
    result.assert_outcomes(errors=network.tests, deselected=2 * network.tests)
    result.stdout.fnmatch_lines(["*NonMaxSuppression* has no runners that implement it*"])
