"""Rounds, bounds and the decision rule: numpy and the standard library alone, no clock, no file."""
