"""Tables in the ini file: a line for each precision, such as ``fp16: rtol=2e-2 atol=1e-2``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_trt.diagnostics import ConfigurationError


def rows_of(
    lines: Iterable[str], where: str, *, kind: str, code: str
) -> Iterator[tuple[str, list[str], str]]:
    """Yield the precision of each line, its words such as "rtol=2e-2", and its place for messages.

    Lines that are empty or start with # are skipped.

    Raises:
        ConfigurationError: A precision has two lines, or a line has a name twice.
    """
    seen: set[str] = set()
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        here = f"{where}, line {text!r}"
        precision, _, rest = (part.strip() for part in text.partition(":"))
        words = rest.replace(",", " ").split()
        names = {word.partition("=")[0] for word in words}
        if precision in seen or len(names) < len(words):
            given = f"a second line for {precision}" if precision in seen else f"a {kind} twice"
            raise ConfigurationError(
                f"{here}: {given}",
                fix=f"Write one line for each precision, with each {kind} once.",
                code=code,
                facts={"precision": precision},
            )
        seen.add(precision)
        yield precision, words, here
