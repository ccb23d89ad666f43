"""Tensors as specs: shapes, dtypes, profiles, seeded inputs, and checks of what a user feeds."""
