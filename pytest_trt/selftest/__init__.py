"""Proof that checks can fail: injected errors and slowdowns, and what the checks made of them."""
