"""Loading many modules at once without looking for garbage between them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """Pause the search for garbage while modules are loaded, which leave none.

    They make objects by the thousand, so that Python looks again and again: one twentieth of what
    a run takes from its start to the first verdict when its engine is cached.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
