"""Networks that tests build themselves, and the projects that test them.

A project in `projects/` is what a user of the plugin would write: a test file, and an ini file with
tolerances. It runs in a folder where its models lie beside it, see `lay_out`; with models of full
size on a GPU, and with reduced ones that take the same inputs on the CPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import onnx
from onnx import ModelProto

from networks import control_flow, small
from networks.bert import bert_base
from networks.detector import spot_detector
from networks.resnet import resnet50

__all__ = [
    "NETWORKS",
    "PROJECTS",
    "Network",
    "bert_base",
    "lay_out",
    "resnet50",
    "spot_detector",
]

PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True, slots=True)
class Network:
    """A project and its models.

    Attributes:
        models: What makes each model in full size, by file name.
        reduced: The same for models that fit a CPU; those left out are small anyway.
        precisions: What is in the names of its tests; of each, there are as many.
        tests: How many tests the project has in each precision.
        plain: How many it has whose precision is in none of their names.
        heavy: Whether it takes more than a minute on a GPU.
    """

    models: Mapping[str, Callable[[], ModelProto]]
    reduced: Mapping[str, Callable[[], ModelProto]] = field(default_factory=dict)
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16")
    tests: int = 0
    plain: int = 0
    heavy: bool = False

    @property
    def all_tests(self) -> int:
        """How many tests the project has."""
        return len(self.precisions) * self.tests + self.plain


#: By the name of their folder in `projects/`.
NETWORKS = {
    "resnet50": Network(
        {"resnet50.onnx": resnet50},
        {"resnet50.onnx": partial(resnet50, blocks=(1, 1, 1, 1), width=8, classes=10)},
        tests=6,
        heavy=True,
    ),
    "bert": Network(
        {"bert.onnx": bert_base},
        {
            "bert.onnx": partial(
                bert_base,
                vocab_size=1000,
                hidden_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=128,
            )
        },
        tests=7,
        heavy=True,
    ),
    "detector": Network({"detector.onnx": spot_detector}, tests=8),
    "control_flow": Network(
        {
            "lstm.onnx": control_flow.lstm,
            "scan.onnx": control_flow.scan,
            "loop.onnx": control_flow.loop,
            "branch.onnx": control_flow.branch,
        },
        tests=11,
    ),
    "small": Network(
        {
            "int32.onnx": partial(small.integers, dtype="int32"),
            "int64.onnx": partial(small.integers, dtype="int64"),
            "bytes.onnx": small.pixels,
            "flags.onnx": small.flags,
            "halves.onnx": small.halves,
            "scalars.onnx": small.scalars,
            "emptiable.onnx": small.emptiable,
        },
        precisions=("fp32", "tf32"),
        tests=5,
        plain=5,
    ),
}


def lay_out(name: str, folder: Path, *, reduced: bool) -> Path:
    """Copy a project into a folder, write its models beside it, and return the folder."""
    network = NETWORKS[name]
    shutil.copytree(PROJECTS / name, folder, dirs_exist_ok=True)
    for file, make in {**network.models, **(network.reduced if reduced else {})}.items():
        onnx.save(make(), folder / file)
    return folder
