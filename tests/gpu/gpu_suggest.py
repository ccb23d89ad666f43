"""The precisions of ResNet-50 and of a BERT-sized encoder, and what ResNet-50 keeps in FP32.

Writes precision.md, precision-*.html and precision-*.json, tune.txt, tune.html and tune.json. Takes
about three minutes on an H200, most of it building: the builder's optimisation level is 1, which
the table says.

Run: PYTHONPATH=.:tests python tests/gpu/gpu_suggest.py OUT [--reduced] [--level 1]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
from networks import NETWORKS

from pytest_trt.cli import main as pytest_trt

#: Samples of each network: one is timed, all are compared, and int8 is calibrated on them.
SAMPLES = 2

TUNED = """
import numpy as np
import pytest

IMAGES = [np.load(f"resnet50/{number}.npz")["image"][:2] for number in range(2)]


@pytest.fixture
def trt_calibration():
    return [{"image": image} for image in IMAGES]


@pytest.mark.trt_model(
    "resnet50.onnx",
    precision="int8",
    profiles={"image": IMAGES[0].shape},
    builder_options=OPTIONS,
)
@pytest.mark.trt_consistency(cosine=0.9995, rtol=0.1, atol=0.25)
def test_resnet(trt_session):
    for image in IMAGES:
        trt_session.run({"image": image})
"""


def photos(number: int) -> dict[str, np.ndarray]:
    """Return coloured patches of 16 pixels, as the project of this network has them."""
    patches = np.random.default_rng(number).standard_normal((8, 3, 14, 14))
    return {"image": np.kron(patches, np.ones((16, 16))).astype(np.float32)}


def tokens(number: int, *, batch: int = 8, sequence: int = 128) -> dict[str, np.ndarray]:
    """Return pairs of sentences, the first as long as the batch, each further one shorter."""
    ids = np.random.default_rng(number).integers(0, 1000, (batch, sequence))
    lengths = np.linspace(sequence, sequence // 2, batch).astype(int)[:, None]
    places = np.arange(sequence)[None]
    mask = (places < lengths).astype(np.int64)
    second = (places >= lengths // 2).astype(np.int64) * mask
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": second}


INPUTS = {"resnet50": photos, "bert": tokens}


def command(*args: str) -> str:
    """Run a `pytest-trt` command in this process, and return what it prints."""
    out, started_s = io.StringIO(), time.perf_counter()
    with (
        patch.object(sys, "argv", ["pytest-trt", *args]),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        pytest_trt()
    print(f"pytest-trt {' '.join(args)}: {time.perf_counter() - started_s:.1f} s", flush=True)
    print(out.getvalue(), flush=True)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--reduced", action="store_true", help="networks that fit a CPU")
    parser.add_argument("--level", type=int, default=1, help="the builder's optimisation level")
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    level, cpu = f"builder_optimization_level={given.level}", ("--arch=cpu",)
    common = cpu if given.reduced else (f"--builder-option={level}",)
    cache = f"--cache-dir={out / 'cache'}"
    work = out / "work"
    work.mkdir(exist_ok=True)
    with contextlib.chdir(work) if sys.version_info >= (3, 11) else _chdir(work):
        tables = []
        for name, make_inputs in INPUTS.items():
            network = NETWORKS[name]
            (file, make), *_ = (network.reduced if given.reduced else network.models).items()
            onnx.save(make(), file)
            Path(name).mkdir(exist_ok=True)
            for number in range(SAMPLES):
                np.savez(Path(name) / f"{number}.npz", **make_inputs(number))
            written = [f"--html={out}/precision-{name}.html", f"--markdown={out}/{name}.md"]
            found = command(
                *("suggest", "precision", file, "--data", name, "--time=2", cache, "--json"),
                *(*common, *written),
            )
            (out / f"precision-{name}.json").write_text(found)
            if (out / f"{name}.md").exists():
                tables.append((out / f"{name}.md").read_text())
        (out / "precision.md").write_text("\n".join(tables))
        options = "{}" if given.reduced else f'{{"{level.partition("=")[0]}": {given.level}}}'
        Path("test_resnet.py").write_text(TUNED.replace("OPTIONS", options))
        arch = ("--trt-arch=cpu",) if given.reduced else ()
        trt_cache = f"--trt-cache-dir={out / 'cache'}"
        found = command(
            *("tune", "test_resnet.py", "--precision=int8", "--timeout=40", trt_cache, *arch),
            f"--html={out}/tune.html",
        )
        (out / "tune.txt").write_text(found)


@contextlib.contextmanager
def _chdir(folder: Path):  # until Python 3.10 is gone
    import os

    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    main()
