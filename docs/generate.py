"""Write the pages that are generated from the code: `python docs/generate.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from generate_cli import cli_page
from generate_fixtures import fixtures_page
from generate_formats import FORMATS, format_page, schema_file
from generate_text import formatted

from pytest_trt.codes import CODES
from pytest_trt.engine.builder_options import BUILDER_OPTIONS, PRODUCTS
from pytest_trt.plugin.options.table import OPTIONS

HERE = Path(__file__).parent


def options_page() -> str:
    """Return docs/reference/options.md: every option with its default."""
    lines = [
        "# Options",
        "",
        "Each flag `--trt-x` has an ini option `trt_x`, which may also be a TOML value in",
        "`[tool.pytest]`.",
        "A marker wins over a flag, a flag over the ini file, the ini file over the default.",
        "`--trt-update`, `--trt-update-new` and `--trt-calibrate` are for single runs: in the ini",
        "file or its `addopts` they are refused.",
        "",
        "Write paths after an equals sign, `--trt-cache-dir=/cache`: pytest treats a path after a",
        "space as a test path, and looks for its ini file there. If that changes rootdir or the",
        "ini file, the run stops with an error.",
        "",
        "| option | effect | default |",
        "|---|---|---|",
    ]
    for option in OPTIONS:
        if option.ini_only:
            name = f"`{option.ini}` (ini only)"
        else:
            name = f"`{option.flag} {option.metavar}`" if option.metavar else f"`{option.flag}`"
        lines.append(f"| {name} | {formatted(option.help)} | {option.default or '-'} |")
    return "\n".join(lines) + "\n"


def diagnostics_page() -> str:
    """Return docs/reference/diagnostics.md: every code with its meaning and what to do."""
    lines = [
        "# Diagnostics",
        "",
        "Every error, failure, warning and note has a stable code.",
        "`pytest-trt explain TRT401` prints its entry.",
    ]
    for code in sorted(CODES):
        entry = CODES[code]
        lines += [
            "",
            f"## {code}: {entry.title}",
            "",
            formatted(entry.meaning),
            "",
            formatted(entry.action),
        ]
    return "\n".join(lines) + "\n"


def builder_options_page() -> str:
    """Return docs/reference/builder-options.md: every builder option, and where it exists."""
    lines = [
        "# Builder options",
        "",
        "Values of `builder_options=` of `trt_model`, also in `by_precision=` and `by_backend=`.",
        "`pytest-trt options` prints the same in the terminal, and as JSON. Versions are those of",
        "the product; without any, all supported ones have the option.",
        "",
        "| option | values | default | effect | exists in |",
        "|---|---|---|---|---|",
    ]
    for option in BUILDER_OPTIONS.values():
        places = "; ".join(
            f"{PRODUCTS[scope.backend]} {scope.versions}".rstrip()
            + ("" if "fp32" in scope.precisions else f" ({', '.join(scope.precisions)})")
            for scope in option.scopes
        )
        lines.append(
            f"| `{option.name}` | {option.values} | {option.default or '-'} | "
            f"{formatted(option.meaning)} | {places} |"
        )
    return "\n".join(lines) + "\n"


PAGES = {
    "reference/options.md": options_page,
    "reference/diagnostics.md": diagnostics_page,
    "reference/builder-options.md": builder_options_page,
    "reference/fixtures.md": fixtures_page,
    "reference/cli.md": cli_page,
}
for one in FORMATS:
    PAGES[f"reference/formats/{one.stem}.md"] = partial(format_page, one)
    PAGES[f"reference/formats/{one.stem}.schema.json"] = partial(schema_file, one)

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(page(), encoding="utf-8")
