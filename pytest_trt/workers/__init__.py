"""Child processes with a time limit and structured events."""
