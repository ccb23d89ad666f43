"""What workers of pytest-xdist pass on, as ASCII.

execnet takes no text with half a surrogate pair, which is what the name of a file has for a byte
that is not UTF-8, and ends the worker with an internal error.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

#: What the names of our attributes of reports begin with.
_OURS = "trt"


def packed(data: object) -> str:
    """Return JSON-simple data as text."""
    return json.dumps(data)


def unpacked(text: str) -> Any:
    """Return the data that `packed` made a text of."""
    return json.loads(text)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(
    config: pytest.Config,
) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Pack what we added to a report, in a worker."""
    data = yield
    if data is not None and hasattr(config, "workerinput"):
        for name in (one for one in data if one.startswith(_OURS)):
            data[name] = packed(data[name])
    return data


@pytest.hookimpl(tryfirst=True)
def pytest_report_from_serializable(data: dict[str, Any]) -> None:
    """Unpack what a worker has added to a report."""
    for name, value in data.items():
        if name.startswith(_OURS) and isinstance(value, str):
            data[name] = unpacked(value)
