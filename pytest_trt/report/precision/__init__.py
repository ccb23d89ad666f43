"""Measured precisions rendered: tables, Markdown, and pages with a chart."""
