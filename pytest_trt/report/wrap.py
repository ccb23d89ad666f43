"""Long lines broken between words, where a terminal would break them within one."""

from __future__ import annotations

import re
import textwrap

#: A word as a shell takes it; commas and semicolons end one where a blank follows.
_WORD = r"""(?:"[^"]*"|'[^']*'|[^\s,;]|[,;](?=\S))+"""

#: How what is to be copied begins: pytest is also spoken of.
_PROGRAM = r"""pytest(?= ["'-]| \S+(?:::|/|\.py))|pytest-trt|pip (?:un)?install"""

#: Broken by line ends, a shell would run half of a command. It ends where a sentence goes on in
#: brackets or behind a comma.
_COMMAND = re.compile(rf"(?<!\S)(?:{_PROGRAM})(?: (?!\(){_WORD})+[,;]?")


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
    indent = line[: len(line) - len(line.lstrip())]
    hanging = indent + "  "
    lines, end = [], 0
    for command in _COMMAND.finditer(line):
        lines += _broken(line[end : command.start()], width, hanging if end else indent, hanging)
        lines.append((hanging if lines else indent) + command[0])
        end = command.end()
    return "\n".join([*lines, *_broken(line[end:], width, hanging if end else indent, hanging)])


def _broken(prose: str, width: int, first: str, hanging: str) -> list[str]:
    return textwrap.wrap(
        prose.strip(),
        width,
        initial_indent=first,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
