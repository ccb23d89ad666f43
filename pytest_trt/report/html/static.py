"""A page that needs no network and no script, in the style of the report."""

from __future__ import annotations

from importlib import resources

from pytest_trt.escaping import html


def static_page(heading: str, body: str, *, command: str, style: str = "") -> str:
    """Return a page.

    Args:
        heading: Its heading, as plain text.
        body: What follows, as HTML.
        command: The command that wrote it.
        style: Rules beside those of the report.
    """
    own = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    title = html(heading)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title} - pytest-trt</title>\n<style>\n{own}{style}</style>\n</head>\n"
        f'<body>\n<header class="top"><p class="brand">{html(command)}</p></header>\n'
        f"<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def chip(status: str, mark: str, text: str) -> str:
    """Return a status as HTML: its colour, a mark, and its word."""
    return (
        f'<span class="chip" data-status="{status}"><span class="mark" aria-hidden="true">{mark}'
        f"</span>{html(text)}</span>"
    )
