"""The recipes of docs/ci: valid, safe, and run step by step on the CPU as CI would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from builders_baseline import save_baselines, stored, stored_run
from builders_cli import run_command
from builders_processes import commit_all
from plugin.conftest import LIGHT
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "docs" / "ci"
GITHUB = sorted(RECIPES.glob("github/*.yml"))
GITLAB = RECIPES / "gitlab" / "gitlab-ci.yml"
ARCHS = ["sm86", "sm89", "sm120"]

#: How the package is installed where it is needed.
INSTALL = re.compile(
    r'(python|"\$RUNNER_TEMP/venv/bin/python") -m pip install '
    r'(wheels/pytest_trt-\*\.whl|"\$\(echo wheels/pytest_trt-\*\.whl\)\[(rtx|tensorrt-cu13)\]")'
)


def parsed(path: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def test_recipes_are_there() -> None:
    assert [path.name for path in GITHUB] == ["cpu-only.yml", "tests.yml", "update-baselines.yml"]


# --- published schemas


def schema_errors(path: Path) -> str:
    of_gitlab = ["vendor.gitlab-ci", "--data-transform=gitlab-ci"]
    schema = ["vendor.github-workflows"] if "github" in path.parts else of_gitlab
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *schema, str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout if done.returncode else ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", [*GITHUB, GITLAB], ids=lambda path: path.name)
def test_recipe_conforms_to_the_published_schema(path, tmp_path) -> None:
    assert schema_errors(path) == ""
    wrong = tmp_path / path.parent.name / path.name
    wrong.parent.mkdir()
    text = path.read_text(encoding="utf-8")
    wrong.write_text(re.sub(r"\b(runs-on|script):", "misspelt:", text))
    assert "misspelt" in schema_errors(wrong)


# --- security


def problems(workflow: Mapping[str, Any]) -> set[str]:
    """What would give a stranger more than a recipe has to."""
    found = set()
    if set(workflow["on"]) - {"push", "pull_request"}:
        found.add("trigger with the rights of the repository")
    if workflow.get("permissions") != {"contents": "read"}:
        found.add("permissions")
    for job in workflow["jobs"].values():
        if "permissions" in job:
            found.add("permissions")
        if "timeout-minutes" not in job:
            found.add("no time limit")
        if "self-hosted" in job["runs-on"] and "head.repo.full_name ==" not in job.get("if", ""):
            found.add("forks on a runner of one's own")
        for step in job["steps"]:
            if "${{" in step.get("run", ""):
                found.add("expression in a script")
            if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", f"a@{'0' * 40}")):
                found.add("action that can change")
            if "/checkout@" in step.get("uses", "") and step["with"]["persist-credentials"]:
                found.add("credentials that stay")
    return found


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_github_recipe_gives_no_more_rights_than_it_needs(path) -> None:
    assert problems(parsed(path)) == set()


def _of_job(workflow: dict[str, Any], **keys: Any) -> None:
    next(iter(workflow["jobs"].values())).update(keys)


def _of_step(workflow: dict[str, Any], **keys: Any) -> None:
    next(iter(workflow["jobs"].values()))["steps"][0].update(keys)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda one: one.update({"on": {"pull_request_target": None}}),
            "trigger with the rights of the repository",
        ),
        (lambda one: one.pop("permissions"), "permissions"),
        (lambda one: _of_job(one, permissions={"contents": "write"}), "permissions"),
        (
            lambda one: _of_job(one, **{"runs-on": ["self-hosted"], "if": "true"}),
            "forks on a runner of one's own",
        ),
        (
            lambda one: _of_step(one, run="echo ${{ github.event.pull_request.title }}"),
            "expression in a script",
        ),
        (lambda one: _of_step(one, uses="actions/checkout@v7"), "action that can change"),
        (
            lambda one: _of_step(one, **{"with": {"persist-credentials": True}}),
            "credentials that stay",
        ),
    ],
)
def test_each_risk_would_be_found(change: Callable[[Any], Any], problem: str) -> None:
    workflow = deepcopy(parsed(GITHUB[1]))
    change(workflow)
    assert problem in problems(workflow)


def test_every_matrix_has_the_architectures_that_need_a_verdict() -> None:
    _, tests, update = map(parsed, GITHUB)
    of_gitlab = parsed(GITLAB)
    matrices = [tests["jobs"]["gpu"], update["jobs"]["record"]]
    assert [job["strategy"]["matrix"]["arch"] for job in matrices] == [ARCHS, ARCHS]
    assert of_gitlab[".on-gpu"]["parallel"]["matrix"] == [{"ARCH": ARCHS}]
    assert tests["env"]["ARCHS"] == of_gitlab["variables"]["ARCHS"] == ",".join(ARCHS)


def test_every_job_installs_the_wheel() -> None:
    for path in GITHUB:
        for job in parsed(path)["jobs"].values():
            (install,) = [step["run"] for step in job["steps"] if step.get("name") == "Install"]
            assert INSTALL.search(install)
    for job in parsed(GITLAB).values():
        if isinstance(job, dict) and "script" in job:
            assert INSTALL.fullmatch(job["script"][0])


# --- the page


def blocks(language: str) -> list[str]:
    text = (RECIPES / "index.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_baselines_are_collected_as_the_page_shows(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    Path("pytest.ini").write_text("[pytest]\n")
    Path("tests").mkdir()
    Path("tests/test_speed.py").write_text("")

    def record(root: Path, day: int, arch: str, *device: str) -> None:
        target = {"arch": arch, "gpu": device[0], "sm_count": device[1]}
        slug = "-".join(target.values()).replace(" ", "-").lower()
        save_baselines(
            root, {"test_speed[fp16]": stored(stored_run(day))}, target=target, slug=slug
        )

    a4000, l4 = ("sm86", "NVIDIA RTX A4000", "48"), ("sm89", "NVIDIA L4", "58")
    record(Path("trt_baselines"), 1, *a4000)
    commit_all(Path())
    for name, machine in (("baselines-sm86", a4000), ("baselines-sm89", l4)):
        shutil.copytree("trt_baselines", f"artifacts/{name}")
        record(Path("artifacts", name), 2, *machine)
    together, separate = blocks("sh")[1:3]
    artifacts = sorted(map(str, Path("artifacts").iterdir()))
    words = separate.replace("artifacts/*", " ".join(artifacts)).split()[1:]
    assert run_command(*words).stdout == blocks("text")[0]
    shutil.copytree("artifacts/baselines-sm89", "baselines")
    for line in together.splitlines():
        assert run_command(*line.split()[1:]).returncode == 0


# --- the steps, one after the other


class Ci:
    """A CI system on this machine: a clone for each job, artifacts, and no GPU.

    ARCH is cpu; a report of it is copied as that of each architecture.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.repository, self.artifacts = tmp_path / "repository", tmp_path / "artifacts"
        self.summary = tmp_path / "summary.md"
        for part in ("home", "temp", "artifacts"):
            (tmp_path / part).mkdir()
        shutil.copytree(
            ROOT / "example_project", self.repository, ignore=shutil.ignore_patterns("*encoder*")
        )
        speed = self.repository / "tests" / "test_speed.py"
        limits = 'p99="10%", throughput="5%"'
        assert limits in speed.read_text()
        # Far enough away that the verdict is the same on a busy machine.
        speed.write_text(speed.read_text().replace(limits, 'p50="1000%"'))
        ini = self.repository / "pytest.ini"
        ini.write_text(ini.read_text().replace("trt_missing_baseline = record", ""))
        self.commit()

    def commit(self) -> None:
        here = Path.cwd()
        os.chdir(self.repository)
        try:
            commit_all(Path())
        finally:
            os.chdir(here)

    def clone(self, name: str) -> Path:
        target = self.path / "jobs" / name
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", self.repository, target], check=True)
        return target

    def run(self, folder: Path, script: str, env: Mapping[str, str]) -> subprocess.CompletedProcess:
        """Run the script of a step."""
        given = {
            # Runners have no COLUMNS, as tox sets, so that no name is shortened.
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            "CI": "true",
            "HOME": str(self.path / "home"),
            "RUNNER_TEMP": str(self.path / "temp"),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}",
            "PYTEST_ADDOPTS": " ".join((*LIGHT, "-p quiet_host --trt-benchmark-time=0.5")),
            **env,
        }
        # How busy this machine is decides nothing here.
        script = script.replace('"$ARCH,speed"', '"$ARCH"')
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True)

    def as_of_each_arch(self, job: str) -> None:
        """Copy the reports of the CPU, as if they were those of other architectures."""
        for report in (self.artifacts / job).glob("report-cpu-*.json"):
            text = report.read_text(encoding="utf-8")
            for number, arch in enumerate(ARCHS):
                elsewhere = text.replace('"cpu"', f'"{arch}"').replace('"id":"', f'"id":"{number}')
                target = self.artifacts / f"report-{arch}" / report.name.replace("cpu", arch)
                target.parent.mkdir(exist_ok=True)
                target.write_text(elsewhere, encoding="utf-8")


EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")


def github_job(
    ci: Ci, path: Path, name: str, event: Mapping[str, str]
) -> Iterator[tuple[str, Any]]:
    """Run a job, and yield the name of each script with what came of it."""
    workflow = parsed(path)
    job, folder = workflow["jobs"][name], ci.clone(name)
    values = {"matrix.arch": "cpu", **event}

    def filled(text: str) -> str:
        return EXPRESSION.sub(lambda found: values[found[1]], text)

    for step in job["steps"]:
        given, (action, *_) = step.get("with", {}), step.get("uses", "").split("@")
        if "run" in step and step["name"] != "Install":
            envs = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            env = {name: filled(text) for name, text in envs.items()}
            env |= {"ARCHS": "cpu"} if name == "cross-build" else {}
            yield step["name"], ci.run(folder, step["run"], env)
        elif action == "actions/upload-artifact":
            target = ci.artifacts / filled(given["name"])
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            for found in folder.glob(filled(given["path"])):
                if found.is_dir():
                    shutil.copytree(found, target, dirs_exist_ok=True)
                else:
                    shutil.copy(found, target)
            assert any(target.iterdir()), given
        elif action == "actions/download-artifact":
            for source in ci.artifacts.iterdir():
                if fnmatch(source.name, given["pattern"]):
                    into = (
                        folder / given["path"] / ("" if "merge-multiple" in given else source.name)
                    )
                    shutil.copytree(source, into, dirs_exist_ok=True)


def passed(steps: Iterator[tuple[str, Any]]) -> dict[str, str]:
    """Return what each script printed; all have to succeed."""
    printed = {}
    for name, done in steps:
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        printed[name] = done.stdout
    return printed


@pytest.fixture
def ci(tmp_path) -> Ci:
    return Ci(tmp_path)


TITLE = 'twice the "classes"; touch owned; $(touch owned)'
EVENT = {
    "github.event.pull_request.title": TITLE,
    "github.event.pull_request.number": "7",
}


def reasons(folder: Path) -> set[str]:
    files = folder.glob("trt_baselines/cpu-*/tests/test_speed.json")
    return {
        run["reason"]
        for path in files
        for entry in json.loads(path.read_text())["tests"].values()
        for run in entry["runs"]
    }


@pytest.mark.exhaustive
def test_recipe_without_a_gpu_passes_only_with_a_verdict_of_every_test(ci) -> None:
    recipe, *_ = GITHUB
    passed(github_job(ci, recipe, "cpu", EVENT))
    conftest = ci.repository / "tests" / "conftest.py"
    text = conftest.read_text() if conftest.exists() else ""
    skipping = "def pytest_collection_modifyitems(items):\n    items[0].add_marker('skip')\n"
    conftest.write_text(f"{text}\n\n{skipping}")
    ci.commit()
    (name, done), *_ = github_job(ci, recipe, "cpu", EVENT)
    assert (name, done.returncode) == ("Test on the CPU", 1)


@pytest.mark.exhaustive
def test_github_recipes_record_collect_test_and_judge(ci, monkeypatch) -> None:
    _, tests, update = GITHUB
    passed(github_job(ci, update, "record", EVENT))
    # The runner of sm86, whose answers are preferred, and another one with the same.
    shutil.copytree(ci.artifacts / "baselines-cpu", ci.artifacts / "baselines-sm86")
    printed = passed(github_job(ci, update, "collect", EVENT))
    assert "refused" not in printed["Collect"]
    assert "tests/test_speed.py::test_speed[fp16]" in printed["Collect"]
    assert "test_speed[fp16]" in ci.summary.read_text()

    # One command brings them into the working tree.
    monkeypatch.chdir(ci.repository)
    collect = f"pytest-trt baseline collect {ci.artifacts / 'baselines'}"
    assert ci.run(ci.repository, collect, {}).returncode == 0
    assert reasons(ci.repository) == {f"{TITLE} (#7)"}
    assert not list(ci.path.rglob("owned"))
    ci.commit()

    for name in ("cpu", "cross-build", "gpu"):
        passed(github_job(ci, tests, name, EVENT))
    ci.as_of_each_arch("report-cpu")
    printed = passed(github_job(ci, tests, "verdict", EVENT))
    assert "test_same_answers[fp16]" in printed["Require a verdict on every architecture"]
    assert "    run 1, " in ci.summary.read_text()

    # The same without a recipe.
    folder = ci.clone("other")
    for line in blocks("sh")[3].splitlines()[:4]:
        line = line.replace("sm86,speed", "cpu").replace("sm86", "cpu")
        done = ci.run(folder, line, {})
        assert done.returncode == 0, done.stdout + done.stderr

    # A runner without a report fails it.
    shutil.rmtree(ci.artifacts / "report-sm89")
    (name, done), *_ = github_job(ci, tests, "verdict", EVENT)
    assert done.returncode == 1, name
    assert "sm89: no verdict" in done.stdout


def gitlab_job(ci: Ci, name: str, env: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Run a job, and yield each line of its script with what came of it."""
    recipe = parsed(GITLAB)

    def merged(job: Mapping[str, Any]) -> dict[str, Any]:
        given = job.get("extends", [])
        found: dict[str, Any] = {}
        for base in [given] if isinstance(given, str) else given:
            found |= merged(recipe[base])
        return {**found, **job}

    job, folder = merged(recipe[name]), ci.clone(name)
    values = {**recipe["variables"], "ARCH": "cpu", **env}
    values |= {"ARCHS": "cpu"} if name == "cross-build" else {}
    for needed in job.get("needs", []):
        shutil.copytree(ci.artifacts / needed, folder, dirs_exist_ok=True)
    for line in (*job.get("before_script", []), *job["script"]):
        if not INSTALL.fullmatch(line):
            yield line, ci.run(folder, line, values)
    artifacts = job.get("artifacts", {})
    reports = artifacts.get("reports", {}).values()
    target = ci.artifacts / name
    target.mkdir(exist_ok=True)
    for path in (*artifacts.get("paths", []), *reports):
        matching = list(folder.glob(path.replace("$ARCH", "cpu").rstrip("/")))
        assert matching, path
        for found in matching:
            copy = shutil.copytree if found.is_dir() else shutil.copy
            copy(found, target / found.relative_to(folder))


@pytest.mark.exhaustive
def test_gitlab_recipe_records_collects_tests_and_judges(ci) -> None:
    merge_request = {"CI_MERGE_REQUEST_TITLE": TITLE, "CI_MERGE_REQUEST_IID": "7"}
    passed(gitlab_job(ci, "record", merge_request))
    folder = ci.artifacts / "record" / "baselines"
    (folder / "cpu").rename(folder / "sm86")
    passed(gitlab_job(ci, "collect", merge_request))
    archive = shutil.make_archive(str(ci.path / "artifacts"), "zip", ci.artifacts / "collect")
    assert ci.run(ci.repository, f"pytest-trt baseline collect {archive}", {}).returncode == 0
    assert reasons(ci.repository) == {f"{TITLE} (!7)"}
    assert not list(ci.path.rglob("owned"))
    ci.commit()

    for name in ("cpu", "cross-build", "gpu"):
        passed(gitlab_job(ci, name, {}))
    ci.as_of_each_arch("gpu")
    for report in ci.artifacts.glob("report-*/*"):
        shutil.move(report, ci.artifacts / "gpu")
    passed(gitlab_job(ci, "verdict", {}))
    (ci.artifacts / "gpu" / "report-sm120-accuracy.json").unlink()
    (line, done), *_ = gitlab_job(ci, "verdict", {})
    assert done.returncode == 1, line
    assert "sm120: no verdict" in done.stdout
