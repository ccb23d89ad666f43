"""Outputs against references: tolerances, the comparison, and the text that explains it."""
