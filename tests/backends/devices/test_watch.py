from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pynvml
import pytest
from backends.fake_nvml import Device, FakeNvml, computing, h200_answers

from pytest_trt.backends.devices.nvml import Nvml
from pytest_trt.backends.devices.watch import Busy, DeviceWatch, busy_others, watched_device

UUID = h200_answers()["nvmlDeviceGetUUID"]
OWN = os.getpid()

THROTTLED = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DeviceWatch]]:
    """Watch a GPU that answers as an idle H200, but for what is given."""
    with ExitStack() as stack:

        def begin(**answers: object) -> DeviceWatch:
            monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Device(h200_answers() | answers)))
            found = stack.enter_context(watched_device(UUID))
            assert found is not None
            return found

        yield begin


def test_gpu_that_does_what_it_is_measured_for_is_undisturbed(watch) -> None:
    found = watch(nvmlDeviceGetProcessUtilization=computing({OWN: 97}))
    assert [found(), found()] == [None, None]


@pytest.mark.parametrize("mask", [0x0, 0x1, 0x2, 0x4, 0x1 | 0x4, 0x10, 0x200])
def test_clocks_of_a_gpu_under_load_are_not_a_disturbance(watch, mask: int) -> None:
    assert watch(nvmlDeviceGetCurrentClocksEventReasons=mask)() is None


@pytest.mark.parametrize("mask", THROTTLED)
def test_gpu_that_is_held_back_is_disturbed_for_as_long_as_it_is(watch, mask: int) -> None:
    masks = iter([0x4, 0x4 | mask, 0x4])
    found = watch(nvmlDeviceGetCurrentClocksEventReasons=lambda: next(masks))
    assert [found(), found(), found()] == [
        None,
        f"the GPU is throttled ({THROTTLED[mask]})",
        None,
    ]


def test_process_that_computes_disturbs(watch) -> None:
    found = watch(nvmlDeviceGetProcessUtilization=computing({OWN: 60, 77: 30, 78: 4}))
    assert found() == ("another process computes on the GPU (process 77 for 30% of the time)")


def test_processes_that_only_hold_a_context_disturb_nothing(watch) -> None:
    # A waiting worker, a builder that is kept, a notebook, what draws the desktop.
    found = watch(
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=p) for p in (OWN, 77, 78)],
        nvmlDeviceGetProcessUtilization=computing({OWN: 90, 78: 3}),
    )
    assert found() is None


@pytest.mark.parametrize(
    ("busy", "others"),
    [
        ([], []),
        ([Busy(1, 80)], []),
        ([Busy(1, 10), Busy(7, 80)], [Busy(7, 80)]),
        ([Busy(1, 80), Busy(7, 4)], []),
        ([Busy(1, 50), Busy(8, 5), Busy(7, 40)], [Busy(7, 40), Busy(8, 5)]),
    ],
)
def test_others_are_those_with_another_number(busy, others) -> None:
    assert list(busy_others(busy, own_pid=1)) == others


@pytest.mark.parametrize(
    ("busy", "others"),
    [
        ([Busy(645400, 95)], []),
        ([Busy(645400, 60), Busy(645500, 30)], [Busy(645500, 30)]),
        ([Busy(645400, 60), Busy(645500, 2)], []),
        # Containers without the host's processes are told zeros by some drivers.
        ([Busy(0, 95)], []),
    ],
)
def test_in_a_container_the_busiest_process_is_this_one(busy, others) -> None:
    assert list(busy_others(busy, own_pid=12)) == others


def test_the_only_visible_process_is_a_foreign_one_if_this_one_would_be_visible() -> None:
    assert busy_others([Busy(7, 80)], own_pid=1, present={1, 7}) == (Busy(7, 80),)
    assert busy_others([Busy(7, 80)], own_pid=1, present={7, 8}) == ()


def test_what_is_known_of_processes_holds_until_there_is_news(watch) -> None:
    news = iter(
        [
            [],  # before
            [(OWN, 50, 2_000_000), (77, 40, 2_000_000)],
            pynvml.NVMLError_NotFound(),
            [(OWN, 90, 3_000_000), (77, 40, 2_000_000)],  # it has stopped
        ]
    )

    def answer(seen_us: int) -> object:
        samples = next(news)
        if isinstance(samples, Exception):
            raise samples
        return [SimpleNamespace(pid=p, smUtil=u, timeStamp=t) for p, u, t in samples]

    found = watch(nvmlDeviceGetProcessUtilization=answer)
    assert [bool(found()) for _ in range(3)] == [True, True, False]


def sampled(*looks: list[tuple[int, int, int]]) -> Callable[[int], list[SimpleNamespace]]:
    """Return what each look finds: process, share and microsecond of its last sample."""
    answers = iter(looks)
    return lambda _: [SimpleNamespace(pid=p, smUtil=u, timeStamp=t) for p, u, t in next(answers)]


def test_process_that_shares_the_gpu_alternately_disturbs(watch) -> None:
    # The driver sees one of them at a time, and tells those that it saw since it was asked.
    found = watch(
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=p) for p in (OWN, 77)],
        nvmlDeviceGetProcessUtilization=sampled(
            [], [(77, 48, 2_000_000)], [(OWN, 50, 2_300_000)], [(OWN, 50, 2_600_000)]
        ),
    )
    assert [bool(found()) for _ in range(3)] == [True, True, True]


def test_process_that_has_ended_disturbs_no_more(watch) -> None:
    found = watch(
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=OWN)],
        nvmlDeviceGetProcessUtilization=sampled([], [(OWN, 50, 2_000_000), (77, 48, 1_900_000)]),
    )
    assert found() is None


def listening(*looks: list[tuple[int, int, int]]) -> DeviceWatch:
    """Return what watches a GPU whose driver tells this, at 1 s since 1970 and half a second on."""
    answers = h200_answers() | {"nvmlDeviceGetProcessUtilization": sampled([], *looks)}
    gpu, module = Device(answers), FakeNvml()
    module.nvmlInit()
    return DeviceWatch(Nvml(module), gpu, gpu, clock=lambda: 1.0, sleep=lambda s: None)


def test_process_that_computes_while_this_one_listens_disturbs() -> None:
    found = listening([(77, 30, 1_400_000), (78, 2, 1_400_000)])
    assert found.listen() == "another process computes on the GPU (process 77 for 30% of the time)"


def test_process_that_the_driver_names_with_a_number_of_the_host_is_heard() -> None:
    # In a container this one may be among the samples by a number that it does not know.
    found = listening([(0, 40, 1_400_000)])
    assert "for 40% of the time" in str(found.listen())


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [(OWN, 90, 1_100_000)],
        [(OWN, 90, 1_400_000)],
        [(77, 50, 1_100_000)],
        [(77, 4, 1_400_000)],
    ],
    ids=["nothing", "own work before", "own work", "before", "screen"],
)
def test_no_process_is_detected_on_an_idle_gpu(samples) -> None:
    assert listening(samples).listen() is None


def test_impossible_shares_are_not_samples(watch) -> None:
    found = watch(
        nvmlDeviceGetProcessUtilization=sampled(
            [], [(OWN, 50, 2_000_000), (77, 4_000_000, 2_000_000)]
        )
    )
    assert found() is None


def test_what_draws_the_screen_is_present_too(watch) -> None:
    found = watch(
        nvmlDeviceGetComputeRunningProcesses=[SimpleNamespace(pid=OWN)],
        nvmlDeviceGetGraphicsRunningProcesses=[SimpleNamespace(pid=77)],
        nvmlDeviceGetProcessUtilization=sampled([], [(OWN, 50, 2_000_000), (77, 48, 1_900_000)]),
    )
    assert "process 77 for 48% of the time" in str(found())


def test_what_was_before_the_watch_is_not_of_the_measurement(watch) -> None:
    before = [SimpleNamespace(pid=77, smUtil=90, timeStamp=1_000_000)]
    # Some drivers tell old samples again, and leave room for more than there are.
    again = [*before, SimpleNamespace(pid=0, smUtil=0, timeStamp=0)]
    answers = iter([before, again])
    assert watch(nvmlDeviceGetProcessUtilization=lambda _: next(answers))() is None


@pytest.mark.parametrize(
    "error",
    [
        pynvml.NVMLError_NotSupported(),
        pynvml.NVMLError_NoPermission(),
        pynvml.NVMLError_NotFound(),
        pynvml.NVMLError(pynvml.NVML_SUCCESS),
        pynvml.NVMLError_InsufficientSize(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_nvml_does_not_report_disturbs_nothing(watch, error) -> None:
    found = watch(
        nvmlDeviceGetProcessUtilization=error,
        nvmlDeviceGetCurrentClocksEventReasons=pynvml.NVMLError_NotSupported(),
        nvmlDeviceGetCurrentClocksThrottleReasons=pynvml.NVMLError_NotSupported(),
        nvmlDeviceGetClockInfo=pynvml.NVMLError_NotSupported(),
        nvmlDeviceGetEnforcedPowerLimit=pynvml.NVMLError_NotSupported(),
    )
    assert found() is None
    assert (found.clock_mhz, found.power_limit_w) == (None, None)


def test_clock_is_the_median_of_those_that_were_seen(watch) -> None:
    clocks = iter([1980, 1965, 345])
    found = watch(nvmlDeviceGetClockInfo=lambda _: next(clocks))
    for _ in range(3):
        found()
    assert (found.clock_mhz, found.power_limit_w) == (1965, 700)


def test_a_look_is_three_questions(watch, monkeypatch) -> None:
    found = watch(nvmlDeviceGetProcessUtilization=computing({OWN: 97}))
    nvml = sys.modules["pynvml"]
    nvml.asked = 0
    found()
    assert nvml.asked == 3


@pytest.mark.parametrize("uuid", ["GPU-none", "", "0"])
def test_gpu_that_nvml_does_not_know_is_not_watched(monkeypatch, uuid: str) -> None:
    nvml = FakeNvml(Device())
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with watched_device(uuid) as found:
        assert found is None
    assert nvml.started == 0


def test_without_nvml_nothing_is_watched(monkeypatch) -> None:
    refusal = pynvml.NVMLError_LibraryNotFound()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(refusal=refusal))
    with watched_device(UUID) as found:
        assert found is None
