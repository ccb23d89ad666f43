"""Baselines: what was measured and accepted, kept in the repository."""
