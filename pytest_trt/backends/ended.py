"""Why a child process that builds with vendor code ended early, as an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_trt.diagnostics import BackendUnavailableError, EngineBuildError, Fact, Remedy
from pytest_trt.workers.process import Reply, Worker

#: Lines of its standard error that are shown.
_STDERR_LINES = 20


def ended_early(
    worker: Worker,
    reply: Reply,
    *,
    doing: str,
    label: str,
    timeout_s: float,
    facts: Mapping[str, Fact],
    quicker: Sequence[str],
    report_to: str,
) -> EngineBuildError | BackendUnavailableError:
    """Return the error for a worker that reported neither a result nor an error.

    Args:
        worker: The worker.
        reply: What it reported.
        doing: What it did: "building digits.onnx fp16 for sm90".
        label: The vendor's product.
        timeout_s: The time limit.
        facts: The model, and what else was asked for.
        quicker: What may need less time.
        report_to: Who maintains the product.
    """
    facts = {
        **facts,
        "product": label,
        "last_step": reply.step,
        "status": reply.status,
        "signal": reply.signal_name,
    }
    if reply.timed_out:
        code, what = "TRT301", f"took longer than --trt-build-timeout={timeout_s:g}"
        facts["timeout_s"] = timeout_s
        fix = Remedy(
            "Raise --trt-build-timeout (0 lifts the limit), or give the builder less to do:",
            alternatives=tuple(quicker),
        )
    elif reply.signal_name == "SIGKILL":
        code, what = "TRT302", "was killed (SIGKILL): memory may have run out"
        fix = Remedy(
            "Free memory or build in fewer processes at once (pytest -n). The kernel's log names "
            "the processes that it killed:",
            ("dmesg",),
        )
    elif reply.signal_name:
        code, what = "TRT303", f"crashed ({reply.signal_name})"
        fix = Remedy(
            "Run again. If it repeats:",
            alternatives=(
                "another precision, or fewer builder_options",
                f"another version of {label}",
                f"report it to {report_to} with the model and this log",
            ),
        )
    elif not reply.is_started:
        return worker.never_began(reply)
    else:
        code, what = "TRT304", f"ended without a result (exit status {reply.status})"
        fix = Remedy("Act on the last lines of the log.")
    return EngineBuildError(
        f"{doing}: {label} {what}; its last step: {reply.step}",
        code=code,
        facts=facts,
        fix=fix,
        log_tail=[*reply.log, *list(reply.stderr)[-_STDERR_LINES:]],
    )
