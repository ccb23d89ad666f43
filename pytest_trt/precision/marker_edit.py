"""Changes the arguments of a marker in the source of a test, and nothing else in it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

_LIMIT = re.compile(r"\s*(>=|<=|==|>|<)\s*\S+\s*")


#: The length of lines that black and ruff allow by default.
_WIDTH = 88

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class CannotEditError(Exception):
    """The source has no marker that can be changed safely; the text says why."""


def set_argument(
    source: str, test: Sequence[str], marker: str, path: Sequence[str], value: object
) -> str:
    """Return source in which a marker has an argument, or an entry of one.

    Args:
        source: A test module.
        test: The names of the test: its class, if any, and its function.
        marker: The marker's name.
        path: The argument, and the keys below it: ("outputs", "probs", "rtol").
        value: The value.

    Raises:
        CannotEditError: The marker is not written there, or not as literals.
    """
    node = _marker(source, test, marker)
    if not isinstance(node, ast.Call):
        text = f"({path[0]}={_nested(path[1:], value)})"
        return _checked(_spliced(source, _end(node), _end(node), text))
    return _checked(_set_in_call(source, node, path, value))


def set_limit(source: str, test: Sequence[str], marker: str, metric: str, limit: str) -> str:
    """Return source in which every limit of a metric in a marker is another one.

    Raises:
        CannotEditError: The marker is not written there, or the limit is not a text in it.
    """
    node = _marker(source, test, marker)
    found = list(_limits(node, metric))
    if not found:
        raise CannotEditError(f"the limit of {metric} is not written as a text in {marker}")
    for one in sorted(found, key=_start, reverse=True):
        source = _spliced(source, _start(one), _end(one), literal(limit))
    return _checked(source)


def wrapped(source: str, test: Sequence[str], marker: str) -> str:
    """Return source in which a marker with a line that is too long is laid out as formatters do.

    One with comments is left as it is.

    Raises:
        CannotEditError: The marker is not written there.
    """
    node = _marker(source, test, marker)
    lines = source.split("\n")[node.lineno - 1 : node.end_lineno]
    if max(map(len, lines)) <= _WIDTH or not isinstance(node, ast.Call):
        return source
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    if any(
        one.type == tokenize.COMMENT and node.lineno <= one.start[0] <= (node.end_lineno or 0)
        for one in tokens
    ):
        return source
    indent = len(lines[0]) - len(lines[0].lstrip())
    taken = len(lines[0].encode()[: node.col_offset].decode()) - indent
    text = _laid_out(source, node, indent, taken)
    return _checked(_spliced(source, _start(node), _end(node), text))


def _laid_out(source: str, node: ast.expr, indent: int, taken: int) -> str:
    """Return an expression in one line, if that fits, or with its parts in lines of their own.

    Args:
        source: What it is written in.
        node: The expression.
        indent: How far its line is indented.
        taken: What else its line holds: in front of it, and a comma behind it.
    """
    parts: list[tuple[str, ast.expr]]
    match node:
        case ast.Call():
            head, end = f"{ast.get_source_segment(source, node.func)}(", ")"
            parts = [("", one) for one in node.args]
            parts += [(f"{one.arg}=" if one.arg else "**", one.value) for one in node.keywords]
        case ast.Dict(keys, values):
            head, end = "{", "}"
            parts = [
                (f"{ast.get_source_segment(source, key)}: " if key else "**", value)
                for key, value in zip(keys, values, strict=True)
            ]
        case ast.List(elements):
            head, end, parts = "[", "]", [("", one) for one in elements]
        case _:
            return ast.get_source_segment(source, node) or ""

    def each(indent: int) -> list[str]:
        return [name + _laid_out(source, one, indent, len(name) + 1) for name, one in parts]

    flat = f"{head}{', '.join(each(-len(source)))}{end}"
    if indent + taken + len(flat) <= _WIDTH or not parts:
        return flat
    inner = f"\n{' ' * (indent + 4)}"
    return f"{head}{''.join(f'{inner}{one},' for one in each(indent + 4))}\n{' ' * indent}{end}"


def keywords_of(source: str, test: Sequence[str], marker: str) -> frozenset[str]:
    """Return the names of a marker's arguments.

    Raises:
        CannotEditError: The marker is not written there.
    """
    node = _marker(source, test, marker)
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return frozenset(one.arg for one in keywords if one.arg)


def place_of(
    source: str, test: Sequence[str], marker: str, arguments: Mapping[str, object]
) -> tuple[int, int]:
    """Return where the marker of a test is written: its line and column.

    Args:
        source: A test module.
        test: The names of the test: its class, if any, and its function.
        marker: The marker's name.
        arguments: The keyword arguments that the test's marker has when it runs.

    Raises:
        CannotEditError: The closest marker that is written there has other arguments, as that of
            the test is in a parameter, a variable or a hook.
    """
    node = _marker(source, test, marker)
    keywords = node.keywords if isinstance(node, ast.Call) else []
    given = {one.arg: one.value for one in keywords}
    differs = None not in given and given.keys() != arguments.keys()
    if differs or any(
        name in arguments and _differs(value, arguments[name])
        for name, value in given.items()
        if name is not None
    ):
        raise CannotEditError(f"the {marker} of the test is not written at it as a decorator")
    return _start(node)


def tests_with(source: str, test: Sequence[str], marker: str) -> set[tuple[str, ...]]:
    """Return the names of all tests of the module that have the same marker as one of them.

    Raises:
        CannotEditError: The marker is not written there.
    """
    place = _start(_marker(source, test, marker))

    def has_it(names: Sequence[str]) -> bool:
        with suppress(CannotEditError):
            return _start(_marker(source, names, marker)) == place
        return False

    return {names for names in _tests_in(ast.parse(source)) if has_it(names)}


def _tests_in(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ...]]:
    for one in scope.body:
        if isinstance(one, ast.ClassDef):
            yield from ((one.name, *names) for names in _tests_in(one))
        elif isinstance(one, _FUNCTIONS) and one.name.startswith("test"):
            yield (one.name,)


def _differs(node: ast.expr, value: object) -> bool:
    try:
        return bool(ast.literal_eval(node) != value)
    except ValueError:  # it is computed
        return False


def _limits(node: ast.expr, metric: str) -> Iterator[ast.Constant]:
    for each in ast.walk(node):
        if isinstance(each, ast.Dict):
            for key, value in zip(each.keys, each.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == metric:
                    parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
                    yield from (
                        one
                        for one in parts
                        if isinstance(one, ast.Constant)
                        and isinstance(one.value, str)
                        and _LIMIT.fullmatch(one.value)
                    )


def _marker(source: str, test: Sequence[str], marker: str) -> ast.expr:
    """Return the marker that is closest to a test.

    Raises:
        CannotEditError: There is none, or several stand at one place.
    """
    scope: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    scope, places = ast.parse(source), []
    places.append(_of_pytestmark(scope))
    for name in test:
        inner = [
            one
            for one in scope.body
            if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and one.name == name
        ]
        if len(inner) != 1:
            raise CannotEditError(
                f"{'.'.join(test)} is not in the file, or is written several times"
            )
        scope = inner[0]
        inside = _of_pytestmark(scope) if isinstance(scope, ast.ClassDef) else []
        places.append([*scope.decorator_list, *inside])
    for place in reversed(places):
        found = [one for one in place if _name(one) == marker]
        if len(found) > 1:
            raise CannotEditError(f"{marker} is written several times at one place")
        if found:
            return found[0]
    raise CannotEditError(f"{marker} is not written at the test, its class or its module")


def _of_pytestmark(scope: ast.Module | ast.ClassDef) -> list[ast.expr]:
    values: list[ast.expr] = []
    for one in scope.body:
        if isinstance(one, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in one.targets
        ):
            several = isinstance(one.value, ast.List | ast.Tuple)
            values += one.value.elts if several else [one.value]  # type: ignore[attr-defined]
    return values


def _name(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else ""


def _set_in_call(source: str, call: ast.Call, path: Sequence[str], value: object) -> str:
    name, *rest = path
    if any(keyword.arg is None for keyword in call.keywords):
        raise CannotEditError(f"the marker's {name} may come from **")
    known = next((one.value for one in call.keywords if one.arg == name), None)
    if known is None:
        return _inserted(source, call, f"{name}={_nested(rest, value)}")
    return _set_in(source, known, rest, value)


def _set_in(source: str, node: ast.expr, path: Sequence[str], value: object) -> str:
    if not path:
        if not isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp):
            raise CannotEditError("a value of the marker is not a literal")
        return _spliced(source, _start(node), _end(node), literal(value))
    if not isinstance(node, ast.Dict) or any(key is None for key in node.keys):
        raise CannotEditError("a value of the marker is not a literal")
    name, *rest = path
    for key, known in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == name:
            return _set_in(source, known, rest, value)
        if not isinstance(key, ast.Constant):
            raise CannotEditError("a key of the marker is not a literal")
    return _inserted(source, node, f"{literal(name)}: {_nested(rest, value)}")


def _inserted(source: str, node: ast.Call | ast.Dict, text: str) -> str:
    """Return source with an entry before the closing bracket of a call or a dict."""
    row, column = _end(node)
    before, after = _split(source, (row, column - 1))
    head, _ = _split(source, _last_token(source, (row, column - 1)))
    between = before[len(head) :]
    is_open = head.endswith((",", "(", "{"))
    if "\n" not in between:
        return f"{before}{' ' * head.endswith(',') if is_open else ', '}{text}{after}"
    # Each entry has a line of its own, and there may be a comment behind the last.
    last = head.rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())] + "    " * head.endswith(("(", "{"))
    kept = between.rstrip()
    comma = "" if is_open else ","
    return f"{head}{comma}{kept}\n{indent}{text},{between[len(kept) :]}{after}"


def _last_token(source: str, place: tuple[int, int]) -> tuple[int, int]:
    """Return where the last token before a place ends, comments and line ends left out."""
    ended = (1, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # tokenize counts columns in characters.
        line = (
            source.split("\n")[token.end[0] - 1] if token.end[0] <= source.count("\n") + 1 else ""
        )
        end = token.end[0], len(line[: token.end[1]].encode())
        if end > place:
            break
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE):
            ended = end
    return ended


def _nested(path: Sequence[str], value: object) -> str:
    if not path:
        return literal(value)
    return f"{{{literal(path[0])}: {_nested(path[1:], value)}}}"


def literal(value: object) -> str:
    """Return a literal, texts in double quotes."""
    if isinstance(value, str) and '"' not in value and "\\" not in value and value.isprintable():
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
    return repr(value)


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _split(source: str, place: tuple[int, int]) -> tuple[str, str]:
    """Return source before and behind a place: ast counts columns in bytes of UTF-8."""
    row, column = place
    lines = source.split("\n")
    line = lines[row - 1].encode()
    before = "\n".join([*lines[: row - 1], line[:column].decode()])
    return before, source[len(before) :]


def _spliced(source: str, start: tuple[int, int], end: tuple[int, int], text: str) -> str:
    return _split(source, start)[0] + text + _split(source, end)[1]


def _checked(source: str) -> str:
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise CannotEditError(f"a comment is in the way: {error.msg}") from error
    return source
