"""Two runs held against each other: what another version, driver, device or commit has changed.

`compare` is pure: two report documents in, what changed out. The other modules write that down.
"""

from pytest_trt.upgrade.compare import compare
from pytest_trt.upgrade.findings import Comparison, EngineChange, Finding, Kind, TestChange, Turn

__all__ = ["Comparison", "EngineChange", "Finding", "Kind", "TestChange", "Turn", "compare"]
