"""Texts of the code on generated pages: code in backticks, paths of pages as links."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent

#: A word between its punctuation; a bracket or a quote belongs to it if it has both.
_WORD = re.compile(r"(?P<before>[(\[\"']*)(?P<word>\S+?)(?P<after>[.,:;?!)\]\"']*)(?=\s|$)")

#: What makes a word code: an option, a name with an underscore, an argument, a file, a backend.
_CODE = re.compile(
    r"--[a-z].*"
    r"|@?[\w.]*[A-Za-z\d]_[A-Za-z].*"
    r"|[a-z]+=.*"
    r"|[\w/-]+\.(?:py|json|toml|ini|onnx)"
    r"|tensorrt|onnxruntime|pytestmark|sm\d+(?:,sm\d+)*"
)

_PAGE = re.compile(r"docs/(\S+\.md)")


def formatted(text: str, up: str = "../") -> str:
    """Return a text with backticks around code, and links to the pages that it names.

    Args:
        text: The text; what has backticks already stays as it is.
        up: The way to the folder of all pages.
    """
    parts = re.split(r"(`+[^`]+`+)", text)
    parts[::2] = [_WORD.sub(partial(_format, up=up), part) for part in parts[::2]]
    return "".join(parts)


def _format(match: re.Match[str], up: str) -> str:
    before, word, after = match.groups()
    for end, is_open in (
        ('"', word.count('"') % 2),
        (")", word.count("(") > word.count(")")),
        ("]", word.count("[") > word.count("]")),
    ):
        if is_open and end in after:
            cut = after.index(end) + 1
            word, after = word + after[:cut], after[cut:]
    if page := _PAGE.fullmatch(word):
        title = (HERE / page[1]).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        word = f"[{title.lower()}]({up}{page[1]})"
    elif _CODE.fullmatch(word) and "{" not in word:
        word = f"`{word}`"
    return f"{before}{word}{after}"
