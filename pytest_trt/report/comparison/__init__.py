"""Comparison of two reports: what a new version, driver, device or commit changed."""
