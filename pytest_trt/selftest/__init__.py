"""Proof that checks can fail: planted errors and slowdowns, and what the checks made of them."""
