"""Findings of `pytest-trt doctor`: what works on this machine, what does not, and how to fix it.

Facts are collected in child processes with a time limit, so that a library that crashes or hangs
becomes a finding. Findings follow from the facts by pure functions, so that tests can present any
machine to them. `examine` does both.
"""
