r"""Foreign text (names, reasons, what others print) made safe for each medium that shows it.

Models, tests and outputs have names that anyone may have chosen, and messages quote them. What is
not visible, would reorder or erase what stands around it, or is a command to the system that reads
a log, is shown as the escape that Python has for it: `\x1b`, `\u202e`, `\udcff` for a byte that is
not UTF-8. A text that needs none is unchanged, and one that was escaped stays as it is.

One function for each medium; every renderer uses it (tests/test_hostile_text.py). JSON is data and
holds texts unchanged.
"""

from __future__ import annotations

import re
from html import escape

#: Letters that are printable for Unicode, and blank: fillers of Hangul, a joiner, a blank pattern.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

#: What CI systems execute: `::error` where a line may start, `##[error]` and `##vso[` anywhere.
#: Source: actions/runner, ActionCommand.TryParseV2 (which skips leading blanks) and TryParse.
_COMMAND = re.compile(r"(?<!\S)::(?=[A-Za-z])|##(?=\w*\[)")

#: A fence is closed by any line of 255 marks, however long it is.
#: Source: cmark-gfm, blocks.c, open_new_blocks: `fence_length = (matched > 255) ? 255 : matched`.
_LONG_RUN = "`{100,}"

#: The most characters of a code span in Markdown: a comment may have 65,536 in all.
_MOST_IN_SPAN = 1000


def terminal(text: str) -> str:
    """Return a text as one line for a terminal, a log, or any other plain text."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if _is_visible(char) else _escaped(char) for char in text)
    return _COMMAND.sub(lambda found: _hex(found[0][0]) + found[0][1:], text)


def block(text: str) -> str:
    """Return a text of several lines: line feeds stay, and tabs become blanks."""
    lines = text.expandtabs().replace("\r\n", "\n").split("\n")
    return "\n".join(map(terminal, lines))


def markdown(text: str) -> str:
    """Return a text as a code span of one line, which may stand in a table.

    Nothing in a code span is a link, an image, a mention or a reference to an issue. Of a text that
    would leave no room for others, the middle is left out.
    """
    shown = terminal(text)
    if len(shown) > _MOST_IN_SPAN:
        shown = f"{shown[: _MOST_IN_SPAN // 2]}...{shown[-_MOST_IN_SPAN // 2 :]}"
    # A bar would end a cell, and a longer fence than GitHub accepts (80) would end no span.
    for mark in "`|":
        shown = shown.replace(mark, _hex(mark))
    # One blank at both ends would be removed.
    shown = f" {shown} " if shown.startswith(" ") or shown.endswith(" ") else shown
    return f"`{shown}`" if shown.strip() else ""


def markdown_block(text: str) -> str:
    """Return a text of several lines as a fenced block of code."""
    shown = re.sub(_LONG_RUN, lambda found: _hex("`") * len(found[0]), block(text))
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}text\n{shown}\n{fence}"


def html(text: str) -> str:
    """Return a text as one line of HTML, also in Markdown and in the value of an attribute."""
    return escape(terminal(text))


def junit(text: str) -> str:
    """Return a text as the value of a property; pytest escapes what XML needs."""
    return terminal(text)


def openmetrics(text: str) -> str:
    """Return a text as the value of a label, with its quotation marks."""
    shown = terminal(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'


def _is_visible(char: str) -> bool:
    import unicodedata  # a text of ASCII does not need it

    return (char.isprintable() and char not in _BLANK) or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _hex(char: str) -> str:
    return f"\\x{ord(char):02x}"
