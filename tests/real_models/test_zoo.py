"""One test over published models of several packages; a reference with names of its own."""

from __future__ import annotations

import onnx

ZOO = """
STATE = ((2, 1, 128), (2, 2, 128), (2, 8, 128))
SPEECH = {
    "profiles": {"input": ((1, 576), (2, 576), (8, 576)), "state": STATE},
    "input_ranges": {"sr": (16000, 16000)},
}
TYPES = {"profiles": {"bytes": ((1, 2048), (4, 2048), (8, 2048))}}

@pytest.mark.trt_model(
    {"vad": VAD, "ifless": IFLESS, "magika": MAGIKA},
    per_model={"vad": SPEECH, "ifless": {**SPEECH, **OPTIONS}, "magika": TYPES},
)
@pytest.mark.trt_consistency(
    rtol=1e-4, atol=1e-5, per_model={"magika": {"rtol": 1e-3, "atol": 1e-5}}
)
def test_zoo(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def files(package_file) -> dict[str, object]:
    return {
        "VAD": package_file("silero-vad", "silero_vad.onnx"),
        "IFLESS": package_file("silero-vad", "silero_vad_op18_ifless.onnx"),
        "MAGIKA": package_file("magika", "standard_v3_3/model.onnx"),
    }


def test_only_the_model_of_a_zoo_that_is_wrong_fails(project, package_file, perturbed) -> None:
    models = files(package_file)
    project.run(ZOO, OPTIONS={}, **models).assert_outcomes(passed=9)
    wrong = perturbed(models["IFLESS"], 1.5)
    result = project.run(ZOO, "-v", OPTIONS={"reference": str(wrong)}, **models)
    result.assert_outcomes(passed=6, failed=3)
    result.stdout.fnmatch_lines(["*::test_zoo[[]ifless-min[]] FAILED*"])


RENAMED = """
import shutil

@pytest.fixture(scope="session")
def downloaded(tmp_path_factory):
    return shutil.copy(MAGIKA, tmp_path_factory.mktemp("models") / "magika.onnx")

@pytest.mark.trt_model(
    fixture="downloaded",
    profiles={"bytes": ((1, 2048), (4, 2048), (8, 2048))},
    reference=REFERENCE,
    reference_names={"bytes": "content", "target_label": "label"},
)
@pytest.mark.trt_consistency(rtol=1e-3, atol=1e-5)
def test_types(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""


def test_reference_of_other_names_judges_a_model_that_a_fixture_gives(
    project, package_file, perturbed, tmp_path
) -> None:
    path = package_file("magika", "standard_v3_3/model.onnx")
    for source, passed in ((path, 3), (perturbed(path, 1.5), 0)):
        model = onnx.load(source)
        new = {"bytes": "content", "target_label": "label"}
        for value in (*model.graph.input, *model.graph.output):
            value.name = new[value.name]
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new.get(name, name) for name in names]
        onnx.save(model, tmp_path / "renamed.onnx")
        result = project.run(RENAMED, MAGIKA=path, REFERENCE=tmp_path / "renamed.onnx")
        result.assert_outcomes(passed=passed, failed=3 - passed)
