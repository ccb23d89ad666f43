"""Baselines: what was measured and accepted, stored in the repository."""
