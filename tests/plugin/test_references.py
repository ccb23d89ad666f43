"""References that a project gives itself: each kind with right outputs, and with wrong ones."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from builders import save_linear
from builders_model import model_proto, save
from onnx import helper, numpy_helper
from plugin.conftest import PROFILES, assert_shows

from pytest_trt.backends.onnxruntime import run_job

HEAD = """
import functools
from pathlib import Path
X = {"image": np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)}
Y = {"image": X["image"][:2] + 1}
HERE = Path(__file__).parent

class Runs:
    def __init__(self, run):
        self.run = run

class Tensor:
    \"\"\"Of another library.\"\"\"
    def __init__(self, array):
        self.array = array
    def __array__(self, dtype=None, copy=None):
        return self.array

def saved(name, **arrays):
    np.savez(HERE / name, **arrays)
    return name

def prefixed(inputs, outputs):
    both = {"inputs": inputs, "outputs": outputs}
    return {f"{part}/{name}": array for part, all in both.items() for name, array in all.items()}

def in_place(f):
    def run(inputs):
        outputs = f(inputs)
        inputs["image"].fill(0)
        return outputs
    return run

"""

#: What a fixture returns, given a function `f` of the inputs.
KINDS = {
    "function": "f",
    "object": "Runs(f)",
    "partial": "functools.partial(f)",
    "tuple": "lambda inputs: tuple(f(inputs).values())",
    "list": "lambda inputs: list(f(inputs).values())",
    "foreign": "lambda inputs: {name: Tensor(array) for name, array in f(inputs).items()}",
    "changing its inputs": "in_place(f)",
    "mapping": "f(X)",
    "mapping with inputs": '{"inputs": X, "outputs": f(X)}',
    "mapping of outputs": '{"outputs": f(X)}',
    "prefixed mapping": "prefixed(X, f(X))",
    "cases": '[{"inputs": Y, "outputs": f(Y)}, {"inputs": X, "outputs": f(X)}]',
    "npz": 'saved("a.npz", **f(X))',
    "npz with inputs": 'HERE / saved("b.npz", **prefixed(X, f(X)))',
    "several npz": '[saved("c.npz", **prefixed(X, f(X))), saved("d.npz", **prefixed(Y, f(Y)))]',
}

TEST = """
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("off", [0, 1])
@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency
def test_it(trt_session, kind, off):
    for _ in range(2):
        trt_session.run(X)
    assert X["image"].any()

@pytest.fixture
def trt_reference(trt_reference, kind, off):
    def f(inputs):
        found = trt_reference.run(inputs)
        return {name: array + np.float32(off) for name, array in found.items()}
    return KINDS[kind](f)
"""


def of(kinds: dict[str, str]) -> str:
    lines = [f"    {name!r}: lambda f: {source}," for name, source in kinds.items()]
    return "\n".join([HEAD, "KINDS = {", *lines, "}", TEST])


def test_every_kind_of_reference_passes_right_outputs_and_fails_wrong_ones(project) -> None:
    project.test_file(of(KINDS))
    result = project.run("-rA")
    result.assert_outcomes(passed=len(KINDS), failed=len(KINDS))
    outcomes = [line.split()[:2] for line in result.outlines if line[:6] in ("PASSED", "FAILED")]
    assert len(outcomes) == 2 * len(KINDS)
    assert all(("[1-" in test) is (word == "FAILED") for word, test in outcomes)
    assert str(result.stdout).count("over tolerance against trt_reference") >= len(KINDS)


#: What a fixture returns that cannot be compared, and what is said of it.
REFUSED = {
    "number": ("3", "the trt_reference fixture returned int, which cannot be called *TRT157*"),
    "class": ("Runs", "the trt_reference fixture returned the class Runs itself *TRT157*"),
    "empty": ("{}", "the mapping of trt_reference is empty *TRT157*"),
    "no cases": ("[]", "the trt_reference fixture returned no cases *TRT157*"),
    "inputs alone": (
        '{"inputs": X}',
        "the mapping of trt_reference has no outputs by name *TRT157*",
    ),
    "lists": (
        '{"inputs": {"image": [1, 2]}, "outputs": f(X)}',
        "the mapping of trt_reference: input 'image' is of type list, not an array *TRT157*",
    ),
    "arrays": ("[np.ones(3)]", "case 0 of trt_reference is ndarray, not golden outputs *TRT157*"),
    "case of unknown inputs": (
        '[{"inputs": X, "outputs": f(X)}, f(Y)]',
        "case 1 of trt_reference has no inputs, so a run * with one of 2 cases *TRT157*",
    ),
    "half prefixed": (
        '{"inputs/image": X["image"], **f(X)}',
        "the mapping of trt_reference has 'inputs/image' next to 'logits' *TRT157*",
    ),
    "missing file": (
        '"none.npz"',
        "none.npz, which the trt_reference fixture returned, is not a file *TRT174*",
    ),
    "foreign file": (
        '"test_it.py"',
        "test_it.py, which * cannot be read as .npz: it is a text file *TRT174*",
    ),
    "model": ('"models/linear.onnx"', "*Name an ONNX model on the marker: trt_model(reference=*"),
    "pointer": (
        '(HERE / "lfs.npz").write_text("version https://git-lfs") and "lfs.npz"',
        "lfs.npz, which * cannot be read as .npz: it is a Git LFS pointer *TRT174*",
    ),
    "objects": (
        'saved("pickled.npz", logits=np.array([{}], dtype=object))',
        "pickled.npz, which * array 'logits': it holds Python objects, which are never *TRT174*",
    ),
    "same inputs twice": (
        '[{"inputs": X, "outputs": f(X)}] * 2',
        "*case 0 and case 1 of trt_reference have the same inputs *TRT173*",
    ),
    "other inputs": (
        '{"inputs": {"image": X["image"] + 1}, "outputs": f(X)}',
        "*no golden outputs for the inputs of this run: 'image' has different values *TRT173*",
    ),
    "other cases": (
        '[{"inputs": Y, "outputs": f(Y)}, {"inputs": {"z": X["image"]}, "outputs": f(X)}]',
        "*'image' is float32 [[]2, 8[]], not float32 [[]4, 8[]] (case 0, the closest) *TRT173*",
    ),
    "nothing": ("lambda inputs: None", "*trt_reference returned NoneType: 1 value *TRT157*"),
    "one of two": (
        'lambda inputs: f(inputs)["logits"]',
        "*returned ndarray: 1 value without names, and the model has 2 outputs, logits: *TRT157*",
    ),
    "numbers": (
        "lambda inputs: {name: array.tolist() for name, array in f(inputs).items()}",
        "*cannot be compared: output 'logits' is of type list, not an array *TRT157*",
    ),
    "numbered": ("lambda inputs: {1: X}", "*mapping whose keys are not names *TRT157*"),
    "double": (
        "lambda inputs: {name: array.astype(float) for name, array in f(inputs).items()}",
        "logits and probs: wrong dtype against trt_reference *TRT405*",
    ),
    "flat": (
        "lambda inputs: {name: array[0] for name, array in f(inputs).items()}",
        "logits and probs: wrong shape against trt_reference *TRT404*",
    ),
    "not a number": (
        "lambda inputs: {name: array * np.float32('nan') for name, array in f(inputs).items()}",
        "logits and probs: the reference is not finite against trt_reference *TRT403*",
    ),
    "missing": (
        'lambda inputs: {"logits": f(inputs)["logits"]}',
        "probs is not in the reference against trt_reference *TRT406*",
    ),
    "swapped": (
        "lambda inputs: tuple(f(inputs).values())[::-1]",
        "logits and probs are swapped against trt_reference *TRT407*",
    ),
    "random": (
        "lambda inputs: [a + np.random.rand(*a.shape).astype('f') for a in f(inputs).values()]",
        "*trt_reference returned different outputs for the same inputs *TRT175*",
    ),
    "no version": (
        "setattr(f, 'version', 2) or f",
        "the version of what the trt_reference fixture returned is 2, not a string *TRT157*",
    ),
    "empty version": ("setattr(f, 'version', ' ') or f", "the version of * is ' ', *TRT157*"),
}


def test_what_cannot_be_compared_is_refused_by_name(project) -> None:
    project.test_file(of({name: source for name, (source, _) in REFUSED.items()}))
    result = project.run("-k", "0-")
    counts = result.parseoutcomes()
    assert counts["failed"] + counts["errors"] == len(REFUSED)
    assert "passed" not in counts
    for _, message in REFUSED.values():
        result.stdout.fnmatch_lines([message])


def test_golden_outputs_without_inputs_fit_one_set_of_inputs(project) -> None:
    test = TEST.replace("range(2):\n        trt_session.run(X)", "(X, Y):\n        BODY")
    kinds = {"mapping": "f(X)", "cases": KINDS["cases"]}
    two = of(kinds).replace(TEST, test.replace("BODY", "trt_session.run(_)"))
    project.test_file(two)
    result = project.run("-k", "0-")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*the mapping of trt_reference belongs to one set of inputs, but the test ran two "
            "('image' differs) *TRT173*"
        ]
    )


class Counted:
    """A project whose reference counts how often it is called."""

    def __init__(self, project) -> None:
        self.project = project
        self.calls = 0

    def run(self, version: str, off: int = 0) -> tuple[pytest.RunResult, int]:
        source = HEAD + (
            "def reference(inputs):\n"
            "    with (HERE / 'calls.txt').open('a') as file:\n        file.write('x')\n"
            f"    return {{n: a + np.float32({off}) for n, a in own(inputs).items()}}\n"
            f"{version}\n"
            "@pytest.fixture\ndef trt_reference(trt_reference):\n"
            "    global own\n    own = trt_reference.run\n    return reference\n"
            '@pytest.mark.trt_model("models/linear.onnx")\n@pytest.mark.trt_consistency\n'
            "def test_it(trt_session):\n    trt_session.run(X)\n    trt_session.run(X)\n"
        )
        self.project.test_file(source)
        result = self.project.run()
        calls = len((self.project.path / "calls.txt").read_text())
        done, self.calls = calls - self.calls, calls
        return result, done


@pytest.fixture
def counted(project) -> Counted:
    return Counted(project)


def test_outputs_are_stored_only_under_a_version(counted) -> None:
    for version, calls in [("", 2), ("", 2), ("reference.version = '1'", 1)]:
        result, done = counted.run(version)
        result.assert_outcomes(passed=1)
        assert done == calls
    assert counted.run("reference.version = '1'")[1] == 0
    assert counted.run("reference.version = '2'")[1] == 1
    # Another model, with the same reference.
    save_linear(counted.project.path / "models" / "linear.onnx", nudge=1e-4)
    assert counted.run("reference.version = '2'")[1] == 1


def test_outputs_that_are_stored_under_an_old_version_are_named(counted) -> None:
    counted.run("reference.version = '1'", off=1)[0].assert_outcomes(failed=1)
    result, _ = counted.run("reference.version = '1'")
    assert_shows(
        result,
        "*trt_reference returns outputs that differ from those cached for version '1' *TRT175*",
        "*Change its version whenever its weights or code change.",
        failed=1,
    )
    counted.run("reference.version = '2'")[0].assert_outcomes(passed=1)


def test_references_of_one_name_in_two_folders_are_two(project) -> None:
    """Two conftest.py have one module name, and here one version."""
    for folder, off in (("a", 0), ("b", 1)):
        inner = project.path / folder
        inner.mkdir()
        (inner / "conftest.py").write_text(
            "import pytest\n@pytest.fixture\ndef trt_reference(trt_reference):\n"
            "    def reference(inputs):\n"
            f"        return {{n: a + a.dtype.type({off}) for n, a in "
            "trt_reference.run(inputs).items()}\n"
            "    reference.version = '1'\n    return reference\n"
        )
        (inner / f"test_{folder}.py").write_text(
            "import pytest\n@pytest.mark.trt_model('../models/linear.onnx')\n"
            "@pytest.mark.trt_consistency\ndef test_it(trt_session, images):\n"
            "    trt_session.run({'image': images})\n"
        )
    assert_shows(project.run(), "FAILED b*", passed=1, failed=1)


def test_stored_outputs_are_compared_with_each_engine(counted) -> None:
    """What is stored is no verdict: the same outputs fail an engine that is wrong."""
    counted.run("reference.version = '1'")[0].assert_outcomes(passed=1)
    wrong, done = counted.run("reference.version = '1'\nX['image'][0] += 1", off=1)
    wrong.assert_outcomes(failed=1)
    assert done == 2  # of other inputs, and again as it failed


RAISING = """
def network(inputs):
    raise KeyError("weights")

@pytest.fixture
def trt_reference():
    return network

@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency
def test_it(trt_session, images):
    trt_session.run({"image": images})

@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency
def test_caught(trt_session, images):
    with pytest.raises(KeyError):
        trt_session.run({"image": images})
"""


@pytest.mark.parametrize("version", ["", "network.version = '1'\n"])
def test_an_error_of_the_reference_is_shown_where_it_was_raised(project, version: str) -> None:
    project.test_file(RAISING.replace("\n@pytest.fixture", f"\n{version}\n@pytest.fixture", 1))
    result = project.run()
    assert_shows(result, '>       trt_session.run({"image": images})', ">  *KeyError(*", failed=2)
    result.stdout.no_fnmatch_line("*pytest_trt/*")
    if sys.version_info >= (3, 11):
        result.stdout.fnmatch_lines(
            ["E * raised by the reference of trt_reference, inputs image *"]
        )
    result.stdout.fnmatch_lines(["*a run was not compared: * trt_reference raised KeyError: *"])


def test_a_reference_may_skip_the_test(project) -> None:
    project.test_file(RAISING.replace('raise KeyError("weights")', 'pytest.skip("no server")'))
    project.run().assert_outcomes(skipped=2)


def test_golden_outputs_serve_engines_that_tests_share(project) -> None:
    project.test_file(
        HEAD + "@pytest.fixture(scope='module')\ndef shared(trt_engines):\n"
        "    return [trt_engines('models/linear.onnx', precision=p) for p in ('fp32', 'fp16')]\n"
        "@pytest.fixture\ndef trt_reference(trt_reference):\n"
        "    return trt_reference.run(X)\n"
        "@pytest.mark.trt_model('models/linear.onnx')\n"
        "@pytest.mark.trt_consistency(rtol=1, atol=1)\n"
        "class TestIt:\n"
        "    def test_same(self, shared):\n        [one.run(X) for one in shared]\n"
        "    def test_two(self, shared):\n        shared[0].run(X)\n        shared[1].run(Y)\n"
    )
    result = project.run("-rA")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*belongs to one set of inputs*TRT173*", "PASSED*::test_same"])


#: References that need an engine, with the outcome of the test and part of the message.
OF_ENGINES = {
    "the session as a fixture": ("trt_session", "return trt_session", "*requests trt_session,*"),
    "the engine's facts": (
        "trt_reference, trt_engine",
        "assert trt_engine.plan\n    return trt_reference",
        "",
    ),
    "the session while it runs": (
        "",
        "return lambda inputs: held[0].run(inputs)",
        "*ran an engine*",
    ),
    "another engine": ("trt_engines", 'return trt_engines("models/linear.onnx")', ""),
}


@pytest.mark.parametrize("kind", OF_ENGINES)
def test_a_reference_that_runs_the_engine_under_test_is_refused(project, kind) -> None:
    requests, body, message = OF_ENGINES[kind]
    project.test_file(
        "held = []\n"
        f"@pytest.fixture\ndef trt_reference({requests}):\n    {body}\n"
        '@pytest.mark.trt_model("models/linear.onnx")\n'
        "@pytest.mark.trt_consistency\n"
        "def test_it(trt_session):\n"
        "    held.append(trt_session)\n"
        '    trt_session.run({"image": np.ones((2, 8), np.float32)})\n'
    )
    result = project.run()
    if not message:
        result.assert_outcomes(passed=1)
        return
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{message} whose outputs are compared *TRT157*"])
    result.stdout.no_fnmatch_line("*recursi*")


@pytest.mark.parametrize(
    ("precision", "reference", "noted"),
    [
        ("fp16", "return held[0]", True),
        ("fp32", "return held[0]", False),
        ("fp16", "return trt_reference", False),
        ("fp16", "return lambda inputs: dict(trt_reference.run(inputs))", False),
    ],
)
def test_a_reference_that_is_the_engine_is_noted(
    project, precision: str, reference: str, noted: bool
) -> None:
    """As of outputs that were recorded from the engine, or of its plan in another runtime."""
    project.test_file(
        "held = []\n"
        "@pytest.fixture(scope='module')\ndef engine(trt_engines):\n"
        f"    return trt_engines('models/linear.onnx', precision='{precision}')\n"
        "def test_record(engine):\n    held.append(engine.run(X))\n"
        f"@pytest.fixture\ndef trt_reference(trt_reference):\n    {reference}\n"
        f"@pytest.mark.trt_model('models/linear.onnx', precision='{precision}')\n"
        "@pytest.mark.trt_consistency\ndef test_it(trt_session):\n    trt_session.run(X)\n"
        "X = {'image': np.random.default_rng(0).random((2, 8), dtype=np.float32)}\n"
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    shown = [line for line in result.outlines if "TRT188" in line]
    assert [f"exactly what the {precision} engine of linear.onnx" in one for one in shown] == (
        [True] if noted else []
    )


SIGNS = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Sign", ["p"], ["y"])]

#: The model's own Q/DQ nodes.
ROUNDED = [
    helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
    helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["v"]),
    helper.make_node("MatMul", ["d", "v"], ["p"]),
    helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["r"]),
    helper.make_node("DequantizeLinear", ["r", "scale", "zero"], ["y"]),
]


@pytest.mark.parametrize(("nodes", "precision"), [(SIGNS, "fp16"), (ROUNDED, "int8")])
def test_reference_that_rounds_to_the_same_values_is_not_noted(
    project, nodes: list[onnx.NodeProto], precision: str
) -> None:
    """One-hot classes and signs are the same in every precision."""
    of_w = np.int8 if precision == "int8" else np.float32
    constants = {
        "w": np.arange(16, dtype=of_w).reshape(4, 4),
        "scale": np.float32(0.013),
        "zero": np.int8(0),
    }
    initialisers = [
        numpy_helper.from_array(np.asarray(one), name) for name, one in constants.items()
    ]
    model = model_proto(nodes, initializers=initialisers)
    save(model, project.path / "models" / "own.onnx")
    project.test_file(
        "@pytest.fixture\ndef trt_reference(trt_reference):\n"
        "    return lambda inputs: dict(trt_reference.run(inputs))\n"
        f"@pytest.mark.trt_model('models/own.onnx', precision='{precision}')\n"
        "@pytest.mark.trt_consistency(rtol=0.01, atol=0.01)\ndef test_it(trt_session):\n"
        "    trt_session.run({'x': np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)})\n"
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*TRT188*")


POLYGRAPHY = Path(__file__).parents[1] / "files" / "polygraphy"

OF_POLYGRAPHY = """
from pathlib import Path
from typing import Any
from pytest_trt import load_inputs

@pytest.mark.parametrize("inputs", load_inputs(Path(__file__).parent / "inputs.json"))
@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency
def test_it(trt_session, inputs):
    trt_session.run(inputs)

@pytest.fixture
def trt_reference():
    return {"inputs": "inputs.json", "outputs": "%s"}
"""


def test_outputs_that_polygraphy_saved_are_golden_outputs_for_its_inputs(project) -> None:
    shutil.copytree(POLYGRAPHY, project.path, dirs_exist_ok=True)
    project.test_file(OF_POLYGRAPHY % "outputs.json")
    project.run().assert_outcomes(passed=2)
    project.test_file(OF_POLYGRAPHY % "nudged.json")
    assert_shows(project.run(), "*over tolerance against trt_reference*", failed=2)


def test_other_inputs_than_polygraphy_saved_name_the_closest_iteration(project) -> None:
    shutil.copytree(POLYGRAPHY, project.path, dirs_exist_ok=True)
    other = "run({name: array + 1 for name, array in inputs.items()})"
    project.test_file((OF_POLYGRAPHY % "outputs.json").replace("run(inputs)", other))
    assert_shows(project.run(), "*(iteration * of *outputs.json, the closest) *TRT173*", failed=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            '"outputs.json"',
            "*iteration 0 of outputs.json of trt_reference has no inputs, so a run*TRT157*",
        ),
        ('{"inputs": "one.json", "outputs": "outputs.json"}', "*1 set of inputs and 2 of outputs*"),
        (
            '{"inputs": "inputs.json", "outputs": "bad.json"}',
            "*read as Polygraphy's JSON: not JSON*",
        ),
    ],
)
def test_polygraphy_files_that_do_not_fit_are_refused(project, given: str, message: str) -> None:
    shutil.copytree(POLYGRAPHY, project.path, dirs_exist_ok=True)
    (project.path / "bad.json").write_text("{")
    one = json.loads((POLYGRAPHY / "inputs.json").read_text())[:1]
    (project.path / "one.json").write_text(json.dumps(one))
    project.test_file(OF_POLYGRAPHY.replace('{"inputs": "inputs.json", "outputs": "%s"}', given))
    assert_shows(project.run(), message, errors=2)


@pytest.mark.parametrize(
    ("marker", "announced"),
    [
        ("@pytest.mark.trt_consistency", ["reference", ""]),
        ("@pytest.mark.trt_consistency(against='stored')", [""]),
        ("", [""]),
    ],
)
def test_the_child_is_told_which_reference_comes_next_only_where_one_does(
    project, monkeypatch: pytest.MonkeyPatch, marker: str, announced: list[str]
) -> None:
    found = []
    run = run_job.run_isolated

    def recorded(*args: Any, ahead: run_job.Source | None = None, **given: Any) -> Any:
        found.append("" if ahead is None else "reference")
        return run(*args, ahead=ahead, **given)

    monkeypatch.setattr(run_job, "run_isolated", recorded)
    project.test_file(f"""
        @pytest.mark.trt_model("models/linear.onnx", {PROFILES})
        {marker}
        def test_it(trt_session, images):
            trt_session.run({{"image": images}})
        """)
    project.run()
    assert found[: len(announced)] == announced


def test_weights_that_a_test_replaces_are_those_of_the_next_reference(project) -> None:
    """Their file alone: the model's own has the stamp that it had when it was loaded ahead."""
    model = onnx.load(project.path / "models" / "linear.onnx")
    onnx.save(
        model,
        project.path / "models" / "linear.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    project.test_file(f"""
        from pathlib import Path
        M = pytest.mark.trt_model
        WEIGHTS = Path(__file__).parent / "models" / "weights.bin"
        @M("models/linear.onnx", precision=("fp32", "fp16"), {PROFILES})
        @pytest.mark.trt_consistency
        def test_before(trt_session, images):
            trt_session.run({{"image": images}})
        def test_replace():
            (np.fromfile(WEIGHTS, np.float32) * 2).tofile(WEIGHTS)
        @M("models/linear.onnx", {PROFILES})
        @pytest.mark.trt_consistency
        def test_after(trt_build, images):
            trt_build().run({{"image": images}})
        """)
    project.run().assert_outcomes(passed=4)


NETWORK = """
import functools

class Module:
    training = False
    def modules(self):
        return [self, *vars(self).values()]

Module.__module__, Module.__qualname__ = "torch.nn.modules.module", "Module"

class Norm(Module):
    training = {training}

class Network(Module):
    def __init__(self, run):
        self.run, self.norm = run, Norm()

class Runner:
    def __init__(self, network):
        self.network = network
    def run(self, inputs):
        return {{name: value + 0.3 for name, value in self.network.run(inputs).items()}}

@pytest.fixture
def trt_reference(trt_reference):
    runner = Runner(Network(trt_reference.run))
    @functools.wraps(runner.run)
    def outputs(inputs):
        return runner.run(inputs)
    return outputs

@pytest.mark.trt_model("models/linear.onnx")
@pytest.mark.trt_consistency
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
"""


@pytest.mark.parametrize("training", [True, False])
def test_network_in_training_mode_is_named_before_the_export(project, training) -> None:
    project.test_file(NETWORK.format(training=training))
    text = project.run().stdout.str()
    assert ("the network of trt_reference (Network) is in training mode" in text) is training
    assert ("TRT415" in text) is not training


WRONG_EXPORT = """
@pytest.fixture
def trt_reference():
    def outputs(inputs):
        logits = inputs["image"] @ WEIGHTS
        return {"y": logits}
    return outputs

WEIGHTS = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)

@pytest.mark.trt_model("models/own.onnx")
@pytest.mark.trt_consistency(against="both")
def test_it(trt_session, images):
    trt_session.run({"image": images})
"""


def test_model_that_changed_since_its_answers_is_named(project) -> None:
    weights = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)

    def export(off: float) -> None:
        product = onnx.helper.make_node("MatMul", ["image", "w"], ["y"])
        tensors = (("image", ["n", 8]), ("y", ["n", 4]))
        graph = onnx.helper.make_graph(
            [product],
            "own",
            *([onnx.helper.make_tensor_value_info(name, 1, shape)] for name, shape in tensors),
            [onnx.numpy_helper.from_array(weights + np.float32(off), "w")],
        )
        opsets = [onnx.helper.make_opsetid("", 17)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
        onnx.save(model, project.path / "models" / "own.onnx")

    export(0.0)
    project.test_file(WRONG_EXPORT)
    assert project.run().ret == 0
    export(6e-4)  # little enough for a tolerance to be offered elsewhere
    text = " ".join(project.run().stdout.str().split())
    assert "TRT415" in text
    assert "The model file changed since the answers of " in text
    assert "git checkout COMMIT -- models/own.onnx" in text
    assert "If it is accurate enough" not in text
