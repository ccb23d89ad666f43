"""Long lines broken between words, where a terminal would break them within one."""

from __future__ import annotations

import re
import textwrap

#: Where something begins that is to be copied: broken by line ends, a shell would run half of it.
_COMMAND = re.compile(r"(?<= )(?:pytest|pytest-trt|pip install) (?=\S)")


def wrapped(text: str, width: int) -> str:
    """Return a text whose lines fit, but for commands, which stand on a line of their own.

    Args:
        text: Any number of lines; what is indented stays so.
        width: Columns of the terminal.
    """
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    hanging = " " * (len(line) - len(line.lstrip()) + 2)
    found = _COMMAND.search(line)
    prose, command = (line[: found.start()], line[found.start() :]) if found else (line, "")
    lines = textwrap.wrap(
        prose,
        width,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([*lines, hanging + command] if command else lines)
