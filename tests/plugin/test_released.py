"""What a test holds while it runs is released when it is over: pytest holds all tests."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("atol", "outcome"),
    [pytest.param("1.0", "passed", marks=pytest.mark.exhaustive), ("0", "failed")],
)
def test_runs_of_a_test_are_released_when_it_is_over(project, atol: str, outcome: str) -> None:
    project.test_file(
        """
        import gc, tracemalloc

        HELD = []
        tracemalloc.start()

        @pytest.mark.parametrize("number", range(4))
        @pytest.mark.trt_model("models/linear.onnx", precision="fp16")
        """
        f"@pytest.mark.trt_consistency(rtol=0, atol={atol})"
        """
        def test_it(trt_session, number):
            gc.collect()
            HELD.append(tracemalloc.get_traced_memory()[0])
            inputs = np.random.default_rng(number).random((30_000, 8), np.float32)
            trt_session.run({"image": inputs})
            trt_session.run({"image": inputs + 1})

        def test_held():
            tracemalloc.stop()
            assert HELD[3] - HELD[1] < 30_000 * 8 * 4
        """
    )
    # pytest-rerunfailures holds the traceback of each failed test, and with it what the test made.
    # For a bundle, runs are retained until the test is judged.
    result = project.run("-p", "no:rerunfailures", "--trt-repro=repro")
    result.assert_outcomes(**{outcome: 4} | {"passed": 5 if outcome == "passed" else 1})
