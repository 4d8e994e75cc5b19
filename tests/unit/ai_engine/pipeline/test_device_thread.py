"""One thread has the device; whoever waits for it hears of progress and can stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ai_engine.errors import DeviceFault, JobCancelled
from ai_engine.job import Progress
from ai_engine.logs import about, add_about
from ai_engine.pipeline.device_thread import DeviceThread, Stopped
from ai_engine.stage import Stage


def ignore(stage: Stage, done: int, total: int) -> None:
    pass


def thread_name() -> str:
    return threading.current_thread().name


def raising(error: BaseException) -> Callable[..., None]:
    def work(*_: object) -> None:
        raise error

    return work


def steps_until_stopped(report: Progress) -> int:
    """Goes on until a report raises."""
    done = 0
    while True:
        done += 1
        report(Stage.DENOISE, done, 10**9)


def test_work_of_many_threads_runs_in_one_that_is_none_of_them() -> None:
    device = DeviceThread()
    with ThreadPoolExecutor(4, thread_name_prefix="job") as jobs:
        names = set(jobs.map(lambda _: device.call(thread_name), range(20)))
    assert len(names) == 1
    assert names.pop().startswith("device")


def test_what_the_work_raises_is_raised_to_the_waiting_thread() -> None:
    device, error = DeviceThread(), ValueError("odd")
    for call in (device.call, lambda work: device.call_reporting(work, ignore)):
        with pytest.raises(ValueError, match="odd") as raised:
            call(raising(error))
        assert raised.value is error


def test_progress_is_called_in_order_on_the_thread_that_waits() -> None:
    seen: list[tuple[str, int]] = []

    def work(report: Progress) -> str:
        for done in range(5):
            report(Stage.DENOISE, done, 5)
        return thread_name()

    where = DeviceThread().call_reporting(work, lambda _, done, __: seen.append((thread_name(), done)))

    assert seen == [(thread_name(), done) for done in range(5)]
    assert where != thread_name()


def test_the_work_goes_on_while_progress_is_being_written() -> None:
    goes_on = threading.Event()

    def work(report: Progress) -> bool:
        report(Stage.DENOISE, 1, 2)
        goes_on.set()  # the next step is given to the device
        report(Stage.DENOISE, 2, 2)
        return True

    def write(stage: Stage, done: int, total: int) -> None:
        assert goes_on.wait(30)

    assert DeviceThread().call_reporting(work, write)


def test_progress_that_raises_stops_the_work_and_then_goes_on_to_the_caller() -> None:
    device, ended = DeviceThread(), threading.Event()

    def work(report: Progress) -> None:
        try:
            steps_until_stopped(report)
        except Stopped:
            ended.set()
            raise

    with pytest.raises(JobCancelled):
        device.call_reporting(work, raising(JobCancelled("enough")))
    assert ended.is_set()
    assert device.call(lambda: 1) == 1


def test_an_interrupt_of_the_waiting_thread_stops_the_work_too() -> None:
    with pytest.raises(KeyboardInterrupt):
        DeviceThread().call_reporting(steps_until_stopped, raising(KeyboardInterrupt()))


@pytest.mark.parametrize(("late", "raised"), [(DeviceFault, DeviceFault), (ValueError, JobCancelled)])
def test_of_two_errors_the_device_that_broke_is_the_graver(
    late: type[Exception], raised: type[Exception]
) -> None:
    def work(report: Progress) -> None:
        try:
            steps_until_stopped(report)
        except Stopped:
            raise late("CUDA error") from None

    with pytest.raises(raised):
        DeviceThread().call_reporting(work, raising(JobCancelled("enough")))


def test_log_fields_of_the_caller_hold_in_the_devices_thread_and_end_with_the_call() -> None:
    from ai_engine.logs import _ABOUT

    device = DeviceThread()
    with about(job_id="chair"):
        assert device.call(_ABOUT.get) == {"job_id": "chair"}
        device.call(lambda: add_about(step=1))
    assert device.call(_ABOUT.get) is None
