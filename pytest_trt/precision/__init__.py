"""Precision in depth: choosing one, what it costs, and how to get back what it lost."""
