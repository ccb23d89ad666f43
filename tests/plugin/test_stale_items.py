"""Entries of `per_model` for models that were deleted, renamed or left out, and typos."""

from __future__ import annotations

import pytest
from builders import save_linear
from builders_processes import commit_all
from plugin.conftest import assert_shows

TEST = """
PER = {{"models/{entry}.onnx": {{}}}}
pytestmark = pytest.mark.trt_model({models}, per_model=PER)

@pytest.mark.trt_consistency(against="{against}", per_model=PER)
def test_it(trt_session, images):
    trt_session.run({{"image": images}})
"""


@pytest.fixture
def zoo(project):
    """A project with numbered models, of which one has an entry."""
    project.pytester.makeini("[pytest]\n")
    for number in (3, 13):
        save_linear(project.path / "models" / f"ranker_{number:02}.onnx", nudge=number)
    write(project)
    return project


def write(zoo, models: str = "'models/*.onnx'", entry: str = "ranker_03", against="stored") -> None:
    zoo.test_file(TEST.format(models=models, entry=entry, against=against))


def test_all_models_but_a_deleted_one_are_tested(zoo) -> None:
    zoo.run("--trt-update-new").assert_outcomes(passed=3)
    (zoo.path / "models" / "ranker_03.onnx").unlink()
    result = zoo.run("--trt-require-arch=cpu")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "per_model of trt_model and trt_consistency names models/ranker_03.onnx, which no "
            "longer exists [[]TRT149[]]",
            "Fix: Remove its entry from per_model, *",
            "*pytest-trt baseline prune",
            "1 model with stored baselines no longer exists*TRT684*",
            "FAILED test_it.py::per_model[[]models/ranker_03.onnx[]] - *",
        ]
    )
    result.stdout.no_fnmatch_line("*required verdicts*")
    assert "ranker_13" not in "".join(line for line in result.outlines if "Fix" in line)


def test_a_renamed_one_is_recognized_by_its_bytes(zoo) -> None:
    zoo.run("--trt-update-new").assert_outcomes(passed=3)
    (zoo.path / "models" / "ranker_03.onnx").rename(zoo.path / "models" / "best.onnx")
    result = zoo.run("--trt-missing-baseline=fail")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*names models/ranker_03.onnx, which no longer exists: it was renamed to "
            "models/best.onnx*TRT149*",
            "Fix: Write 'models/best.onnx' in per_model, and move its baselines:",
            "    pytest-trt baseline rename models/ranker_03.onnx models/best.onnx",
        ]
    )


def test_one_that_the_list_leaves_out_fails_alone(zoo) -> None:
    write(zoo, "['models/linear.onnx', 'models/ranker_13.onnx']")
    result = zoo.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*names models/ranker_03.onnx, which the markers leave out of*"])


def test_a_deleted_model_is_no_typo_of_another_one_where_git_has_it(zoo) -> None:
    # Without baselines, only git shows it.
    write(zoo, entry="reader", against="model")
    for name in ("reader", "header"):
        save_linear(zoo.path / "models" / f"{name}.onnx")
    commit_all(zoo.path)
    (zoo.path / "models" / "reader.onnx").unlink()
    zoo.run().assert_outcomes(passed=4, failed=1)


def of_model(entry: str) -> str:
    return TEST.format(models="'models/*.onnx'", entry=entry, against="model")


def test_a_typo_is_refused_with_its_suggestion(zoo) -> None:
    (zoo.path / "test_it.py").unlink()
    meant = dict.fromkeys(("ranker_3", "rnaker_03", "Ranker_03"), "ranker_03")
    meant["linaer"] = "linear"
    fix = "Fix: Did you mean 'models/{}.onnx'?"
    zoo.refuses({of_model(one): ["*TRT150*", fix.format(name)] for one, name in meant.items()})


def test_another_number_is_no_typo(zoo) -> None:
    for entry in ("ranker_04", "ranker"):
        zoo.test_file(of_model(entry))
        zoo.run().assert_outcomes(passed=3, failed=1)


def test_a_model_with_an_entry_of_its_own_is_not_suggested(zoo) -> None:
    zoo.test_file(
        of_model("liner").replace(
            '{"models/liner.onnx": {}}', '{"models/liner.onnx": {}, "models/linear.onnx": {}}'
        )
    )
    zoo.run().assert_outcomes(passed=3, failed=1)


def test_entries_of_markers_that_a_hook_adds_count_too(zoo) -> None:
    zoo.test_file(
        "pytestmark = pytest.mark.trt_model('models/*.onnx')\n"
        "def test_it(trt_engine, trt_session):\n    pass\n"
    )
    zoo.pytester.makeconftest(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    given = {'models/ranker_04.onnx': {'atol': 1}}\n"
        "    for item in items:\n"
        "        item.add_marker(pytest.mark.trt_consistency(per_model=given))\n"
    )
    assert_shows(zoo.run(), "*names models/ranker_04.onnx, which no longer exists*", failed=4)


@pytest.mark.exhaustive
def test_workers_collect_the_same_items(zoo) -> None:
    write(zoo, entry="gone", against="model")
    zoo.run("-n", "2").assert_outcomes(passed=3, failed=1)
