"""What a run on a GPU loads: it finds its engines in the cache most of the time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import save_linear

pytestmark = pytest.mark.gpu

TEST = """
import pytest

@pytest.mark.trt_model("linear.onnx", precision="fp32")
@pytest.mark.trt_consistency
def test_it(trt_session, trt_inputs):
    trt_session.run(trt_inputs)
"""

#: The run leaves the names of the packages that it has loaded at its end.
WITNESS = """
import json, sys
from pathlib import Path

def pytest_sessionfinish(session):
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    Path(__file__).with_name("loaded.json").write_text(json.dumps(loaded))
"""


def test_run_that_finds_all_in_the_cache_loads_nothing_that_builds(
    gpu, inner_pytest, tmp_path: Path
) -> None:
    save_linear(tmp_path / "linear.onnx", batch=4)
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "conftest.py").write_text(WITNESS)

    def loaded() -> set[str]:
        done = inner_pytest(tmp_path, cache=tmp_path / "cache")
        done.assert_outcomes(passed=1)
        return set(json.loads((tmp_path / "loaded.json").read_text()))

    # A reference that was never computed before runs in a child process.
    for _ in range(2):
        assert {"tensorrt", "onnx", "onnxruntime"} & loaded() == {"tensorrt"}
