"""`pytest-trt export` and `verify`, on the engines of real runs."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path

import pytest
from builders import save_linear
from click.testing import CliRunner, Result
from plugin.conftest import PROFILES, Project, at_once

from pytest_trt.cli import commands
from pytest_trt.engine.manifest import manifest_path
from pytest_trt.hashing import digest_file
from pytest_trt.terms import RTX_ARCHS

__all__ = ["at_once"]

SOURCE = """
    pytestmark = [
        pytest.mark.trt_model("models/linear.onnx", precision=("fp32", "fp16"), {profiles}),
        pytest.mark.trt_consistency({consistency}),
    ]

    def test_same(trt_session, images):
        trt_session.run({{"image": images}})
"""


class Exporting:
    """A project, and the command in its folder."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.dist = project.path / "dist"

    def write(self, more: str = "", consistency: str = "") -> None:
        source = SOURCE.format(profiles=PROFILES, consistency=consistency)
        self.project.test_file(source + more)

    def export(self, *args: str) -> Result:
        return self._call("export", *args, "-o", "dist", f"--cache-dir={self.project.cache}")

    def verify(self, *more: str) -> Result:
        return self._call("verify", "dist", *more)

    def plan(self, precision: str) -> Path:
        return self.dist / f"linear.{precision}.cpu.plan"

    def _call(self, *args: str) -> Result:
        return CliRunner().invoke(commands, args, catch_exceptions=True)


@pytest.fixture
def exporting(pytester: pytest.Pytester, at_once: None) -> Exporting:
    return Exporting(Project(pytester))


@pytest.fixture
def passed(exporting: Exporting) -> Exporting:
    exporting.write()
    exporting.project.run().assert_outcomes(passed=2)
    return exporting


def test_what_passed_is_exported_verified_and_tested_as_it_ships(passed: Exporting) -> None:
    done = passed.export("test_it.py")
    assert done.exit_code == 0, done.output
    names = ["linear.fp16.cpu.plan", "linear.fp32.cpu.plan"]
    assert sorted(path.name for path in passed.dist.iterdir()) == sorted(
        [*names, *(f"{name}.json" for name in names)]
    )
    manifest = json.loads(manifest_path(passed.plan("fp16")).read_text())
    assert manifest["digest"] == digest_file(passed.plan("fp16")).digest
    assert manifest["tests"] == [
        {"test": "test_it.py::test_same[fp16]", "verdicts": {"consistency": "passed"}}
    ]
    assert manifest["target"]["arch"] == "cpu"
    assert manifest["profiles"] == [{"image": [[1, 8], [4, 8], [16, 8]]}]
    checked = passed.verify()
    assert checked.exit_code == 0, checked.output
    assert "2 of 2 plans hold." in checked.output

    # Without the cache and without profiles=: those of the manifest are used.
    shutil.rmtree(passed.project.cache)
    passed.project.test_file(
        """
        @pytest.mark.trt_model(
            "models/linear.onnx",
            precision=("fp32", "fp16"),
            plan="dist/{stem}.{precision}.{arch}.plan",
        )
        @pytest.mark.trt_consistency
        def test_shipped(trt_session, trt_inputs):
            trt_session.run(trt_inputs)
        """
    )
    passed.project.run().assert_outcomes(passed=2)
    assert not passed.project.plans()


def test_engine_of_a_failed_test_is_refused_and_the_others_are_written(
    exporting: Exporting,
) -> None:
    exporting.write(
        """
    def test_more(trt_session, trt_precision, images):
        trt_session.run({"image": images})
        assert trt_precision == "fp32"
"""
    )
    exporting.project.run().assert_outcomes(passed=3, failed=1)
    # Also where the named test passed: another one of the run says that the engine is wrong.
    done = exporting.export("test_it.py::test_same")
    assert done.exit_code == 1
    assert "linear.onnx fp16 for cpu" in done.stderr
    assert "is not exported: test_it.py::test_more[fp16]: failed" in done.stderr
    assert exporting.plan("fp32").exists()
    assert not exporting.plan("fp16").exists()


@pytest.mark.parametrize(
    ("more", "args", "why"),
    [
        pytest.param(
            """
    @pytest.fixture
    def closing():
        yield
        raise RuntimeError

    def test_more(trt_session, images, closing):
        trt_session.run({"image": images})
""",
            (),
            "test_it.py::test_more[fp32]: failed in its teardown",
            id="teardown",
        ),
        pytest.param(
            """
    @pytest.fixture
    def early():
        raise RuntimeError

    def test_more(early, trt_session):
        pass
""",
            (),
            "test_it.py::test_more[fp32]: failed",
            id="before the engine",
        ),
        pytest.param(
            """
    @pytest.fixture
    def exported():
        raise RuntimeError

    @pytest.mark.trt_model(fixture="exported", precision=("fp32", "fp16"))
    def test_more(trt_session):
        pass
""",
            (),
            "test_it.py::test_more[fp32]: failed",
            id="before the model",
        ),
        pytest.param("", ("--trt-build-only",), "no test compared or measured it", id="built"),
    ],
)
def test_engine_whose_tests_did_not_all_pass_is_refused(
    exporting: Exporting, more: str, args: tuple[str, ...], why: str
) -> None:
    exporting.write(more)
    exporting.project.run(*args)
    done = exporting.export("test_it.py::test_same[fp32]")
    assert done.exit_code == 1
    assert why in done.stderr
    assert not exporting.dist.exists()


def test_engine_with_a_test_that_did_not_run_is_refused(exporting: Exporting) -> None:
    exporting.write()
    later = (exporting.project.path / "test_it.py").read_text()
    exporting.project.pytester.makepyfile(test_j="def test_stop():\n    assert False", test_k=later)
    exporting.project.run("-x").assert_outcomes(passed=2, failed=1)
    done = exporting.export("test_it.py")
    assert done.exit_code == 1
    assert "test_k.py::test_same[fp32]: not run" in done.stderr


def test_engine_without_a_check_is_refused(exporting: Exporting) -> None:
    exporting.project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx")
        def test_built(trt_session, images):
            trt_session.run({"image": images})
        """
    )
    exporting.project.run().assert_outcomes(passed=1)
    done = exporting.export(".")
    assert "no test compared or measured it" in done.stderr


def test_other_plan_in_the_way_is_kept_unless_forced(passed: Exporting) -> None:
    passed.export("test_it.py")
    same = passed.export("test_it.py")
    assert same.exit_code == 0
    other = passed.plan("fp32")
    other.write_bytes(b"other")
    kept = passed.export("test_it.py")
    assert kept.exit_code == 1
    assert "is another plan; --force overwrites it" in kept.stderr
    assert "run the tests again" not in kept.stderr
    assert other.read_bytes() == b"other"
    assert passed.export("test_it.py", "--force").exit_code == 0
    assert passed.verify().exit_code == 0


def test_plan_that_is_no_longer_cached_is_refused(passed: Exporting) -> None:
    for plan in passed.project.plans():
        shutil.rmtree(plan.parent)
    done = passed.export("test_it.py")
    assert done.exit_code == 1
    assert done.stderr.count("is no longer in the cache: run the tests again") == 2


def test_plan_that_was_damaged_in_the_cache_is_refused(passed: Exporting) -> None:
    damaged, _ = passed.project.plans()
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = passed.export("test_it.py")
    assert done.exit_code == 1
    assert done.stderr.count("is no longer in the cache: run the tests again") == 1
    (plan,) = passed.dist.glob("*.plan")
    assert manifest_path(plan).exists()
    assert "1 of 1 plan holds." in passed.verify().output


@pytest.mark.parametrize("more", [(), ("--force",)])
def test_what_is_no_plan_in_the_place_of_one_is_refused(passed: Exporting, more) -> None:
    passed.plan("fp16").mkdir(parents=True)
    done = passed.export("test_it.py", *more)
    assert done.exit_code == 1
    assert "dist/linear.fp16.cpu.plan cannot be written: Is a directory" in done.stderr
    assert "another plan" not in done.stderr
    assert manifest_path(passed.plan("fp32")).exists()
    assert not manifest_path(passed.plan("fp16")).exists()


def test_two_engines_of_one_name_are_refused(exporting: Exporting) -> None:
    exporting.project.test_file(
        """
        pytestmark = pytest.mark.trt_consistency

        @pytest.mark.trt_model("models/linear.onnx")
        def test_a(trt_session, images):
            trt_session.run({"image": images})

        @pytest.mark.trt_model("models/linear.onnx", profiles={"image": (4, 8)})
        def test_b(trt_session, images):
            trt_session.run({"image": images})
        """
    )
    exporting.project.run().assert_outcomes(passed=2)
    done = exporting.export("test_it.py")
    assert done.exit_code == 1
    assert done.stderr.count("would have the same name, linear.fp32.cpu.plan") == 2
    assert exporting.export("test_b").exit_code == 0


def test_finished_plan_is_not_exported_again(passed: Exporting) -> None:
    passed.export("test_it.py")
    passed.project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", plan="dist/linear.fp32.cpu.plan")
        @pytest.mark.trt_consistency
        def test_shipped(trt_session, images):
            trt_session.run({"image": images})
        """
    )
    passed.project.run().assert_outcomes(passed=1)
    assert "it is a finished plan already: " in passed.export("test_it.py").stderr


def test_run_that_is_missing_or_has_no_such_test_is_an_error(exporting: Exporting) -> None:
    missing = exporting.export("test_it.py")
    assert "has no engines of a run in" in str(missing.exception)
    exporting.write()
    exporting.project.run()
    unknown = exporting.export("test_other.py")
    assert "has no engine of test_other.py; it has those of:" in str(unknown.exception)


@pytest.mark.exhaustive
def test_workers_pass_on_what_they_tested(exporting: Exporting) -> None:
    pytest.importorskip("xdist")
    exporting.write()
    exporting.project.run("-n1").assert_outcomes(passed=2)
    assert exporting.export("test_it.py").exit_code == 0
    assert exporting.verify().exit_code == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plan: plan.write_bytes(plan.read_bytes()[:-1] + b"x"), "has digest"),
        (lambda plan: plan.write_bytes(b"short"), "has 5 bytes"),
        (lambda plan: plan.unlink(), "there is no plan dist/linear.fp32.cpu.plan"),
        (lambda plan: manifest_path(plan).unlink(), "does not match its plan: it is missing"),
        (
            lambda plan: manifest_path(plan).write_text("{}"),
            "does not match its plan: schema: missing",
        ),
        (
            lambda plan: shutil.copy(
                manifest_path(plan.with_name("linear.fp16.cpu.plan")), manifest_path(plan)
            ),
            "it names the plan 'linear.fp16.cpu.plan'",
        ),
    ],
)
def test_what_does_not_hold_is_named(passed: Exporting, damage, message: str) -> None:
    passed.export("test_it.py")
    damage(passed.plan("fp32"))
    done = passed.verify()
    assert done.exit_code == 1
    assert message in done.stderr
    assert "1 of 2 plans holds." in done.stdout


def header(magic: bytes, *version: int, rest: bytes = b"") -> bytes:
    """Return a plan of TensorRT that is its header alone."""
    return struct.pack("<4sIQQ4B", magic, 0, 2, 28 + len(rest), *version) + rest


OF_RTX = header(b"vtrt", 1, 4, 0, 76, rest=struct.pack("<4sQ", b"vtrt", 0b100))


@pytest.mark.parametrize(
    ("plan", "backend", "toolchain", "arch", "message"),
    [
        (header(b"ftrt", 10, 16, 1, 11), "tensorrt", ("TensorRT", "10.16.1.11"), "sm86", ""),
        (
            header(b"ftrt", 10, 13, 3, 9),
            "tensorrt",
            ("TensorRT", "10.16.1.11"),
            "sm86",
            "the plan was built by TensorRT 10.13.3.9, not TensorRT 10.16.1.11",
        ),
        (
            OF_RTX,
            "tensorrt",
            ("TensorRT", "1.4.0.76"),
            "sm86",
            "the plan was built by TensorRT-RTX 1.4.0.76, not TensorRT 1.4.0.76",
        ),
        (b"no plan", "tensorrt", ("TensorRT", "10.16.1.11"), "sm86", "it is not a plan"),
        (OF_RTX, "tensorrt_rtx", ("TensorRT-RTX", "1.4.0.76"), RTX_ARCHS[2], ""),
        (
            OF_RTX,
            "tensorrt_rtx",
            ("TensorRT-RTX", "1.4.0.76"),
            RTX_ARCHS[0],
            f"the plan is for {RTX_ARCHS[2]}, not {RTX_ARCHS[0]}",
        ),
        (
            b"no model",
            "onnxruntime",
            ("ONNX Runtime", "1.0"),
            "cpu",
            "the plan is not an ONNX file",
        ),
    ],
)
def test_plan_that_contradicts_its_manifest_is_named(
    passed: Exporting, plan: bytes, backend: str, toolchain, arch: str, message: str
) -> None:
    """Digest and size are those of the manifest, so only the header shows what is wrong."""
    passed.export("test_it.py")
    path = passed.plan("fp32")
    path.write_bytes(plan)
    content = json.loads(manifest_path(path).read_text())
    content |= {
        "digest": digest_file(path).digest,
        "size_bytes": len(plan),
        "backend": backend,
        "toolchain": {"product": toolchain[0], "versions": {backend: toolchain[1]}},
        "target": {"arch": arch, "device": {}},
    }
    manifest_path(path).write_text(json.dumps(content))
    done = passed.verify()
    assert done.exit_code == bool(message)
    assert message in done.stderr
    assert ("2 of 2" in done.stdout) == (not message)


def test_folder_without_plans_does_not_hold(exporting: Exporting) -> None:
    exporting.dist.mkdir()
    (exporting.dist / "report.json").write_text("{}")
    done = exporting.verify()
    assert done.exit_code == 1
    assert "0 of 0 plans hold." in done.output


def test_each_folder_needs_plans(passed: Exporting) -> None:
    """Those of one architecture do not stand for another's."""
    passed.export("test_it.py")
    (passed.project.path / "sm86").mkdir()
    done = passed.verify("sm86")
    assert done.exit_code == 1
    assert "2 of 2 plans hold." in done.stdout
    assert "sm86 has no plans" in done.stderr
    done = passed.verify("sm89")
    assert done.exit_code == 2
    assert "sm89: No such file or directory" in done.stderr
    assert passed.verify("dist").exit_code == 0


@pytest.mark.parametrize("names", ['"models/linear.onnx"', '["models/*.onnx"]'])
def test_what_an_earlier_run_tested_is_not_exported_after_one_that_built_nothing(
    exporting: Exporting, names: str
) -> None:
    exporting.write()
    file = exporting.project.path / "test_it.py"
    file.write_text(file.read_text().replace('"models/linear.onnx"', names))
    exporting.project.run().assert_outcomes(passed=2)
    exporting.project.run("--collect-only")
    exporting.project.run("-k", "no_such_test")
    assert exporting.export("test_it.py").exit_code == 0
    (exporting.project.path / "models" / "linear.onnx").write_bytes(b"no model")
    exporting.project.run()
    done = exporting.export("test_it.py")
    assert "has no engine of test_it.py" in str(done.exception)


def test_stale_plan_is_named_as_such(passed: Exporting) -> None:
    passed.export("test_it.py")
    save_linear(passed.project.path / "models" / "linear.onnx", nudge=1e-6)
    passed.project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", plan="dist/linear.fp32.cpu.plan")
        @pytest.mark.trt_consistency
        def test_shipped(trt_session, images):
            trt_session.run({"image": images})
        """
    )
    result = passed.project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*was not built from linear.onnx*TRT327*"])


def test_inputs_beyond_the_plans_profiles_are_refused_as_the_plans(passed: Exporting) -> None:
    passed.export("test_it.py")
    passed.project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", plan="dist/linear.fp32.cpu.plan")
        @pytest.mark.trt_consistency
        def test_shipped(trt_session):
            trt_session.run({"image": np.ones((17, 8), np.float32)})
        """
    )
    result = passed.project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TRT224*", "*Feed inputs inside a profile of the plan*"])


def test_profile_beyond_the_plans_is_refused(passed: Exporting) -> None:
    passed.export("test_it.py")
    source = """
        @pytest.mark.trt_model("models/linear.onnx", plan="dist/linear.fp32.cpu.plan",
                               profiles={{"image": ((1, 8), (4, 8), ({most}, 8))}})
        @pytest.mark.trt_consistency
        def test_shipped(trt_session, trt_inputs):
            trt_session.run(trt_inputs)
    """
    passed.project.test_file(source.format(most=16))
    passed.project.run().assert_outcomes(passed=3)
    passed.project.test_file(source.format(most=32))
    result = passed.project.run()
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*none of its 1 profiles covers image (1, 8) to (32, 8)*TRT326*"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"digest": "0" * 64},
            "*manifest dist/linear.fp32.cpu.plan.json does not match its plan:*TRT328*",
        ),
        ({"backend": "tensorrt"}, "*is for ONNX Runtime *, but ONNX Runtime * is tested*TRT321*"),
        ({"target": {"arch": "sm90", "device": {}}}, "*is for sm90, but cpu * is tested*TRT323*"),
        ({"precision": "fp16"}, "*is for fp16, but fp32 is tested*TRT326*"),
        ({"tests": "none"}, "*does not match its plan: tests: expected *TRT328*"),
    ],
)
def test_plan_for_something_else_than_is_tested_is_refused(
    passed: Exporting, change: dict[str, object], message: str
) -> None:
    result = shipped(passed, change)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_plan_of_another_device_passes_with_a_note(passed: Exporting) -> None:
    result = shipped(passed, {"target": {"arch": "cpu", "device": {"machine": "riscv64"}}})
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*was built and tested on cpu (riscv64), but runs on cpu*"])


def test_plan_of_another_version_passes_with_a_note(passed: Exporting) -> None:
    old = {"toolchain": {"product": "ONNX Runtime", "versions": {"onnxruntime": "1.22.1"}}}
    result = shipped(passed, old)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*built and tested with ONNX Runtime 1.22.1, but runs on *"])
    done = passed.verify()
    assert done.exit_code == 0, done.output
    assert "Note: 1 plan built and tested with ONNX Runtime 1.22.1; here is" in done.stdout
    assert "1.22.1" not in passed.verify().stderr


def test_the_version_here_is_that_of_the_module_whatever_it_was_installed_from(
    passed: Exporting, monkeypatch
) -> None:
    """ONNX Runtime is in onnxruntime-gpu and other distributions, too."""
    shipped(passed, {"toolchain": {"product": "ONNX Runtime", "versions": {"onnxruntime": "1.2"}}})
    here = version("onnxruntime")
    distribution = Distribution.from_name

    def renamed(name: str) -> Distribution:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(Distribution, "from_name", renamed)
    with pytest.raises(PackageNotFoundError):
        version("onnxruntime")
    assert f"with ONNX Runtime 1.2; here is ONNX Runtime {here}," in passed.verify().stdout


LIBRARY = "void *RegisterCustomOps(void *options, void *api) {{ return 0; }} int version = {};"


def compiled(folder: Path, version: int) -> None:
    """Compile an operator library without operators for ONNX Runtime."""
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "libops.so")]
    subprocess.run(command, input=LIBRARY.format(version), text=True, check=True)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_operator_library_is_part_of_the_manifest(passed: Exporting) -> None:
    project, given = passed.project, 'custom_ops=["libops.so"]'
    compiled(project.path, 1)
    project.test_file(SOURCE.format(profiles=f"{PROFILES}, {given}", consistency=""))
    project.run().assert_outcomes(passed=2)
    assert passed.export("test_it.py").exit_code == 0
    (library,) = json.loads(manifest_path(passed.plan("fp32")).read_text())["libraries"]
    digest = digest_file(project.path / "libops.so").digest
    assert library == {"name": "libops.so", "digest": digest}
    shipped = SOURCE.replace('precision=("fp32", "fp16"), {profiles}', "{profiles}")
    plan = 'plan="dist/linear.fp32.cpu.plan"'
    project.test_file(shipped.format(profiles=f"{plan}, {given}", consistency=""))
    project.run().assert_outcomes(passed=1)
    # Without the library, as with another version of it.
    project.test_file(shipped.format(profiles=plan, consistency=""))
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*was built with the library libops.so of digest *TRT327*"])


def shipped(passed: Exporting, change: dict[str, object]) -> pytest.RunResult:
    """Test an exported plan whose manifest was changed."""
    passed.export("test_it.py")
    manifest = manifest_path(passed.plan("fp32"))
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    passed.project.test_file(
        """
        @pytest.mark.trt_model("models/linear.onnx", plan="dist/linear.fp32.cpu.plan")
        @pytest.mark.trt_consistency
        def test_shipped(trt_session, images):
            trt_session.run({"image": images})
        """
    )
    return passed.project.run()


def test_names_of_files_are_escaped(exporting: Exporting) -> None:
    exporting.dist.mkdir()
    (exporting.dist / "a\x1b[31m\nb.plan").write_bytes(b"plan")
    done = exporting.verify()
    assert done.exit_code == 1
    assert "\x1b" not in done.output
    assert "a\\x1b[31m\\nb.plan" in done.stderr
