"""The same models cross-built for an RTX GPU, and what is said where the builder refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")

BUILD = """
@pytest.fixture
def trt_calibration():
    random = np.random.default_rng(0)
    most = 255 if DTYPE == "int32" else 1
    return (
        {name: random.uniform(0, most, shapes[1]).astype(DTYPE) for name, shapes in SHAPES.items()}
        for _ in range(20)
    )

@pytest.mark.trt_model(MODEL, precision=PRECISION, profiles=PROFILES, keep_fp32=KEEP)
@pytest.mark.trt_consistency
def test_it(trt_session, trt_inputs):
    trt_session.run(trt_inputs)

@pytest.mark.trt_model(MODEL, precision=PRECISION, profiles=PROFILES, keep_fp32=KEEP)
def test_engine(trt_engine):
    assert trt_engine.target.arch == "sm86"
    assert trt_engine.facts.size_bytes > 1_000_000
"""

AUDIO = {
    "input": ((1, 576), (2, 576), (8, 576)),
    "state": ((2, 1, 128), (2, 2, 128), (2, 8, 128)),
}
FIXED_AUDIO = {"input": ((1, 576),) * 3, "state": ((2, 1, 128),) * 3}
SEQUENCE = {
    "input": ((1, 576), (4, 576), (16, 576)),
    "h": ((1, 1, 128),) * 3,
    "c": ((1, 1, 128),) * 3,
}
BYTES = {"bytes": ((1, 2048), (4, 2048), (8, 2048))}
COLUMNS = {"input1": ((1, 1, 64, 64), (1, 1, 64, 160), (1, 1, 64, 256))}
PAGE = {"images": ((1, 3, 416, 416),) * 3}
IMAGES = {"images": ((1, 3, 160, 160), (1, 3, 320, 320), (2, 3, 320, 416))}

#: Package, file, shapes, type of the inputs, whether a profile is needed.
BUILT = {
    "silero without If": ("silero-vad", "silero_vad_op18_ifless.onnx", AUDIO),
    "silero fixed": ("silero-vad", "silero_vad_openvino_16k.onnx", FIXED_AUDIO),
    "silero sequence": ("silero-vad", "silero_vad_16k_sequence.onnx", SEQUENCE),
    "magika": ("magika", "standard_v3_3/model.onnx", BYTES),
    "text": ("ddddocr", "common.onnx", COLUMNS),
    "yolox": ("ddddocr", "common_det.onnx", PAGE),
    "yolov8": ("nudenet", "320n.onnx", IMAGES),
}


@pytest.fixture
def cross_build(project, package_file):
    def run(
        package: str, file: str, shapes, precision: str, keep: Sequence[str] = ()
    ) -> pytest.RunResult:
        fixed = all(len(set(triple)) == 1 for triple in shapes.values())
        return project.run(
            BUILD,
            "--trt-arch=sm86",
            "--trt-backend=tensorrt_rtx",
            "-rs",
            MODEL=package_file(package, file),
            PRECISION=precision,
            PROFILES=None if fixed else shapes,
            SHAPES=shapes,
            DTYPE="int32" if "bytes" in shapes else "float32",
            KEEP=keep,
        )

    return run


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", BUILT)
def test_builds(cross_build, name: str, precision: str) -> None:
    result = cross_build(*BUILT[name], precision)
    shapes = BUILT[name][2]
    runs = len(set(zip(*shapes.values(), strict=True)))
    result.assert_outcomes(passed=1, skipped=runs)
    result.stdout.fnmatch_lines(["SKIPPED *built for sm86, not run: *"])


@pytest.mark.parametrize("precision", ["int8", "mixed"])
@pytest.mark.parametrize("name", ["magika", "silero sequence", "yolov8"])
def test_builds_with_calibration(cross_build, name: str, precision: str) -> None:
    cross_build(*BUILT[name], precision).assert_outcomes(passed=1, skipped=3)


def test_fp8_is_skipped_on_an_older_gpu_where_other_precisions_are_named(cross_build) -> None:
    result = cross_build(*BUILT["magika"], ("fp16", "fp8"))
    result.assert_outcomes(passed=1, skipped=7)
    result.stdout.fnmatch_lines(["SKIPPED *: sm86 has no fp8: GPUs have it from sm89 on"])
    cross_build(*BUILT["magika"], "fp8").assert_outcomes(errors=4)


@pytest.mark.parametrize("precision", ["fp16", "mixed"])
def test_builds_with_nodes_kept_in_fp32(cross_build, precision: str) -> None:
    cross_build(*BUILT["magika"], precision, ["*LayerNorm*"]).assert_outcomes(passed=1, skipped=3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_branches_that_the_builder_stops_at_are_named(cross_build, precision: str) -> None:
    result = cross_build("silero-vad", "silero_vad.onnx", AUDIO, precision)
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        [
            "TensorRT-RTX * could not build silero_vad.onnx *",
            "Fix: Export the model without control flow (it has 25 If nodes). *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("precision", "message", "fix"),
    [
        (
            "fp32",
            "TensorRT-RTX * cannot parse common_old.onnx: * (DynamicQuantizeLinear): not *",
            'Fix: The model is dynamically quantised, * with precision="int8" or "fp16".',
        ),
        (
            "fp16",
            "common_old.onnx is dynamically quantised * cannot be converted to fp16*",
            "Fix: Use the float32 model that it was quantised from, *",
        ),
    ],
    ids=["fp32", "fp16"],
)
def test_dynamic_quantisation_is_named(cross_build, precision: str, message: str, fix: str) -> None:
    result = cross_build("ddddocr", "common_old.onnx", COLUMNS, precision)
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines([message, fix])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*ModelImporter.cpp*")
