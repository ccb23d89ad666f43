"""Inference regression testing for pytest: build, cache and check optimised engines.

The package is a pytest plugin (``pytest_trt.plugin``) and a command (``pytest-trt``). What a test
suite uses are the markers, fixtures and options of the README; everything else in here is private
and may change between releases.
"""

__version__ = "0.1.0.dev0"
