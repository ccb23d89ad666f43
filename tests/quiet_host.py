"""A plugin for runs in processes of their own: a host without other work, and no pauses.

What else this machine does decides no test: those of an overloaded host inject their load.
"""

from pytest_trt.benchmark import sampling
from pytest_trt.benchmark.host_load import HostLoad

HostLoad.busy = ""
sampling.STORED_S = 0.0
