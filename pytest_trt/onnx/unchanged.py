"""What is made of a model's files is made of the bytes that its digest covers.

Builders and runtimes open a model by its path, long after it was hashed. A copy for each of them
would cost a second disk for large models. So the files' stamps are compared afterwards, and where
they prove nothing, the files are hashed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.onnx.digest_cache import changed
from pytest_trt.onnx.file import OnnxModel, load_model

_T = TypeVar("_T")

#: A model that was touched without being changed is read again, so often.
_ATTEMPTS = 3


def of_hashed_bytes(
    model: OnnxModel, make: Callable[[], _T], *, again: Callable[[], object] = lambda: None
) -> _T:
    """Return what is made of a model's files while they held the bytes that were hashed.

    Args:
        model: The model.
        make: Reads its files.
        again: Called before `make` is called once more: the files were touched meanwhile, though
            they have the same bytes again.

    Raises:
        ModelError: The files have other bytes now.
        PytestTrtError, OSError: What `make` raised, unless that explains it.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            again()
        failure: PytestTrtError | OSError | None = None
        try:
            made = make()
        except (PytestTrtError, OSError) as error:
            failure = error
        if not model.is_untouched():
            now = load_model(model.path)
            if now.digest != model.digest:
                raise changed(model.path) from failure
            if now.stamps != model.stamps:
                model = now
                continue
        if failure is not None:
            raise failure
        return made
    raise changed(model.path)
