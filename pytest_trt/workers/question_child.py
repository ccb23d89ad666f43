"""The process that answers one question; the one who asks is `asking`."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os

from pytest_trt.workers.events import Events, jobs_of_parent


def main() -> None:
    """Answer the question that comes in on standard input, and end."""
    faulthandler.enable()  # says where a library crashed
    events = Events.to_parent()
    job = json.loads(jobs_of_parent().get())
    module, _, function = job["question"].partition(":")
    try:
        answer = getattr(importlib.import_module(module), function)(**job["arguments"])
        event = {"event": "answer", "answer": answer}
    except BaseException as error:  # a library may even try to exit
        event = {"event": "raised", "text": f"{type(error).__name__}: {error}"}
    events.send(event)
    # Libraries that were asked may crash while they are unloaded; the answer is given.
    os._exit(0)
