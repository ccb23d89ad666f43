"""Files of arrays by name: `.npz` with one set, and Polygraphy's JSON with one per iteration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_trt.diagnostics import InputError, as_typed
from pytest_trt.files import LFS_PULL, is_lfs_pointer
from pytest_trt.tensors.npz import read_npz
from pytest_trt.tensors.polygraphy import SUFFIX, Arrays, read_saved
from pytest_trt.tensors.seeded import memory_bytes

#: Files that hold arrays by name.
SUFFIXES = (".npz", SUFFIX)


def read_arrays(path: Path) -> tuple[Arrays, ...]:
    """Return the sets of arrays in a file, or in a folder of Polygraphy's.

    Raises:
        ValueError: It is damaged, something else, or too large for the machine's memory.
        OSError: It cannot be read.
    """
    if path.suffix == SUFFIX or path.is_dir():
        # Its text is in memory together with the arrays.
        return read_saved(path, memory_bytes() // 4).samples()
    # What uses the arrays, such as an engine, needs as much again.
    return (read_npz(path, memory_bytes() // 2),)


def load_inputs(path: str | Path) -> list[dict[str, npt.NDArray[np.generic]]]:
    """Return the inputs that a file holds, one dict of arrays by name for each inference.

        @pytest.mark.parametrize("inputs", pytest_trt.load_inputs(HERE / "inputs.json"))

    Args:
        path: An `.npz` file, or what `polygraphy run --save-inputs` wrote: a JSON file, or a folder
            with one for each iteration.

    Raises:
        InputError: It cannot be read, or is something else. Nothing is ever unpickled.
    """
    path = Path(path)
    try:
        return [dict(arrays) for arrays in read_arrays(path)]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        pointer = is_lfs_pointer(path)
        reason = "it is a Git LFS pointer" if pointer else reason
        raise InputError(
            f"the inputs {as_typed(path)} cannot be read: {reason}",
            fix=LFS_PULL
            if pointer
            else "name an .npz file, or what `polygraphy run --save-inputs` wrote.",
            code="TRT234",
            facts={"path": str(path), "reason": reason},
        ) from error
