"""Metrics of outputs against a reference; `pytest_trt.metrics` exports them."""
