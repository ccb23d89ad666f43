from __future__ import annotations

import os

# Runs that tests start would add themselves to the summary of the step that runs the tests.
os.environ.pop("GITHUB_STEP_SUMMARY", None)
